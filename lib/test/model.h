/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_MODEL_H
#define HOMI_TEST_MODEL_H

/*
 * A controller of one queue pair and one namespace, in plain memory. It is
 * written against the specification, not against ring.h and prp.h: it shares
 * only the layouts of wire.h with them.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <homi/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MODEL_NSID	1u
#define MODEL_DMA_MAX	64
/* A hook's answer: the command is executed, or never completed. */
#define MODEL_EXECUTE	0u
#define MODEL_DROP	0xffffu
#define MODEL_DNR	0x4000u

struct model_dma {
	uint64_t dma_addr;
	uint64_t length;
	uint8_t *cpu;
};

struct model_config {
	uint32_t depth;
	uint32_t page_size;
	uint32_t block_size;
	uint64_t blocks;
	uint64_t max_transfer;	/* bytes, 0: no limit */
	bool shadow;		/* shadow doorbells are on */
	unsigned int linger;	/* idle steps before it sleeps, with shadow doorbells */
	uint64_t reorder;	/* seed of the order of completions, 0: in order */
	/* Of queues and data: zeroed, and aligned to pages; NULL: libc's memory */
	void *(*alloc)(size_t size);
	void (*release)(void *p);
};

/**
 * struct model - the controller
 *
 * @sq_doorbell and @cq_doorbell hold MODEL_DOORBELL_IDLE after the controller
 * has looked: so a store is seen even if it repeats the value.
 */
struct model {
	struct model_config config;
	struct homi_sqe *sq;
	struct homi_cqe *cq;
	volatile uint32_t sq_doorbell;
	volatile uint32_t cq_doorbell;
	volatile uint32_t sq_shadow;
	volatile uint32_t cq_shadow;
	volatile uint32_t sq_event;
	volatile uint32_t cq_event;
	uint8_t *data;
	struct model_dma dma[MODEL_DMA_MAX];
	unsigned int dma_count;

	/* Test hooks. */
	uint16_t (*hook)(void *arg, const struct homi_sqe *sqe);
	void *hook_arg;
	/* Moves data of memory that is not mapped; false: nobody has it. */
	bool (*move)(void *arg, uint64_t addr, uint8_t *data, uint64_t bytes, bool to_host);
	/* Called before completions are posted: all that was moved has arrived. */
	void (*settle)(void *arg);
	void *move_arg;
	unsigned int stall;	/* steps in which nothing is done */
	uint32_t max_post;	/* completions in one step, 0: no limit */

	/* What a test may look at. */
	uint64_t sq_writes;	/* doorbell register writes */
	uint64_t cq_writes;
	uint64_t executed;
	uint64_t cq_full;	/* times that a completion had to wait */
	uint64_t dma_faults;
	uint64_t violations;	/* of the specification by the host */
	const char *violation;

	uint32_t sq_head;
	uint32_t sq_tail;
	uint32_t cq_head;
	uint32_t cq_tail;
	uint16_t phase;
	bool sq_awake;
	bool cq_awake;
	bool cq_asleep;
	unsigned int idle;
	struct homi_cqe *pending;
	uint32_t pending_count;
	uint8_t *busy;		/* by cid */
	pthread_t thread;
	int stop;
};

#define MODEL_DOORBELL_IDLE	0xffffffffu

/* 0 or -1 (out of memory) */
int model_init(struct model *m, const struct model_config *config);
void model_destroy(struct model *m);
/* Makes memory reachable for the controller. */
void model_map(struct model *m, uint64_t dma_addr, void *cpu, uint64_t length);
/* One look at the doorbells; returns the number of completions posted. */
unsigned int model_step(struct model *m);
/* Or in a thread of its own. */
int model_start(struct model *m);
void model_stop(struct model *m);

uint64_t model_random(uint64_t *state);

#ifdef __cplusplus
}
#endif

#endif /* HOMI_TEST_MODEL_H */
