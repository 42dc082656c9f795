// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file of a million extents: on a namespace of the controller whose file system has the label
 * "million" (scripts/million-image).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "compare.h"
#include "harness.h"

#define EXTENTS	1000000u
#define BLOCK	1024u
#define READS	200

static int open_million(void)
{
	FILE *pipe = popen("PATH=$PATH:/usr/sbin blkid -L million", "r");
	const char *point = private_mount_point();
	char path[256], disk[64];
	int file;

	ASSERT(pipe);
	if (fscanf(pipe, "%63s", disk) != 1)
		SKIP("no file system has the label million");
	pclose(pipe);
	ASSERT(!mount(disk, point, "ext4", MS_RDONLY, NULL));
	setenv("HOMI_BDEV", disk, 1);
	snprintf(path, sizeof(path), "%s/million", point);
	file = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT(file >= 0);
	return file;
}

/* One call and one mapping; every record is what FIEMAP says, and some blocks are looked into. */
TEST_TIMEOUT(million_extents, 240)
{
	int file = open_million(), fd = homi_open();
	struct area area;
	struct table table;
	struct ring ring;
	struct stat st;
	struct dma dma;
	unsigned int i;

	need_queues(fd, 1);
	ASSERT(!fstat(file, &st));
	table_open(&table, fd, file, 0, 0);
	/* The last hole is a record too. */
	ASSERT_EQ(2 * EXTENTS, table.r.out_count);
	table_check(&table, 0, st.st_size);
	compare_fiemap(&table, file, 0, st.st_size);
	ring_open(&ring, fd, 4);
	dma_new(&dma, fd, PAGE);
	area = (struct area){ .nsid = table.r.out_nsid, .block_size = table.r.out_block_size };
	for (i = 0; i < READS; i++) {
		uint64_t number = (uint64_t)(EXTENTS - 1) * i / (READS - 1), k;
		uint64_t at = table_lookup(&table, number * 2 * BLOCK);

		ASSERT_EQ(~0ull, table_lookup(&table, (number * 2 + 1) * BLOCK));
		ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &area, at, BLOCK, &dma, NULL, PAGE));
		for (k = 0; k < BLOCK / 8; k++)
			ASSERT_EQ(number + 1, ((uint64_t *)dma.va)[k]);
	}
	printf("# %llu records, %llu bytes mapped\n", (unsigned long long)table.r.out_count,
	       (unsigned long long)table.r.out_mmap_length);
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, dma_destroy(&dma));
	ASSERT_EQ(0, table_close(&table));
}
