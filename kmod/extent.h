/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_EXTENT_H
#define _HOMI_EXTENT_H

#include <linux/fiemap.h>
#include <linux/path.h>

#include "homi.h"

/**
 * struct homi_raw_extent - what a file system says of a piece of a file
 * @logical: offset in the file, bytes
 * @physical: offset on its block device, bytes
 * @length: bytes
 * @flags: FIEMAP_EXTENT_*
 */
struct homi_raw_extent {
	u64 logical;
	u64 physical;
	u64 length;
	u32 flags;
};

/**
 * struct homi_table_builder - from raw extents to table records
 * @block_size: logical block size, bytes, a power of two
 * @start: first byte of the range, a multiple of @block_size
 * @end: behind its last byte, likewise
 * @disk_offset: start of the block device on the namespace, bytes
 * @write: every block must be there, written, and of this file alone
 * @reason: out, with -EOPNOTSUPP: enum homi_reason
 * @records: where they go, or NULL
 * @count: out: how many
 * @last: private
 */
struct homi_table_builder {
	u32 block_size;
	u64 start;
	u64 end;
	u64 disk_offset;
	bool write;
	u32 reason;
	struct homi_extent *records;
	u64 count;
	struct homi_extent last;
};

/* That a collector has room for by itself: enough for most files */
#define HOMI_FEW_EXTENTS	8

/**
 * struct homi_collector - picks up what a file system answers to FIEMAP
 * @info: what the file system is given
 * @inode: the file
 * @saw_unlocked: nobody held the file's i_rwsem when the file system told of an extent
 * @extents: where extents go
 * @max: how many fit
 * @seen: how many came
 * @few: what @extents is at first
 */
struct homi_collector {
	struct fiemap_extent_info info;
	struct inode *inode;
	bool saw_unlocked;
	struct homi_raw_extent *extents;
	u32 max;
	u32 seen;
	struct homi_raw_extent few[HOMI_FEW_EXTENTS];
};

int homi_fiemap_init(void);
void homi_fiemap_exit(void);
int homi_fiemap_begin(struct homi_collector *c);
void homi_fiemap_end(struct homi_collector *c);
int homi_fiemap(struct homi_collector *c, struct inode *inode, u64 start,
		u64 len);
bool homi_fiemap_may_lock(struct homi_collector *c, struct inode *inode,
			  u64 start, u64 len);
int homi_collector_add(struct homi_collector *c,
		       const struct homi_raw_extent *raw);
int homi_table_build(struct homi_table_builder *b,
		     const struct homi_raw_extent *raw, u32 nr);

/**
 * struct homi_place - where the files of a file system are
 * @sb: it; whoever has one of its files open may use this
 * @ns: namespace
 * @commits: its commit_metadata commits an inode's allocation
 */
struct homi_place {
	struct super_block *sb;
	struct homi_nvme_ns ns;
	bool commits;
};

struct homi_extent_obj;
struct homi_set;
struct homi_touch;

/**
 * struct homi_lease - one lease; its address is the owner that the VFS knows
 * @extent: whose it is
 * @held: guarded by @extent's lock
 */
struct homi_lease {
	struct homi_extent_obj *extent;
	bool held;
};

/**
 * struct homi_extent_obj - an EXTENT
 * @obj: must be first
 * @lock: guards the fields below; held over taking and dropping leases
 * @file: private; NULL when the leases were dropped
 * @write: to be written to; constant
 * @touch: to update the file's times later, of one to be written to
 * @lease: what keeps writers away, and everybody if it is to be written to
 * @deleg: what keeps away who truncates and breaks no lease
 * @layout: what keeps XFS from moving blocks
 * @recalled: somebody breaks a lease; set once, under the VFS's spinlock
 * @warned: the holder was told
 * @since: when it was; of an internal one, when it was recalled
 * @acked: the holder has answered
 * @ended: destroyed, or closed
 * @gone: the controller went: nothing is recalled any more
 * @fenced: the holder did not answer: only the worker may drop the leases
 * @recall: tells the holder, and recall_ms later fences it off
 * @look: on the list of extent_look.c, and guarded by its lock
 * @look_until: jiffies, when it is taken off it
 * @ns: its namespace when it was resolved; constant since there is a table
 * @table: mapped read-only into user space; NULL until resolved
 * @table_len: bytes of @table; 0 for a member of a set
 * @set: that it is a member of, with a reference; constant, or NULL
 * @internal: for READs that homi does by itself, and nobody's to see; constant
 * @inflight: these, until somebody wants the file
 * @queue: of the block layer's, for these; holds a reference
 */
struct homi_extent_obj {
	struct homi_object obj;
	struct mutex lock;	/* see above */
	struct file *file;
	bool write;
	struct homi_touch *touch;
	struct homi_lease lease;
	struct homi_lease deleg;
	struct homi_lease layout;
	unsigned long recalled;
	bool warned;
	ktime_t since;
	bool acked;
	bool ended;
	bool gone;
	bool fenced;
	struct delayed_work recall;
	struct list_head look;
	u64 look_until;
	struct homi_nvme_ns ns;
	struct homi_extent_table *table;
	size_t table_len;
	struct homi_set *set;
	bool internal;
	struct homi_inflight inflight;
	struct request_queue *queue;
};

