/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_H
#define _HOMI_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/nvme.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <uapi/linux/homi.h>

#include "inflight.h"
#include "nvme_glue.h"
#include "quota.h"

/*
 * Long because locks, references and what they guard have to be read together.
 *
 * DOC: Locks, outer first
 *
 *   ctrl->reserve_lock		mutex: one RESERVE at a time, its reset included
 *   device_lock(&pdev->dev)	attach and unbind of one controller
 *   q->delete_lock		mutex: the commands that delete a queue, and all of those
 *				that make it anew. Taken with none of ours held; a
 *				dma-buf's fence may wait for it, so what takes a
 *				reservation lock does not come inside.
 *   homi_ctrls_lock		mutex: the list of controllers, their minors. The
 *				kernel's lock of module parameters comes outside.
 *   ctx->lock			mutex: which objects of an open file are visible
 *   e->lock			mutex: the leases of an EXTENT and its state. The VFS's
 *				lease locks come inside, and a trylock of i_rwsem; what
 *				waits for a file system or for the controller does not.
 *   mmap_lock			(of the mm; page faults and munmap come in here)
 *   ctx->map_lock		rwsem: read by page faults, written by whoever makes
 *				a mapping illegal, before it zaps
 *   ctrl->nvme.gate		rwsem: read while an admin command is handed to
 *				stock, which does not wait; written by the reset
 *				wrapper, to have none on its way. Alone.
 *   ctrl->irq_lock		mutex: the vectors of queues, and the poller's beginning and
 *				end. Whoever holds it does not wait for the controller.
 *   ctrl->dma_lock		mutex: every map, unmap, allocation and free of DMA
 *				memory for the function, and the step to "gone". No
 *				user page is faulted in and no command is sent under
 *				it, so removal waits only for mapping work. Not for
 *				dma-bufs, see "Taking it back" in mem_import.c.
 *   export->resv		reservation lock of doorbells that were exported, which
 *				importers take; ctrl->lock comes inside. As above.
 *   import->end_lock		mutex: attaching and detaching of one dma-buf; its
 *				reservation lock, which is the exporter's too, comes
 *				inside, and ctrl->lock. Taken with none of ours held;
 *				removal has the device's.
 *   ctrl->lock			spinlock: states, generation, lists, queue id map,
 *				and writing to stock's shadow pages
 *   user->lock			spinlock: the budget of a user, and who waits for it,
 *				who holds none of all these meanwhile
 *   wait->lock			spinlock, also of interrupts: who waits for a queue's
 *				completions. An eventfd's comes inside.
 *
 * The reset wrapper takes ctx->map_lock, ctrl->nvme.gate, irq_lock and ctrl->lock, when the
 * controller was disabled ctrl->dma_lock, and when stock gives it up e->lock, so
 * nothing that holds one of these may wait for the controller.
 *
 * DOC: References
 *
 *   open file -> ctx -> ctrl
 *   stock's binding, ctx, live_work -> what stock has of a ctrl (nvme.users); the
 *   latter two with a reference to stock's module, whose code the last one runs
 *   object -> ctx; table entry -> object; each mapping -> object (and open file)
 *   controller hardware -> queue ("hw reference"): from before Create CQ until
 *   the queue is known to be deleted or the controller disabled
 */

struct dma_pool;
struct eventfd_ctx;
struct homi_ctx;
struct homi_object;
struct homi_queue;
struct poll_table_struct;

/* What tests do to queue creation and deletion, see debugfs.c */
enum homi_fault {
	HOMI_FAULT_NONE,
	HOMI_FAULT_FAIL,	/* not sent, an error status */
	HOMI_FAULT_HANG,	/* not sent, no answer in time */
	HOMI_FAULT_LOSE,	/* executed, no answer in time */
};

/* Bytes for a short PRP list; most need no more, and what is allocated is cleared */
#define HOMI_SHORT_LIST		256

/*
 * Work that waits, for a file system say: each controller has queues of its own for it, so
 * that one that hangs in a reset holds up nobody who uses another one. And one for each
 * kind: what is on a later one here may have to end before one on an earlier one can.
 */
