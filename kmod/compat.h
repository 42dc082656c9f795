/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The only place with version tests. Sources are written for the newest kernel;
 * each shim says from which version it is not needed, and goes with the last
 * kernel of the matrix before that one (6.1 as long as Debian 12 is supported).
 */
#ifndef _HOMI_COMPAT_H
#define _HOMI_COMPAT_H

#include <linux/version.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/ima.h>
#include <linux/mm.h>
#include <linux/namei.h>

/* --- fs --- */

/*
 * 7.3 ("fs: add scoped_with_init_fs()") gives kernel threads an empty root of
 * their own, and this to look up a path in that of the first process.
 */
#ifndef scoped_with_init_fs
#define scoped_with_init_fs()
#endif

/* --- mm --- */

/* 6.3, bc292ab00f6c ("mm: introduce vma->vm_flags wrapper functions") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#include <linux/mm_types.h>
static inline void homi_compat_vm_flags_set(struct vm_area_struct *vma,
					    vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void homi_compat_vm_flags_clear(struct vm_area_struct *vma,
					      vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}

#define vm_flags_set homi_compat_vm_flags_set
#define vm_flags_clear homi_compat_vm_flags_clear
#endif

/*
 * 6.2, 84209e87c696 ("mm/gup: reliable R/O long-term pinning in COW mappings").
 * Before, a long-term pin for reading may get the zero page or a page that the
 * next write of the process replaces. Pin as for writing; where the VMA does not
 * allow it, page by page: for reading, which it has to allow, and then, if it is
 * private, by force, as drivers did then.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
static inline int homi_compat_pin(unsigned long start, int nr,
				  unsigned int flags, struct page **pages)
{
	int ret = pin_user_pages_fast(start, nr, flags | FOLL_WRITE, pages);
	struct page *page;

	if (ret != -EFAULT || flags & FOLL_WRITE)
		return ret;
	ret = pin_user_pages_fast(start, 1, flags, pages);
	if (ret == 1 &&
	    pin_user_pages_fast(start, 1, flags | FOLL_WRITE | FOLL_FORCE,
				&page) == 1) {
		unpin_user_page(pages[0]);
		pages[0] = page;
	}
	return ret;
}
#else
#define homi_compat_pin pin_user_pages_fast
#endif

/* --- eventfd --- */

/* 6.8, 3652117f8548 ("eventfd: simplify eventfd_signal()") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define eventfd_signal(ctx) eventfd_signal(ctx, 1)
#endif

/* --- block --- */

/* 6.16 took the queue from its arguments: a request has one */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
#include <linux/blk-mq.h>
static inline int homi_compat_map_kern(struct request *req, void *buf,
				       unsigned int len, gfp_t gfp)
{
	return blk_rq_map_kern(req->q, req, buf, len, gfp);
}

#define blk_rq_map_kern homi_compat_map_kern
#endif

/*
 * 6.5, d97217e7f024 ("blk-mq: don't queue plugged passthrough requests into scheduler"):
 * what is to come first is not plugged, and schedulers want a bio.
 */
#define HOMI_AT_HEAD (LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0))

/* --- nvme --- */

/* 6.2, 9f27bd701d18 ("nvme: rename the queue quiescing helpers") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define nvme_quiesce_io_queues nvme_stop_queues
#endif

/* Before 6.12 a reset hands out I/O before the shadow doorbells are set. */
#define HOMI_SHADOW_LATE (LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0))

/* 7.0 gives the handler a batch to complete into */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#define HOMI_END_IO_ARGS struct request *req, blk_status_t error
#else
#define HOMI_END_IO_ARGS struct request *req, blk_status_t error, \
			 const struct io_comp_batch *iob
#endif

/* 6.13, cdd30ebb1b9f ("module: Convert symbol namespace to string literal") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define HOMI_IMPORT_NS(ns) MODULE_IMPORT_NS(ns)
#else
#define HOMI_IMPORT_NS(ns) MODULE_IMPORT_NS(#ns)
#endif

/* --- interrupts --- */

