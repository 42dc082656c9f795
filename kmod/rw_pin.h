/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_RW_PIN_H
#define _HOMI_RW_PIN_H

#include <linux/fs.h>

#include "homi.h"

/**
 * struct homi_pin - a range of a file that stays where it is for one READ or WRITE
 * @kiocb: of its file; @ki_pos is where it begins
 * @length: bytes, cut off by the caller's limits, not at the end of the file
 * @write: or read
 * @ns: its namespace
 * @queue: of the block layer's, with a reference
 * @table: its blocks, up to the end of the file
 */
struct homi_pin {
	struct kiocb kiocb;
	u32 length;
	bool write;
	struct homi_nvme_ns ns;
	struct request_queue *queue;
	struct homi_extent_table *table;
};

struct homi_pin *homi_pin_get(struct homi_ctx *ctx, struct file *file,
			      const struct homi_uring_rw *rw, bool write);
void homi_pin_leave(struct homi_pin *pin);
bool homi_pin_is_durable(const struct homi_pin *pin);
int homi_pin_end_write(struct homi_pin *pin, u32 done);
void homi_pin_free(struct homi_pin *pin);

#endif /* _HOMI_RW_PIN_H */
