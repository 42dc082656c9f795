/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_MEM_H
#define _HOMI_MEM_H

#include <linux/dma-direction.h>
#include <linux/scatterlist.h>

#include "homi.h"

struct iommu_domain;
struct iov_iter;

/**
 * struct homi_mem_where - where memory is, by the addresses the function uses
 * @placement: enum homi_placement
 * @device: domain << 16 | bus << 8 | devfn, with HOMI_PLACEMENT_BAR
 * @bar: its number, likewise
 * @path: enum homi_path
 * @distance: bridges on it
 */
struct homi_mem_where {
	u32 placement;
	u64 device;
	u32 bar;
	u32 path;
	u32 distance;
};

/**
 * struct homi_mem - what all MEMs have; first member of both kinds
 * @obj: head
 * @type: enum homi_mem_type
 * @dir: DMA_BIDIRECTIONAL if the controller may write, else DMA_TO_DEVICE
 * @length: bytes, a multiple of PAGE_SIZE
 * @segments: the answer to MEM_SEGMENTS; constant once mapped, kept after the
 *	mapping is gone
 * @nr_segments: records in it
 * @where: constant once mapped
 * @pages_only: the function never does; constant
 * @mapped: the function reaches it; guarded by the lock that its kind has for
 *	that, read without
 * @revoked: the exporter wants it back; set once
 * @zero_by: how the CPU maps it for zeroes, if it is another device's; see
 *	mem_zero.c
 * @registered: somebody was told of it; to be traced
 * @inflight: commands by extents on its addresses; closed when these are given back
 */
struct homi_mem {
	struct homi_object obj;
	u32 type;
	enum dma_data_direction dir;
	u64 length;
	struct homi_segment *segments;
	u32 nr_segments;
	struct homi_mem_where where;
	bool pages_only;
	bool mapped;
	bool revoked;
	u32 zero_by;
	bool registered;
	struct homi_inflight inflight;
};

static inline struct homi_mem *to_mem(struct homi_object *obj)
{
	return container_of(obj, struct homi_mem, obj);
}

/* mem.c */
void homi_mem_init(struct homi_mem *mem, const struct homi_mem_register *cmd);
int homi_mem_list(struct homi_mem *mem, struct sg_table *sgt, u64 offset,
		  u32 page_size);
struct iommu_domain *homi_mem_domain(struct device *dev);
bool homi_mem_is_busy(struct homi_object *obj);
const struct homi_segment *homi_mem_segment(struct homi_mem *mem, u64 offset);
/* The address of a byte of a MEM, below its length */
static inline dma_addr_t homi_mem_dma(struct homi_mem *mem, u64 offset)
{
	const struct homi_segment *seg = homi_mem_segment(mem, offset);

	return seg->dma_addr + (offset - seg->offset);
}

int homi_mem_find(struct homi_mem *mem, u64 offset, u64 len, u64 *dma);
int homi_mem_enter(struct homi_mem *mem);
void homi_mem_leave(struct homi_mem *mem);
void homi_mem_stop(struct homi_mem *mem);
void homi_mem_end(struct homi_mem *mem);

/* mem_user.c */
struct homi_mem *homi_mem_user(struct homi_ctx *ctx,
			       struct homi_mem_register *cmd);
int homi_mem_hold_pages(struct homi_mem *mem, bool may_wait);
void homi_mem_iter(struct homi_mem *mem, struct iov_iter *iter,
		   unsigned int direction, u64 offset, size_t length);
void homi_mem_drop_pages(struct homi_mem *mem);
struct page *homi_mem_page(struct homi_mem *mem, u64 offset);

/* mem_import.c */
struct homi_mem *homi_mem_import(struct homi_ctx *ctx,
				 struct homi_mem_register *cmd);
const char *homi_import_name(struct homi_mem *mem, bool *pinned);

/* mem_zero.c */
bool homi_mem_may_zero(const struct homi_mem *mem);
int homi_mem_zero(struct homi_mem *mem, u64 offset, u64 len);

/* mem_where.c */
phys_addr_t homi_mem_phys(struct iommu_domain *domain, dma_addr_t addr);
void homi_mem_where(struct homi_mem *mem, struct pci_dev *pdev);

#endif /* _HOMI_MEM_H */
