// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>

#include "account.h"

struct account account_at(const char *ctrl, unsigned int uid)
{
	struct account a;
	char line[512];
	unsigned int user;
	FILE *file;

	snprintf(line, sizeof(line), QUOTA, ctrl, "users");
	file = fopen(line, "r");
	if (!file)
		FAIL("there is no %s", line);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "uid %u files %u queues %llu pinned %llu registered %llu extents %llu ios %llu bytes %llu waits %llu waited_us %llu",
			   &user, &a.files, &a.queues, &a.pinned, &a.registered, &a.extents,
			   &a.ios, &a.bytes, &a.waits, &a.waited_us) != 10)
			FAIL("users has a line: %s", line);
		if (user == uid) {
			fclose(file);
			return a;
		}
	}
	fclose(file);
	return (struct account){ 0 };
}

struct account account_of(unsigned int uid)
{
	return account_at(ctrl_name(), uid);
}

void expect_account(unsigned int uid, unsigned int queues, unsigned int pages)
{
	struct account a = account_of(uid);

	ASSERT_EQ(queues, a.queues);
	ASSERT_EQ((unsigned long long)pages * PAGE, a.pinned);
	ASSERT_EQ(0, a.registered);
}

void wait_account_gone(unsigned int uid)
{
	uint64_t end = now_ms() + 30000;

	while (account_of(uid).files) {
		ASSERT(now_ms() < end);
		nap_ms(2);
	}
}

int quota_write(const char *name, const char *text)
{
	ssize_t len = strlen(text), ret;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), QUOTA, ctrl_name(), name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, text, len) == len ? 0 : -errno;
	close(fd);
	return ret;
}

void quota_set(const char *name, unsigned int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	ASSERT_EQ(0, quota_write(name, text));
	ASSERT_EQ(value, quota_of(name));
}

long long quota_of(const char *name)
{
	return sysfs_number(QUOTA, ctrl_name(), name);
}

void default_set(const char *name, unsigned int value)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), "/sys/module/homi/parameters/%s", name);
	snprintf(text, sizeof(text), "%u", value);
	ASSERT(sysfs_write(path, text));
}
