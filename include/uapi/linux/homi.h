/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_HOMI_H
#define _UAPI_LINUX_HOMI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: Contract
 *
 * Long because it is the whole contract, and the reference for it.
 *
 * Each PCIe NVMe controller that the stock nvme driver has bound offers one
 * character device, /dev/homi/nvmeN, named after the stock controller. An open
 * file owns the objects made through it (QUEUE, MEM, EXTENT, SET, FILE), each known by a
 * 32-bit id that is valid on that file only. Whoever holds the descriptor may
 * use them; all of them die with the last reference to the open file.
 *
 * Every command structure begins with @size and @flags. @size is the size of
 * the structure that the caller was built with; a shorter structure than the
 * kernel's is filled up with zeroes, a longer one is accepted if the tail that
 * the kernel does not know is zero. Bits in @flags that the kernel does not
 * know and reserved fields that are not zero are refused. Fields named out_*
 * are written by the kernel, on success and where a command says so on error.
 *
 * poll() on the open file: POLLOUT while the controller is live and queues can
 * be made, POLLIN while somebody was woken for one of its queues (QUEUE_ARM) that is
 * neither armed again nor destroyed, POLLPRI while one of its queues is lost or
 * revoked, or one of its extents recalled, and nobody has destroyed, re-created or
 * acknowledged it, POLLERR and POLLHUP when the controller is gone. EVENT_BIND tells of
 * the same by eventfd.
 *
 * Errors of all commands, besides those of each command:
 *
 *  - ENOTTY: the command number is unknown
 *  - E2BIG: the structure is longer than the kernel's and its tail is not zero
 *  - EINVAL: a size below the minimum, an unknown flag, a non-zero reserved
 *    field, or a value out of its range
 *  - EFAULT: an address that is not mapped, or not for this kind of access
 *  - ENOENT: no object of the wanted kind has this id on this open file
 *  - EPERM: the caller lacks the privilege that the command demands
 *  - EBADF: a file descriptor inside the structure is not open
 *  - ENOSPC: no queue id is left to lend
 *  - EDQUOT: over a quota of the user who opened the file (queues_per_user,
 *    pinned_mib_per_user, extents_per_user), or of all users of the controller (queues_total,
 *    pinned_mib_total), and without CAP_SYS_RESOURCE. These are module parameters,
 *    and in /sys/class/homi/nvmeN/quota for one controller.
 *  - ENOMEM: out of memory
 *  - ENODEV: the controller is gone; what there is can be looked at, destroyed, closed
 *  - ESTALE: the object was lost by a reset, or recalled
 *  - EAGAIN: the controller is resetting, or its admin queue stays full (which
 *    delete_ms bounds), the queues of this open file are being
 *    deleted (by a recall, or for who takes a dma-buf back), an EXTENT to write to
 *    is ending, or the wanted file is held by a conflicting user; try again later
 *  - EBUSY: the object is in use by another object or mapping
 *  - EMSGSIZE: the buffer is too small; the needed count was written back
 *  - EOPNOTSUPP: known, but not possible here; out_reason says why where the
 *    command has it
 *  - EIO: the controller refused or failed the operation
 *  - EINTR: a fatal signal arrived while waiting
 */

#define HOMI_TYPE	0xE8
#define HOMI_CMD_BASE	0x80

/* Numbers are never reused; gaps are commands that later versions add. */
enum {
	HOMI_CMD_CTRL_INFO = HOMI_CMD_BASE,
	HOMI_CMD_NS_INFO = 0x81,
	HOMI_CMD_MEM_REGISTER = 0x82,
	HOMI_CMD_MEM_SEGMENTS = 0x83,
	HOMI_CMD_MEM_INFO = 0x84,
	HOMI_CMD_QUEUE_CREATE = 0x85,
	HOMI_CMD_QUEUE_RECREATE = 0x86,
	HOMI_CMD_QUEUE_INFO = 0x87,
	HOMI_CMD_EXTENT_RESOLVE = 0x88,
	HOMI_CMD_EXTENT_ACK = 0x89,
	HOMI_CMD_EVENT_BIND = 0x8a,
	HOMI_CMD_DOORBELL_EXPORT = 0x8b,
	HOMI_CMD_RESERVE = 0x8c,
	HOMI_CMD_DESTROY = 0x8d,
	HOMI_CMD_HOLDERS = 0x8e,
	HOMI_CMD_RESOLVE_SET = 0x8f,
	HOMI_CMD_FILE_REGISTER = 0x90,
	HOMI_CMD_READ = 0x91,
	HOMI_CMD_WRITE = 0x92,
	HOMI_CMD_IO_STATS = 0x93,
	HOMI_CMD_QUEUE_ARM = 0x94,
};

/**
 * enum homi_reason - why something is refused with EOPNOTSUPP (or EAGAIN)
 *
 * Values are never reused. Zero is "no reason given".
 */
enum homi_reason {
	HOMI_REASON_NONE = 0,
	/* why a controller lends no queues (struct homi_ctrl_info.out_reason) */
	HOMI_REASON_NO_BTF = 1,		/* no usable BTF of the running nvme driver */
	HOMI_REASON_NO_HOOK = 2,	/* the ftrace interposition is not in place */
	HOMI_REASON_NO_ADMIN_QUEUE = 3,	/* the admin queue could not be found */
	HOMI_REASON_ENTRY_SIZE = 4,	/* CC.IOSQES is not 6 or CC.IOCQES is not 4 */
	HOMI_REASON_STRIDE = 5,		/* one queue's doorbells span two pages */
	HOMI_REASON_NO_SPARE = 6,	/* all granted queues belong to the kernel */
	HOMI_REASON_DEAD = 7,		/* the stock driver gave the controller up */
	HOMI_REASON_ENCRYPTED_MEMORY = 8, /* SEV, TDX: rings can't be shared */
	/* why a file is refused (struct homi_extent_resolve.out_reason) */
	HOMI_REASON_FILE_TYPE = 16,	/* not a regular file */
	HOMI_REASON_FS = 17,		/* this kind of file system is not supported */
	HOMI_REASON_STACKED = 18,	/* the file system lies on dm, md or the like */
	HOMI_REASON_OTHER_DEVICE = 19,	/* on a device that is not of this controller */
	HOMI_REASON_NS_FORMAT = 20,	/* zoned namespace, or one with metadata */
	HOMI_REASON_NO_DIO = 21,	/* direct I/O impossible: journalled data, inline, verity */
	HOMI_REASON_ENCRYPTED = 22,
	HOMI_REASON_DAX = 23,
	HOMI_REASON_SWAPFILE = 24,
	HOMI_REASON_IMMUTABLE = 25,
	HOMI_REASON_LEASES_OFF = 26,	/* sysctl fs.leases-enable is 0 */
	HOMI_REASON_WRITER = 27,	/* EAGAIN: somebody writes to the file, or wants it */
	HOMI_REASON_EXTENT = 28,	/* an extent that has no plain block address */
	HOMI_REASON_REALTIME = 29,	/* data on a realtime or log device */
	/* EAGAIN: a conflicting lease, or readers that keep the inode locked */
	HOMI_REASON_LEASE = 30,
	/* ext4 with inline_data: blocks may be in its journal only */
	HOMI_REASON_INLINE = 34,
	/* and with HOMI_RESOLVE_WRITE */
	HOMI_REASON_OPEN = 31,		/* EAGAIN: somebody has the file open */
	HOMI_REASON_HOLE = 32,		/* a hole, or blocks that were never written */
	HOMI_REASON_SHARED = 33,	/* blocks that another file has too */
	/* why memory is refused (struct homi_mem_register.out_reason) */
	HOMI_REASON_BOUNCED = 48,	/* the function would get copies */
	HOMI_REASON_PIECES = 49,	/* pieces not aligned to the controller's page size */
	HOMI_REASON_ATTACH = 50,	/* the exporter does not share it with this function */
	HOMI_REASON_PIN = 51,		/* the exporter does not keep it in place */
	HOMI_REASON_MAP = 52,		/* the exporter does not map it for this function */
	HOMI_REASON_NOT_BAR = 53,	/* HOMI_MEM_BAR, and it is somewhere else */
	HOMI_REASON_FILE_PAGES = 54,	/* pages of a file system's file */
};

