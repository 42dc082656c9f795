/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_READER_H
#define HOMI_SELFTESTS_READER_H

/* A queue that reads a file by its EXTENT all the time, and compares what comes. */

#include <pthread.h>
#include <stdatomic.h>

#include "files.h"
#include "ring.h"

#define READER_PAGES		32u	/* of the file */
#define READER_IN_FLIGHT	16u
#define READER_WATCHED_MS	1500	/* longer than homi leaves namespaces unwatched */

struct reader {
	int fd, event;
	struct table table;
	struct ring ring;
	struct dma dma;
	char *want;		/* what has to come, while that is known */
	pthread_t thread;
	atomic_bool stop, any;	/* @any: what comes, and whether, is not known */
	atomic_ulong done, errors;
	atomic_bool lost;
};

/* A new file, and what is in it, to be freed; the file is not kept open. */
char *reader_file(const char *dir, const char *name, struct file *file);
void reader_start(struct reader *reader, const char *path, const char *want);
/* One more command, outside of the thread */
void reader_post(struct reader *reader, unsigned int i);
/* Returns when some reads that began after the call are done. */
void reader_goes_on(struct reader *reader);
void reader_join(struct reader *reader);
/* The queue goes, then everything else, and the file is let go of. */
void reader_end(struct reader *reader);
/* Nothing happened to it, nor will. */
void reader_expect_true(struct reader *reader);
/* Its holder does nothing about it. */
void reader_expect_revoked(struct reader *reader);
/* The queue of a holder that was revoked, as soon as that is over */
void reader_recreate(struct reader *reader);

#endif
