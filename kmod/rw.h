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

/* rw.c */
struct file *homi_rw_file(struct homi_ctx *ctx, const struct homi_uring_rw *rw,
			  bool may_wait, struct homi_object **obj);
void homi_rw_count(struct homi_ctx *ctx, enum homi_way by, bool write, long ret);

/* rw_extents.c */
int homi_rw_by_extents(struct homi_mem *mem, struct io_uring_cmd *cmd,
		       const struct homi_uring_rw *rw, bool write,
		       bool may_wait);
int homi_rw_extents_init(void);
void homi_rw_extents_exit(void);

#endif /* _HOMI_RW_H */