enum homi_work {
	HOMI_WORK_IO,		/* the rest of a READ or WRITE, by the file system */
	HOMI_WORK_DURABLE,	/* waits for a file system, too, and keeps it from freezing */
	HOMI_WORK_WRITTEN,	/* waits for locked pages, and then lets blocks go */
	HOMI_WORKS
};

/* Who does a READ or WRITE */
enum homi_way {
	HOMI_BY_FS,
	HOMI_BY_EXTENTS,
	HOMI_WAYS,
};

/* What READ and WRITE did by each way; [0] of reads, [1] of writes */
struct homi_io_counts {
	struct {
		atomic64_t ios[2];
		atomic64_t bytes[2];
		atomic64_t errors;
	} by[HOMI_WAYS];
};

/**
 * struct homi_ctrl - one NVMe controller (PCI function) bound to stock nvme
 * @entry: in homi_ctrls; guarded by homi_ctrls_lock
 * @nvme: what the glue knows; constant while attached, see nvme.users
 * @ops: the glue's operations, or a mock's
 * @dev: our class device, whose references keep this structure
 * @cdev: the character device
 * @added: it is known whether its node could be made; see homi_ctrl_wait_added()
 * @bar: our own mapping of the register page; NULL after detach
 * @bar_phys: bus address of BAR0 as the CPU sees it
 * @bar_len: bytes in BAR0
 * @msix: byte ranges of BAR0 that hold the MSI-X table and its PBA, or empty
 * @cap: CAP, read at attach
 * @stride: bytes from one doorbell to the next
 * @page_size: CC.MPS in bytes
 * @max_transfer: MDTS in bytes, 0 for none
 * @takes_sgl: of I/O commands that stock sends
 * @max_depth: CAP.MQES + 1
 * @reason: enum homi_reason why this controller never lends; fixed at attach
 * @reserve_lock: see above
 * @identify_lock: one Identify at a time for all who may ask, so that the few
 *	admin commands there are stay free for stock and for deletions
 * @dma_lock: see above
 * @gone: no DMA mapping is made any more; guarded by dma_lock, set once
 * @lock: guards the fields below
 * @state: enum homi_ctrl_state
 * @generation: counts resets, or what may become one, from 1
 * @enabled_generation: generation in which the controller was last enabled
 * @hook_generation: generation in which it was last seen to be live. It is
 *	lent from only while all these are the same: each hook is known to run.
 * @granted: I/O queue pairs granted, read again after each reset
 * @kernel_queues: highest queue id that stock could take. With a reservation
 *	in this generation, else ever; it is never on or above an id in @qids.
 * @stock_max: highest queue id that stock could ever take; fixed at attach
 * @stock_short: stock asked for more queues than it was left
 * @reserved: queue pairs that stock leaves, as of the last enabling
 * @reserve_wanted: likewise, to be tried at the next one
 * @reach: highest queue id whose doorbells can be reached
 * @lent: number of bits in @qids
 * @qids: one bit per queue id lent or quarantined
 * @ctxs: open files, struct homi_ctx.entry
 * @users: who opened them, struct homi_user.entry
 * @used: what all of these hold, by enum homi_quota
 * @limits: of what they may
 * @queues: all queues not yet freed, struct homi_queue.entry; to change it
 *	takes dma_lock besides, so either lock is enough to walk it
 * @imports: dma-bufs that the function is attached to, struct homi_import.entry
 * @exports: dma-bufs of its doorbells, struct homi_export.entry
 * @past: what open files did that are closed
 * @opened: how many there ever were
 * @recalls: EXTENTs that somebody else wanted the blocks of, ever; those that homi has
 *	for itself too
 * @revoked: EXTENTs that were taken from their holders, ever
 * @refused: commands that ended as homi_refused() says, ever
 * @exports_mapped: mappings that importers have of these
 * @wait: woken when a queue becomes dead, the state changes, an import ends,
 *	the last mapping of an export, or the last I/O of what was closed to it
 * @inflight: I/O by extents, while it needs the function; closed when that is off the bus
 * @lists: PRP lists of that I/O, a page each; and short ones
 * @fault: what a test wants instead of the next admin commands of one kind
 * @irq_lock: see above
 * @vectors: queues that have one, struct homi_wait.vectors; guarded by irq_lock
 * @poller: looks at @polled; written under irq_lock, NULL before somebody waits
 * @polled: queues that somebody waits for, struct homi_wait.polled
 * @live_work: after a reset: learn what is granted now, then be live again. Has
 *	references while it is queued, runs, or waits to ask once more.
 * @debugfs: our directory
 * @works: constant; see enum homi_work
 * @free_work: the end of it: the last reference may be one of who must not wait for @works
 */
