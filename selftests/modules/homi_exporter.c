// SPDX-License-Identifier: GPL-2.0-only
/*
 * An accelerator: QEMU's ivshmem-plain, whose BAR 2 is memory, as a GPU's is, and
 * is exported by dma-buf. It does what good and bad exporters do when a test
 * wants that: see homi_exporter.h.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "homi_exporter.h"

HOMI_IMPORT_NS(DMA_BUF);

#define EXPORTER_BAR_NR	2
#define EXPORTER_VENDOR	0x1af4
#define EXPORTER_DEVICE	0x1110

/* Several may have one buffer mapped, and the CPU's view of it is nobody's here. */
#define EXPORTER_DMA_ATTRS	DMA_ATTR_SKIP_CPU_SYNC

static struct pci_dev *exporter_pdev;
static DEFINE_MUTEX(exporter_lock);	/* guards exporter_pdev */
static DECLARE_WAIT_QUEUE_HEAD(exporter_wait);

/**
 * struct exporter_buf - one buffer
 * @flags: EXPORTER_*
 * @size: bytes
 * @pdev: with EXPORTER_BAR; holds a reference
 * @phys: of the part of the BAR
 * @pages: memory of the system, with or instead of that
 * @attached: attachments
 * @pinned: pins
 * @mapped: mappings
 */
struct exporter_buf {
	u32 flags;
	size_t size;
	struct pci_dev *pdev;
	phys_addr_t phys;
	struct page **pages;
	atomic_t attached;
	atomic_t pinned;
	atomic_t mapped;
};

/* --- memory --- */

static void exporter_free(struct exporter_buf *buf)
{
	unsigned long i;

	for (i = 0; buf->pages && i < buf->size >> PAGE_SHIFT; i++)
		if (buf->pages[i])
			__free_page(buf->pages[i]);
	kvfree(buf->pages);
	pci_dev_put(buf->pdev);
	kfree(buf);
}

static int exporter_alloc_pages(struct exporter_buf *buf)
{
	unsigned long i, nr = buf->size >> PAGE_SHIFT;

	buf->pages = kvcalloc(nr, sizeof(*buf->pages), GFP_KERNEL);
	if (!buf->pages)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		buf->pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!buf->pages[i])
			return -ENOMEM;
	}
	return 0;
}

static int exporter_find_bar(struct exporter_buf *buf, u64 offset)
{
	resource_size_t len;

	mutex_lock(&exporter_lock);
	buf->pdev = pci_dev_get(exporter_pdev);
	mutex_unlock(&exporter_lock);
	if (!buf->pdev)
		return -ENODEV;
	len = pci_resource_len(buf->pdev, EXPORTER_BAR_NR);
	if (!PAGE_ALIGNED(offset) || offset > len || buf->size > len - offset)
		return -EINVAL;
	buf->phys = pci_resource_start(buf->pdev, EXPORTER_BAR_NR) + offset;
	return 0;
}

/* Is it in the BAR for who has it mapped? */
static bool exporter_in_bar(struct exporter_buf *buf)
{
	return buf->flags & EXPORTER_BAR && !(buf->flags & EXPORTER_LIES);
}

/* --- the dma-buf --- */

static int exporter_attach(struct dma_buf *dmabuf,
			   struct dma_buf_attachment *attach)
{
	struct exporter_buf *buf = dmabuf->priv;

	if (buf->flags & EXPORTER_FAIL_ATTACH)
		return -EINVAL;
	if (exporter_in_bar(buf) && !attach->peer2peer)
		return -EOPNOTSUPP;
	atomic_inc(&buf->attached);
	return 0;
}

static void exporter_detach(struct dma_buf *dmabuf,
			    struct dma_buf_attachment *attach)
{
	struct exporter_buf *buf = dmabuf->priv;

	atomic_dec(&buf->attached);
}

static int exporter_pin(struct dma_buf_attachment *attach)
{
	struct exporter_buf *buf = attach->dmabuf->priv;

	if (buf->flags & EXPORTER_FAIL_PIN)
		return -EBUSY;
	if (buf->flags & EXPORTER_PIN_MOVES && !atomic_read(&buf->pinned))
		dma_buf_invalidate_mappings(attach->dmabuf);
	atomic_inc(&buf->pinned);
	return 0;
}

static void exporter_unpin(struct dma_buf_attachment *attach)
{
	struct exporter_buf *buf = attach->dmabuf->priv;

	atomic_dec(&buf->pinned);
}

