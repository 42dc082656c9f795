// SPDX-License-Identifier: GPL-2.0-only
/* See inplace.h. */
#include <fcntl.h>
#include <sys/mman.h>

#include "inplace.h"

int resolve_to_write(int fd, int file, uint64_t offset, uint64_t length,
		     struct homi_extent_resolve *r)
{
	*r = (struct homi_extent_resolve){
		.size = sizeof(*r), .flags = HOMI_RESOLVE_WRITE, .fd = file, .offset = offset,
		.length = length,
	};
	return homi_call(fd, HOMI_EXTENT_RESOLVE, r);
}

int resolve_path(int fd, const char *path, struct homi_extent_resolve *r)
{
	int file = open(path, O_PATH | O_CLOEXEC), err;

	ASSERT(file >= 0);
	err = resolve_to_write(fd, file, 0, 0, r);
	close(file);
	return err;
}

void table_open_to_write(struct table *table, int fd, const char *path)
{
	int err;

	memset(table, 0, sizeof(*table));
	table->fd = fd;
	err = resolve_path(fd, path, &table->r);
	if (err)
		FAIL("EXTENT_RESOLVE: %s, reason %u", strerror(-err), table->r.out_reason);
	table->t = mmap(NULL, table->r.out_mmap_length, PROT_READ, MAP_SHARED, fd,
			table->r.out_mmap_offset);
	ASSERT(table->t != MAP_FAILED);
}

void file_to_write(struct file *file, const char *dir, const char *name)
{
	static char buf[SIZE];

	file_create(file, dir, name, SIZE, 91);
	ASSERT_EQ(SIZE, pread(file->fd, buf, SIZE, 0));
	close(file->fd);
	file->fd = -1;
}

void ack_recall(const struct table *table)
{
	wait_recalled(table);
	ASSERT_EQ(0, extent_ack(table, table->t->generation));
}