/* struct homi_ctrl_info.out_state */
enum homi_ctrl_state {
	HOMI_CTRL_LIVE = 1,
	HOMI_CTRL_RESETTING = 2,
	HOMI_CTRL_GONE = 3,
};

/* struct homi_ctrl_info.out_iommu */
enum homi_iommu {
	HOMI_IOMMU_NONE = 0,
	HOMI_IOMMU_PASSTHROUGH = 1,
	HOMI_IOMMU_TRANSLATING = 2,
};

/* struct homi_ctrl_info.out_features */
enum {
	HOMI_CTRL_SHADOW_DOORBELLS = 1 << 0,	/* Doorbell Buffer Config is in force */
	HOMI_CTRL_VIRTUAL_FUNCTION = 1 << 1,
	HOMI_CTRL_INTERRUPTS = 1 << 2,		/* HOMI_QUEUE_INTERRUPT is possible */
};

/**
 * struct homi_ctrl_info - ioctl(HOMI_CTRL_INFO)
 * @size: sizeof(struct homi_ctrl_info)
 * @flags: must be 0
 * @out_state: enum homi_ctrl_state
 * @out_features: HOMI_CTRL_* bits
 * @out_generation: counts controller resets since homi attached; starts at 1
 * @out_queues_granted: I/O queue pairs that the controller allots to the host
 *	(Get Features, Number of Queues; the smaller of NSQA and NCQA, 1-based)
 * @out_queues_kernel: of these, how many the stock driver may take; their queue
 *	ids are 1 to @out_queues_kernel and are never lent
 * @out_queues_lent: queue ids not to be had now: lent to any open file, or held
 *	back because a mapping of a destroyed queue, or a dma-buf of its doorbells,
 *	is left
 * @out_queues_spare: queue ids that QUEUE_CREATE could lend now
 * @out_max_depth: most entries in one queue (CAP.MQES + 1)
 * @out_doorbell_stride: bytes from one doorbell to the next (4 << CAP.DSTRD)
 * @out_page_size: memory page size in force, bytes (CC.MPS)
 * @out_iommu: enum homi_iommu, of the domain that the function is in
 * @out_max_transfer: most bytes in one command (MDTS), 0 for no limit
 * @out_reason: enum homi_reason: why @out_queues_spare is 0, or 0
 * @out_queues_reserved: what RESERVE keeps from the stock driver
 *
 * Needs no privilege. Model, serial and topology are in sysfs and Identify;
 * this tells what they do not.
 */
struct homi_ctrl_info {
	__u32 size;
	__u32 flags;
	__u32 out_state;
	__u32 out_features;
	__aligned_u64 out_generation;
	__u32 out_queues_granted;
	__u32 out_queues_kernel;
	__u32 out_queues_lent;
	__u32 out_queues_spare;
	__u32 out_max_depth;
	__u32 out_doorbell_stride;
	__u32 out_page_size;
	__u32 out_iommu;
	__aligned_u64 out_max_transfer;
	__u32 out_reason;
	__u32 out_queues_reserved;
};

#define HOMI_CTRL_INFO _IO(HOMI_TYPE, HOMI_CMD_CTRL_INFO)

/* struct homi_ns_info.flags */
enum {
	HOMI_NS_NEXT = 1 << 0,	/* the lowest nsid that is >= @nsid */
};

/* struct homi_ns_info.out_features */
enum {
	HOMI_NS_READ_ONLY = 1 << 0,
	HOMI_NS_ZONED = 1 << 1,
	HOMI_NS_MULTIPATH = 1 << 2,	/* @out_major, @out_minor name the multipath head */
};

/**
 * struct homi_ns_info - ioctl(HOMI_NS_INFO)
 * @size: sizeof(struct homi_ns_info)
 * @flags: 0 or HOMI_NS_NEXT
 * @nsid: namespace id, from 1
 * @out_nsid: the namespace that is described
 * @out_block_size: logical block size in bytes
 * @out_metadata_size: metadata bytes per block
 * @out_blocks: size of the namespace in logical blocks
 * @out_major: device number of its block device in this system
 * @out_minor: see @out_major
 * @out_features: HOMI_NS_* bits
 * @__reserved: written as 0
 *
 * ENOENT if there is no such namespace (with HOMI_NS_NEXT: no further one);
 * EOPNOTSUPP if out_reason of CTRL_INFO is HOMI_REASON_NO_BTF. Needs no privilege.
 */
struct homi_ns_info {
	__u32 size;
	__u32 flags;
	__u32 nsid;
	__u32 out_nsid;
	__u32 out_block_size;
	__u32 out_metadata_size;
	__aligned_u64 out_blocks;
	__u32 out_major;
	__u32 out_minor;
	__u32 out_features;
	__u32 __reserved;
};

#define HOMI_NS_INFO _IO(HOMI_TYPE, HOMI_CMD_NS_INFO)

/* struct homi_mem_register.flags */
enum {
	HOMI_MEM_WRITE = 1 << 0,	/* the controller may write to it (NVMe Read) */
	HOMI_MEM_BAR = 1 << 1,		/* a dma-buf that is not in a device's BAR is refused */
	HOMI_MEM_PAGES = 1 << 2,	/* user pages for READ and WRITE only */
};

enum homi_mem_type {
	HOMI_MEM_USER = 1,	/* pages of the caller */
	HOMI_MEM_DMABUF = 2,	/* a dma-buf, of a GPU say */
};

/**
 * struct homi_mem_register - ioctl(HOMI_MEM_REGISTER)
 * @size: sizeof(struct homi_mem_register)
 * @flags: HOMI_MEM_* bits
 * @type: enum homi_mem_type
 * @fd: the dma-buf; 0 with HOMI_MEM_USER
 * @addr: start of the range in the caller's address space, or bytes from the
 *	start of the dma-buf; a multiple of the system's page size
 * @length: bytes, a multiple of the system's page size, at least one page
 * @out_mem_id: the new MEM
 * @out_segments: number of records that MEM_SEGMENTS gives
 * @out_placement: enum homi_placement, as in MEM_INFO
 * @out_reason: enum homi_reason, also when the call fails with EOPNOTSUPP
 *
 * HOMI_MEM_USER pins the pages and maps them for DMA by this NVMe function until
 * the MEM is destroyed. Pages of anonymous memory, memfd, tmpfs and hugetlbfs.
 * Counted against RLIMIT_MEMLOCK (ENOMEM) unless CAP_IPC_LOCK. Pages that the
 * kernel would have to bounce are refused with EOPNOTSUPP. Without
 * HOMI_MEM_WRITE the DMA mapping is read-only for the controller where an IOMMU
 * translates; with it, a range that the caller may not write gives EFAULT. With
 * HOMI_MEM_PAGES it is pinned and no more: the controller does not reach it, so that
 * it has no segments, can hold no ring, and can be destroyed at any time.
 *
 * HOMI_MEM_DMABUF attaches the function to the dma-buf, peer to peer, has the
 * exporter keep it in place if it can, and maps it. MEM_INFO tells where it then
 * is: an exporter may have moved it to host memory for that. When the exporter
 * moves it all the same, or takes it back, the MEM is HOMI_MEM_REVOKED and its
 * eventfd (EVENT_BIND) is signalled; all queues of this open file are deleted
 * (HOMI_QUEUE_REVOKED), and then the function lets go of it; a fence in the
 * dma-buf's reservation object tells the exporter when. EBADF: @fd is not open;
 * EINVAL: it is no dma-buf, or the range is not within it; EPERM: HOMI_MEM_WRITE,
 * and @fd is not open for writing; ESTALE: moved or taken back meanwhile; EINTR: a
 * signal came while the exporter was still moving it. Without
 * HOMI_MEM_WRITE the mapping may still let the controller write, before 6.13 and
 * from exporters that can't move. The whole dma-buf counts against the quota of
 * pinned memory. Needs no privilege.
 */