struct homi_ctrl {
	struct list_head entry;
	struct homi_nvme nvme;
	const struct homi_nvme_ops *ops;
	struct device dev;
	struct cdev cdev;
	bool added;
	void __iomem *bar;
	phys_addr_t bar_phys;
	resource_size_t bar_len;
	struct {
		u64 start;
		u64 end;
	} msix[2];
	u64 cap;
	u32 stride;
	u32 page_size;
	u64 max_transfer;
	bool takes_sgl;
	u32 max_depth;
	u32 reason;
	struct mutex reserve_lock;	/* see "Locks" */
	struct mutex identify_lock;	/* outermost */
	struct mutex dma_lock;	/* see "Locks" */
	bool gone;
	spinlock_t lock;	/* see "Locks" */
	u32 state;
	u64 generation;
	u64 enabled_generation;
	u64 hook_generation;
	u32 granted;
	u32 kernel_queues;
	u32 stock_max;
	bool stock_short;
	u32 reserved;
	u32 reserve_wanted;
	u32 reach;
	u32 lent;
	unsigned long *qids;
	struct list_head ctxs;
	struct list_head users;
	u64 used[HOMI_QUOTA_KINDS];
	struct homi_limits limits;
	struct list_head queues;
	struct list_head imports;
	struct list_head exports;
	atomic_t exports_mapped;
	struct homi_io_counts past;
	u64 opened;
	atomic64_t recalls;
	atomic64_t revoked;
	atomic64_t refused;
	wait_queue_head_t wait;
	struct {
		u8 opcode;
		enum homi_fault mode;
		u32 count;
	} fault;
	struct mutex irq_lock;	/* see "Locks" */
	struct list_head vectors;
	struct task_struct *poller;
	struct list_head polled;
	struct delayed_work live_work;
	struct homi_inflight inflight;
	struct dma_pool *lists[2];
	struct dentry *debugfs;
	struct workqueue_struct *works[HOMI_WORKS];
	struct work_struct free_work;
};

#define HOMI_MAX_QID	65535

/* Is I/O by extents limited at all? All that it costs where it is not */
static inline bool homi_budget_is_set(const struct homi_ctrl *ctrl)
{
	return READ_ONCE(ctrl->limits.budget);
}

/*
 * As stock calls it, "nvme0", also when that has forgotten it; a mock has no name.
 */
static inline const char *homi_ctrl_name(const struct homi_ctrl *ctrl)
{
	return dev_name(&ctrl->dev) ?: "";
}

struct homi_io;

