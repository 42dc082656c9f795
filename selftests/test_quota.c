// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quotas: what all open files of a user hold is counted exactly, and no more than the limits is had
 * without CAP_SYS_RESOURCE.
 */
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "harness.h"
#include "ring.h"

#define MIB	(1u << 20)
#define OTHER	1000		/* a user */

struct account {
	unsigned int files;
	unsigned long long queues, pages;
};

/* What debugfs says; all 0 if the user has no file open */
static struct account account_of(unsigned int uid)
{
	struct account a;
	char line[160];
	unsigned int user;
	FILE *file;

	snprintf(line, sizeof(line), "/sys/kernel/debug/homi/%s/state", ctrl_name());
	file = fopen(line, "r");
	if (!file)
		SKIP("there is no %s", line);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "user %u files %u queues %llu pages %llu", &user, &a.files,
			   &a.queues, &a.pages) == 4 && user == uid) {
			fclose(file);
			return a;
		}
	fclose(file);
	return (struct account){ 0 };
}

static void expect_account(unsigned int uid, unsigned int queues, unsigned int pages)
{
	struct account a = account_of(uid);

	ASSERT_EQ(queues, a.queues);
	ASSERT_EQ(pages, a.pages);
}

static char *memory;

static int pin(int fd, size_t length, uint32_t *id)
{
	return mem_register(fd, memory, length, HOMI_MEM_WRITE, id, NULL);
}

static int begin(void)
{
	memory = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(memory != MAP_FAILED);
	memset(memory, 1, 4 * MIB);
	expect_account(0, 0, 0);
	set_cap(CAP_SYS_RESOURCE, false);
	return homi_open();
}

TEST(pinned)
{
	uint32_t id, other, more;
	int fd = begin();

	set_quotas(0, 1);
	ASSERT_EQ(0, pin(fd, 3 * MIB / 4, &id));
	expect_account(0, 0, 192);
	ASSERT_EQ(-EDQUOT, pin(fd, MIB / 4 + PAGE, &other));
	ASSERT_EQ(-EDQUOT, pin(fd, 4 * MIB, &other));
	expect_account(0, 0, 192);
	ASSERT_EQ(0, pin(fd, MIB / 4, &other));
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &more));
	expect_account(0, 0, 256);
	ASSERT_EQ(0, destroy(fd, id));
	expect_account(0, 0, 64);
	ASSERT_EQ(0, pin(fd, 3 * MIB / 4, &id));
	ASSERT_EQ(0, destroy(fd, id));
	ASSERT_EQ(0, destroy(fd, other));
	expect_account(0, 0, 0);
}

/* Lowered below what is held: that stays, more is not had. */
TEST(lowered)
{
	uint32_t id, other;
	int fd = begin();

	set_quotas(0, 3);
	ASSERT_EQ(0, pin(fd, 3 * MIB, &id));
	set_quotas(0, 1);
	expect_account(0, 0, 768);
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &other));
	set_quotas(0, 0);
	ASSERT_EQ(0, pin(fd, PAGE, &other));
}

TEST(privileged)
{
	uint32_t id, other;
	int fd = begin();

	set_quotas(0, 1);
	set_cap(CAP_SYS_RESOURCE, true);
	ASSERT_EQ(0, pin(fd, 2 * MIB, &id));
	expect_account(0, 0, 512);
	set_cap(CAP_SYS_RESOURCE, false);
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &other));
	ASSERT_EQ(0, destroy(fd, id));
	ASSERT_EQ(0, pin(fd, PAGE, &other));
}

TEST(files_of_a_user)
{
	int fd = begin(), other = homi_open();
	uint32_t id;

	set_quotas(0, 1);
	ASSERT_EQ(0, pin(fd, MIB / 2, &id));
	ASSERT_EQ(0, pin(other, MIB / 2, &id));
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &id));
	ASSERT_EQ(2, account_of(0).files);
	close(other);
	ASSERT_EQ(1, account_of(0).files);
	expect_account(0, 0, 128);
	ASSERT_EQ(0, pin(fd, MIB / 2, &id));
}

/* Another user has another account, but not on a descriptor that was handed over. */
static void other_user(void)
{
	uint32_t id;
	int fd;

	ASSERT(!setresuid(OTHER, 0, 0));
	fd = homi_open();
	ASSERT_EQ(0, pin(fd, MIB, &id));
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &id));
	expect_account(OTHER, 0, 256);
	expect_account(0, 0, 256);
}

static int handed;

static void handed_over(void)
{
	uint32_t id;

	ASSERT(!setresuid(OTHER, 0, 0));
	ASSERT_EQ(-EDQUOT, pin(handed, PAGE, &id));
	ASSERT_EQ(0, account_of(OTHER).files);
}

TEST(users)
{
	uint32_t id;

	handed = begin();
	set_quotas(0, 1);
	ASSERT_EQ(0, pin(handed, MIB, &id));
	ASSERT_EQ(0, child_status(child_start(other_user)));
	ASSERT_EQ(0, account_of(OTHER).files);
	ASSERT_EQ(0, child_status(child_start(handed_over)));
	expect_account(0, 0, 256);
}

/* What fails is not counted. */
TEST(failures)
{
	int fd = begin();
	uint32_t id;

	munmap(memory + 3 * MIB, MIB);
	ASSERT_EQ(-EFAULT, pin(fd, 4 * MIB, &id));
	ASSERT(!mprotect(memory, PAGE, PROT_READ));
	ASSERT_EQ(-EFAULT, pin(fd, 2 * PAGE, &id));
	ASSERT_EQ(-EINVAL, mem_register(fd, memory + 1, PAGE, 0, &id, NULL));
	expect_account(0, 0, 0);
}

static void held_and_killed(void)
{
	uint32_t id;
	int fd;

	ASSERT(!setresuid(OTHER, 0, 0));
	fd = homi_open();
	ASSERT_EQ(0, pin(fd, MIB, &id));
	kill(getpid(), SIGKILL);
}

TEST(killed)
{
	uint64_t end = now_ms() + 20000;
	int fd = begin();

	ASSERT_EQ(128 + SIGKILL, child_status(child_start(held_and_killed)));
	while (account_of(OTHER).files)
		ASSERT(now_ms() < end);
	close(fd);
}

TEST(queues)
{
	struct ring ring, other;
	int fd = begin();

	need_queues(fd, 2);
	set_quotas(1, 0);
	ring_open(&ring, fd, 4);
	expect_account(0, 1, 0);
	ASSERT_EQ(-EDQUOT, ring_create(&other, fd, 4));
	/* Lost is not given back, and neither is what is still mapped. */
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	ASSERT(wait_live(ctrl_name(), 20000));
	ASSERT_EQ(POLLOUT, poll_fd(fd, POLLOUT, 20000));
	ASSERT_EQ(-EDQUOT, ring_create(&other, fd, 4));
	ASSERT_EQ(0, ring_recreate(&ring));
	expect_account(0, 1, 0);
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(-EDQUOT, ring_create(&other, fd, 4));
	ring_unmap(&ring);
	expect_account(0, 0, 0);
	ASSERT_EQ(0, ring_create(&other, fd, 4));
	ASSERT_EQ(0, ring_destroy(&other));
	/* No queue is made of a wrong depth, nor counted. */
	ASSERT_EQ(-EINVAL, ring_create(&other, fd, 1));
	expect_account(0, 0, 0);
}
