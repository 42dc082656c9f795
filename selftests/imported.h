/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_IMPORTED_H
#define HOMI_SELFTESTS_IMPORTED_H

/* A dma-buf that is a MEM, and a queue that reads and writes it */

#include <stdatomic.h>

#include "exporter.h"

#define LENGTH	(64 * PAGE)
#define DEPTH	32u

extern struct imported {
	int fd, dmabuf;
	struct ring ring;
	struct dma dma, list;
	struct area area;
	char *copy, *again;
	atomic_bool stop;
	atomic_ulong completed;
} im;

/* All but the buffer and the queue; the second one needs no exporter */
void im_begin(void);
void im_begin_system(void);
/* All of it; @flags are the exporter's */
void im_begin_with(uint32_t flags);
void im_end(void);
/* Both ways, with the PRP list in @list; @at is where the data should be seen. */
void im_check_data(char *at, const struct dma *list);
/* In commands of @step bytes, not of as many as go */
void im_check_steps(char *at, const struct dma *list, size_t step);
/* A thread that reads into the buffer without pause, until im.stop */
void *im_reader(void *arg);

#endif
