/* SPDX-License-Identifier: MIT */
#ifndef HOMI_PRP_H
#define HOMI_PRP_H

/*
 * Physical region pages: how a command names its buffer. A buffer is a range of
 * a MEM, which is a table of segments that are contiguous for the controller.
 */

#include "wire.h"

enum homi_prp_result {
	HOMI_PRP_OK = 0,
	HOMI_PRP_INVALID = -1,		/* a bad argument */
	HOMI_PRP_RANGE = -2,		/* the table does not hold the range */
	HOMI_PRP_ALIGN = -3,		/* not dword aligned, or a segment ends within a page */
	HOMI_PRP_LIST = -4,		/* the list memory is too small */
};

/**
 * struct homi_seg - a piece that is contiguous for the controller
 * @offset: bytes from the start of the MEM; tables are sorted and gapless
 * @dma_addr: its address for the controller
 * @length: bytes
 *
 * The layout is that of the kernel's segment records.
 */
struct homi_seg {
	uint64_t offset;
	uint64_t dma_addr;
	uint64_t length;
};

/**
 * struct homi_prp_list - memory for PRP lists of one command in flight
 * @entries: 8-byte aligned
 * @dma_addr: address of @entries for the controller, contiguous over the whole
 *	length, 8-byte aligned
 * @count: 8-byte entries there
 */
struct homi_prp_list {
	uint64_t *entries;
	uint64_t dma_addr;
	uint32_t count;
};

/** homi_prp_page_size_ok - a power of two from 4 KiB, as CC.MPS gives them */
HOMI_FN int homi_prp_page_size_ok(uint32_t page_size)
{
	return page_size >= 4096 && !(page_size & (page_size - 1));
}

/**
 * homi_seg_find - the segment that holds @offset, by binary search
 *
 * Return: index, or @count if no segment holds it
 */
HOMI_FN uint32_t homi_seg_find(const struct homi_seg *segs, uint32_t count, uint64_t offset)
{
	uint32_t low = 0;
	uint32_t high = count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (offset < segs[mid].offset)
			high = mid;
		else if (offset - segs[mid].offset >= segs[mid].length)
			low = mid + 1;
		else
			return mid;
	}
	return count;
}

/**
 * homi_prp_single - PRP1 of a buffer that lies in one page of the controller
 * @seg: the segment that holds it, from homi_seg_find() or remembered
 * @offset: bytes from the start of the MEM
 * @length: bytes, not 0
 * @page_size: the controller's
 * @prp1: written; PRP2 is 0
 *
 * For reads of one page: no loop, no list.
 *
 * Return: 0, HOMI_PRP_RANGE, HOMI_PRP_ALIGN (also if it spans two pages)
 */
HOMI_FN int homi_prp_single(const struct homi_seg *seg, uint64_t offset, uint32_t length,
			    uint32_t page_size, uint64_t *prp1)
{
	uint64_t skip = offset - seg->offset;
	uint64_t addr = seg->dma_addr + skip;

	if (homi_unlikely(skip >= seg->length || length > seg->length - skip))
		return HOMI_PRP_RANGE;
	if (homi_unlikely((addr & 3) || (addr & (page_size - 1)) + length > page_size))
		return HOMI_PRP_ALIGN;
	*prp1 = addr;
	return HOMI_PRP_OK;
}

/*
 * Where a build stands: the rest of the range, in segments. @addr and @left are
 * within the current segment.
 */
struct homi_prp_cursor {
	const struct homi_seg *seg;
	const struct homi_seg *end;
	uint64_t addr;
	uint64_t left;
};

/*
 * Steps over @bytes that must be contiguous for the controller. Segments that
 * follow each other without a gap in DMA addresses count as one.
 */
HOMI_FN int homi_prp_step(struct homi_prp_cursor *at, uint64_t bytes)
{
	while (bytes >= at->left) {
		uint64_t next = at->addr + at->left;

		bytes -= at->left;
		if (++at->seg == at->end) {
			at->left = 0;
			return bytes ? HOMI_PRP_RANGE : HOMI_PRP_OK;
		}
		at->addr = at->seg->dma_addr;
		at->left = at->seg->length;
		if (bytes && at->addr != next)
			return HOMI_PRP_ALIGN;
		if (!bytes)
			return HOMI_PRP_OK;
	}
	at->addr += bytes;
	at->left -= bytes;
	return HOMI_PRP_OK;
}

