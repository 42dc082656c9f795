/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_COUNT_H
#define HOMI_SELFTESTS_COUNT_H

/*
 * Ticks of the time stamp counter that nobody else has: where that counts instructions, these,
 * user space's and the kernel's. The processor is never idle, whose ways in and out are longer
 * than a read and hard to count: a loop of two instructions has what is left of it, and knows
 * how often it went round.
 */

#include "common.h"

struct count {
	uint64_t tsc, rounds;
};

/* Once, first; checks it against what is known, and says so. */
void count_start(void);
struct count count_begin(void);
long long count_end(const struct count *c);
/* Sorts them. */
long long count_middle(long long *counts, unsigned int n);

#endif
