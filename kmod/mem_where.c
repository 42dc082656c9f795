// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where memory is, found out from the addresses that the function got for it:
 * exporters of device memory may have moved it to the system's for that, and then
 * I/O works, on memory that the device does not look at.
 */
#include <linux/iommu.h>
#include <linux/ioport.h>
#include <linux/pci.h>

#include "mem.h"

/* An answer for some range of addresses, to be asked once for all of it */
struct homi_where_range {
	phys_addr_t start;
	phys_addr_t end;
	u32 placement;
	u32 bar;
	struct pci_dev *pdev;	/* with HOMI_PLACEMENT_BAR; holds a reference */
};

static bool homi_where_in_bar(struct pci_dev *pdev, int bar, phys_addr_t addr,
			      struct homi_where_range *range)
{
	phys_addr_t start = pci_resource_start(pdev, bar);
	resource_size_t len = pci_resource_len(pdev, bar);

	if (!(pci_resource_flags(pdev, bar) & IORESOURCE_MEM) || !len ||
	    pci_resource_flags(pdev, bar) & (IORESOURCE_UNSET |
					     IORESOURCE_DISABLED) ||
	    addr < start || addr - start >= len)
		return false;
	range->start = start;
	range->end = start + len;
	range->placement = HOMI_PLACEMENT_BAR;
	range->bar = bar;
	range->pdev = pci_dev_get(pdev);
	return true;
}

static void homi_where_ask(phys_addr_t addr, struct homi_where_range *range)
{
	struct pci_dev *pdev = NULL;
	int bar;

	range->start = addr & PAGE_MASK;
	range->end = range->start + PAGE_SIZE;
	range->pdev = NULL;
	if (region_intersects(range->start, PAGE_SIZE, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) == REGION_INTERSECTS) {
		range->placement = HOMI_PLACEMENT_HOST;
		return;
	}
	range->placement = HOMI_PLACEMENT_OTHER;
	for_each_pci_dev(pdev)
		for (bar = 0; bar < PCI_STD_NUM_BARS; bar++)
			if (homi_where_in_bar(pdev, bar, addr, range)) {
				pci_dev_put(pdev);
				return;
			}
}

/**
 * homi_mem_phys - where the CPU finds what the function has at an address
 * @domain: of homi_mem_domain()
 * @addr: mapped
 *
 * Behind an IOMMU what it has no answer for is an address on the bus: peers below
 * one switch may be mapped like that. On x86 these are the CPU's.
 */
phys_addr_t homi_mem_phys(struct iommu_domain *domain, dma_addr_t addr)
{
	phys_addr_t phys = domain ? iommu_iova_to_phys(domain, addr) : 0;

	return phys ? phys : addr;
}

/* How far is it from one function to another? */
static void homi_where_path(struct pci_dev *from, struct pci_dev *to,
			    struct homi_mem_where *where)
{
	struct pci_dev *up, *other;
	u32 ups, downs = 0;

	where->distance = 0;
	where->path = HOMI_PATH_SELF;
	if (from == to)
		return;
	where->path = HOMI_PATH_SWITCH;
	for (ups = 1, up = pci_upstream_bridge(from); up;
	     ups++, up = pci_upstream_bridge(up)) {
		for (downs = 1, other = pci_upstream_bridge(to); other;
		     downs++, other = pci_upstream_bridge(other)) {
			where->distance = ups + downs;
			/* The bridge where both ways meet is one port of it. */
			if (up == other) {
				where->distance--;
				return;
			}
		}
	}
	where->path = HOMI_PATH_ROOT;
	for (downs = 0, other = pci_upstream_bridge(to); other;
	     other = pci_upstream_bridge(other))
		downs++;
	where->distance = ups - 1 + downs;
}

static void homi_where_segment(struct iommu_domain *domain,
			       const struct homi_segment *seg,
			       struct homi_where_range *range,
			       struct homi_where_range *all)
{
	u64 off, step;

	for (off = 0; off < seg->length; off += step) {
		phys_addr_t phys = homi_mem_phys(domain, seg->dma_addr + off);

		cond_resched();
		if (phys < range->start || phys >= range->end) {
			pci_dev_put(range->pdev);
			homi_where_ask(phys, range);
		}
		/* Without translation the answer is for all of the range. */
		step = domain ? PAGE_SIZE : range->end - phys;
		if (!all->placement) {
			*all = *range;
			pci_dev_get(all->pdev);
		} else if (all->placement != range->placement ||
			   all->pdev != range->pdev || all->bar != range->bar) {
			all->placement = HOMI_PLACEMENT_OTHER;
			return;
		}
	}
}

/**
 * homi_mem_where - find out where memory is
 * @mem: mapped, its list is there; its @where is filled in
 * @pdev: the function that it is mapped for, bound
 *
 * Asks for each page: a millisecond for some ten thousand.
 */
void homi_mem_where(struct homi_mem *mem, struct pci_dev *pdev)
{
	struct iommu_domain *domain = homi_mem_domain(&pdev->dev);
	struct homi_mem_where *where = &mem->where;
	struct homi_where_range range = {}, all = {};
	u32 i;

	for (i = 0; i < mem->nr_segments; i++) {
		homi_where_segment(domain, &mem->segments[i], &range, &all);
		if (all.placement == HOMI_PLACEMENT_OTHER)
			break;
	}
	where->placement = all.placement;
	if (all.placement == HOMI_PLACEMENT_BAR) {
		where->device = (u64)pci_domain_nr(all.pdev->bus) << 16 |
				PCI_DEVID(all.pdev->bus->number,
					  all.pdev->devfn);
		where->bar = all.bar;
		homi_where_path(pdev, all.pdev, where);
	}
	pci_dev_put(range.pdev);
	pci_dev_put(all.pdev);
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/mem_where_test.c"
#endif