struct homi_mem_register {
	__u32 size;
	__u32 flags;
	__u32 type;
	__s32 fd;
	__aligned_u64 addr;
	__aligned_u64 length;
	__u32 out_mem_id;
	__u32 out_segments;
	__u32 out_placement;
	__u32 out_reason;
};

#define HOMI_MEM_REGISTER _IO(HOMI_TYPE, HOMI_CMD_MEM_REGISTER)

/**
 * struct homi_segment - a piece of a MEM that is contiguous for the controller
 * @offset: bytes from the start of the MEM; records are sorted and gapless
 * @dma_addr: address to put into PRP entries
 * @length: bytes
 */
struct homi_segment {
	__aligned_u64 offset;
	__aligned_u64 dma_addr;
	__aligned_u64 length;
};

/**
 * struct homi_mem_segments - ioctl(HOMI_MEM_SEGMENTS)
 * @size: sizeof(struct homi_mem_segments)
 * @flags: must be 0
 * @mem_id: a MEM
 * @count: in: records that fit at @segments; out: records that the MEM has,
 *	also when the call fails with EMSGSIZE
 * @segments: user address of an array of struct homi_segment
 *
 * ESTALE: the memory was revoked. Needs no privilege, also where these are physical
 * addresses, as without an IOMMU that translates.
 */
struct homi_mem_segments {
	__u32 size;
	__u32 flags;
	__u32 mem_id;
	__u32 count;
	__aligned_u64 segments;
};

#define HOMI_MEM_SEGMENTS _IO(HOMI_TYPE, HOMI_CMD_MEM_SEGMENTS)

/* struct homi_mem_info.out_state */
enum homi_mem_state {
	HOMI_MEM_MAPPED = 1,
	HOMI_MEM_REVOKED = 2,	/* the exporter moved it, or took it back */
	HOMI_MEM_GONE = 3,	/* as the controller is */
};

/* struct homi_mem_info.out_placement */
enum homi_placement {
	HOMI_PLACEMENT_HOST = 1,	/* the system's memory */
	HOMI_PLACEMENT_BAR = 2,		/* one BAR of one device */
	HOMI_PLACEMENT_OTHER = 3,	/* neither, or not all in one place */
};

/* struct homi_mem_info.out_path: from this function to the device of the BAR */
enum homi_path {
	HOMI_PATH_NONE = 0,	/* not in a BAR */
	HOMI_PATH_SELF = 1,	/* its own BAR */
	HOMI_PATH_SWITCH = 2,	/* below one bridge or switch */
	HOMI_PATH_ROOT = 3,	/* through the root complex, if that lets it pass */
};

/* struct homi_mem_info.out_features */
enum {
	HOMI_MEM_PINNED = 1 << 0,	/* user pages, or the exporter has a way to pin, and did */
};

/**
 * struct homi_mem_info - ioctl(HOMI_MEM_INFO)
 * @size: sizeof(struct homi_mem_info)
 * @flags: must be 0
 * @mem_id: a MEM
 * @out_type: enum homi_mem_type
 * @out_state: enum homi_mem_state
 * @out_placement: enum homi_placement
 * @out_length: bytes
 * @out_device: with HOMI_PLACEMENT_BAR the PCI address of the device: domain << 16
 *	| bus << 8 | device << 3 | function
 * @out_bar: likewise, number of the BAR
 * @out_path: enum homi_path
 * @out_distance: bridges on that way, ports of switches counted each
 * @out_features: HOMI_MEM_* bits
 * @out_exporter: name of the exporter of a dma-buf, NUL-terminated, maybe cut
 *
 * Where the memory is was found out when it was registered, from the addresses
 * that the function got, not from what an exporter says. Works on revoked
 * memory and after removal too. Needs no privilege.
 */
struct homi_mem_info {
	__u32 size;
	__u32 flags;
	__u32 mem_id;
	__u32 out_type;
	__u32 out_state;
	__u32 out_placement;
	__aligned_u64 out_length;
	__aligned_u64 out_device;
	__u32 out_bar;
	__u32 out_path;
	__u32 out_distance;
	__u32 out_features;
	__u8 out_exporter[32];
};

#define HOMI_MEM_INFO _IO(HOMI_TYPE, HOMI_CMD_MEM_INFO)

/* struct homi_queue_create.flags */
enum {
	HOMI_QUEUE_INTERRUPT = 1 << 0,	/* with an interrupt vector of its own, for QUEUE_ARM */
};

