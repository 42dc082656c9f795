/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_VICTIM_H
#define HOMI_SELFTESTS_VICTIM_H

/*
 * A process with thousands of commands in flight, that dies. Its memory is a memfd that the
 * test has mapped too: what arrives there after the pages were unpinned is DMA into memory that
 * is free.
 */

#include <stdatomic.h>

#include "ring.h"
#include "witness.h"

#define BLOCKS		256u		/* pages of the area that are read */
#define IN_FLIGHT	2000u		/* at least, at each kill that counts */
#define MAX_RINGS	8

struct shared {
	atomic_ulong marked;	/* pages whose command did not end */
	atomic_ulong rung;	/* of these, how many were told to the controller */
	atomic_bool full;
	atomic_int phase;	/* what it does just now, as it sees it */
	atomic_int grandchild;
};

struct fixture {
	struct shared *shared;
	unsigned int rings, depth, slots;
	uint64_t seed;
	struct area area;
	char *copy, *again;	/* what the area holds */
	char *data;		/* a page for each slot, shared */
	struct stock_queues stock;
	long long pinned;
};

extern struct fixture fx;
/* What the victim has, in its process */
extern struct ring rings[MAX_RINGS];
extern struct dma victim_dma;

void *map_shared(size_t length);
void fixture_open(void);

void victim_open(void);
void victim_fill(void);
/* Until it is killed: each command that ends is given again. */
void victim_go_on(void);
/* These three */
void victim_busy(void);
/* Runs it in a process, and returns when it says that its queues are full. */
pid_t victim_start(void (*run)(void));
/* How many commands were in flight when it died, at least */
unsigned int victim_kill(pid_t pid);
void victim_reap(pid_t pid);
/*
 * Kills it, and looks for DMA from the moment on that it has let go of its memory: whether that
 * is before or after the queues' end is the question. Then check_end().
 */
unsigned int victim_kill_and_check(pid_t pid);

/* Commands that the controller knows of and whose data are not here: never too many. */
unsigned int in_flight(void);
/* More than IN_FLIGHT, as a sample says */
void wait_busy(void);
uint32_t queues_lent(void);

void check_stock(void);
/* Everything that was open is closed, and nothing is left of it. */
void check_end(void);

#endif