/**
 * struct homi_ctx - one open file of /dev/homi/nvmeN
 * @ref: held by the file and by each object
 * @ctrl: the controller; holds a reference
 * @entry: in ctrl->ctxs; guarded by ctrl->lock
 * @nr: of all that the controller ever had, from 1; constant
 * @closed: it is: what is left of it waits for something. To be shown only.
 * @objects: id to struct homi_object, published or not yet
 * @near: some of these, by the last bits of their ids; guarded by @objects' lock
 * @spares: struct homi_io, for the next READs and WRITEs; likewise
 * @nr_spares: how many; likewise
 * @lock: guards which ids are visible, and @dma_users going up
 * @dma_users: queues of this file that the controller may still act on
 * @revoking: recalls, and ends of EXTENTs, that hold off new queues; guarded by
 *	@lock
 * @map_lock: see above
 * @inode: private, so that all mappings of this file have one address_space
 * @park: page that doorbell mappings of lost queues lead to
 * @event: who is told of the controller's state, or NULL; guarded by ctrl->lock
 * @recalled: its extents that are recalled, not acknowledged and not destroyed
 * @completed: its queues that somebody waited for, was woken, and has not armed again
 * @completions: woken when that goes up
 * @extents: generations that its extents have used up
 * @io: what it did
 * @user: whose quotas what it holds counts against
 * @pid: of who opened it; to be shown only
 * @dma_released: the function is off the bus and @objects were told;
 *	guarded by ctrl->lock
 * @watch: looks at the namespaces of its extents; see extent_ns.c
 * @teardown: finishes a close that had to wait for the controller
 * @revoked: dma-bufs that exporters want back, struct homi_import.revoked
 * @unmapped: those that no queue can reach any more, likewise
 * @imports_work: for @revoked
 * @unmap_work: for @unmapped
 */
struct homi_ctx {
	struct kref ref;
	struct homi_ctrl *ctrl;
	struct list_head entry;
	u64 nr;
	bool closed;
	struct xarray objects;
	struct homi_object *near[16];
	struct homi_io *spares;
	unsigned int nr_spares;
	struct mutex lock;	/* see "Locks" */
	atomic_t dma_users;
	unsigned int revoking;
	struct rw_semaphore map_lock;
	struct inode *inode;
	atomic64_t extents;
	struct page *park;
	struct eventfd_ctx *event;
	atomic_t recalled;
	atomic_t completed;
	wait_queue_head_t completions;
	struct homi_io_counts io;
	struct homi_user *user;
	struct pid *pid;
	bool dma_released;
	struct delayed_work watch;
	struct work_struct teardown;
	struct llist_head revoked;
	struct llist_head unmapped;
	struct work_struct imports_work;
	struct work_struct unmap_work;
};

enum homi_object_type {
	HOMI_OBJ_ANY,
	HOMI_OBJ_QUEUE,
	HOMI_OBJ_MEM,
	HOMI_OBJ_EXTENT,
	HOMI_OBJ_SET,
	HOMI_OBJ_FILE,
};

/* What a mmap cookie means. DB to EVENT stand together: a reset zaps these. */
enum homi_region {
	HOMI_REGION_NONE,
	HOMI_REGION_SQ,
	HOMI_REGION_CQ,
	HOMI_REGION_DB,
	HOMI_REGION_SHADOW,
	HOMI_REGION_EVENT,
	HOMI_REGION_TABLE,
};

/**
 * struct homi_object_ops - what the kinds of objects do
 * @has_news: has what an eventfd tells of happened already? Called with
 *	ctrl->lock held. NULL: nothing ever happens to it.
 * @is_busy: may it not be destroyed now? Called with ctx->lock held.
 * @bars_queues: must no queue be made from @is_busy to the end of @revoke?
 * @revoke: the id is gone: stop all use. May sleep. Called once, without locks.
 * @release_dma: the function is off the bus: give back all DMA memory. Called
 *	with ctrl->dma_lock held, once or more often, before or without @revoke.
 * @free: the last reference is gone. May sleep.
 * @region_size: bytes of a region that can be mapped, 0 if there is none such
 * @fault: make the page of @region that @vmf asks for appear. Called with
 *	ctx->map_lock held for reading.
 */
struct homi_object_ops {
	bool (*has_news)(struct homi_object *obj);
	bool (*is_busy)(struct homi_object *obj);
	bool (*bars_queues)(struct homi_object *obj);
	void (*revoke)(struct homi_object *obj);
	void (*release_dma)(struct homi_object *obj);
	void (*free)(struct homi_object *obj);
	size_t (*region_size)(struct homi_object *obj, enum homi_region region);
	vm_fault_t (*fault)(struct homi_object *obj, enum homi_region region,
			    struct vm_fault *vmf);
};