/**
 * struct homi_queue_create - ioctl(HOMI_QUEUE_CREATE)
 * @size: sizeof(struct homi_queue_create)
 * @flags: 0 or HOMI_QUEUE_INTERRUPT
 * @depth: entries of the submission queue and of the completion queue, 2 to
 *	homi_ctrl_info.out_max_depth; one entry always stays empty (NVMe base
 *	specification, queue full condition)
 * @__reserved: must be 0
 * @out_queue_id: the new QUEUE
 * @out_qid: its NVMe queue identifier (submission and completion queue alike)
 * @out_sq_mmap_offset: mmap cookie of the submission ring: @depth entries of
 *	64 bytes
 * @out_sq_mmap_length: bytes to map, exactly
 * @out_cq_mmap_offset: mmap cookie of the completion ring: @depth entries of
 *	16 bytes
 * @out_cq_mmap_length: bytes to map, exactly
 * @out_db_mmap_offset: mmap cookie of the doorbell page; length is one page
 * @out_sq_db_offset: bytes from the start of that page to the tail doorbell
 * @out_cq_db_offset: likewise for the head doorbell
 * @out_shadow_mmap_offset: mmap cookie of the shadow doorbell page, one page;
 *	0 if HOMI_CTRL_SHADOW_DOORBELLS is off
 * @out_event_mmap_offset: mmap cookie of the event index page, likewise
 * @out_sq_shadow_offset: bytes from the start of either page to the entry of
 *	the submission queue
 * @out_cq_shadow_offset: likewise for the completion queue
 * @out_generation: generation (homi_ctrl_info.out_generation) it was made in
 * @sq_mem_id: a MEM to hold the submission ring, or 0: the kernel allocates it
 * @cq_mem_id: likewise for the completion ring; a MEM with HOMI_MEM_WRITE
 * @sq_offset: bytes from the start of that MEM, a multiple of
 *	homi_ctrl_info.out_page_size; 0 if there is none
 * @cq_offset: likewise
 *
 * Needs CAP_SYS_RAWIO: who writes submission entries can name any block and any
 * address that the function reaches, and the doorbell page holds the doorbells
 * of other queues.
 *
 * Each region is mapped whole, MAP_SHARED and without PROT_EXEC. A mapping is
 * not inherited over fork(). With shadow doorbells on, the tail and the head
 * must be written to the shadow entry, then a full barrier, then the doorbell
 * unless the event index allows to leave it out (NVMe base specification,
 * Doorbell Buffer Config).
 *
 * When a controller reset takes the queue away its rings stay as they are, and
 * the doorbell, shadow and event pages are replaced by a page of memory that
 * nobody reads: stores go nowhere. QUEUE_INFO tells HOMI_QUEUE_LOST, and
 * QUEUE_RECREATE brings it back. After
 * DESTROY an access to a mapping that is left is SIGBUS, and the queue id is
 * lent to nobody until all its mappings are gone. After removal of the
 * controller (HOMI_QUEUE_GONE) an access to a ring is SIGBUS too; the other
 * pages are replaced as by a reset.
 *
 * A ring may lie in a MEM of this open file, device memory for example, where it
 * has to be in one segment. It has no mapping then (its length and cookie are 0),
 * and the caller zeroes a completion ring before it creates the queue. The MEM
 * can't be destroyed while the queue is live. EINVAL: the ring does not fit there;
 * ENOENT: there is no such MEM; ESTALE: the MEM was revoked.
 *
 * HOMI_QUEUE_INTERRUPT takes one more of the function's MSI-X vectors, until DESTROY or a
 * reset; QUEUE_RECREATE takes one anew then. EOPNOTSUPP: the kernel (before 6.2, or with
 * PREEMPT_RT) or the platform can't, or the completion ring is in a MEM; ENOSPC: no
 * vector is left, too.
 */
struct homi_queue_create {
	__u32 size;
	__u32 flags;
	__u32 depth;
	__u32 __reserved;
	__u32 out_queue_id;
	__u32 out_qid;
	__aligned_u64 out_sq_mmap_offset;
	__aligned_u64 out_sq_mmap_length;
	__aligned_u64 out_cq_mmap_offset;
	__aligned_u64 out_cq_mmap_length;
	__aligned_u64 out_db_mmap_offset;
	__u32 out_sq_db_offset;
	__u32 out_cq_db_offset;
	__aligned_u64 out_shadow_mmap_offset;
	__aligned_u64 out_event_mmap_offset;
	__u32 out_sq_shadow_offset;
	__u32 out_cq_shadow_offset;
	__aligned_u64 out_generation;
	__u32 sq_mem_id;
	__u32 cq_mem_id;
	__aligned_u64 sq_offset;
	__aligned_u64 cq_offset;
};

#define HOMI_QUEUE_CREATE _IO(HOMI_TYPE, HOMI_CMD_QUEUE_CREATE)

/**
 * struct homi_queue_recreate - ioctl(HOMI_QUEUE_RECREATE)
 * @size: sizeof(struct homi_queue_recreate)
 * @flags: must be 0
 * @queue_id: a QUEUE that is LOST or REVOKED
 * @depth: as in QUEUE_CREATE; another one is EINVAL
 * @out_generation: generation it is made in now
 * @out_shadow_mmap_offset: as in QUEUE_CREATE: the same cookie as ever, or 0 if
 *	the controller came back without shadow doorbells
 * @out_event_mmap_offset: likewise
 * @out_sq_shadow_offset: as in QUEUE_CREATE
 * @out_cq_shadow_offset: as in QUEUE_CREATE
 *
 * Makes the queue anew in place once the controller is live: queue identifier,
 * rings, DMA addresses and mappings stay as they are, and mapped doorbells lead
 * to the controller again. Both rings are zeroed (one in a MEM by the caller,
 * before this): indices start at 0, the phase tag of new completions is 1. ESTALE
 * if a ring's MEM was revoked or destroyed. Commands that were in flight are lost and may or
 * may not have been executed; none is executed after this returns. The caller
 * must not touch the rings meanwhile.
 *
 * EAGAIN while the controller is resetting, has not let go of the queue yet, or
 * another thread makes it anew; EBUSY if the queue is not lost; ESTALE if it was taken
 * back (HOLDERS); ENOSPC if the controller does not grant its queue identifier any more
 * (destroy it and create another); EIO, or EAGAIN, if the queue could not be made: it
 * is lost as before. Needs no privilege: the descriptor gave the queue already.
 */
struct homi_queue_recreate {
	__u32 size;
	__u32 flags;
	__u32 queue_id;
	__u32 depth;
	__aligned_u64 out_generation;
	__aligned_u64 out_shadow_mmap_offset;
	__aligned_u64 out_event_mmap_offset;
	__u32 out_sq_shadow_offset;
	__u32 out_cq_shadow_offset;
};

#define HOMI_QUEUE_RECREATE _IO(HOMI_TYPE, HOMI_CMD_QUEUE_RECREATE)

/* struct homi_queue_info.out_state */
enum homi_queue_state {
	HOMI_QUEUE_LIVE = 1,
	HOMI_QUEUE_LOST = 2,	/* by a reset; see HOMI_QUEUE_RECREATE */
	HOMI_QUEUE_REVOKED = 3,	/* deleted by homi: an unanswered recall, a dma-buf taken back */
	HOMI_QUEUE_GONE = 4,	/* the controller was removed */
};

/* struct homi_queue_info.out_wait: how completions that are waited for are found */
enum homi_queue_wait {
	HOMI_WAIT_NONE = 0,		/* not at all: the completion ring is in a MEM */
	HOMI_WAIT_POLLER = 1,		/* a thread of the kernel's looks, at intervals */
	HOMI_WAIT_INTERRUPT = 2,	/* HOMI_QUEUE_INTERRUPT */
};

/**
 * struct homi_queue_info - ioctl(HOMI_QUEUE_INFO)
 * @size: sizeof(struct homi_queue_info)
 * @flags: must be 0
 * @queue_id: a QUEUE
 * @out_state: enum homi_queue_state
 * @out_qid: NVMe queue identifier
 * @out_depth: entries
 * @out_generation: generation it was made in
 * @out_wait: enum homi_queue_wait
 * @out_irq: number of its interrupt in this system, 0 if it has none now
 * @out_wakeups: how often somebody was woken that QUEUE_ARM was called for
 * @out_looks: how often the thread looked at this queue for that
 * @out_interrupts: how many interrupts it had
 *
 * Works on lost queues and after removal too. Needs no privilege.
 */
struct homi_queue_info {
	__u32 size;
	__u32 flags;
	__u32 queue_id;
	__u32 out_state;
	__u32 out_qid;
	__u32 out_depth;
	__aligned_u64 out_generation;
	__u32 out_wait;
	__u32 out_irq;
	__aligned_u64 out_wakeups;
	__aligned_u64 out_looks;
	__aligned_u64 out_interrupts;
};

#define HOMI_QUEUE_INFO _IO(HOMI_TYPE, HOMI_CMD_QUEUE_INFO)