/* Bytes that go into one entry, from @offset on */
static size_t exporter_piece(struct exporter_buf *buf, size_t offset)
{
	if (buf->flags & EXPORTER_PIECES)
		return min_t(size_t, SZ_512, buf->size - offset);
	if (buf->flags & EXPORTER_SCATTERED)
		return PAGE_SIZE;
	return buf->size;
}

/* Pieces in pairs, the second first: then no two are one. */
static phys_addr_t exporter_place(struct exporter_buf *buf, size_t offset)
{
	if (buf->flags & EXPORTER_SCATTERED)
		offset ^= PAGE_SIZE;
	if (buf->flags & EXPORTER_PIECES)
		offset ^= SZ_512;
	return buf->phys + offset;
}

static void exporter_unmap_bar(struct dma_buf_attachment *attach,
			       struct sg_table *sgt,
			       enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i)
		if (sg_dma_len(sg))
			dma_unmap_resource(attach->dev, sg_dma_address(sg),
					   sg->length, dir,
					   EXPORTER_DMA_ATTRS);
}

static int exporter_map_bar(struct dma_buf_attachment *attach,
			    struct sg_table *sgt, enum dma_data_direction dir)
{
	struct exporter_buf *buf = attach->dmabuf->priv;
	struct scatterlist *sg;
	size_t offset = 0;
	int i, ret;

	ret = sg_alloc_table(sgt, DIV_ROUND_UP(buf->size, exporter_piece(buf, 0)),
			     GFP_KERNEL);
	if (ret)
		return ret;
	for_each_sgtable_sg(sgt, sg, i) {
		sg->length = exporter_piece(buf, offset);
		sg_dma_len(sg) = 0;
	}
	for_each_sgtable_sg(sgt, sg, i) {
		dma_addr_t addr = dma_map_resource(attach->dev,
						   exporter_place(buf, offset),
						   sg->length, dir,
						   EXPORTER_DMA_ATTRS);

		if (dma_mapping_error(attach->dev, addr)) {
			exporter_unmap_bar(attach, sgt, dir);
			sg_free_table(sgt);
			return -EIO;
		}
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = sg->length;
		offset += sg->length;
	}
	return 0;
}

static int exporter_map_pages(struct dma_buf_attachment *attach,
			      struct sg_table *sgt, enum dma_data_direction dir)
{
	struct exporter_buf *buf = attach->dmabuf->priv;
	int ret;

	ret = sg_alloc_table_from_pages(sgt, buf->pages,
					buf->size >> PAGE_SHIFT, 0, buf->size,
					GFP_KERNEL);
	if (ret)
		return ret;
	ret = dma_map_sgtable(attach->dev, sgt, dir, EXPORTER_DMA_ATTRS);
	if (ret)
		sg_free_table(sgt);
	return ret;
}

static struct sg_table *exporter_map(struct dma_buf_attachment *attach,
				     enum dma_data_direction dir)
{
	struct exporter_buf *buf = attach->dmabuf->priv;
	struct sg_table *sgt;
	int ret;

	if (buf->flags & EXPORTER_FAIL_MAP)
		return ERR_PTR(-EIO);
	sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = exporter_in_bar(buf) ? exporter_map_bar(attach, sgt, dir) :
				     exporter_map_pages(attach, sgt, dir);
	if (ret) {
		kfree(sgt);
		return ERR_PTR(ret);
	}
	if (buf->flags & EXPORTER_SHORT)
		sg_dma_len(sgt->sgl) -= PAGE_SIZE;
	atomic_inc(&buf->mapped);
	if (buf->flags & EXPORTER_MOVES)
		dma_buf_invalidate_mappings(attach->dmabuf);
	return sgt;
}

static void exporter_unmap(struct dma_buf_attachment *attach,
			   struct sg_table *sgt, enum dma_data_direction dir)
{
	struct exporter_buf *buf = attach->dmabuf->priv;

	if (buf->flags & EXPORTER_SHORT)
		sg_dma_len(sgt->sgl) += PAGE_SIZE;
	if (exporter_in_bar(buf))
		exporter_unmap_bar(attach, sgt, dir);
	else
		dma_unmap_sgtable(attach->dev, sgt, dir, EXPORTER_DMA_ATTRS);
	sg_free_table(sgt);
	kfree(sgt);
	atomic_dec(&buf->mapped);
	wake_up_all(&exporter_wait);
}