/* 6.2, 34026364df8e ("PCI/MSI: Provide post-enable dynamic allocation interfaces for MSI-X") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#include <linux/pci.h>
struct msi_map {
	int index;
	int virq;
};

#define MSI_ANY_INDEX UINT_MAX

static inline bool pci_msix_can_alloc_dyn(struct pci_dev *pdev)
{
	return false;
}

static inline struct msi_map pci_msix_alloc_irq_at(struct pci_dev *pdev,
						   unsigned int index,
						   const void *affdesc)
{
	return (struct msi_map){ .index = -EOPNOTSUPP };
}

static inline void pci_msix_free_irq(struct pci_dev *pdev, struct msi_map map)
{
}
#endif

/* --- dma-buf --- */

/* 7.0 ("dma-buf: Rename .move_notify() callback to a clearer identifier") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#define HOMI_DMABUF_NOTICE move_notify
#define dma_buf_invalidate_mappings dma_buf_move_notify
#else
#define HOMI_DMABUF_NOTICE invalidate_mappings
#endif

/*
 * Before an option went that nobody has set (as 7.3 does) what is mapped of an exporter
 * that can pin is pinned by the core, for importers that could do without too.
 */
#define HOMI_DMABUF_CORE_PINS (LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0) && \
			       !IS_ENABLED(CONFIG_DMABUF_MOVE_NOTIFY))

/* --- io_uring --- */

/* 6.7 ("io_uring: split out cmd api into a separate header") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#include <linux/io_uring.h>
#else
#include <linux/io_uring/cmd.h>
#endif

/*
 * 6.6, fd9b8547bc5c ("io_uring: Pass whole sqe to commands"). Before 6.14 ("io_uring/
 * uring_cmd: switch sqe to async_data on EAGAIN") a command that is asked again is shown
 * the SQE in the ring, which is the caller's by then, and not the copy that was made of
 * it. It is made only then, so it is looked at only then; the mark is in a bit that each
 * command begins without.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0) && \
	LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
#define HOMI_URING_AGAIN	BIT(28)
#else
#define HOMI_URING_AGAIN	0
#endif

static inline const void *homi_uring_payload(struct io_uring_cmd *cmd)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
	return cmd->cmd;
#elif HOMI_URING_AGAIN
	const struct io_uring_sqe *copy = cmd_to_io_kiocb(cmd)->async_data;

	return cmd->flags & HOMI_URING_AGAIN ? copy->cmd : cmd->sqe->cmd;
#else
	return cmd->sqe->cmd;
#endif
}

/*
 * 7.0 hands task work another kind of token, and asks for one result less (both came
 * in steps before it). HOMI_URING_TASK_WORK(name, fn) makes of fn(cmd, issue_flags) what
 * io_uring_cmd_complete_in_task() takes.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#define HOMI_URING_TASK_WORK(name, fn)					\
	static void name(struct io_uring_cmd *cmd, unsigned int issue_flags) \
	{								\
		fn(cmd, issue_flags);					\
	}

static inline void homi_uring_done(struct io_uring_cmd *cmd, s32 ret,
				   unsigned int issue_flags)
{
	io_uring_cmd_done(cmd, ret, 0, issue_flags);
}
#else
#define HOMI_URING_TASK_WORK(name, fn)					\
	static void name(struct io_tw_req req, io_tw_token_t token)	\
	{								\
		fn(io_uring_cmd_from_tw(req),				\
		   IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);			\
	}

static inline void homi_uring_done(struct io_uring_cmd *cmd, s32 ret,
				   unsigned int issue_flags)
{
	io_uring_cmd_done(cmd, ret, issue_flags);
}
#endif

/* --- driver core --- */