/**
 * struct homi_queue_arm - ioctl(HOMI_QUEUE_ARM)
 * @size: sizeof(struct homi_queue_arm)
 * @flags: must be 0
 * @queue_id: a QUEUE
 * @cq_head: entry of the completion ring that the caller looks at next
 * @cq_phase: phase tag that it has when it is there, 0 or 1
 * @__reserved: must be 0
 * @out_ready: 1 if it is there already, else 0
 *
 * To wait without spinning: once, when that entry is there, or the queue is not
 * HOMI_QUEUE_LIVE any more, the eventfd that is bound with HOMI_EVENT_COMPLETIONS is
 * signalled and poll() on the open file says POLLIN, until the queue is armed again or
 * destroyed. With @out_ready nobody is told, and nothing is armed. A queue is armed for
 * one entry at a time: the next call takes the place of the one before.
 *
 * Who has no interrupt (QUEUE_INFO tells) is found by a thread that looks after three
 * quarters of what waits for this queue lasted, and then at intervals of a quarter of
 * what this one has lasted, from 10 us to the module's poll_max_us. It sleeps while
 * nobody waits.
 *
 * ESTALE: the queue is not live; EOPNOTSUPP: the completion ring is in a MEM. Needs no
 * privilege.
 */
struct homi_queue_arm {
	__u32 size;
	__u32 flags;
	__u32 queue_id;
	__u32 cq_head;
	__u32 cq_phase;
	__u32 out_ready;
	__aligned_u64 __reserved;
};

#define HOMI_QUEUE_ARM _IO(HOMI_TYPE, HOMI_CMD_QUEUE_ARM)

/* struct homi_doorbell_export.part: one page each */
enum homi_doorbell_part {
	HOMI_DOORBELL_REGISTERS = 1,	/* as at out_db_mmap_offset of QUEUE_CREATE */
	HOMI_DOORBELL_SHADOW = 2,	/* as at out_shadow_mmap_offset */
	HOMI_DOORBELL_EVENT = 3,	/* as at out_event_mmap_offset */
};

/**
 * struct homi_doorbell_export - ioctl(HOMI_DOORBELL_EXPORT)
 * @size: sizeof(struct homi_doorbell_export)
 * @flags: must be 0
 * @queue_id: a QUEUE, live or not
 * @part: enum homi_doorbell_part
 * @out_fd: a dma-buf of one page, close-on-exec
 * @__reserved: must be 0
 *
 * For devices that ring doorbells and import dma-bufs. The doorbells are where
 * QUEUE_CREATE tells within the page. Importers have to be dynamic (they take a
 * notice that it is moved) and to do without page structures (peer to peer):
 * EOPNOTSUPP for others when they attach. Nor may they pin: EOPNOTSUPP when they
 * do, or before 7.0 when they map it then. Whether the device reaches the
 * controller is not looked at.
 *
 * Like a mapping it is not of one queue alone: the page holds the doorbells of
 * others too, those of the kernel included. And as long as the dma-buf lives,
 * whoever has it, the queue's identifier is lent to nobody else and counts against
 * the quota, DESTROY and close notwithstanding: a device that rings it late rings a
 * queue that is not there.
 *
 * In a reset importers keep what they have mapped; it leads to the queue again after
 * QUEUE_RECREATE. If the controller then has its shadow doorbells elsewhere they
 * are told to map the page anew. It can't be mapped when the queue was destroyed or
 * the controller is gone (ENODEV); shadow doorbells not while the queue is lost
 * (EAGAIN), and not where they are more than one page that is contiguous
 * (EOPNOTSUPP). When the controller is removed, or the driver unbound, importers
 * are told to unmap it, and are waited for up to the module's delete_ms. All
 * promises end there: what one that has not let go rings later may be somebody's.
 *
 * EOPNOTSUPP: HOMI_CTRL_SHADOW_DOORBELLS is off, and @part is none of the registers;
 * EMFILE, ENFILE: no descriptor is left. Needs CAP_SYS_RAWIO.
 */
struct homi_doorbell_export {
	__u32 size;
	__u32 flags;
	__u32 queue_id;
	__u32 part;
	__s32 out_fd;
	__u32 __reserved;
};

#define HOMI_DOORBELL_EXPORT _IO(HOMI_TYPE, HOMI_CMD_DOORBELL_EXPORT)

/* struct homi_event_bind.flags */
enum {
	HOMI_EVENT_COMPLETIONS = 1 << 0,	/* of a QUEUE: what QUEUE_ARM waits for */
};

/**
 * struct homi_event_bind - ioctl(HOMI_EVENT_BIND)
 * @size: sizeof(struct homi_event_bind)
 * @flags: 0 or HOMI_EVENT_COMPLETIONS
 * @id: a QUEUE, an EXTENT, a SET, a MEM of a dma-buf, or 0 for the open file
 * @eventfd: an eventfd, or -1 for none; takes the place of the one bound before
 *
 * The eventfd is signalled (its count goes up by one)
 *
 *  - for a QUEUE when it leaves HOMI_QUEUE_LIVE, but not by DESTROY;
 *  - for an EXTENT when its table's state changes, which is when it is recalled
 *    and when it is revoked, but not by EXTENT_ACK;
 *  - for a MEM of a dma-buf when it is revoked;
 *  - for the open file when the controller's state changes.
 *
 * and at once if that has happened before (for the open file: if the controller
 * is not live), so that nothing is missed. Look at QUEUE_INFO, the table or
 * CTRL_INFO then. HOMI_EVENT_COMPLETIONS binds one of its own, that has nothing to do
 * with these: see QUEUE_ARM; EOPNOTSUPP: its completion ring is in a MEM. The binding
 * ends with the object; it may be replaced at any time, also when the controller is
 * gone. EBADF: @eventfd is not open; EINVAL: it is no eventfd; EOPNOTSUPP: a MEM of
 * user pages or a FILE, to which nothing happens. Needs no privilege.
 */
struct homi_event_bind {
	__u32 size;
	__u32 flags;
	__u32 id;
	__s32 eventfd;
};

#define HOMI_EVENT_BIND _IO(HOMI_TYPE, HOMI_CMD_EVENT_BIND)

/* struct homi_extent.flags */
enum {
	HOMI_EXTENT_HOLE = 1 << 0,	/* reads as zeroes; slba means nothing */
};

/**
 * struct homi_extent - one record of an extent table
 * @file_offset: bytes, a multiple of the block size
 * @slba: first logical block of the namespace
 * @blocks: number of logical blocks, at least 1
 * @flags: HOMI_EXTENT_HOLE or 0
 * @__reserved: 0
 *
 * Records are sorted by @file_offset and gapless over the resolved range: holes
 * and unwritten (preallocated) ranges come as HOMI_EXTENT_HOLE, since a file
 * system reads both as zeroes.
 */
struct homi_extent {
	__aligned_u64 file_offset;
	__aligned_u64 slba;
	__aligned_u64 blocks;
	__u32 flags;
	__u32 __reserved;
};

/* struct homi_extent_table.state */
enum homi_extent_state {
	HOMI_EXTENT_VALID = 1,
	HOMI_EXTENT_RECALLED = 2,	/* somebody waits: stop using it, then EXTENT_ACK */
	HOMI_EXTENT_REVOKED = 3,	/* not true any more; queues were deleted */
	HOMI_EXTENT_ACKED = 4,		/* not true any more, by EXTENT_ACK */
};

/**
 * struct homi_extent_table - head of the mapped table
 * @state: enum homi_extent_state; changes while mapped, and decides
 * @nsid: namespace of the blocks
 * @generation: grows before each change of @state; no two states of extents of
 *	one open file have the same
 * @count: number of records, which follow at @records
 * @file_size: bytes, when the table was made
 * @block_size: bytes in a logical block
 * @__reserved: 0
 * @records: struct homi_extent, sorted by file_offset
 */
