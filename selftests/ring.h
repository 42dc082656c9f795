/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_RING_H
#define HOMI_SELFTESTS_RING_H

/* A queue pair driven by hand, and memory that it can reach. */

#include "common.h"

#define NVME_FLUSH	0x00
#define NVME_WRITE	0x01
#define NVME_READ	0x02

#define NVME_SC_SUCCESS		0
#define RING_TIMEOUT		(-ETIMEDOUT)

struct sqe {
	uint8_t opcode;
	uint8_t flags;
	uint16_t cid;
	uint32_t nsid;
	uint32_t cdw2, cdw3;
	uint64_t mptr;
	uint64_t prp1, prp2;
	uint64_t slba;
	uint16_t nlb;		/* number of logical blocks, 0's based */
	uint16_t control;
	uint32_t cdw13, cdw14, cdw15;
};

struct cqe {
	uint32_t result;
	uint32_t rsvd;
	uint16_t sq_head;
	uint16_t sqid;
	uint16_t cid;
	uint16_t status;	/* bit 0 is the phase */
};

struct ring {
	int fd;
	struct homi_queue_create q;
	volatile struct sqe *sq;
	volatile struct cqe *cq;
	void *db, *shadow, *event;
	uint16_t sq_tail, sq_head, cq_head;
	uint16_t cq_phase;
};

struct dma {
	int fd;
	uint32_t id;
	char *va;
	size_t length;
	struct homi_segment *seg;
	uint32_t segments;
};

int ring_create(struct ring *ring, int fd, uint32_t depth);
int ring_create_with(struct ring *ring, int fd, uint32_t depth, uint32_t flags);
void ring_map(struct ring *ring);
void ring_unmap(struct ring *ring);
void ring_open(struct ring *ring, int fd, uint32_t depth);
struct dma;
/* With the rings at the start of MEMs, or in the kernel's memory (NULL); 0 or -errno */
int ring_create_in(struct ring *ring, int fd, uint32_t depth, const struct dma *sq,
		   const struct dma *cq);
int ring_destroy(struct ring *ring);
/* In place, with the mappings that there are; 0 or -errno */
int ring_recreate(struct ring *ring);
bool ring_full(const struct ring *ring);
void ring_post(struct ring *ring, const struct sqe *sqe);
void ring_doorbell(struct ring *ring);
/* A completion that is there, and for those taken the doorbell */
bool ring_take(struct ring *ring, struct cqe *cqe);
void ring_cq_doorbell(struct ring *ring);
/* 0 with a completion in *cqe, or RING_TIMEOUT */
int ring_poll(struct ring *ring, struct cqe *cqe, unsigned int ms);

void dma_from(struct dma *dma, int fd, void *va, size_t length, uint32_t flags);
void dma_new(struct dma *dma, int fd, size_t length);
uint64_t dma_addr(const struct dma *dma, size_t offset);
int dma_destroy(struct dma *dma);

/* A piece of the namespace with known content, that stock nvme can read and write too */
struct area {
	int fd;			/* of a block device, O_DIRECT */
	uint64_t offset;	/* of the area on that block device, bytes */
	uint64_t slba;
	uint64_t length;
	uint32_t nsid;
	uint32_t block_size;
	bool writable;
};

void area_open(struct area *area, uint64_t length);
void area_need_write(const struct area *area);
void area_fill(const struct area *area, uint64_t seed, char *copy);
void area_pread(const struct area *area, uint64_t offset, void *buf, size_t length);

/* Builds one command; @list is a page for the PRP list, used above two pages. */
struct sqe sqe_rw(uint8_t opcode, const struct area *area, uint64_t offset, size_t length,
		  const struct dma *buf, size_t buf_offset, const struct dma *list);
/* One command, start to end: the status field without phase, or RING_TIMEOUT */
int ring_do(struct ring *ring, const struct sqe *sqe);
/* A range of the area in commands of up to @step bytes, one after the other */
int ring_copy(struct ring *ring, uint8_t opcode, const struct area *area, uint64_t offset,
	      size_t length, const struct dma *buf, const struct dma *list, size_t step);
/* Largest command that both the controller and one PRP list page allow */
size_t max_step(int fd);

#endif
