// SPDX-License-Identifier: GPL-2.0-only
/*
 * The accelerator of homi_exporter.c, for dma-bufs that it imports: doorbells of a
 * queue, which it rings. What such a device would do by itself the CPU does here,
 * by the address that the device got and what its IOMMU makes of it.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "homi_importer.h"

HOMI_IMPORT_NS(DMA_BUF);

#define IMPORTER_VENDOR	0x1af4
#define IMPORTER_DEVICE	0x1110

/**
 * struct importer - what an open file imports
 * @lock: one call at a time; the reservation lock comes inside
 * @pdev: the accelerator; holds a reference
 * @dmabuf: holds a reference, or NULL
 * @attach: to that
 * @sgt: the mapping; guarded by the reservation lock
 * @flags: IMPORTER_*
 * @pinned: to be unpinned
 * @notices: how often it was told; guarded by the reservation lock
 * @dma_addr: of the last mapping
 * @phys: what that leads to
 * @unmap: what a notice asks for
 */
struct importer {
	struct mutex lock;	/* see above */
	struct pci_dev *pdev;
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	u32 flags;
	bool pinned;
	u32 notices;
	dma_addr_t dma_addr;
	phys_addr_t phys;
	struct work_struct unmap;
};

static bool importer_in_ram(phys_addr_t phys)
{
	return region_intersects(phys & PAGE_MASK, PAGE_SIZE,
				 IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) ==
	       REGION_INTERSECTS;
}

/* Under the reservation lock. */
static void importer_unmap(struct importer *im)
{
	if (im->sgt)
		dma_buf_unmap_attachment(im->attach, im->sgt,
					 DMA_BIDIRECTIONAL);
	im->sgt = NULL;
}

static void importer_unmap_work(struct work_struct *work)
{
	struct importer *im = container_of(work, struct importer, unmap);

	dma_resv_lock(im->dmabuf->resv, NULL);
	importer_unmap(im);
	dma_resv_unlock(im->dmabuf->resv);
}

static void importer_notice(struct dma_buf_attachment *attach)
{
	struct importer *im = attach->importer_priv;

	im->notices++;
	if (!(im->flags & IMPORTER_DEAF))
		schedule_work(&im->unmap);
}

static const struct dma_buf_attach_ops importer_ops = {
	.allow_peer2peer = true,
	.HOMI_DMABUF_NOTICE = importer_notice,
};

static const struct dma_buf_attach_ops importer_ops_pages = {
	.HOMI_DMABUF_NOTICE = importer_notice,
};

static void importer_detach(struct importer *im)
{
	if (!im->dmabuf)
		return;
	dma_resv_lock(im->dmabuf->resv, NULL);
	importer_unmap(im);
	if (im->pinned)
		dma_buf_unpin(im->attach);
	im->pinned = false;
	dma_resv_unlock(im->dmabuf->resv);
	dma_buf_detach(im->dmabuf, im->attach);
	/* No notice comes any more. */
	cancel_work_sync(&im->unmap);
	dma_buf_put(im->dmabuf);
	im->dmabuf = NULL;
}

static int importer_map(struct importer *im)
{
	struct device *dev = &im->pdev->dev;
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	struct sg_table *sgt;
	int ret = 0;

	if (!im->dmabuf)
		return -EINVAL;
	dma_resv_lock(im->dmabuf->resv, NULL);
	if (im->sgt) {
		ret = -EBUSY;
		goto out;
	}
	sgt = dma_buf_map_attachment(im->attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		ret = PTR_ERR(sgt);
		goto out;
	}
	im->sgt = sgt;
	im->dma_addr = sg_dma_address(sgt->sgl);
	im->phys = domain ? iommu_iova_to_phys(domain, im->dma_addr) :
			    im->dma_addr;
out:
	dma_resv_unlock(im->dmabuf->resv);
	return ret;
}

