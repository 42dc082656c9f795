/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_FUZZ_H
#define HOMI_SELFTESTS_FUZZ_H

/*
 * Commands at random, most of them good: what is asked for comes from a seed and from a model of
 * what the process has by now; and counts of what came of it, in memory that all processes share.
 */

#include <liburing.h>
#include <stdatomic.h>

#include "common.h"

/* A row for each number of the table, and one for numbers that are none */
#define FUZZ_CMDS	21u
#define FUZZ_UNKNOWN	FUZZ_CMDS
#define FUZZ_ROW(cmd)	((cmd) - HOMI_CMD_BASE)
#define FUZZ_ERRNOS	134

struct fuzz_counts {
	atomic_ulong calls[FUZZ_CMDS + 1];
	atomic_ulong by_uring[FUZZ_CMDS + 1];
	atomic_ulong ok[FUZZ_CMDS + 1];
	atomic_ulong err[FUZZ_CMDS + 1][FUZZ_ERRNOS];
	/* What io_uring itself said, of commands that never got to homi, or of SQEs that were bent */
	atomic_ulong refused[FUZZ_ERRNOS];
	atomic_ulong steps, lives, forks, kills, resets, unbinds, maps, recalls, rings, overflows,
		cancels, meddled, left_in_flight;
	atomic_ulong undocumented;	/* errors that the contract does not have for that command */
	atomic_bool stop;
};

struct fuzz_row {
	const char *name;
	uint32_t size;
	uint32_t known_flags;
	unsigned int weight;
	const int *errnos;	/* that the contract has for it, 0 at the end */
};

extern const struct fuzz_row fuzz_rows[FUZZ_CMDS + 1];

/* May @err (positive) come of this command? */
bool fuzz_is_documented(unsigned int row, int err);
unsigned long fuzz_seen(const struct fuzz_counts *c, int err);
unsigned long fuzz_sum(const atomic_ulong *counts);
/* As comments of TAP */
void fuzz_report(const struct fuzz_counts *c);

enum fuzz_kind {
	FUZZ_QUEUE, FUZZ_MEM, FUZZ_EXTENT, FUZZ_SET, FUZZ_FILE, FUZZ_KINDS
};

#define FUZZ_IDS	12u
#define FUZZ_CTXS	3u
#define FUZZ_ARENA	(1u << 20)
#define FUZZ_CHUNK	(16u << 10)
#define FUZZ_CHUNKS	(FUZZ_ARENA / FUZZ_CHUNK)
#define FUZZ_EXPORTS	3u
#define FUZZ_MAPS	4u

/*
 * An open file. The DMA checker reports pages that are mapped twice for the device to write to.
 * So either all of its MEMs are of pages only, and each READ on its way has a chunk of @arena for
 * itself; or each MEM has one, for good, and READs go by extents, with the mapping that there is.
 * A new open file has a new arena: pages of the old one may still be in use.
 */
struct fuzz_ctx {
	int fd;
	bool mapped;
	char *arena;
	uint32_t ids[FUZZ_KINDS][FUZZ_IDS];
	unsigned int count[FUZZ_KINDS];
	uint32_t stale;
	uint32_t depth;			/* of all its queues */
	bool busy[FUZZ_CHUNKS];
	unsigned int next_chunk;
	bool worn;			/* no chunk is left */
	struct homi_queue_create queue;	/* the last one that was made */
	struct homi_extent_resolve extent;	/* likewise */
	unsigned int life;		/* counts what was opened in this place */
	unsigned int dups;		/* likewise, by which descriptor */
};

enum fuzz_fd {
	FUZZ_FD_DATA, FUZZ_FD_STILL, FUZZ_FD_INPLACE, FUZZ_FD_DIR, FUZZ_FD_MEMFD, FUZZ_FD_NULL,
	FUZZ_FD_EVENT, FUZZ_FD_CLOSED, FUZZ_FDS
};

/* Where the structure of a call is */
enum fuzz_place {
	FUZZ_AT_GOOD, FUZZ_AT_NULL, FUZZ_AT_UNMAPPED, FUZZ_AT_READONLY, FUZZ_AT_EDGE, FUZZ_AT_KERNEL
};

#define FUZZ_BYTES	192u

struct fuzz_call {
	unsigned int row, ctx, life;
	uint32_t nr;
	enum fuzz_place place;
	bool sqe_bent;			/* io_uring may refuse it for what homi does not see */
	bool meddle;			/* others may write to it meanwhile */
	int chunk;			/* that it has, or -1 */
	int owned;			/* descriptor to be closed after it, or -1 */
	uint64_t bytes[FUZZ_BYTES / 8];
};

struct fuzz_paths {
	char data[256], still[256], inplace[256], dir[256];
};

struct fuzz_ring;

struct fuzz {
	uint64_t seed, answers;		/* what is asked, and in a dry run what is answered */
	bool dry;
	uint64_t hash;
	struct fuzz_counts *counts;
	const char *pci;
	const struct fuzz_paths *paths;
	bool foreign;			/* they are on another controller */
	bool nobody;			/* but for opening the device */
	bool child;			/* of a process that goes on itself */
	struct fuzz_ctx ctx[FUZZ_CTXS];
	int fds[FUZZ_FDS];
	int exports[FUZZ_EXPORTS];
	unsigned int next_export;
	char *names;			/* of a set; and a place to put segments and holders */
	char *scratch;
	char *readonly_rw, *readonly, *edge;	/* the end of a page before nothing */
	char *good;
	struct {
		void *va;
		size_t length;
	} maps[FUZZ_MAPS];
	pid_t forked;
	struct fuzz_ring *ring;
};

/* --- fuzz_gen.c --- */

/* The next call: good, and then maybe bent in one place or two */
void fuzz_make(struct fuzz *f, struct fuzz_call *c, bool uring);
/* The good call of a row */
void fuzz_good(struct fuzz *f, struct fuzz_call *c, unsigned int row, unsigned int ctx);
uint32_t fuzz_any_id(struct fuzz *f, const struct fuzz_ctx *ctx, enum fuzz_kind kind);
void fuzz_learn(struct fuzz *f, const struct fuzz_call *c, int err);
void fuzz_count(struct fuzz *f, const struct fuzz_call *c, int err, bool uring);
void fuzz_hash(struct fuzz *f, const void *data, size_t size);

/* --- fuzz_ring.c --- */

void fuzz_ring_step(struct fuzz *f, bool submit);
void fuzz_ring_cancel(struct fuzz *f);
/* All that is in flight is waited for, or left. */
void fuzz_ring_close(struct fuzz *f, bool wait);

/* --- fuzz_run.c --- */

/* Takes memory away; its address stays taken. */
void fuzz_abandon(char *va, size_t length);
void fuzz_begin(struct fuzz *f);
/* By ioctl: 0 or an errno; the answer is in @c */
int fuzz_do(struct fuzz *f, struct fuzz_call *c);
/* Puts the structure to where it is to be; @good is for most. */
void *fuzz_put(struct fuzz *f, const struct fuzz_call *c, char *good);
void fuzz_step(struct fuzz *f);
void fuzz_end(struct fuzz *f, bool wait);

#endif
