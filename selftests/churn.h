/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_CHURN_H
#define HOMI_SELFTESTS_CHURN_H

/* A file that is changed in all ways there are, at random, and a model of it. */

#include <stdatomic.h>

#include "common.h"

#define MAX_PAGES	64u
#define MAX_SIZE	(MAX_PAGES * PAGE)

/* Shared by the processes of a test; what is only counted is the test's own. */
struct churn {
	atomic_uint change;	/* odd: one is under way, and @model may not be the file */
	atomic_bool stop;
	atomic_ulong resolved, refused, verified, recalled, overtaken;
	uint64_t seed;
	size_t size;		/* of the file, and behind it @model is zero */
	char model[MAX_SIZE];
	char other[MAX_SIZE];	/* content of the file that is cloned from */
	char path[256], other_path[270];
};

extern struct churn *ch;

/* A new one in @dir, MAX_SIZE of random content; and another one, to clone from */
void churn_begin(const char *dir);
void churn_end(void);
/* Any change, by path or by descriptors, which are closed again */
void churn_change(void);
/* A new file has its name, all of it random content. */
void churn_replace(void);
/* One by a descriptor that is open for both */
void churn_by_descriptor(int file);
int churn_open(int flags);
const char *churn_data(void);
void model_write(size_t offset, const void *data, size_t length);

#endif
