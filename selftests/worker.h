/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_WORKER_H
#define HOMI_SELFTESTS_WORKER_H

/*
 * A process of the stress test: random steps with one open file, and blocks of its own that it
 * writes and verifies. It may be killed at any instruction; what its blocks hold is kept in
 * memory that outlives it.
 */

#include <stdatomic.h>

#include "ring.h"

#define WORKERS_MAX	8u
#define WORKER_BLOCKS	64u
#define WORKER_FILE	(32 * PAGE)	/* bytes of its file, for extents */

struct block {
	uint64_t seq;		/* what it holds */
	uint64_t next;		/* or this, if a write of it was not seen to end */
};

/* How often, over all processes */
struct counts {
	atomic_ulong steps, opens, creates, recreates, deletes, registers, unregisters, commands,
		     verified, undecided, lost, abandoned, tables, recalls, forks, maps;
	atomic_ulong again, gone, no_queue, busy, absent;
	atomic_ulong kills, resets, function_resets, unbinds, removals, stock;
};

/* One controller */
struct site {
	bool may_go;		/* it is unplugged now and then: ENODEV, SIGBUS are right */
	char pci[32];
	struct area area;
};

struct worker {
	unsigned int index;
	const struct site *site;
	struct block *blocks;	/* shared */
	char path[256];		/* of its file; empty for none */
	const char *content;
	struct counts *counts;	/* shared */
	const atomic_bool *stop;
	uint64_t seed;
};

/* Where on the area a block is; ids are unique over all workers. */
uint64_t worker_block_id(const struct worker *worker, unsigned int block);
/* Is this what the block may hold? */
void worker_check_block(struct worker *worker, unsigned int block, const char *buf);
/* Until it is told to stop. */
void worker_run(struct worker *worker);

#endif