/* 6.4, 1aaba11da9aa ("driver core: class: remove module * from class_create()") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#include <linux/device/class.h>
#undef class_create
#define class_create(name) __class_create_homi(name)
#define __class_create_homi(name) ({			\
	static struct lock_class_key __key;		\
	__class_create(THIS_MODULE, name, &__key);	\
})
#endif

/* 6.2, ff62b8e6588f ("driver core: make struct class.devnode() take a const *") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define HOMI_DEVNODE_DEVICE struct device
#else
#define HOMI_DEVNODE_DEVICE const struct device
#endif

/* 6.14, f1e8bf56320a ("driver core: Constify API device_find_child()") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
#define HOMI_MATCH_DATA void
#else
#define HOMI_MATCH_DATA const void
#endif

/* --- ftrace --- */

/* Renamed after 6.1; of the kernels in between none is in the matrix. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define ftrace_regs_set_instruction_pointer ftrace_instruction_pointer_set
#endif

/* --- leases --- */

/* 6.3, abf08576afe3 and others ("fs: port ... to pass mnt_idmap") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define mnt_idmap mnt_user_ns
#endif

/* --- names --- */

/* 6.4: exported before, but in no header for modules */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
int vfs_path_lookup(struct dentry *dentry, struct vfsmount *mnt,
		    const char *name, unsigned int flags, struct path *path);
#endif

/* 6.9 ("security: Introduce file_post_open hook"): what open() asks at last */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
#define security_file_post_open ima_file_check
#endif

/* 6.16 ("VFS: change lookup_one_common and lookup_noperm_common to take a qstr") */
static inline struct dentry *homi_lookup_one(struct vfsmount *mnt,
					     const char *name,
					     struct dentry *base)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
	return lookup_one_positive_unlocked(mnt_idmap(mnt), name, base,
					    strlen(name));
#else
	return lookup_one_positive_unlocked(mnt_idmap(mnt), &QSTR(name), base);
#endif
}

/* 6.17, ca115d7e7546 ("tree-wide: s/struct fileattr/struct file_kattr/g") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#define homi_fileattr fileattr
#else
#define homi_fileattr file_kattr
#endif

/* 6.13 ("xfs: Support atomic write for statx"): the largest atomic write of a file; before, 0 */
static inline int homi_atomic_write_max(const struct path *path, u32 *max)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
	*max = 0;
	return 0;
#else
	struct kstat stat;
	int ret = vfs_getattr_nosec(path, &stat, STATX_WRITE_ATOMIC, 0);

	*max = !ret && stat.result_mask & STATX_WRITE_ATOMIC ?
		       stat.atomic_write_unit_max : 0;
	return ret;
#endif
}

/* 6.13 likewise: that of the drive */
static inline u32 homi_bdev_atomic_max(struct block_device *bdev)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
	return 0;
#else
	return bdev_atomic_write_unit_max_bytes(bdev);
#endif
}

/* 6.9, c69ff4071935 ("filelock: split leases out of struct file_lock") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
#define file_lease file_lock
#define lease_manager_operations lock_manager_operations
#define locks_free_lease locks_free_lock
/* Also checks that the caller may; later versions leave that to vfs_setlease */
#define kernel_setlease vfs_setlease
#define homi_lease_core(lease, field) ((lease)->fl_##field)
#define homi_lease_list fl_list
#define homi_lease_end(lease) ((lease)->fl_end = OFFSET_MAX)
#define locks_alloc_lease locks_alloc_lock
#else
#include <linux/filelock.h>
#define homi_lease_core(lease, field) ((lease)->c.flc_##field)
#define homi_lease_list c.flc_list
#define homi_lease_end(lease) ((void)(lease))
#endif

/*
 * 7.0 ("filelock: allow lease_managers to dictate what qualifies as a conflict")
 * calls this for each lease. Before, the VFS looked itself for the plain ones, and
 * left it to the owner for delegations and layouts.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#define HOMI_LEASE_OPEN_CONFLICT
#else
#define HOMI_LEASE_OPEN_CONFLICT .lm_open_conflict = homi_lease_open_conflict,
#endif

#endif /* _HOMI_COMPAT_H */