/*
 * Writes one entry for each page of the rest. The last entry of a page of the
 * list points to the next page of the list, unless it is the last of all.
 */
HOMI_FN int homi_prp_fill(struct homi_prp_cursor *at, uint64_t rest, uint32_t page_size,
			  const struct homi_prp_list *list)
{
	uint64_t *entry = list->entries;
	uint64_t *end = list->entries + list->count;
	uint64_t dma = list->dma_addr;

	while (rest) {
		uint64_t bytes = rest < page_size ? rest : page_size;
		uint64_t addr = at->addr;
		int ret;

		if (!at->left)
			return HOMI_PRP_RANGE;
		if (addr & (page_size - 1))
			return HOMI_PRP_ALIGN;
		ret = homi_prp_step(at, bytes);
		if (ret)
			return ret;
		if (((dma + 8) & (page_size - 1)) == 0 && rest > bytes) {
			if (entry == end)
				return HOMI_PRP_LIST;
			*entry++ = homi_cpu_to_le64(dma + 8);
			dma += 8;
		}
		if (entry == end)
			return HOMI_PRP_LIST;
		*entry++ = homi_cpu_to_le64(addr);
		dma += 8;
		rest -= bytes;
	}
	return HOMI_PRP_OK;
}

/**
 * homi_prp_build - PRP1, PRP2 and PRP list of a transfer
 * @segs: table of the MEM, sorted and gapless
 * @count: its records
 * @offset: where the buffer starts in the MEM; its DMA address must be dword aligned
 * @length: bytes, not 0
 * @page_size: the controller's memory page size (CC.MPS)
 * @list: where lists go if more than two pages are touched; else it may be NULL
 *	and is left alone. Must not be changed before the command has completed.
 * @prp1: written on success
 * @prp2: written on success
 *
 * Return: 0 or enum homi_prp_result
 */
HOMI_FN int homi_prp_build(const struct homi_seg *segs, uint32_t count, uint64_t offset,
			   uint64_t length, uint32_t page_size, const struct homi_prp_list *list,
			   uint64_t *prp1, uint64_t *prp2)
{
	uint32_t first = homi_seg_find(segs, count, offset);
	struct homi_prp_cursor at;
	uint64_t addr, bytes;
	int ret;

	if (!length || !homi_prp_page_size_ok(page_size))
		return HOMI_PRP_INVALID;
	if (first == count)
		return HOMI_PRP_RANGE;
	at.seg = segs + first;
	at.end = segs + count;
	at.addr = at.seg->dma_addr + (offset - at.seg->offset);
	at.left = at.seg->length - (offset - at.seg->offset);
	addr = at.addr;
	if (addr & 3)
		return HOMI_PRP_ALIGN;
	bytes = page_size - (addr & (page_size - 1));
	if (bytes > length)
		bytes = length;
	ret = homi_prp_step(&at, bytes);
	if (ret)
		return ret;
	length -= bytes;
	if (length > page_size) {
		if (!list || !list->entries || (list->dma_addr & 7))
			return HOMI_PRP_LIST;
		ret = homi_prp_fill(&at, length, page_size, list);
		*prp2 = ret ? 0 : list->dma_addr;
	} else {
		struct homi_prp_list one;

		one.entries = prp2;
		one.dma_addr = 0;
		one.count = 1;
		*prp2 = 0;
		ret = homi_prp_fill(&at, length, page_size, &one);
		*prp2 = homi_le64_to_cpu(*prp2);
	}
	if (!ret)
		*prp1 = addr;
	return ret;
}

/**
 * homi_prp_list_entries - entries that any transfer of @length bytes can need
 *
 * For a list that starts at the start of one of the controller's pages.
 */
HOMI_FN uint64_t homi_prp_list_entries(uint64_t length, uint32_t page_size)
{
	uint64_t pages = (length + page_size - 1) / page_size;
	uint64_t per_page = page_size / 8 - 1;

	return pages + pages / per_page + 1;
}

#endif /* HOMI_PRP_H */