/**
 * struct homi_set - many EXTENTs in one mapping
 * @obj: must be first
 * @table: mapped read-only; NULL until all are resolved; @changes guarded by
 *	the controller's lock
 * @table_len: bytes of @table
 * @count: of @members
 * @members: with a reference each, NULL where there is none; taken by
 *	whoever ends the set
 */
struct homi_set {
	struct homi_object obj;
	struct homi_extent_set *table;
	size_t table_len;
	u32 count;
	struct homi_extent_obj **members;
};

/* Who it is that wants, or has, a file that can't be lent with him */
static inline u32 homi_extent_rival(const struct homi_extent_obj *e)
{
	return e->write ? HOMI_REASON_OPEN : HOMI_REASON_WRITER;
}

static inline int homi_refuse(u32 *reason, enum homi_reason why)
{
	*reason = why;
	return -EOPNOTSUPP;
}

/* extent_check.c */
int homi_check_kind(struct inode *inode, u32 *reason);
int homi_check_inode(struct inode *inode, u32 *reason);
int homi_check_file(const struct path *path, u32 *reason);
int homi_check_moves(const struct path *path);
int homi_path_may(const struct path *path, u32 *reason);
int homi_extent_may(struct file *file, bool write, u32 *reason);
int homi_place_find(struct homi_ctrl *ctrl, struct super_block *sb,
		    struct homi_place *place, u32 *reason);
int homi_extent_errno(int err, bool write);

/* extent.c */
struct homi_extent_obj *homi_extent_alloc(struct homi_ctx *ctx, bool write);
int homi_extent_lock(struct homi_extent_obj *e, struct file *file, u32 *reason);
struct homi_extent_table *homi_table_make(struct homi_table_builder *b,
					  const struct homi_raw_extent *raw,
					  u32 nr, struct block_device *bdev,
					  bool mapped);
struct homi_extent_table *homi_extent_ask(struct homi_extent_obj *e,
					  struct file *file, u64 offset,
					  u64 length,
					  const struct homi_place *place,
					  struct homi_collector *c,
					  u32 *reason);
int homi_extent_refused(const struct path *path, int ret, u32 *reason);
int homi_extent_grant(struct homi_extent_obj *e,
		      struct homi_extent_table *table, u32 *reason);
int homi_extent_grant_read(struct homi_extent_obj *e, struct file *file,
			   struct homi_extent_resolve *cmd,
			   const struct homi_place *place);
vm_fault_t homi_table_fault(void *table, size_t len, struct vm_fault *vmf);

/* extent_lease.c */
int homi_lease_init(void);
void homi_lease_exit(void);
int homi_lease_prepare(struct homi_extent_obj *e, bool write);
void homi_lease_free(struct homi_extent_obj *e);
struct file *homi_extent_file(struct homi_extent_obj *e);
int homi_extent_open(struct homi_extent_obj *e, struct file *file, u32 *reason);
int homi_extent_check_open(const struct homi_extent_obj *e,
			   const struct inode *inode, u32 *reason);
int homi_extent_lease(struct homi_extent_obj *e, struct inode *inode,
		      u32 *reason);
int homi_extent_ack(struct homi_extent_obj *e, u64 generation);
void homi_extent_end(struct homi_object *obj);
void homi_extent_expire(struct homi_extent_obj *e);
void homi_extent_gone(struct homi_extent_obj *e);
void homi_extent_set_state(struct homi_extent_obj *e, u32 state);
struct file *homi_extent_let_go(struct homi_extent_obj *e);

void homi_extent_wanted(struct homi_extent_obj *e);
void homi_recall_queue(struct delayed_work *work, unsigned long delay);

/* extent_look.c */
void homi_look_init(void);
void homi_look_exit(void);
void homi_look_mind(const struct inode *inode, bool marked);
int homi_look_yield(const struct homi_extent_obj *e, const struct inode *inode);
bool homi_look_waits(struct inode *inode);
void homi_look_begin(struct homi_extent_obj *e, const struct inode *inode);
void homi_look_end(struct homi_extent_obj *e);

/* extent_backoff.c */
void homi_backoff_init(void);
u64 homi_inode_hash(const struct inode *inode);
void homi_backoff_begin(const struct inode *inode);
bool homi_backoff_is_on(const struct inode *inode);

/* extent_end.c */
int homi_touch_init(void);
void homi_touch_exit(void);
struct homi_touch *homi_touch_alloc(void);
void homi_touch_later(struct homi_extent_obj *e, struct file *file);
void homi_extent_settle(struct homi_extent_obj *e);
void homi_extent_close(struct file *file);

/* extent_internal.c */
struct homi_extent_obj *homi_extent_internal(struct homi_ctx *ctx,
					     struct file *file);
void homi_extent_drop(struct homi_extent_obj *e);
void homi_extent_leave(struct homi_extent_obj *e);
void homi_extent_stop(struct homi_extent_obj *e);
void homi_extent_mind(struct homi_extent_obj *e, bool marked);
void homi_extent_drain(struct homi_extent_obj *e);

#endif /* _HOMI_EXTENT_H */
