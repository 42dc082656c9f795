// SPDX-License-Identifier: GPL-2.0-only
/*
 * MEM of user pages: pinned, and mapped for DMA by the function.
 */
#include <linux/bvec.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/scatterlist.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "mem.h"

/* The page array is one allocation, which may not be larger than this. */
#define HOMI_MEM_MAX_PAGES	(INT_MAX / sizeof(struct page *))
/* Between two looks for a fatal signal, or for who else wants the CPU or a lock. */
#define HOMI_MEM_PIN_PAGES	4096

/* What would need a sync is refused, so there is nothing to copy at the end. */
#define HOMI_MEM_DMA_ATTRS	(DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN)

/**
 * struct homi_mem_user - a MEM of user pages
 * @mem: must be first; @mapped is guarded by ctrl->dma_lock
 * @mm: whose locked_vm counts @nr_pages; holds mm_count
 * @pages: all pages, in order
 * @nr_pages: length of the MEM
 * @pinned: how many of @pages are pinned; all of them once registered
 * @users: I/O of the kernel's on @pages, and one until it is destroyed
 * @runs: @pages for that I/O; NULL before
 * @sgt: @pages for the DMA API
 *
 * Nothing that waits for I/O is done under dma_lock: pages are pinned before
 * the object can be found, and unpinned when it can't be found any more.
 */
struct homi_mem_user {
	struct homi_mem mem;
	struct mm_struct *mm;
	struct page **pages;
	unsigned long nr_pages;
	unsigned long pinned;
	refcount_t users;
	struct homi_runs *runs;
	struct sg_table sgt;
};

/**
 * struct homi_runs - pages in pieces that lie together
 * @nr: how many
 * @first: of each, which page of the MEM its first one is; then the number of pages
 * @bvec: them; behind @first
 */
struct homi_runs {
	unsigned int nr;
	struct bio_vec *bvec;
	u32 first[];
};

static struct homi_mem_user *to_user(struct homi_object *obj)
{
	return container_of(to_mem(obj), struct homi_mem_user, mem);
}

/* --- pages --- */

/* RCU keeps the inode of a page that is truncated meanwhile. */
static bool homi_folio_is_shmem(struct folio *folio)
{
	struct address_space *mapping;
	bool shmem;

	rcu_read_lock();
	mapping = folio_mapping(folio);
	shmem = mapping && shmem_mapping(mapping);
	rcu_read_unlock();
	return shmem;
}

/*
 * Files of real file systems are out: writes to their pages behind the file
 * system's back corrupt it, and kernels before 6.5 let them be pinned.
 */
static int homi_mem_user_check_pages(struct page **pages, unsigned long nr)
{
	struct folio *folio, *good = NULL;
	unsigned long i;

	for (i = 0; i < nr; i++) {
		folio = page_folio(pages[i]);
		if (folio == good)
			continue;
		if (!folio_test_anon(folio) && !PageHuge(pages[i]) &&
		    !homi_folio_is_shmem(folio))
			return -EOPNOTSUPP;
		good = folio;
	}
	return 0;
}

/* What of the errors that pages of devices have is in the contract */
static int homi_mem_user_pin_error(int err)
{
	switch (err) {
	case 0:
		return -EFAULT;
	case -EFAULT:
	case -ENOMEM:
	case -EAGAIN:
	case -EINTR:
		return err;
	default:
		return -EOPNOTSUPP;
	}
}

