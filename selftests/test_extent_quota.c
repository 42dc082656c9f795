// SPDX-License-Identifier: GPL-2.0-only
/* EXTENTs count against a quota, those of sets and those that READs leave too. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "account.h"
#include "files.h"
#include "harness.h"
#include "uring.h"

#define FILES	4u

static struct file files[FILES];
static char memory[PAGE] __attribute__((aligned(PAGE)));

static int begin_extents(unsigned int quota)
{
	const char *dir = need_fs("ext4");
	unsigned int i;
	char name[16];

	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "quota%u", i);
		file_create(&files[i], dir, name, 4 * PAGE, i);
	}
	default_set("extents_per_user", quota);
	ASSERT_EQ(0, account_of(0).extents);
	set_cap(CAP_SYS_RESOURCE, false);
	return homi_open();
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
	default_set("extents_per_user", 1);
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
	ASSERT_EQ(0, mem_register(t.fd, memory, PAGE, HOMI_MEM_WRITE, &t.mem, NULL));
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
