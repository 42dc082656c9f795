// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbell registers and shadow doorbells: where they are, and page faults on
 * them. NVMe base specification, "Submission Queue y Tail Doorbell" and
 * "Doorbell Buffer Config command".
 */
#include <linux/vmalloc.h>

#include "homi.h"

/* Doorbells begin at this offset of BAR0 (NVMe over PCIe transport). */
#define HOMI_DB_START	0x1000

static u64 homi_db_offset(struct homi_ctrl *ctrl, unsigned int qid)
{
	return HOMI_DB_START + 2ULL * qid * ctrl->stride;
}

static void homi_msix_range(struct homi_ctrl *ctrl, int nr, int reg, u32 bytes)
{
	struct pci_dev *pdev = ctrl->nvme.pdev;
	u32 where;

	pci_read_config_dword(pdev, pdev->msix_cap + reg, &where);
	if (where & PCI_MSIX_TABLE_BIR)
		return;
	ctrl->msix[nr].start = where & PCI_MSIX_TABLE_OFFSET;
	ctrl->msix[nr].end = ctrl->msix[nr].start + bytes;
}

/**
 * homi_doorbell_probe - learn which pages of BAR0 hold MSI-X structures
 * @ctrl: being attached
 */
void homi_doorbell_probe(struct homi_ctrl *ctrl)
{
	struct pci_dev *pdev = ctrl->nvme.pdev;
	u32 vectors;
	u16 control;

	if (!pdev->msix_cap)
		return;
	pci_read_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS, &control);
	vectors = (control & PCI_MSIX_FLAGS_QSIZE) + 1;
	homi_msix_range(ctrl, 0, PCI_MSIX_TABLE,
			vectors * PCI_MSIX_ENTRY_SIZE);
	homi_msix_range(ctrl, 1, PCI_MSIX_PBA, DIV_ROUND_UP(vectors, 64) * 8);
}

/**
 * homi_doorbell_reachable - can the doorbells of @qid be mapped?
 * @ctrl: the controller, bound
 * @qid: queue id
 *
 * Both have to lie in one page of BAR0 that holds nothing of MSI-X, and their
 * shadow entries within stock's pages if it has any.
 */
bool homi_doorbell_reachable(struct homi_ctrl *ctrl, unsigned int qid)
{
	u64 start = homi_db_offset(ctrl, qid);
	u64 last = start + ctrl->stride + sizeof(u32) - 1;
	u64 page = start & PAGE_MASK;
	void *dbs, *eis;
	size_t len;
	int i;

	if (last >= ctrl->bar_len || start >> PAGE_SHIFT != last >> PAGE_SHIFT)
		return false;
	for (i = 0; i < ARRAY_SIZE(ctrl->msix); i++)
		if (page < ctrl->msix[i].end &&
		    page + PAGE_SIZE > ctrl->msix[i].start)
			return false;
	if (ctrl->ops->shadow(&ctrl->nvme, &dbs, &eis, &len))
		return false;
	return !dbs || 2ULL * (qid + 1) * ctrl->stride <= len;
}

/**
 * homi_doorbell_init - find the doorbells of a queue, and clear the shadows
 * @ctrl: the controller
 * @qid: queue id, which the caller lent
 * @db: filled in
 *
 * Called with ctrl->lock held and the controller not resetting: stock may drop
 * the pages in a reset. The controller takes tail and head from the shadow
 * entries from the moment on that the queue exists, so both are zeroed before
 * that. Stock clears only the entries of its own queues.
 */
int homi_doorbell_init(struct homi_ctrl *ctrl, unsigned int qid,
		       struct homi_doorbell *db)
{
	u64 entry = 2ULL * qid * ctrl->stride;
	void *dbs, *eis;
	size_t len;
	int ret;

