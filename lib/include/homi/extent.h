/* SPDX-License-Identifier: MIT */
#ifndef HOMI_EXTENT_H
#define HOMI_EXTENT_H

/*
 * Search in an extent table (struct homi_extent_table), on the host or on a
 * device. No operating system is needed.
 */

#include <linux/homi.h>

#include "port.h"

/**
 * struct homi_run - a piece of a file that is contiguous in the namespace
 * @slba: first logical block; means nothing for a hole
 * @blocks: number of logical blocks
 * @hole: not 0: reads as zeroes
 */
struct homi_run {
	uint64_t slba;
	uint64_t blocks;
	int hole;
};

/** homi_extent_get_state - enum homi_extent_state, before whatever is read afterwards */
HOMI_FN uint32_t homi_extent_get_state(const struct homi_extent_table *table)
{
	return homi_load_acquire_system32((const volatile uint32_t *)&table->state);
}

/**
 * homi_set_get_table - the table of one file of a set, or NULL
 * @set: mapped
 * @index: of the file's name, below @set->count
 */
HOMI_FN const struct homi_extent_table *homi_set_get_table(const struct homi_extent_set *set,
							    uint32_t index)
{
	if (!set->entries[index].table)
		return 0;
	return (const struct homi_extent_table *)((const char *)set + set->entries[index].table);
}

/**
 * homi_extent_find - the record that holds @offset, by binary search
 * @records: sorted by file_offset
 * @count: number of records
 * @block_size: bytes
 * @offset: bytes from the start of the file
 *
 * Return: index, or @count if no record holds it
 */
HOMI_FN uint64_t homi_extent_find(const struct homi_extent *records, uint64_t count,
				  uint32_t block_size, uint64_t offset)
{
	uint64_t low = 0;
	uint64_t high = count;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;

		if (offset < records[mid].file_offset)
			high = mid;
		else if ((offset - records[mid].file_offset) / block_size >= records[mid].blocks)
			low = mid + 1;
		else
			return mid;
	}
	return count;
}

/**
 * homi_extent_run - the rest of one record, cut to what one command may transfer
 * @record: holds @offset
 * @block_size: bytes
 * @offset: bytes from the start of the file, a multiple of @block_size
 * @max_blocks: at most so many
 * @run: written
 */
HOMI_FN void homi_extent_run(const struct homi_extent *record, uint32_t block_size,
			     uint64_t offset, uint64_t max_blocks, struct homi_run *run)
{
	uint64_t skip = (offset - record->file_offset) / block_size;

	run->slba = record->slba + skip;
	run->blocks = record->blocks - skip;
	if (run->blocks > max_blocks)
		run->blocks = max_blocks;
	run->hole = (record->flags & HOMI_EXTENT_HOLE) != 0;
}

#endif /* HOMI_EXTENT_H */