static int homi_mem_user_pin(struct homi_mem_user *user, unsigned long addr)
{
	unsigned int flags = FOLL_LONGTERM;
	int ret;

	if (user->mem.dir == DMA_BIDIRECTIONAL)
		flags |= FOLL_WRITE;
	while (user->pinned < user->nr_pages) {
		struct page **pages = user->pages + user->pinned;

		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		ret = homi_compat_pin(addr + (user->pinned << PAGE_SHIFT),
				      min_t(unsigned long,
					    user->nr_pages - user->pinned,
					    HOMI_MEM_PIN_PAGES), flags, pages);
		if (ret <= 0)
			return homi_mem_user_pin_error(ret);
		user->pinned += ret;
		ret = homi_mem_user_check_pages(pages, ret);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * The pages; their mapping is gone. @written: the function may have done so; pages
 * that were refused are not to be dirtied behind their file system's back. Takes the
 * mmap_lock of whose they are.
 */
static void homi_mem_user_unpin(struct homi_mem_user *user, bool written)
{
	unsigned long done, n;

	for (done = 0; done < user->pinned; done += n) {
		n = min_t(unsigned long, user->pinned - done,
			  HOMI_MEM_PIN_PAGES);
		unpin_user_pages_dirty_lock(user->pages + done, n, written);
		cond_resched();
	}
	account_locked_vm(user->mm, user->nr_pages, false);
	mmdrop(user->mm);
}

/* The rest */
static void homi_mem_user_release(struct homi_mem_user *user)
{
	sg_free_table(&user->sgt);
	kvfree(user->runs);
	kvfree(user->mem.segments);
	kvfree(user->pages);
	kfree(user);
}

static int homi_mem_user_fill(struct homi_mem_user *user, struct device *dev,
			      unsigned long addr)
{
	int ret;

	/* How many there are to be is the caller's word: no cause for complaint. */
	user->pages = kvmalloc_array(user->nr_pages, sizeof(*user->pages),
				     GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!user->pages)
		return -ENOMEM;
	ret = homi_mem_user_pin(user, addr);
	if (ret || user->mem.pages_only)
		return ret;
	ret = sg_alloc_table_from_pages_segment(&user->sgt, user->pages,
						user->nr_pages, 0,
						user->nr_pages << PAGE_SHIFT,
						dma_get_max_seg_size(dev),
						GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;
	/* The DMA mapping may join entries, never split one. */
	user->mem.segments = kvmalloc_array(user->sgt.orig_nents,
					    sizeof(*user->mem.segments),
					    GFP_KERNEL_ACCOUNT | __GFP_ZERO |
					    __GFP_NOWARN);
	return user->mem.segments ? 0 : -ENOMEM;
}

/* A MEM with its pages, not mapped and not an object yet. */
static struct homi_mem_user *homi_mem_user_alloc(struct homi_mem_register *cmd,
						 struct device *dev)
{
	struct homi_mem_user *user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!user)
		return ERR_PTR(-ENOMEM);
	homi_mem_init(&user->mem, cmd);
	refcount_set(&user->users, 1);
	user->nr_pages = cmd->length >> PAGE_SHIFT;
	ret = account_locked_vm(current->mm, user->nr_pages, true);
	if (ret) {
		kfree(user);
		return ERR_PTR(ret);
	}
	user->mm = current->mm;
	mmgrab(user->mm);
	ret = homi_mem_user_fill(user, dev, cmd->addr);
	if (ret) {
		homi_mem_user_unpin(user, false);
		homi_mem_user_release(user);
		return ERR_PTR(ret);
	}
	return user;
}

/* --- DMA --- */

static void homi_mem_user_unmap(struct homi_mem_user *user)
{
	struct homi_ctrl *ctrl = user->mem.obj.ctx->ctrl;

	lockdep_assert_held(&ctrl->dma_lock);
	if (!user->mem.mapped)
		return;
	/*
	 * Nothing is waited for under this lock. DESTROY and removal have closed it
	 * before; the end of an open file comes after all that io_uring did with it.
	 */
	homi_inflight_close(&user->mem.inflight);
	dma_unmap_sgtable(&ctrl->nvme.pdev->dev, &user->sgt, user->mem.dir,
			  HOMI_MEM_DMA_ATTRS);
	WRITE_ONCE(user->mem.mapped, false);
}

/*
 * Nobody is kept waiting for all pages of a large one, a removal say. If that came
 * meanwhile nothing may be mapped any more, and the domain gone; else both are there.
 */
static int homi_mem_user_breathe(struct homi_ctrl *ctrl)
{
	mutex_unlock(&ctrl->dma_lock);
	cond_resched();
	mutex_lock(&ctrl->dma_lock);
	return ctrl->gone ? -ENODEV : 0;
}

/* By the page tables of the IOMMU */
static int homi_mem_user_check_iommu(struct homi_mem_user *user,
				     struct homi_ctrl *ctrl,
				     struct iommu_domain *domain)
{
	unsigned long page = 0;
	struct scatterlist *sg;
	int i, ret;
	u64 off;

	for_each_sgtable_dma_sg(&user->sgt, sg, i) {
		for (off = 0; off < sg_dma_len(sg); off += PAGE_SIZE, page++) {
			if (page && !(page % HOMI_MEM_PIN_PAGES)) {
				ret = homi_mem_user_breathe(ctrl);
				if (ret)
					return ret;
			}
			if (page >= user->nr_pages ||
			    iommu_iova_to_phys(domain, sg_dma_address(sg) +
					       off) !=
			    page_to_phys(user->pages[page]))
				return -EOPNOTSUPP;
		}
	}
	return 0;
}

/*
 * Does the function reach the pages themselves, not copies? Behind an IOMMU
 * dma_need_sync() can't tell: before 6.10 it always says yes, later it speaks
 * for all that the device ever mapped. There the page tables are asked. 0, or
 * -EOPNOTSUPP, or -ENODEV; dma_lock is let go at times.
 */
static int homi_mem_user_check_direct(struct homi_mem_user *user,
				      struct homi_ctrl *ctrl)
{
	struct device *dev = &ctrl->nvme.pdev->dev;
	struct iommu_domain *domain = homi_mem_domain(dev);
	struct scatterlist *sg;
	int i;

	if (!dev_is_dma_coherent(dev))
		return -EOPNOTSUPP;
	if (domain)
		return homi_mem_user_check_iommu(user, ctrl, domain);
	for_each_sgtable_dma_sg(&user->sgt, sg, i)
		if (dma_need_sync(dev, sg_dma_address(sg)))
			return -EOPNOTSUPP;
	return 0;
}

static int homi_mem_user_map_locked(struct homi_mem_user *user,
				    struct homi_ctrl *ctrl, u32 *reason)
{
	struct device *dev = &ctrl->nvme.pdev->dev;
	int ret;

	lockdep_assert_held(&ctrl->dma_lock);
	if (ctrl->gone)
		return -ENODEV;
	ret = dma_map_sgtable(dev, &user->sgt, user->mem.dir, HOMI_MEM_DMA_ATTRS);
	/* Out of IOVA space; or out of reach, and no bounce buffer fits. */
	*reason = HOMI_REASON_BOUNCED;
	if (ret)
		return ret == -ENOMEM || homi_mem_domain(dev) ? -ENOMEM :
								-EOPNOTSUPP;
	WRITE_ONCE(user->mem.mapped, true);
	*reason = HOMI_REASON_PIECES;
	ret = homi_mem_list(&user->mem, &user->sgt, 0, ctrl->page_size);
	if (!ret) {
		*reason = HOMI_REASON_BOUNCED;
		ret = homi_mem_user_check_direct(user, ctrl);
	}
	if (ret)
		homi_mem_user_unmap(user);
	return ret;
}

/* Also says where it is: pages of processes are in the system's memory. */
static int homi_mem_user_map(struct homi_mem_user *user, struct homi_ctrl *ctrl,
			     u32 *reason)
{
	int ret;

	user->mem.where.placement = HOMI_PLACEMENT_HOST;
	if (user->mem.pages_only)
		return homi_ctrl_is_gone(ctrl) ? -ENODEV : 0;
	mutex_lock(&ctrl->dma_lock);
	ret = homi_mem_user_map_locked(user, ctrl, reason);
	mutex_unlock(&ctrl->dma_lock);
	if (ret != -EOPNOTSUPP)
		*reason = HOMI_REASON_NONE;
	return ret;
}

/* --- the object --- */

static void homi_mem_user_release_dma(struct homi_object *obj)
{
	homi_mem_user_unmap(to_user(obj));
}

static void homi_mem_user_drop(struct homi_mem_user *user)
{
	if (!refcount_dec_and_test(&user->users))
		return;
	homi_mem_user_unpin(user, user->mem.dir == DMA_BIDIRECTIONAL);
	homi_quota_uncharge(user->mem.obj.ctx, HOMI_QUOTA_PAGES, user->nr_pages);
}

/*
 * Whoever took it out of the table has released its DMA mapping. The last
 * reference may be a queue's, and go in a munmap() or in a reset: so not there.
 */
static void homi_mem_user_revoke(struct homi_object *obj)
{
	homi_mem_end(to_mem(obj));
	homi_mem_user_drop(to_user(obj));
}

/* Does page @i lie behind the one before? Not if one number had to be too large. */
static bool homi_page_goes_on(struct homi_mem_user *user, unsigned long i,
			      unsigned long first)
{
	struct page *page = user->pages[i], *last = user->pages[i - 1];

	return i - first < SZ_1G >> PAGE_SHIFT && page == last + 1 &&
	       page_to_pfn(page) == page_to_pfn(last) + 1;
}

static unsigned int homi_runs_fill(struct homi_mem_user *user,
				   struct homi_runs *runs)
{
	unsigned long i, first = 0;
	unsigned int nr = 0;

	for (i = 1; i <= user->nr_pages; i++) {
		if (i < user->nr_pages && homi_page_goes_on(user, i, first))
			continue;
		if (runs) {
			runs->first[nr] = first;
			runs->bvec[nr].bv_page = user->pages[first];
			runs->bvec[nr].bv_len = (i - first) << PAGE_SHIFT;
			runs->bvec[nr].bv_offset = 0;
		}
		nr++;
		first = i;
		if (!(nr % 4096))
			cond_resched();
	}
	if (runs)
		runs->first[nr] = user->nr_pages;
	return nr;
}

static struct homi_runs *homi_runs_make(struct homi_mem_user *user)
{
	unsigned int nr = homi_runs_fill(user, NULL);
	struct homi_runs *runs, *old;
	size_t head = ALIGN(struct_size(runs, first, nr + 1), 8);

	/* Of a very large one it would not be had. */
	runs = kvmalloc(size_add(head, array_size(nr, sizeof(*runs->bvec))),
			GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!runs)
		return NULL;
	runs->nr = nr;
	runs->bvec = (void *)runs + head;
	homi_runs_fill(user, runs);
	/* Its contents before its address; others read that without a lock. */
	old = cmpxchg_release(&user->runs, NULL, runs);
	if (!old)
		return runs;
	kvfree(runs);
	return old;
}

/**
 * homi_mem_hold_pages - pages for I/O of the kernel's
 * @mem: the caller has a reference, and keeps it as long
 * @may_wait: or -EAGAIN if that would be needed
 *
 * They stay pinned until homi_mem_drop_pages(), also if @mem is destroyed.
 *
 * Return: 0, -EOPNOTSUPP if it has no pages, -ENOENT if it is destroyed
 */
int homi_mem_hold_pages(struct homi_mem *mem, bool may_wait)
{
	struct homi_mem_user *user;

	if (mem->type != HOMI_MEM_USER)
		return -EOPNOTSUPP;
	user = to_user(&mem->obj);
	if (!READ_ONCE(user->runs) && !may_wait)
		return -EAGAIN;
	if (!READ_ONCE(user->runs) && !homi_runs_make(user))
		return -ENOMEM;
	return refcount_inc_not_zero(&user->users) ? 0 : -ENOENT;
}

static unsigned int homi_run_of(const struct homi_runs *runs, unsigned long page)
{
	unsigned int low = 0, high = runs->nr;

	while (high - low > 1) {
		unsigned int middle = low + (high - low) / 2;

		if (runs->first[middle] <= page)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/**
 * homi_mem_iter - a part of a MEM, to be read from or written to
 * @mem: its pages are held
 * @iter: out
 * @direction: ITER_SOURCE or ITER_DEST
 * @offset: bytes from its start
 * @length: bytes, at least 1
 */
void homi_mem_iter(struct homi_mem *mem, struct iov_iter *iter,
		   unsigned int direction, u64 offset, size_t length)
{
	const struct homi_runs *runs;
	unsigned int from, to;
	size_t skip;

	/* Its address before its contents: see homi_runs_make(). */
	runs = smp_load_acquire(&to_user(&mem->obj)->runs);
	from = homi_run_of(runs, offset >> PAGE_SHIFT);
	to = homi_run_of(runs, (offset + length - 1) >> PAGE_SHIFT);
	skip = offset - ((u64)runs->first[from] << PAGE_SHIFT);
	iov_iter_bvec(iter, direction, runs->bvec + from, to - from + 1, length);
	iter->iov_offset = skip;
}

/**
 * homi_mem_drop_pages - and that I/O is done
 * @mem: as it was held
 */
void homi_mem_drop_pages(struct homi_mem *mem)
{
	homi_mem_user_drop(to_user(&mem->obj));
}

/**
 * homi_mem_page - the page with a byte of a MEM
 * @mem: of type HOMI_MEM_USER; the caller has entered it
 * @offset: of the byte, below its length
 */
struct page *homi_mem_page(struct homi_mem *mem, u64 offset)
{
	return to_user(&mem->obj)->pages[offset >> PAGE_SHIFT];
}

static void homi_mem_user_free(struct homi_object *obj)
{
	homi_mem_user_release(to_user(obj));
}

static const struct homi_object_ops homi_mem_user_ops = {
	.is_busy = homi_mem_is_busy,
	.revoke = homi_mem_user_revoke,
	.release_dma = homi_mem_user_release_dma,
	.free = homi_mem_user_free,
};

/**
 * homi_mem_user - MEM_REGISTER of pages of the caller
 * @ctx: the open file
 * @cmd: checked as far as both kinds are alike
 *
 * Return: mapped and not published yet, or an ERR_PTR()
 */
struct homi_mem *homi_mem_user(struct homi_ctx *ctx,
			       struct homi_mem_register *cmd)
{
	struct homi_ctrl *ctrl = ctx->ctrl;
	u64 nr_pages = cmd->length >> PAGE_SHIFT;
	struct homi_mem_user *user;
	int ret;

	if (nr_pages > HOMI_MEM_MAX_PAGES)
		return ERR_PTR(-EINVAL);
	if (cmd->addr + cmd->length > ULONG_MAX)
		return ERR_PTR(-EFAULT);
	ret = homi_quota_charge(ctx, HOMI_QUOTA_PAGES, nr_pages);
	if (ret)
		return ERR_PTR(ret);
	user = homi_mem_user_alloc(cmd, &ctrl->nvme.pdev->dev);
	if (IS_ERR(user)) {
		ret = PTR_ERR(user);
		/* The only thing that is said of pages before they are mapped */
		if (ret == -EOPNOTSUPP)
			cmd->out_reason = HOMI_REASON_FILE_PAGES;
		goto err_uncharge;
	}
	/* From here on the object is what is charged. */
	ret = homi_object_reserve(ctx, &user->mem.obj, HOMI_OBJ_MEM,
				  &homi_mem_user_ops);
	if (ret) {
		homi_mem_user_unpin(user, false);
		homi_mem_user_release(user);
		goto err_uncharge;
	}
	ret = homi_mem_user_map(user, ctrl, &cmd->out_reason);
	if (ret) {
		homi_object_abort(&user->mem.obj);
		return ERR_PTR(ret);
	}
	return &user->mem;

err_uncharge:
	homi_quota_uncharge(ctx, HOMI_QUOTA_PAGES, nr_pages);
	return ERR_PTR(ret);
}