/**
 * struct homi_object - head of each object, first member of its structure
 * @ref: see "References"
 * @type: its kind
 * @id: on its open file
 * @ctx: the open file; holds a reference
 * @ops: of its kind
 * @published: may be looked up; guarded by the lock of ctx->objects
 * @dead: destroyed: mappings that are left get SIGBUS. Written under map_lock.
 * @event: who is told of its news, or NULL; guarded by ctrl->lock
 */
struct homi_object {
	struct kref ref;
	enum homi_object_type type;
	u32 id;
	struct homi_ctx *ctx;
	const struct homi_object_ops *ops;
	bool published;
	bool dead;
	struct eventfd_ctx *event;
};

/* object.c */
int homi_object_reserve(struct homi_ctx *ctx, struct homi_object *obj,
			enum homi_object_type type,
			const struct homi_object_ops *ops);
void homi_object_publish(struct homi_object *obj);
void homi_object_abort(struct homi_object *obj);
struct homi_object *homi_object_find(struct homi_ctx *ctx, u32 id,
				     enum homi_object_type type);
struct homi_object *homi_object_get(struct homi_ctx *ctx, u32 id,
				    enum homi_object_type type);
struct homi_object *homi_object_next(struct homi_ctx *ctx, unsigned long *id,
				     enum homi_object_type type);
void homi_object_put(struct homi_object *obj);
int homi_object_destroy(struct homi_ctx *ctx, u32 id);
void homi_object_zap(struct homi_object *obj);
void homi_ctx_release_dma(struct homi_ctx *ctx);
struct homi_ctx *homi_ctx_alloc(struct homi_ctrl *ctrl);
void homi_ctx_put(struct homi_ctx *ctx);
void homi_ctx_close(struct homi_ctx *ctx);
u64 homi_cookie(struct homi_object *obj, enum homi_region region);
int homi_mmap(struct homi_ctx *ctx, struct vm_area_struct *vma);
void homi_ctx_zap_doorbells(struct homi_ctx *ctx);
void homi_ctx_zap_all(struct homi_ctx *ctx);
int homi_object_init(void);
void homi_object_exit(void);

/**
 * struct homi_call - one command on its way through its handler
 * @ctx: the open file
 * @cmd: the command structure, copied in and extended by zeroes
 * @created: set by a handler that made an object; the caller publishes it when
 *	the answer has reached user space, and aborts it otherwise
 * @file: set by a handler whose answer is a descriptor, to what it shall be of:
 *	likewise
 * @fd: reserved for @file
 */
struct homi_call {
	struct homi_ctx *ctx;
	void *cmd;
	struct homi_object *created;
	struct file *file;
	int fd;
};

/* ctrl.c */
extern struct workqueue_struct *homi_wq;
int homi_ctrl_init(void);
void homi_ctrl_exit(void);
bool homi_ctrl_scan(void);
void homi_ctrl_unbind(struct pci_dev *pdev);
void homi_ctrl_unbound(struct pci_dev *pdev);
void homi_ctrl_detach_all(void);
struct homi_ctrl *homi_ctrl_get(struct homi_ctrl *ctrl);
void homi_ctrl_put(struct homi_ctrl *ctrl);
bool homi_ctrl_enter_stock(struct homi_ctrl *ctrl);
void homi_ctrl_leave_stock(struct homi_ctrl *ctrl);
struct homi_ctrl *homi_ctrl_find(const void *nvme_ctrl);
bool homi_ctrl_is_live(struct homi_ctrl *ctrl);
bool homi_ctrl_is_gone(struct homi_ctrl *ctrl);
void homi_ctrl_went_live(struct homi_ctrl *ctrl);
int homi_ctrl_status(struct homi_ctrl *ctrl);
int homi_cmd_ctrl_info(struct homi_call *call);
int homi_cmd_ns_info(struct homi_call *call);
void homi_ctrl_dead(struct homi_ctrl *ctrl, u32 reason);
int homi_ctrl_wait_added(struct homi_ctrl *ctrl);
void homi_ctrl_open_gate(struct homi_ctrl *ctrl);
int homi_ctrl_lend_qid(struct homi_ctrl *ctrl, u64 *generation);
int homi_ctrl_renew_qid(struct homi_ctrl *ctrl, unsigned int qid);
void homi_ctrl_return_qid(struct homi_ctrl *ctrl, unsigned int qid);
void homi_ctrl_each(void (*fn)(struct homi_ctrl *ctrl));
void homi_ctrl_each_ctx(struct homi_ctrl *ctrl,
			void (*fn)(struct homi_ctx *ctx, void *arg), void *arg);

