/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_INPLACE_H
#define HOMI_SELFTESTS_INPLACE_H

/* Files that are resolved to be written to in place */

#include "held.h"

#define SIZE	(PAGES * PAGE)

/* @file is open with O_PATH; 0 or -errno */
int resolve_to_write(int fd, int file, uint64_t offset, uint64_t length,
		     struct homi_extent_resolve *r);
int resolve_path(int fd, const char *path, struct homi_extent_resolve *r);
void table_open_to_write(struct table *table, int fd, const char *path);
/* A file on the device, all of it in the page cache, and nobody has it open */
void file_to_write(struct file *file, const char *dir, const char *name);
/* Waits for the recall, and answers it */
void ack_recall(const struct table *table);

#endif
