// SPDX-License-Identifier: GPL-2.0-only
/* See compare.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "compare.h"

char *page_buffer(size_t size)
{
	void *buf = NULL;

	ASSERT(!posix_memalign(&buf, PAGE, size));
	return buf;
}

uint64_t fs_start(int file)
{
	struct stat st;

	ASSERT(!fstat(file, &st));
	return part_start(st.st_dev);
}

void compare_fiemap(const struct table *table, int file, uint64_t from, uint64_t to)
{
	struct fiemap *map = file_fiemap(file);
	uint64_t start = fs_start(file), at;

	for (at = from; at < to; at += table->r.out_block_size) {
		uint64_t physical = fiemap_lookup(map, at);
		uint64_t want = physical == ~0ull ? ~0ull : physical + start;

		if (table_lookup(table, at) != want)
			FAIL("byte %llu is at %#llx, FIEMAP says %#llx", (unsigned long long)at,
			     (unsigned long long)table_lookup(table, at),
			     (unsigned long long)want);
	}
	free(map);
}

void compare_blocks(const struct table *table, int file, struct ring *ring,
		    const struct dma *dma, const struct dma *list)
{
	uint64_t at, length, i;
	int bdev = open(bdev_path(), O_RDONLY | O_DIRECT | O_CLOEXEC);
	char *want = page_buffer(1 << 18), *got = ring ? dma->va : page_buffer(1 << 18);
	struct area area = { .nsid = table->r.out_nsid, .block_size = table->r.out_block_size };

	ASSERT(bdev >= 0);
	for (i = 0; i < table->t->count; i++) {
		const struct homi_extent *e = &table->t->records[i];
		uint64_t end = e->file_offset + e->blocks * table->t->block_size;

		for (at = e->file_offset; at < end; at += length) {
			length = end - at < 1 << 14 ? end - at : 1 << 14;
			memset(want, 0, length);
			ASSERT(pread(file, want, length, at) > 0);
			if (e->flags & HOMI_EXTENT_HOLE) {
				ASSERT(is_filled(want, 0, length));
				continue;
			}
			if (ring)
				ASSERT_EQ(0, ring_copy(ring, NVME_READ, &area,
						       table_lookup(table, at), length, dma, list,
						       1 << 14));
			else
				ASSERT_EQ(length, pread(bdev, got, length,
							table_lookup(table, at)));
			/* Beyond the end of the file the block's rest is nobody's matter. */
			if (at + length > table->t->file_size)
				length = table->t->file_size - at;
			ASSERT_SAME(want, got, length);
			length = (length + area.block_size - 1) / area.block_size *
				 area.block_size;
		}
	}
	close(bdev);
	free(want);
	if (!ring)
		free(got);
}

void check_file(int fd, int file)
{
	struct table table;
	struct stat st;

	ASSERT(!fstat(file, &st));
	table_open(&table, fd, file, 0, 0);
	table_check(&table, 0, st.st_size);
	ASSERT_EQ(st.st_size, table.t->file_size);
	compare_fiemap(&table, file, 0, st.st_size);
	compare_blocks(&table, file, NULL, NULL, NULL);
	ASSERT_EQ(0, table_close(&table));
}
