// SPDX-License-Identifier: GPL-2.0-only
/*
 * Zeroes for what a file has no blocks for, in memory that the function reaches and
 * that may be another device's.
 */
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>

#include "mem.h"

/* Of another device's memory, mapped at once */
#define HOMI_ZERO_MAX	SZ_2M

/*
 * How the CPU maps another device's memory. What has failed is not tried again: the
 * kernel prints that each time, and who reads holes can have it as often as he likes.
 */
enum homi_zero_by {
	HOMI_ZERO_WC,		/* write-combined */
	HOMI_ZERO_UC,		/* in the usual manner */
	HOMI_ZERO_NOT,
};

/* It may be mapped in another manner already, by the driver of its device. */
static void __iomem *homi_zero_map(struct homi_mem *mem, phys_addr_t phys,
				   size_t len)
{
	void __iomem *io = NULL;

	if (READ_ONCE(mem->zero_by) == HOMI_ZERO_WC) {
		io = ioremap_wc(phys, len);
		if (!io)
			cmpxchg(&mem->zero_by, HOMI_ZERO_WC, HOMI_ZERO_UC);
	}
	if (!io && READ_ONCE(mem->zero_by) == HOMI_ZERO_UC) {
		io = ioremap(phys, len);
		if (!io)
			WRITE_ONCE(mem->zero_by, HOMI_ZERO_NOT);
	}
	return io;
}

static int homi_zero_bar(struct homi_mem *mem, phys_addr_t phys, size_t len)
{
	void __iomem *io = homi_zero_map(mem, phys, len);

	if (!io)
		return -EOPNOTSUPP;
	memset_io(io, 0, len);
	/* Out of the write buffers before anybody is told */
	wmb();
	iounmap(io);
	return 0;
}

/* From @addr on, to its end at most: how much of @len was done */
static int homi_zero_page(struct page *page, u64 addr, u64 len)
{
	size_t n = min_t(u64, len, PAGE_SIZE - offset_in_page(addr));

	memzero_page(page, offset_in_page(addr), n);
	return n;
}

/* Bytes from @addr on that the CPU has in one piece */
static size_t homi_zero_run(struct iommu_domain *domain, dma_addr_t addr,
			    phys_addr_t phys, u64 len)
{
	u64 n = PAGE_SIZE - offset_in_page(addr);

	while (n < min_t(u64, len, HOMI_ZERO_MAX) &&
	       homi_mem_phys(domain, addr + n) == phys + n)
		n += PAGE_SIZE;
	return min_t(u64, n, min_t(u64, len, HOMI_ZERO_MAX));
}

/* Somewhere from @addr on: how much of @len was done, or an error */
static int homi_zero_some(struct homi_mem *mem, struct iommu_domain *domain,
			  dma_addr_t addr, u64 len)
{
	phys_addr_t phys = homi_mem_phys(domain, addr);
	size_t n;
	int ret;

	if (mem->where.placement == HOMI_PLACEMENT_HOST)
		return homi_zero_page(pfn_to_page(PHYS_PFN(phys)), phys, len);
	n = homi_zero_run(domain, addr, phys, len);
	ret = homi_zero_bar(mem, phys, n);
	return ret ? ret : n;
}

static int homi_zero_import(struct homi_mem *mem, u64 offset, u64 len)
{
	struct device *dev = &mem->obj.ctx->ctrl->nvme.pdev->dev;
	const struct homi_segment *seg = homi_mem_segment(mem, offset);
	u64 within = offset - seg->offset;

	return homi_zero_some(mem, homi_mem_domain(dev), seg->dma_addr + within,
			      min(len, seg->length - within));
}

/**
 * homi_mem_may_zero - is it known what the CPU has to write to, and that it can?
 * @mem: has been mapped
 */
bool homi_mem_may_zero(const struct homi_mem *mem)
{
	if (mem->where.placement == HOMI_PLACEMENT_BAR)
		return READ_ONCE(mem->zero_by) != HOMI_ZERO_NOT;
	return mem->where.placement == HOMI_PLACEMENT_HOST;
}

/*
 * Who waits for this may be waited for by who frees memory. What is of a process
 * needs no addresses.
 */
static int homi_zero_entered(struct homi_mem *mem, u64 offset, u64 len)
{
	unsigned int flags = memalloc_noreclaim_save();
	int ret = mem->type == HOMI_MEM_USER ?
		  homi_zero_page(homi_mem_page(mem, offset), offset, len) :
		  homi_zero_import(mem, offset, len);

	memalloc_noreclaim_restore(flags);
	return ret;
}

/**
 * homi_mem_zero - write zeroes to a part of a MEM
 * @mem: the caller has a reference, and has not entered it
 * @offset: bytes from its start
 * @len: bytes, not beyond its end
 *
 * It may be taken back between any two pieces of this.
 *
 * Return: 0, -EOPNOTSUPP where nobody knows what it is or the CPU can't map it, or
 * what homi_mem_enter() says
 */
int homi_mem_zero(struct homi_mem *mem, u64 offset, u64 len)
{
	int ret;

	if (!homi_mem_may_zero(mem))
		return -EOPNOTSUPP;
	for (; len; len -= ret, offset += ret) {
		ret = homi_mem_enter(mem);
		if (ret)
			return ret;
		ret = homi_zero_entered(mem, offset, len);
		homi_mem_leave(mem);
		if (ret < 0)
			return ret;
		cond_resched();
	}
	return 0;
}
