/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_STORM_H
#define HOMI_SELFTESTS_STORM_H

/*
 * Both sides write and read blocks of their own without pause, homi through a queue that is
 * made anew in place after each reset, stock through the block device. Each block tells whose
 * it is and how often it was written, so that a write that is lost, late or in the wrong place
 * is found. A reset counts only if at least 32 commands of homi's and 32 requests of stock's
 * are in flight when it begins.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "ring.h"

#define STORM_SLOTS	96u
#define STORM_IN_FLIGHT	32u

/* A page that tells which block it is, and how often that was written */
void block_stamp(char *buf, uint64_t id, uint64_t seq);
/* Whole, and of this block, or the test fails; returns which version. */
uint64_t block_version(const char *buf, uint64_t id);

struct slot {
	uint64_t id;		/* of the block */
	uint64_t seq;		/* what it holds */
	uint64_t next;		/* what it will hold; the same without a write */
	bool unknown;		/* it holds @seq or @next: a write was lost */
	bool busy;
	bool turn;
	char *buf;
};

struct storm {
	int fd;
	struct area area;
	struct ring ring;
	struct dma dma;
	struct slot homi[STORM_SLOTS], stock[STORM_SLOTS];
	pthread_t threads[2];
	unsigned int resets, least_homi, least_stock;
	atomic_bool stop;
	atomic_uint homi_in_flight, stock_in_flight;
	atomic_ulong homi_done, stock_done, recreated, lost, undecided;
};

/* Starts both sides. */
void storm_begin(struct storm *storm);
void storm_wait_in_flight(struct storm *storm);
/* One reset in the middle of it, until both sides go on; @reset returns when it has begun. */
void storm_reset(struct storm *storm, void (*reset)(struct storm *storm));
/* Ends both sides, prints what there was, and verifies all blocks. */
void storm_end(struct storm *storm);

#endif
