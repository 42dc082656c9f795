/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_SHOW_H
#define _HOMI_SHOW_H

#include "homi.h"

/* What sysfs.c and debugfs.c have from others. All of it takes ctrl->lock but where said. */

struct seq_file;

/* sysfs.c */
extern const struct attribute_group homi_stats_group;

/* io_stats.c */
void homi_io_counts_all(struct homi_ctrl *ctrl, struct homi_io_counts *sum);

/* queue.c */
void homi_queues_show(struct homi_ctrl *ctrl, struct seq_file *m);
u32 homi_queues_held_back(struct homi_ctrl *ctrl);
void homi_ctx_show_queues(struct homi_ctx *ctx, struct seq_file *m);

/* mem_import.c */
void homi_imports_show(struct homi_ctrl *ctrl, struct seq_file *m);

/* doorbell_export.c */
void homi_exports_show(struct homi_ctrl *ctrl, struct seq_file *m);

/* quota.c: constant */
kuid_t homi_user_uid(const struct homi_user *user);

#endif /* _HOMI_SHOW_H */
