/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_IMPORTER_H
#define HOMI_SELFTESTS_IMPORTER_H

/* Doorbells as dma-bufs, and the accelerator that modules/homi_importer.c has import them */

#include "modules/homi_importer.h"
#include "ring.h"

/* 0 with a dma-buf in *@dmabuf, or -errno */
int doorbell_export(int fd, uint32_t queue, uint32_t part, int *dmabuf);
/* An import of its own; skips the test where there is no accelerator. */
int importer_open(void);
/* 0 or -errno */
int importer_attach(int importer, int dmabuf, uint32_t flags);
int importer_map(int importer);
int importer_write(int importer, uint32_t offset, uint32_t value);
int importer_read(int importer, uint32_t offset, uint32_t *value);
struct importer_info importer_info(int importer);
void importer_detach(int importer);

/* A device that has what it takes to ring a queue pair's doorbells */
struct ringer {
	struct ring *ring;
	int registers, shadow;		/* importers; -1: no shadow doorbells */
	int registers_dmabuf, shadow_dmabuf;
};

void ringer_open(struct ringer *ringer, struct ring *ring, uint32_t flags);
/* Rings @ring's doorbells with what it says. 0 or -errno */
int ringer_sq(const struct ringer *ringer);
int ringer_cq(const struct ringer *ringer);
/* One command, start to end, all rung by the device */
int ringer_do(const struct ringer *ringer, const struct sqe *sqe);
void ringer_close(struct ringer *ringer);

#endif