static void exporter_release(struct dma_buf *dmabuf)
{
	exporter_free(dmabuf->priv);
}

/* What the device sees, which a liar's importers do not. */
static int exporter_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct exporter_buf *buf = dmabuf->priv;
	unsigned long addr, i = vma->vm_pgoff, pfn;
	int ret = 0;

	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	if (buf->flags & EXPORTER_BAR)
		vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	for (addr = vma->vm_start; !ret && addr < vma->vm_end; i++) {
		pfn = buf->flags & EXPORTER_BAR ?
		      PHYS_PFN(exporter_place(buf, i << PAGE_SHIFT)) :
		      page_to_pfn(buf->pages[i]);
		ret = remap_pfn_range(vma, addr, pfn, PAGE_SIZE,
				      vma->vm_page_prot);
		addr += PAGE_SIZE;
	}
	return ret;
}

static const struct dma_buf_ops exporter_ops = {
	.attach = exporter_attach,
	.detach = exporter_detach,
	.pin = exporter_pin,
	.unpin = exporter_unpin,
	.map_dma_buf = exporter_map,
	.unmap_dma_buf = exporter_unmap,
	.release = exporter_release,
	.mmap = exporter_mmap,
};

static const struct dma_buf_ops exporter_ops_no_pin = {
	.attach = exporter_attach,
	.detach = exporter_detach,
	.map_dma_buf = exporter_map,
	.unmap_dma_buf = exporter_unmap,
	.release = exporter_release,
	.mmap = exporter_mmap,
};

/* --- commands --- */

static struct dma_buf *exporter_make(const struct exporter_export *cmd)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct exporter_buf *buf;
	struct dma_buf *dmabuf;
	int ret = 0;

	if (!cmd->length || cmd->length % (2 * PAGE_SIZE) ||
	    cmd->length > SZ_1G)
		return ERR_PTR(-EINVAL);
	buf = kzalloc(sizeof(*buf), GFP_KERNEL);
	if (!buf)
		return ERR_PTR(-ENOMEM);
	buf->flags = cmd->flags;
	buf->size = cmd->length;
	if (buf->flags & EXPORTER_BAR)
		ret = exporter_find_bar(buf, cmd->offset);
	if (!ret && !exporter_in_bar(buf))
		ret = exporter_alloc_pages(buf);
	if (ret)
		goto err;
	info.ops = buf->flags & EXPORTER_NO_PIN ? &exporter_ops_no_pin :
						  &exporter_ops;
	info.size = buf->size;
	info.flags = buf->flags & EXPORTER_READ_ONLY ? O_RDONLY : O_RDWR;
	info.priv = buf;
	dmabuf = dma_buf_export(&info);
	if (!IS_ERR(dmabuf))
		return dmabuf;
	ret = PTR_ERR(dmabuf);
err:
	exporter_free(buf);
	return ERR_PTR(ret);
}

static int exporter_export(struct exporter_export *cmd)
{
	struct dma_buf *dmabuf = exporter_make(cmd);

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	cmd->out_fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (cmd->out_fd < 0) {
		dma_buf_put(dmabuf);
		return cmd->out_fd;
	}
	return 0;
}

static struct dma_buf *exporter_get(int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);

	if (IS_ERR(dmabuf))
		return dmabuf;
	if (dmabuf->ops == &exporter_ops || dmabuf->ops == &exporter_ops_no_pin)
		return dmabuf;
	dma_buf_put(dmabuf);
	return ERR_PTR(-EINVAL);
}

/* The new place is nobody's affair here: who maps it again gets the old one. */
static int exporter_take(struct exporter_take *cmd)
{
	unsigned long timeout = msecs_to_jiffies(cmd->timeout_ms);
	struct dma_buf *dmabuf = exporter_get(cmd->fd);
	struct exporter_buf *buf;
	ktime_t begin;
	long left;

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	buf = dmabuf->priv;
	dma_resv_lock(dmabuf->resv, NULL);
	begin = ktime_get();
	if (!(cmd->flags & EXPORTER_SILENT))
		dma_buf_invalidate_mappings(dmabuf);
	cmd->out_pending = !dma_resv_test_signaled(dmabuf->resv,
						   DMA_RESV_USAGE_BOOKKEEP);
	if (!(cmd->flags & EXPORTER_HOLD))
		dma_resv_unlock(dmabuf->resv);
	left = dma_resv_wait_timeout(dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP,
				     false, timeout);
	cmd->out_waited_ms = left > 0 ? ktime_ms_delta(ktime_get(), begin) : ~0U;
	cmd->out_mapped = atomic_read(&buf->mapped);
	if (cmd->flags & EXPORTER_HOLD)
		dma_resv_unlock(dmabuf->resv);
	if (!(cmd->flags & EXPORTER_LEAVE))
		wait_event_timeout(exporter_wait, !atomic_read(&buf->mapped),
				   timeout);
	cmd->out_left = atomic_read(&buf->mapped);
	dma_buf_put(dmabuf);
	return 0;
}