	lockdep_assert_held(&ctrl->lock);
	ret = ctrl->ops->shadow(&ctrl->nvme, &dbs, &eis, &len);
	if (ret)
		return ret;
	db->sq_offset = offset_in_page(homi_db_offset(ctrl, qid));
	db->cq_offset = db->sq_offset + ctrl->stride;
	db->has_shadow = dbs;
	db->sq_shadow_offset = 0;
	db->cq_shadow_offset = 0;
	if (!dbs)
		return 0;
	if (entry + 2 * ctrl->stride > len)
		return -ENOSPC;
	db->sq_shadow_offset = offset_in_page(entry);
	db->cq_shadow_offset = db->sq_shadow_offset + ctrl->stride;
	WRITE_ONCE(*(u32 *)(dbs + entry), 0);
	WRITE_ONCE(*(u32 *)(dbs + entry + ctrl->stride), 0);
	WRITE_ONCE(*(u32 *)(eis + entry), 0);
	WRITE_ONCE(*(u32 *)(eis + entry + ctrl->stride), 0);
	/* Orders the zeroes before the MMIO that makes the queue. */
	wmb();
	return 0;
}

/**
 * homi_kernel_pfn - the page frame behind coherent DMA memory
 * @addr: linear, or mapped by vmalloc as behind an IOMMU
 */
unsigned long homi_kernel_pfn(void *addr)
{
	if (is_vmalloc_addr(addr))
		return vmalloc_to_pfn(addr);
	return page_to_pfn(virt_to_page(addr));
}

/**
 * homi_doorbell_phys - the page of BAR0 that holds the doorbells of @qid
 * @ctrl: the controller
 * @qid: queue id
 */
phys_addr_t homi_doorbell_phys(struct homi_ctrl *ctrl, unsigned int qid)
{
	return ctrl->bar_phys + (homi_db_offset(ctrl, qid) & PAGE_MASK);
}

/**
 * homi_doorbell_page - the page of stock's that holds shadow entries of @qid
 * @ctrl: the controller; its lock is held, and it is not resetting
 * @qid: queue id of a live queue
 * @region: HOMI_REGION_SHADOW or HOMI_REGION_EVENT
 *
 * ENODEV: there is none; EOPNOTSUPP: it has no reference count of its own.
 */
struct page *homi_doorbell_page(struct homi_ctrl *ctrl, unsigned int qid,
				enum homi_region region)
{
	u64 entry = 2ULL * qid * ctrl->stride;
	void *dbs, *eis, *page;
	size_t len;

	lockdep_assert_held(&ctrl->lock);
	if (ctrl->ops->shadow(&ctrl->nvme, &dbs, &eis, &len) || !dbs ||
	    entry + 2 * ctrl->stride > len)
		return ERR_PTR(-ENODEV);
	page = region == HOMI_REGION_SHADOW ? dbs : eis;
	if (!is_vmalloc_addr(page) && len > PAGE_SIZE)
		return ERR_PTR(-EOPNOTSUPP);
	return pfn_to_page(homi_kernel_pfn(page + (entry & PAGE_MASK)));
}

/**
 * homi_doorbell_fault - put in the page that holds the doorbells of @qid
 * @ctrl: the controller
 * @qid: queue id of a live queue; the caller holds ctx->map_lock, and whoever
 *	ends the queue takes it before zapping
 * @region: doorbell, shadow or event index page
 * @vmf: the fault
 */
vm_fault_t homi_doorbell_fault(struct homi_ctrl *ctrl, unsigned int qid,
			       enum homi_region region, struct vm_fault *vmf)
{
	u64 entry = 2ULL * qid * ctrl->stride;
	void *dbs, *eis, *page;
	size_t len;

	if (region == HOMI_REGION_DB)
		return vmf_insert_pfn(vmf->vma, vmf->address,
				      PHYS_PFN(homi_doorbell_phys(ctrl, qid)));
	if (ctrl->ops->shadow(&ctrl->nvme, &dbs, &eis, &len) || !dbs ||
	    entry + 2 * ctrl->stride > len)
		return VM_FAULT_SIGBUS;
	page = (region == HOMI_REGION_SHADOW ? dbs : eis) + (entry & PAGE_MASK);
	return vmf_insert_pfn(vmf->vma, vmf->address, homi_kernel_pfn(page));
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/doorbell_test.c"
#endif