struct homi_extent_table {
	__u32 state;
	__u32 nsid;
	__aligned_u64 generation;
	__aligned_u64 count;
	__aligned_u64 file_size;
	__u32 block_size;
	__u32 __reserved[7];
	struct homi_extent records[];
};

/* struct homi_extent_resolve.flags */
enum {
	HOMI_RESOLVE_WRITE = 1 << 0,	/* exclusive: the holder writes in place */
};

/**
 * struct homi_extent_resolve - ioctl(HOMI_EXTENT_RESOLVE)
 * @size: sizeof(struct homi_extent_resolve)
 * @flags: HOMI_RESOLVE_WRITE or 0
 * @fd: a regular file, open for reading, on a namespace of this controller or
 *	on a partition of one; with HOMI_RESOLVE_WRITE open with O_PATH
 * @__reserved: must be 0
 * @offset: start of the wanted range in bytes, a multiple of the block size
 * @length: bytes, a multiple of the block size; 0 is up to the end of the file
 * @out_extent_id: the new EXTENT
 * @out_nsid: namespace of the blocks
 * @out_count: number of records
 * @out_mmap_offset: mmap cookie of the table (struct homi_extent_table), which
 *	is mapped read-only
 * @out_mmap_length: bytes to map, exactly
 * @out_block_size: bytes in a logical block
 * @out_reason: enum homi_reason, also when the call fails with EOPNOTSUPP or
 *	EAGAIN
 *
 * The answer stays true as long as the EXTENT lives: a lease on the file makes
 * whoever wants to write to it or to move its blocks wait until EXTENT_ACK or
 * DESTROY, at most the module's recall_ms; after that all queues of this
 * open file are deleted (HOMI_QUEUE_REVOKED), the EXTENT becomes
 * HOMI_EXTENT_REVOKED, and the other side goes on. The fence covers the queues
 * of this open file, no others.
 *
 * No lease tells when the namespace goes, or is formatted to other blocks, or
 * made smaller; that is found out within about half a second and ends likewise,
 * without a recall before it. When the controller is gone all EXTENTs are
 * HOMI_EXTENT_REVOKED and hold up nobody.
 *
 * Enabling fs-verity breaks no lease and moves no block: an EXTENT that there is stays,
 * and what is read by it is not verified.
 *
 * The range is cut at the end of the file, rounded up to a block. EINVAL for a
 * range that starts at or after the end. Needs to own the file, or CAP_LEASE; EPERM
 * also if a security module denies the lease; EIO: what the file system says that has
 * no number here, of metadata that are bad for one. An EXTENT keeps a file open and leases
 * on it, and counts (EDQUOT) until it is destroyed and nothing of it is mapped.
 *
 * With HOMI_RESOLVE_WRITE the holder may write to the blocks until it is
 * recalled, and nobody else has the file open: neither for writing nor for
 * reading, the caller included, whose @fd is therefore one that can only name
 * it (O_PATH; EBADF otherwise). Who opens it waits likewise. Every block of the
 * range must have been written before and belong to no other file; the range is
 * cut at the end of the file, rounded down to a block. EPERM: the caller may not
 * read and write the file; EROFS: nobody may. What is written is durable as the
 * NVMe specification says: after a Flush, or with FUA. At the end, whatever the
 * way, the queues of this open file are deleted first; then cached pages are
 * dropped, the file's times are updated, and others get at it. So DESTROY is
 * EBUSY while this open file has queues, and EXTENT_ACK has them deleted
 * (HOMI_QUEUE_REVOKED), for which it does not wait.
 */
struct homi_extent_resolve {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 __reserved;
	__aligned_u64 offset;
	__aligned_u64 length;
	__u32 out_extent_id;
	__u32 out_nsid;
	__aligned_u64 out_count;
	__aligned_u64 out_mmap_offset;
	__aligned_u64 out_mmap_length;
	__u32 out_block_size;
	__u32 out_reason;
};

#define HOMI_EXTENT_RESOLVE _IO(HOMI_TYPE, HOMI_CMD_EXTENT_RESOLVE)

/**
 * struct homi_extent_ack - ioctl(HOMI_EXTENT_ACK)
 * @size: sizeof(struct homi_extent_ack)
 * @flags: must be 0
 * @extent_id: an EXTENT
 * @__reserved: must be 0
 * @generation: homi_extent_table.generation as it was seen with
 *	HOMI_EXTENT_RECALLED
 *
 * Answers a recall: no command on blocks of this EXTENT is in flight, on any
 * queue, and none will be submitted. Whoever waits for the file goes on at once,
 * and the state is HOMI_EXTENT_ACKED from then on. The EXTENT is of no use any
 * more but stays mapped until it is destroyed; for the new blocks resolve the
 * file again. The queues of this open file are not touched, unless the EXTENT is
 * one to write to: an answer that is not true is not found out, so a holder that
 * can't tell must let its queues be deleted.
 *
 * EINVAL if the EXTENT is not recalled, or @generation is another one's; ESTALE
 * if it was revoked, or is about to be: the queues are being deleted, or the
 * controller is gone. No error if it was acknowledged before. Needs no
 * privilege.
 */
struct homi_extent_ack {
	__u32 size;
	__u32 flags;
	__u32 extent_id;
	__u32 __reserved;
	__aligned_u64 generation;
};

#define HOMI_EXTENT_ACK _IO(HOMI_TYPE, HOMI_CMD_EXTENT_ACK)

/* Names that one HOMI_RESOLVE_SET takes, at most */
#define HOMI_SET_FILES_MAX	262144

/**
 * struct homi_set_entry - one file of a set
 * @table: bytes from the start of the mapping to its struct homi_extent_table, a
 *	multiple of 64; 0 if it has none
 * @extent_id: its EXTENT, or 0
 * @error: 0, or the errno (positive) that EXTENT_RESOLVE or open() fails with
 * @reason: enum homi_reason, with EOPNOTSUPP or EAGAIN
 * @__reserved: 0
 */
struct homi_set_entry {
	__aligned_u64 table;
	__u32 extent_id;
	__u32 error;
	__u32 reason;
	__u32 __reserved;
};

/**
 * struct homi_extent_set - head of the mapping of a set
 * @count: number of entries, one for each name, in the same order
 * @resolved: how many of them have a table
 * @changes: grows by one after each table's state has become RECALLED or REVOKED
 * @__reserved: 0
 * @entries: constant, as all of the mapping is but @changes and the tables'
 *	states and generations
 */
struct homi_extent_set {
	__u32 count;
	__u32 resolved;
	__u32 changes;
	__u32 __reserved[5];
	struct homi_set_entry entries[];
};

