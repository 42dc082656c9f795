/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_COMPARE_H
#define HOMI_SELFTESTS_COMPARE_H

/* The table of a file against other answers */

#include "files.h"
#include "ring.h"

char *page_buffer(size_t size);
/* Where its file system begins on the namespace, bytes */
uint64_t fs_start(int file);
/* Block by block the same as FIEMAP */
void compare_fiemap(const struct table *table, int file, uint64_t from, uint64_t to);
/* What lies in these blocks is what the file reads; @ring is NULL for stock's block device. */
void compare_blocks(const struct table *table, int file, struct ring *ring,
		    const struct dma *dma, const struct dma *list);
/* Both, for all of it */
void check_file(int fd, int file);

#endif