static int importer_attach(struct importer *im, struct importer_attach *cmd)
{
	const struct dma_buf_attach_ops *ops = &importer_ops;
	struct dma_buf_attachment *attach;
	struct dma_buf *dmabuf;
	int ret = 0;

	if (im->dmabuf)
		return -EBUSY;
	dmabuf = dma_buf_get(cmd->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	if (cmd->flags & IMPORTER_PAGES)
		ops = &importer_ops_pages;
	im->flags = cmd->flags;
	im->notices = 0;
	/* A notice may come before this has returned. */
	im->dmabuf = dmabuf;
	if (cmd->flags & IMPORTER_STATIC)
		attach = dma_buf_attach(dmabuf, &im->pdev->dev);
	else
		attach = dma_buf_dynamic_attach(dmabuf, &im->pdev->dev, ops, im);
	if (IS_ERR(attach)) {
		cancel_work_sync(&im->unmap);
		im->dmabuf = NULL;
		dma_buf_put(dmabuf);
		return PTR_ERR(attach);
	}
	im->attach = attach;
	if (cmd->flags & IMPORTER_PINS) {
		dma_resv_lock(dmabuf->resv, NULL);
		ret = dma_buf_pin(attach);
		im->pinned = !ret;
		dma_resv_unlock(dmabuf->resv);
	}
	if (!ret)
		ret = importer_map(im);
	if (ret)
		importer_detach(im);
	return ret;
}

static int importer_touch(phys_addr_t phys, struct importer_access *cmd)
{
	void __iomem *bar;
	u32 *word;

	if (importer_in_ram(phys)) {
		word = phys_to_virt(phys);
		if (cmd->write)
			WRITE_ONCE(*word, cmd->value);
		else
			cmd->value = READ_ONCE(*word);
		/* A device's accesses are ordered: this one before the next one. */
		mb();
		return 0;
	}
	bar = ioremap(phys & PAGE_MASK, PAGE_SIZE);
	if (!bar)
		return -ENOMEM;
	if (cmd->write)
		writel(cmd->value, bar + offset_in_page(phys));
	else
		cmd->value = readl(bar + offset_in_page(phys));
	iounmap(bar);
	return 0;
}

static int importer_access(struct importer *im, struct importer_access *cmd)
{
	int ret = -EIO;

	if (!im->dmabuf || cmd->offset % 4 || cmd->offset >= im->dmabuf->size)
		return -EINVAL;
	dma_resv_lock(im->dmabuf->resv, NULL);
	if (im->sgt && im->phys)
		ret = importer_touch(im->phys + cmd->offset, cmd);
	dma_resv_unlock(im->dmabuf->resv);
	return ret;
}

static int importer_info(struct importer *im, struct importer_info *cmd)
{
	memset(cmd, 0, sizeof(*cmd));
	if (!im->dmabuf)
		return 0;
	dma_resv_lock(im->dmabuf->resv, NULL);
	cmd->out_mapped = !!im->sgt;
	cmd->out_notices = im->notices;
	cmd->out_dma_addr = im->dma_addr;
	cmd->out_phys = im->phys;
	cmd->out_ram = importer_in_ram(im->phys);
	dma_resv_unlock(im->dmabuf->resv);
	return 0;
}

static long importer_ioctl(struct file *file, unsigned int nr, unsigned long arg)
{
	struct importer *im = file->private_data;
	void __user *uptr = (void __user *)arg;
	union {
		struct importer_attach attach;
		struct importer_access access;
		struct importer_info info;
	} cmd = {};
	int ret;

	if (_IOC_SIZE(nr) > sizeof(cmd))
		return -ENOTTY;
	if (_IOC_DIR(nr) & _IOC_WRITE &&
	    copy_from_user(&cmd, uptr, _IOC_SIZE(nr)))
		return -EFAULT;
	mutex_lock(&im->lock);
	switch (nr) {
	case IMPORTER_ATTACH:
		ret = importer_attach(im, &cmd.attach);
		break;
	case IMPORTER_MAP:
		ret = importer_map(im);
		break;
	case IMPORTER_ACCESS:
		ret = importer_access(im, &cmd.access);
		break;
	case IMPORTER_INFO:
		ret = importer_info(im, &cmd.info);
		break;
	case IMPORTER_DETACH:
		importer_detach(im);
		ret = 0;
		break;
	default:
		ret = -ENOTTY;
	}
	mutex_unlock(&im->lock);
	if (!ret && _IOC_DIR(nr) & _IOC_READ &&
	    copy_to_user(uptr, &cmd, _IOC_SIZE(nr)))
		ret = -EFAULT;
	return ret;
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct importer *im = kzalloc(sizeof(*im), GFP_KERNEL);
	int ret;

	if (!im)
		return -ENOMEM;
	mutex_init(&im->lock);
	INIT_WORK(&im->unmap, importer_unmap_work);
	im->pdev = pci_get_device(IMPORTER_VENDOR, IMPORTER_DEVICE, NULL);
	if (!im->pdev) {
		kfree(im);
		return -ENODEV;
	}
	/* What is out of its reach would be bounced, and is refused. */
	ret = dma_set_mask(&im->pdev->dev, DMA_BIT_MASK(64));
	if (ret) {
		pci_dev_put(im->pdev);
		kfree(im);
		return ret;
	}
	file->private_data = im;
	return 0;
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct importer *im = file->private_data;

	importer_detach(im);
	pci_dev_put(im->pdev);
	kfree(im);
	return 0;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.open = importer_open,
	.release = importer_release,
	.unlocked_ioctl = importer_ioctl,
};

static struct miscdevice importer_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "homi_importer",
	.fops = &importer_fops,
	.mode = 0600,
};

module_misc_device(importer_misc);
MODULE_DESCRIPTION("imports dma-bufs for an ivshmem device, well or badly (test)");
MODULE_LICENSE("GPL");