/**
 * struct homi_resolve_set - ioctl(HOMI_RESOLVE_SET)
 * @size: sizeof(struct homi_resolve_set)
 * @flags: must be 0
 * @dirfd: a directory; all names are looked up in it as if it were the root
 *	(openat2(), RESOLVE_IN_ROOT)
 * @count: number of names, 1 to HOMI_SET_FILES_MAX
 * @names: user address of the names, one after the other, each with its NUL
 * @names_length: bytes at @names, up to 64 MiB
 * @out_set_id: the new SET
 * @out_resolved: how many files it has an EXTENT of
 * @out_mmap_offset: mmap cookie of the set (struct homi_extent_set), which is
 *	mapped read-only
 * @out_mmap_length: bytes to map, exactly
 *
 * Many files by one call and in one mapping: for each name what open() for
 * reading, EXTENT_RESOLVE (read type, the whole file) and close() do, by the
 * same rules. A file that can't be opened or is refused has no table, and its
 * entry says why; the others have an EXTENT each, of the id that the entry
 * tells, which is recalled, answered (EXTENT_ACK) and revoked by itself; an
 * eventfd bound to the SET is signalled for each of them. DESTROY of the SET
 * destroys all of its EXTENTs; one that is destroyed by itself keeps its table
 * in the mapping.
 *
 * A directory that names in a row are in is looked up once: they find it also when
 * it is moved meanwhile.
 *
 * ENOTDIR: @dirfd is no directory; EINVAL: not exactly @count names; EINTR: a
 * fatal signal came, or another one while the system is suspended; ENOMEM,
 * ENODEV: nothing is left of it. An entry's EAGAIN without a reason: a directory
 * above was moved meanwhile. Each file takes about 1 KiB of kernel memory, and
 * counts as an EXTENT until the SET is destroyed: over that quota it is EDQUOT in its
 * entry, as another error of one file. Needs what EXTENT_RESOLVE needs, for each file.
 */
struct homi_resolve_set {
	__u32 size;
	__u32 flags;
	__s32 dirfd;
	__u32 count;
	__aligned_u64 names;
	__aligned_u64 names_length;
	__u32 out_set_id;
	__u32 out_resolved;
	__aligned_u64 out_mmap_offset;
	__aligned_u64 out_mmap_length;
};

#define HOMI_RESOLVE_SET _IO(HOMI_TYPE, HOMI_CMD_RESOLVE_SET)

/**
 * struct homi_reserve - ioctl(HOMI_RESERVE)
 * @size: sizeof(struct homi_reserve)
 * @flags: must be 0
 * @count: queue pairs that the stock driver is to leave to homi, 0 to 65534
 * @__reserved: must be 0
 * @out_queues_granted: as in CTRL_INFO, afterwards
 * @out_queues_kernel: likewise
 * @out_queues_spare: likewise
 * @out_reserved: likewise, out_queues_reserved
 * @out_generation: likewise
 *
 * For controllers that grant no more queues than the stock driver takes. Each
 * time that it sets up its queues, @count more than it wants are asked for, and
 * at least @count of those granted are kept from it. It is never left with
 * fewer than one. The controller is reset once if that changes what the stock
 * driver has; all queues of all open files are lost by that, as by any reset.
 * The reservation belongs to the controller: it outlives the open file and
 * further resets, and ends with the module, and when the driver is unbound.
 *
 * ENOSPC if the controller does not grant so many, and the reservation is what
 * it was before (the controller was reset all the same, if only that could
 * tell); EBUSY if queue ids would be given back that are lent, or held back
 * since a mapping of them is left; EAGAIN while the controller is resetting, or
 * if it does not come back from this reset within 90 s: CTRL_INFO then tells
 * what came of it, as after EINTR; EOPNOTSUPP if it never lends queues
 * (CTRL_INFO says why). Needs CAP_SYS_ADMIN.
 */
struct homi_reserve {
	__u32 size;
	__u32 flags;
	__u32 count;
	__u32 __reserved;
	__u32 out_queues_granted;
	__u32 out_queues_kernel;
	__u32 out_queues_spare;
	__u32 out_reserved;
	__aligned_u64 out_generation;
};

#define HOMI_RESERVE _IO(HOMI_TYPE, HOMI_CMD_RESERVE)

/**
 * struct homi_destroy - ioctl(HOMI_DESTROY)
 * @size: sizeof(struct homi_destroy)
 * @flags: must be 0
 * @id: a QUEUE, MEM, EXTENT, SET or FILE
 * @__reserved: must be 0
 *
 * A QUEUE is deleted at the controller (SQ, then CQ) before the call returns;
 * commands in flight are aborted by that. EBUSY for a MEM, unless with
 * HOMI_MEM_PAGES, while the controller has not let go of a queue of this open
 * file, which might still target it, or a READ or WRITE by extents uses it.
 * Works on lost objects and after removal too. Needs no privilege.
 */
struct homi_destroy {
	__u32 size;
	__u32 flags;
	__u32 id;
	__u32 __reserved;
};

#define HOMI_DESTROY _IO(HOMI_TYPE, HOMI_CMD_DESTROY)

/**
 * struct homi_holder - one open file that holds queue ids
 * @pid: of the process that opened it, as the caller sees it; 0 if it does not,
 *	or if that process has ended. The descriptor may have been handed on.
 * @queues: its QUEUEs, lost ones included
 * @at_controller: queues that the controller may act on; more than @queues if it
 *	has not let go of destroyed ones
 * @qids: queue ids that are lent to it, or held back because a mapping of a
 *	destroyed queue, or a dma-buf of its doorbells, is left
 */
struct homi_holder {
	__u32 pid;
	__u32 queues;
	__u32 at_controller;
	__u32 qids;
};

/* struct homi_holders.flags */
enum {
	HOMI_HOLDERS_REVOKE = 1 << 0,	/* and take all these queues back */
};

/**
 * struct homi_holders - ioctl(HOMI_HOLDERS)
 * @size: sizeof(struct homi_holders)
 * @flags: 0 or HOMI_HOLDERS_REVOKE
 * @count: in: records that fit at @holders; out: how many there are, also when
 *	the call fails with EMSGSIZE; nothing is revoked then
 * @__reserved: must be 0
 * @holders: user address of an array of struct homi_holder
 * @out_revoked: queues that were taken back
 * @out_busy: of all that were ever taken back, those that the controller may
 *	still act on. A reset that was asked for ends them.
 *
 * Tells which open files other than this one hold queue ids of the controller, as
 * it was before HOMI_HOLDERS_REVOKE. That deletes all their queues, as an
 * unanswered recall does (HOMI_QUEUE_REVOKED), and QUEUE_RECREATE gives ESTALE
 * from then on. Their queue ids are free when they are destroyed and unmapped:
 * a doorbell that was handed to a device can't be taken back. Who may create
 * queues can create others. Needs CAP_SYS_ADMIN.
 */
struct homi_holders {
	__u32 size;
	__u32 flags;
	__u32 count;
	__u32 __reserved;
	__aligned_u64 holders;
	__u32 out_revoked;
	__u32 out_busy;
};

#define HOMI_HOLDERS _IO(HOMI_TYPE, HOMI_CMD_HOLDERS)

/**
 * struct homi_file_register - ioctl(HOMI_FILE_REGISTER)
 * @size: sizeof(struct homi_file_register)
 * @flags: must be 0
 * @fd: a regular file on a namespace of this controller or on a partition of one,
 *	open for what is to be done with it
 * @__reserved: must be 0
 * @out_file_id: the new FILE
 * @out_reason: enum homi_reason, also when the call fails with EOPNOTSUPP
 *
 * For HOMI_READ and HOMI_WRITE, which then need not look @fd up, nor where its file
 * is, each time. The FILE keeps the file open until it is destroyed. EBADF: @fd is
 * not open, or by O_PATH; EDQUOT: one user's FILEs at one controller are as many as
 * the caller's RLIMIT_NOFILE. Needs no privilege: how it is open says what may be
 * done.
 */
struct homi_file_register {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 __reserved;
	__u32 out_file_id;
	__u32 out_reason;
};

#define HOMI_FILE_REGISTER _IO(HOMI_TYPE, HOMI_CMD_FILE_REGISTER)