/**
 * struct homi_ring - one ring of a queue pair
 * @cpu: memory of the kernel's, or NULL
 * @mem: or the MEM that it is in; holds a reference
 * @dma: its address for the function
 * @len: bytes, whole pages
 */
struct homi_ring {
	void *cpu;
	struct homi_object *mem;
	dma_addr_t dma;
	size_t len;
};

/* Bytes of it that the owner may map */
static inline size_t homi_ring_map_size(const struct homi_ring *ring)
{
	return ring->mem ? 0 : ring->len;
}

/* ring.c */
int homi_ring_place(struct homi_ring *ring, struct homi_ctx *ctx, u32 mem_id,
		    u64 offset, size_t len, bool write);
bool homi_ring_is_there(const struct homi_ring *ring);
int homi_ring_alloc(struct homi_ctrl *ctrl, struct homi_ring *ring);
void homi_ring_free(struct homi_ctrl *ctrl, struct homi_ring *ring);
void homi_ring_put(struct homi_ring *ring);

/* queue.c */
int homi_cmd_queue_create(struct homi_call *call);
int homi_cmd_queue_recreate(struct homi_call *call);
int homi_cmd_queue_info(struct homi_call *call);
unsigned int homi_queue_qid(struct homi_object *obj);
struct page *homi_queue_shadow(struct homi_object *obj, enum homi_region region);
bool homi_queues_any_lost(struct homi_ctx *ctx);
void homi_queues_lost(struct homi_ctrl *ctrl, u32 state);
void homi_queues_disabled(struct homi_ctrl *ctrl, u64 before);
void homi_queues_release_dma(struct homi_ctrl *ctrl);
void homi_queues_retry(struct homi_ctrl *ctrl);
void homi_ctx_revoke_queues(struct homi_ctx *ctx);
void homi_ctx_revoke_begin(struct homi_ctx *ctx);
void homi_ctx_revoke_end(struct homi_ctx *ctx);
u32 homi_ctx_take_queues(struct homi_ctx *ctx);
u32 homi_queues_taken_busy(struct homi_ctrl *ctrl);
void homi_ctx_count_queues(struct homi_ctx *ctx, struct homi_holder *holder);

/* wait.c */
int homi_cmd_queue_arm(struct homi_call *call);
bool homi_ctrl_has_vectors(struct homi_ctrl *ctrl);
void homi_vectors_free(struct homi_ctrl *ctrl);
void homi_poller_stop(struct homi_ctrl *ctrl);

/* doorbell.c */
struct homi_doorbell {
	u32 sq_offset, cq_offset;		/* within the doorbell page */
	u32 sq_shadow_offset, cq_shadow_offset;	/* within the shadow page */
	bool has_shadow;
};

void homi_doorbell_probe(struct homi_ctrl *ctrl);
bool homi_doorbell_reachable(struct homi_ctrl *ctrl, unsigned int qid);
int homi_doorbell_init(struct homi_ctrl *ctrl, unsigned int qid,
		       struct homi_doorbell *db);
unsigned long homi_kernel_pfn(void *addr);
phys_addr_t homi_doorbell_phys(struct homi_ctrl *ctrl, unsigned int qid);
struct page *homi_doorbell_page(struct homi_ctrl *ctrl, unsigned int qid,
				enum homi_region region);
vm_fault_t homi_doorbell_fault(struct homi_ctrl *ctrl, unsigned int qid,
			       enum homi_region region, struct vm_fault *vmf);

