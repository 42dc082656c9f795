/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_EXTENT_H
#define _HOMI_EXTENT_H

#include "homi.h"

/**
 * struct homi_raw_extent - what a file system says of a piece of a file
 * @logical: offset in the file, bytes
 * @physical: offset on its block device, bytes
 * @length: bytes
 * @flags: FIEMAP_EXTENT_*
 */
struct homi_raw_extent {
	u64 logical;
	u64 physical;
	u64 length;
	u32 flags;
};

/**
 * struct homi_table_builder - from raw extents to table records
 * @block_size: logical block size, bytes, a power of two
 * @start: first byte of the range, a multiple of @block_size
 * @end: behind its last byte, likewise
 * @disk_offset: start of the block device on the namespace, bytes
 * @records: where they go, or NULL
 * @count: out: how many
 * @last: private
 */
struct homi_table_builder {
	u32 block_size;
	u64 start;
	u64 end;
	u64 disk_offset;
	struct homi_extent *records;
	u64 count;
	struct homi_extent last;
};

int homi_fiemap_init(void);
void homi_fiemap_exit(void);
int homi_fiemap(struct inode *inode, u64 start, u64 len,
		struct homi_raw_extent **extents, u32 *nr);
int homi_table_build(struct homi_table_builder *b,
		     const struct homi_raw_extent *raw, u32 nr);

#endif /* _HOMI_EXTENT_H */
