/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_EXPORTER_H
#define HOMI_SELFTESTS_EXPORTER_H

/* dma-bufs, of the accelerator that modules/homi_exporter.c drives and of the system */

#include "modules/homi_exporter.h"
#include "ring.h"

/* The exporter's descriptor; skips the test where it is not, or has no device. */
int need_exporter(void);
int exporter_export(uint32_t flags, uint64_t offset, uint64_t length);
/* Of a buffer, or -1 of the device */
struct exporter_info exporter_info(int dmabuf);
struct exporter_take exporter_take(int dmabuf, uint32_t flags, uint32_t timeout_ms);
/* Nobody has it any more, after a while */
void exporter_wait_free(int dmabuf);

/* 0 or -errno; the rest of the answer is in @r, which may be NULL */
int mem_import(int fd, int dmabuf, uint64_t offset, uint64_t length, uint32_t flags,
	       struct homi_mem_register *r);
struct homi_mem_info mem_info(int fd, uint32_t id);
/* To be read and written by the controller, and mapped for the CPU by its exporter */
void dma_import(struct dma *dma, int fd, int dmabuf, size_t length);

/* Of the system: 0 pages of a memfd or of the heap; negative: there is no such thing here */
int udmabuf_new(size_t length);
int heap_new(size_t length);

#endif
