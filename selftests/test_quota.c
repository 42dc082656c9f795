// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quotas: what all open files of a user hold is counted exactly, and no more than the limits is had
 * without CAP_SYS_RESOURCE.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "files.h"
#include "harness.h"
#include "ring.h"
#include "uring.h"

#define MIB	(1u << 20)
#define OTHER	1000		/* a user */

struct account {
	unsigned int files;
	unsigned long long queues, pages, registered, extents;
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
		if (sscanf(line, "user %u files %u queues %llu pages %llu registered %llu extents %llu",
			   &user, &a.files, &a.queues, &a.pages, &a.registered,
			   &a.extents) == 6 && user == uid) {
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

/* --- EXTENTs --- */

#define FILES	4u

static struct file files[FILES];

static int begin_extents(unsigned int quota)
{
	const char *dir = need_fs("ext4");
	unsigned int i;
	char name[16];
	int fd = begin();

	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "quota%u", i);
		file_create(&files[i], dir, name, 4 * PAGE, i);
	}
	set_extent_quota(quota);
	ASSERT_EQ(0, account_of(0).extents);
	return fd;
}

static void end_extents(int fd)
{
	unsigned int i;

	ASSERT_EQ(0, account_of(0).extents);
	for (i = 0; i < FILES; i++)
		file_remove(&files[i]);
	close(fd);
}

TEST(extents)
{
	struct homi_extent_resolve r;
	struct table tables[FILES];
	int fd = begin_extents(2), writer;

	table_open(&tables[0], fd, files[0].fd, 0, 0);
	table_open(&tables[1], fd, files[1].fd, 0, 0);
	ASSERT_EQ(2, account_of(0).extents);
	ASSERT_EQ(-EDQUOT, extent_resolve(fd, files[2].fd, 0, 0, &r));
	/* Nor of a file that has one already */
	ASSERT_EQ(-EDQUOT, extent_resolve(fd, files[0].fd, 0, 0, &r));
	ASSERT_EQ(2, account_of(0).extents);
	ASSERT_EQ(0, table_close(&tables[0]));
	ASSERT_EQ(1, account_of(0).extents);
	/* What fails is not counted. */
	writer = open(files[2].path, O_WRONLY);
	ASSERT_EQ(-EAGAIN, extent_resolve(fd, files[2].fd, 0, 0, &r));
	close(writer);
	ASSERT_EQ(-EINVAL, extent_resolve(fd, files[2].fd, 64 * PAGE, 0, &r));
	ASSERT_EQ(1, account_of(0).extents);
	table_open(&tables[2], fd, files[2].fd, 0, 0);
	/* Destroyed and still mapped it counts, and no longer. */
	ASSERT_EQ(0, destroy(fd, tables[2].r.out_extent_id));
	ASSERT_EQ(-EDQUOT, extent_resolve(fd, files[3].fd, 0, 0, &r));
	munmap((void *)tables[2].t, tables[2].r.out_mmap_length);
	ASSERT_EQ(1, account_of(0).extents);
	set_cap(CAP_SYS_RESOURCE, true);
	set_extent_quota(1);
	table_open(&tables[3], fd, files[3].fd, 0, 0);
	ASSERT_EQ(2, account_of(0).extents);
	set_cap(CAP_SYS_RESOURCE, false);
	ASSERT_EQ(0, table_close(&tables[3]));
	ASSERT_EQ(-EDQUOT, extent_resolve(fd, files[3].fd, 0, 0, &r));
	ASSERT_EQ(0, table_close(&tables[1]));
	end_extents(fd);
}

/* In a set it is an error of one file. */
TEST(extents_of_a_set)
{
	struct homi_resolve_set r = { .size = sizeof(r), .count = FILES };
	int fd = begin_extents(FILES - 1);
	const struct homi_extent_set *set;
	char names[FILES * 64];
	unsigned int i;
	size_t at = 0;

	for (i = 0; i < FILES; i++)
		at += sprintf(names + at, "%s", base_name(files[i].path)) + 1;
	r.dirfd = open(need_fs("ext4"), O_RDONLY | O_DIRECTORY);
	r.names = (uintptr_t)names;
	r.names_length = at;
	ASSERT_EQ(0, homi_call(fd, HOMI_RESOLVE_SET, &r));
	ASSERT_EQ(FILES - 1, r.out_resolved);
	ASSERT_EQ(FILES - 1, account_of(0).extents);
	set = mmap(NULL, r.out_mmap_length, PROT_READ, MAP_SHARED, fd, r.out_mmap_offset);
	ASSERT(set != MAP_FAILED);
	for (i = 0; i < FILES - 1; i++)
		ASSERT_EQ(0, set->entries[i].error);
	ASSERT_EQ(EDQUOT, set->entries[i].error);
	ASSERT_EQ(0, set->entries[i].extent_id);
	munmap((void *)set, r.out_mmap_length);
	ASSERT_EQ(0, destroy(fd, r.out_set_id));
	close(r.dirfd);
	end_extents(fd);
}

/* What a READ by extents leaves counts too; over the quota it needs none where it can do without. */
TEST(extents_of_reads)
{
	struct rw_target t = { .flags = HOMI_RW_BY_EXTENTS };
	uint32_t ids[FILES];
	struct io_uring uring;
	unsigned int i;

	t.fd = begin_extents(FILES - 1);
	ASSERT_EQ(0, uring_open(&uring, 8, IORING_SETUP_SQE128));
	ASSERT_EQ(0, pin(t.fd, PAGE, &t.mem));
	for (i = 0; i < FILES; i++) {
		ASSERT_EQ(0, file_register(t.fd, files[i].fd, &ids[i], NULL));
		t.file = ids[i];
		ASSERT_EQ(i < FILES - 1 || goes_beside() ? (int)PAGE : -EDQUOT,
			  rw_do(&uring, &t, false, 0, 0, PAGE));
	}
	ASSERT_EQ(FILES - 1, account_of(0).extents);
	ASSERT_EQ(0, destroy(t.fd, ids[0]));
	ASSERT_EQ(FILES - 2, account_of(0).extents);
	ASSERT_EQ(PAGE, rw_do(&uring, &t, false, 0, 0, PAGE));
	ASSERT_EQ(FILES - 1, account_of(0).extents);
	for (i = 1; i < FILES; i++)
		ASSERT_EQ(0, destroy(t.fd, ids[i]));
	ASSERT_EQ(0, destroy(t.fd, t.mem));
	end_extents(t.fd);
}
