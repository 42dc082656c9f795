/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_WITNESS_H
#define HOMI_SELFTESTS_WITNESS_H

/*
 * What must be so whatever happened before, as the kernel tells it: stock has its queues, homi
 * keeps nothing, no page is pinned. And random numbers that can be had again.
 */

#include "common.h"

/* HOMI_SEED, or a new one; printed either way. */
uint64_t seed_begin(void);
/* From 0 to @below - 1 */
uint32_t seed_next(uint64_t *seed, uint32_t below);

/* What stock has of one controller */
struct stock_queues {
	char ctrl[32];
	long long count;	/* admin queue included */
	unsigned int hw;	/* of a namespace that is not a multipath head */
};

void stock_queues_learn(struct stock_queues *stock, const char *ctrl);
/* Has it lost one, or the namespace? Called while the controller is live. */
void stock_queues_check(const struct stock_queues *stock);

/* PCI address of a controller */
void pci_of(const char *ctrl, char *pci, size_t size);
/* homi's node of the controller at this address, as it is named now; false if there is none */
bool node_of(const char *pci, char *path, size_t size);

/* Is a file that this process opened open or parked, on a controller that is there? */
bool holds_file(pid_t pid);
/* Skips the test without debugfs. */
void need_debugfs(void);
/* Has a file of the controller's there ("queues" say) a line with both? */
bool debugfs_shows(const char *file, const char *first, const char *second);
/* No queue is lent, no file is open or parked; waits for it. */
void wait_nothing_left(const char *ctrl);

/* Pages pinned in the whole system now */
long long pinned_pages(void);
/* To within some hundred, but at once: the other waits for a CPU that waits for the device. */
long long pinned_pages_about(void);
/* Waits until there are not more than that. */
void wait_unpinned(long long before);

#endif