/* doorbell_export.c */
int homi_cmd_doorbell_export(struct homi_call *call);
void homi_exports_renew(struct homi_object *queue);
void homi_exports_revoke(struct homi_ctrl *ctrl);

/* event.c */
int homi_cmd_event_bind(struct homi_call *call);
void homi_event_signal(struct homi_ctrl *ctrl, struct eventfd_ctx *event);
void homi_event_drop(struct homi_ctrl *ctrl, struct eventfd_ctx **event);
void homi_ctrl_news(struct homi_ctrl *ctrl);
__poll_t homi_ctx_poll(struct homi_ctx *ctx, struct file *file,
		       struct poll_table_struct *wait);

/* mem.c */
int homi_cmd_mem_register(struct homi_call *call);
int homi_cmd_mem_segments(struct homi_call *call);
int homi_cmd_mem_info(struct homi_call *call);

/* mem_import.c */
void homi_imports_work(struct work_struct *work);
void homi_unmap_work(struct work_struct *work);
void homi_imports_release(struct homi_ctrl *ctrl);
int homi_import_init(void);
void homi_import_exit(void);

/* extent.c */
int homi_cmd_extent_resolve(struct homi_call *call);
int homi_cmd_extent_ack(struct homi_call *call);
int homi_extent_init(void);
void homi_extent_exit(void);

/* extent_set.c */
int homi_cmd_resolve_set(struct homi_call *call);

/* extent_ns.c */
void homi_extents_watch_prepare(struct homi_ctx *ctx);
void homi_extents_watch(struct homi_ctx *ctx);
void homi_extents_watch_end(struct homi_ctx *ctx);
void homi_extents_gone(struct homi_ctx *ctx, void *unused);

/* reserve.c */
int homi_cmd_reserve(struct homi_call *call);
int homi_cmd_holders(struct homi_call *call);
u32 homi_reserve_ask(struct homi_ctrl *ctrl, u32 asked);
u32 homi_reserve_share(struct homi_ctrl *ctrl, u32 asked, u32 got);

/* policy.c */
extern unsigned int homi_delete_ms;
extern unsigned int homi_recall_ms;
bool homi_may_queue(void);
bool homi_may_administer(void);
bool homi_may_attach(struct pci_dev *pdev);

/* reset.c */
int homi_reset_init(void);
void homi_reset_exit(void);

/* debugfs.c */
void homi_debugfs_init(void);
void homi_debugfs_exit(void);
void homi_debugfs_add(struct homi_ctrl *ctrl);
void homi_debugfs_del(struct homi_ctrl *ctrl);
enum homi_fault homi_fault_take(struct homi_ctrl *ctrl, u8 opcode);
void homi_fault_hold(void);

/* file.c */
int homi_cmd_file_register(struct homi_call *call);

/* io_stats.c */
int homi_cmd_io_stats(struct homi_call *call);
void homi_io_counts_add(struct homi_io_counts *sum,
			const struct homi_io_counts *more);

/* rw.c */
struct io_uring_cmd;

int homi_rw(struct homi_ctx *ctx, struct io_uring_cmd *cmd, bool write,
	    unsigned int issue_flags);
int homi_rw_init(void);
void homi_rw_exit(void);
void homi_rw_spares_free(struct homi_ctx *ctx);

/* Nobody restarts what io_uring has begun. */
static inline long homi_no_restart(long ret)
{
	return ret == -ERESTARTSYS || ret == -ERESTARTNOINTR ||
	       ret == -ERESTARTNOHAND || ret == -ERESTART_RESTARTBLOCK ?
	       -EINTR : ret;
}

/* uring.c */
int homi_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags);
void homi_uring_end(struct io_uring_cmd *cmd, long ret, unsigned int issue_flags);

/* main.c */
extern const struct file_operations homi_fops;
int homi_call_user(struct homi_ctx *ctx, unsigned int nr, void __user *uptr);
void homi_refused(struct homi_ctrl *ctrl, unsigned int nr, int error, u32 reason);

#endif /* _HOMI_H */