/**
 * struct homi_uring_call - any command of above, by io_uring
 * @addr: user address of its structure
 * @__reserved: must be 0
 *
 * IORING_OP_URING_CMD with the descriptor of /dev/homi/nvmeN (or a registered file
 * of it), the command as ioctl() takes it in cmd_op, and this in the SQE's command
 * area. The CQE's res is 0 or a negative errno. Commands may sleep: they are done by
 * io_uring's worker threads, so the structure has to stay until the completion.
 */
struct homi_uring_call {
	__aligned_u64 addr;
	__aligned_u64 __reserved;
};

/* struct homi_uring_rw.flags */
enum {
	HOMI_RW_FD = 1 << 0,		/* @file is a descriptor, not a FILE; see below */
	HOMI_RW_DSYNC = 1 << 1,		/* WRITE only: durable when it completes */
	HOMI_RW_BY_FS = 1 << 2,		/* by the file system's direct I/O, or not at all */
	HOMI_RW_BY_EXTENTS = 1 << 3,	/* by the file's blocks, or not at all */
};

/**
 * struct homi_uring_rw - READ or WRITE of a range of a file, by io_uring only
 * @flags: HOMI_RW_* bits
 * @file: a FILE, or with HOMI_RW_FD a descriptor that FILE_REGISTER would take
 * @file_offset: bytes
 * @mem_id: a MEM
 * @length: bytes, up to INT_MAX less a page
 * @mem_offset: bytes from the start of the MEM
 * @__reserved: must be 0
 *
 * IORING_OP_URING_CMD as with struct homi_uring_call; cmd_op is HOMI_READ or
 * HOMI_WRITE, and this is in the command area of an SQE of 128 bytes
 * (IORING_SETUP_SQE128, or IORING_OP_URING_CMD128; EINVAL otherwise). The CQE's res is
 * what pread() or pwrite() of a file opened with O_DIRECT would return, with the
 * alignment that the file system demands of offsets and length. A read is short only
 * at the end of the file, or before an error.
 *
 * With HOMI_RW_FD one of io_uring's workers looks the descriptor up, some time after
 * io_uring_enter() has returned: until the completion it has to stay what it is. Of one
 * that was closed meanwhile and opened for something else that file is read, or written
 * to. Ids are looked up as the command begins, and once more by a worker where that would
 * have had to wait: destroyed before that it is ENOENT, or what was given the id since.
 *
 * With a MEM of user pages the file system does it, as its direct I/O: all of its
 * rules hold, page cache and other users of the file included, and a controller
 * reset goes by unseen. A MEM may be destroyed meanwhile; its pages stay pinned as
 * long.
 *
 * With a dma-buf, or with HOMI_RW_BY_EXTENTS, homi reads and writes the file's blocks by
 * commands of its own on the kernel's queues. Who opens the file for writing, or moves
 * its blocks, waits for those that are on their way. Holes, and the last block behind
 * the end of the file, are read as zeroes; a WRITE is to blocks that the file has
 * already, written and its own alone, within its size (EOPNOTSUPP otherwise). While
 * anybody has the file open for writing (who WRITEs does) this is not possible with each
 * file system and kernel: READ is EAGAIN then, WRITE EOPNOTSUPP, and a READ of XFS also
 * where there is no plain block. A READ likewise of what a mapping goes on writing to, of
 * a file that was emptied and written anew just then, and for 2 to 30 s after somebody
 * wanted the file back from READs and got no descriptor that writes to it: changed its
 * mode, owner, times, attributes or name, or was told to try again. A WRITE is EAGAIN
 * while somebody goes on dirtying the page cache there, or keeps pages of it. The lease
 * that READs leave on a file counts as an EXTENT of this open file; over that quota they
 * go as if somebody had it open for writing, and are EDQUOT where that is not possible. What
 * EXTENT_RESOLVE refuses of files is EOPNOTSUPP here; it need not be the caller's.
 * @file_offset and @length are multiples of the namespace's block size, @mem_offset of
 * 4 (EINVAL). A MEM is busy (EBUSY) while a command uses it; ESTALE: its exporter wants
 * it back. Resets are not seen either, but the block layer's cgroups and schedulers do
 * not see these commands. In their place there may be a budget of the user who opened
 * the file (ios_per_second_per_user and kib_per_second_per_user, as the quotas), unless
 * the caller has CAP_SYS_RESOURCE. What is over it waits, in the order in which it
 * came, before anything is held of what it names; EINTR: a signal or a cancellation
 * came meanwhile.
 *
 * EBADF: not open for that; ENOENT: no such FILE or MEM; EFAULT: READ to a MEM without
 * HOMI_MEM_WRITE; EINVAL: not within the MEM, or READ with HOMI_RW_DSYNC; EOPNOTSUPP: also a
 * MEM of pages only with HOMI_RW_BY_EXTENTS, a dma-buf with HOMI_RW_BY_FS, or with
 * HOMI_RW_FD the file is not on this controller, in which case FILE_REGISTER tells why;
 * ENODEV: the controller is gone. Not with IORING_SETUP_IOPOLL before 7.0 (EOPNOTSUPP).
 * Needs no privilege: how the file is open says what may be done.
 */
struct homi_uring_rw {
	__u32 flags;
	__s32 file;
	__aligned_u64 file_offset;
	__u32 mem_id;
	__u32 length;
	__aligned_u64 mem_offset;
	__aligned_u64 __reserved[4];
};

#define HOMI_READ _IO(HOMI_TYPE, HOMI_CMD_READ)
#define HOMI_WRITE _IO(HOMI_TYPE, HOMI_CMD_WRITE)

/* struct homi_io_stats.flags */
enum {
	HOMI_STATS_CTRL = 1 << 0,	/* of all open files, those that are closed too */
};

/**
 * struct homi_io_stats - ioctl(HOMI_IO_STATS)
 * @size: sizeof(struct homi_io_stats)
 * @flags: 0 for this open file, or HOMI_STATS_CTRL since homi has the controller
 * @out_fs_reads: READs that file systems did, or the part before an error
 * @out_fs_writes: WRITEs likewise
 * @out_fs_read_bytes: bytes of these
 * @out_fs_written_bytes: likewise
 * @out_fs_errors: READs and WRITEs that they did nothing of
 * @out_extents_reads: READs by the file's blocks, or the part before an error
 * @out_extents_read_bytes: bytes of these
 * @out_extents_errors: READs and WRITEs by the file's blocks that did nothing
 * @out_extents_writes: WRITEs by the file's blocks, or the part before an error
 * @out_extents_written_bytes: bytes of these
 *
 * Not of what raw queues do, of which the kernel sees nothing, nor of what was
 * refused before a file system was asked. Those of the controller are in sysfs too,
 * /sys/class/homi/nvmeN/stats. Needs no privilege.
 */
struct homi_io_stats {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_fs_reads;
	__aligned_u64 out_fs_writes;
	__aligned_u64 out_fs_read_bytes;
	__aligned_u64 out_fs_written_bytes;
	__aligned_u64 out_fs_errors;
	__aligned_u64 out_extents_reads;
	__aligned_u64 out_extents_read_bytes;
	__aligned_u64 out_extents_errors;
	__aligned_u64 out_extents_writes;
	__aligned_u64 out_extents_written_bytes;
};

#define HOMI_IO_STATS _IO(HOMI_TYPE, HOMI_CMD_IO_STATS)

#endif /* _UAPI_LINUX_HOMI_H */