static int exporter_info(struct exporter_info *cmd)
{
	struct dma_buf *dmabuf = NULL;
	struct exporter_buf *buf;

	if (cmd->fd >= 0) {
		dmabuf = exporter_get(cmd->fd);
		if (IS_ERR(dmabuf))
			return PTR_ERR(dmabuf);
		buf = dmabuf->priv;
		cmd->out_attached = atomic_read(&buf->attached);
		cmd->out_pinned = atomic_read(&buf->pinned);
		cmd->out_mapped = atomic_read(&buf->mapped);
		dma_buf_put(dmabuf);
	}
	mutex_lock(&exporter_lock);
	if (exporter_pdev) {
		cmd->out_bar_size = pci_resource_len(exporter_pdev,
						     EXPORTER_BAR_NR);
		cmd->out_device = (u32)pci_domain_nr(exporter_pdev->bus) << 16 |
				  PCI_DEVID(exporter_pdev->bus->number,
					    exporter_pdev->devfn);
	}
	mutex_unlock(&exporter_lock);
	return 0;
}

static long exporter_ioctl(struct file *file, unsigned int nr, unsigned long arg)
{
	void __user *uptr = (void __user *)arg;
	union {
		struct exporter_export export;
		struct exporter_take take;
		struct exporter_info info;
	} cmd = {};
	int ret;

	if (_IOC_SIZE(nr) > sizeof(cmd))
		return -ENOTTY;
	if (copy_from_user(&cmd, uptr, _IOC_SIZE(nr)))
		return -EFAULT;
	switch (nr) {
	case EXPORTER_EXPORT:
		ret = exporter_export(&cmd.export);
		break;
	case EXPORTER_TAKE:
		ret = exporter_take(&cmd.take);
		break;
	case EXPORTER_INFO:
		ret = exporter_info(&cmd.info);
		break;
	default:
		return -ENOTTY;
	}
	if (!ret && copy_to_user(uptr, &cmd, _IOC_SIZE(nr)))
		ret = -EFAULT;
	return ret;
}

static const struct file_operations exporter_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = exporter_ioctl,
};

static struct miscdevice exporter_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "homi_exporter",
	.fops = &exporter_fops,
	.mode = 0600,
};

/* --- the device --- */

static int exporter_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	if (!pci_resource_len(pdev, EXPORTER_BAR_NR))
		return -ENODEV;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	mutex_lock(&exporter_lock);
	if (exporter_pdev)
		ret = -EBUSY;
	else
		exporter_pdev = pdev;
	mutex_unlock(&exporter_lock);
	return ret;
}

static void exporter_remove(struct pci_dev *pdev)
{
	mutex_lock(&exporter_lock);
	exporter_pdev = NULL;
	mutex_unlock(&exporter_lock);
}

static const struct pci_device_id exporter_ids[] = {
	{ PCI_DEVICE(EXPORTER_VENDOR, EXPORTER_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, exporter_ids);

static struct pci_driver exporter_driver = {
	.name = "homi_exporter",
	.id_table = exporter_ids,
	.probe = exporter_probe,
	.remove = exporter_remove,
};

static int __init exporter_init(void)
{
	int ret;

	ret = pci_register_driver(&exporter_driver);
	if (ret)
		return ret;
	ret = misc_register(&exporter_misc);
	if (ret)
		pci_unregister_driver(&exporter_driver);
	return ret;
}

static void __exit exporter_exit(void)
{
	misc_deregister(&exporter_misc);
	pci_unregister_driver(&exporter_driver);
}

module_init(exporter_init);
module_exit(exporter_exit);
MODULE_DESCRIPTION("exports the BAR of an ivshmem device by dma-buf, well or badly (test)");
MODULE_LICENSE("GPL");
