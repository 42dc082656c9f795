/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_RW_H
#define _HOMI_RW_H

#include "homi.h"

struct homi_extent_obj;
struct homi_mem;

/* file.c */
int homi_file_check(struct homi_ctrl *ctrl, struct file *file, u32 *reason);
struct file *homi_file_of(struct homi_object *obj);
struct homi_extent_obj *homi_file_map(struct homi_object *obj, bool may_wait);

/**
 * struct homi_named - what a READ or WRITE names
 * @mem: the MEM, with a reference
 * @file: the FILE, with a reference; NULL if it was named by a descriptor
 * @of: its file; if @file is NULL with a reference
 */
struct homi_named {
	struct homi_mem *mem;
	struct homi_object *file;
	struct file *of;
};

/* What it can be of what it asks for, as far as is known before it is begun */
static inline u32 homi_rw_bytes(const struct homi_named *named,
				const struct homi_uring_rw *rw)
{
	u64 size = i_size_read(file_inode(named->of));

	return rw->file_offset < size ?
	       min_t(u64, rw->length, size - rw->file_offset) : 0;
}

/* rw.c */
void homi_rw_put(const struct homi_named *named);
void homi_rw_count(struct homi_ctx *ctx, enum homi_way by, bool write, long ret);

/* rw_extents.c */
int homi_rw_by_extents(const struct homi_named *named,
		       struct io_uring_cmd *cmd,
		       const struct homi_uring_rw *rw, bool write,
		       bool may_wait, struct homi_toll *toll);
int homi_rw_extents_init(void);
void homi_rw_extents_exit(void);

#endif /* _HOMI_RW_H */
