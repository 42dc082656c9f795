/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_HELD_H
#define HOMI_SELFTESTS_HELD_H

/* A file that somebody holds and others want, and the holder's answer */

#include "files.h"
#include "ring.h"

#define MINUTE_MS	60000	/* recall_ms: nobody gets on without the answer */
#define PAGES		64u	/* of the file */

struct held {
	struct file file;
	struct table table;
	struct ring ring;
	int fd, event;
	uint64_t generation;	/* that it began with */
	bool queue;
};

int extent_ack(const struct table *table, uint64_t generation);
/* Until it is RECALLED, and nothing else before */
void wait_recalled(const struct table *table);
void hold(struct held *h, const char *dir, const char *name);
/* Told by all ways there are, and answered; @waiter has success only then. */
void answer(struct held *h, const struct waiter *waiter);
/* The file too, if it is still there */
void let_go(struct held *h);

#endif
