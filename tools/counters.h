/* SPDX-License-Identifier: MIT */
#ifndef COUNTERS_H
#define COUNTERS_H

#include "cli.h"

/* Of each way to do a READ or WRITE, after FS or EXTENTS */
enum { READS, READ_BYTES, WRITES, WRITE_BYTES, ERRORS, PER_WAY };

/* What only grows, and then what is so now */
enum {
	FS = 0,
	EXTENTS = PER_WAY,
	FILE_COUNTERS = 2 * PER_WAY,	/* those that open files have too */
	RESETS = FILE_COUNTERS,
	RECALLS,
	REVOKED,
	REFUSED,
	GROWING,
	QUEUES_LENT = GROWING,
	QUEUES_QUARANTINED,
	COUNTERS,
};

#define HOMI_DEBUG	"/sys/kernel/debug/homi"

extern const char *const counter_names[COUNTERS];

struct counted {
	char name[NAME_LEN];
	uint64_t value[COUNTERS];
};

/**
 * struct counted_file - an open file, or one that is closed and not gone
 * @controller: that it is of
 * @nr: of that controller's files, never used again
 * @pid: of who opened it
 * @uid: likewise
 * @state: "open", "parked" or "closed"
 * @queues: that it has
 * @quarantined: ids of those that it has no more, with commas; may end with "..."
 * @value: what it did
 */
struct counted_file {
	char controller[NAME_LEN];
	uint64_t nr;
	uint32_t pid;
	uint32_t uid;
	char state[16];
	uint32_t queues;
	char quarantined[64];
	uint64_t value[FILE_COUNTERS];
};

/* Sorted; @want: only that one, or NULL. The caller frees @list, always. Negative errno. */
int counted_controllers(struct counted **list, unsigned int *count, const char *want);
/* Those of a controller are added to @list, which the caller frees. Negative errno. */
int counted_files(struct counted_file **list, unsigned int *count, const char *controller);
/* The operand, without a directory before it; or NULL */
const char *wanted_controller(const struct options *opt);

#endif /* COUNTERS_H */
