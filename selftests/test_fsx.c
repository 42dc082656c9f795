// SPDX-License-Identifier: GPL-2.0-only
/*
 * One process changes a file in all ways there are, at random, and keeps a model of it; others
 * resolve it and read its blocks through queues of their own. What they read under an EXTENT that
 * is still valid afterwards is what the model says, byte for byte, and so is what they read
 * after the recall and before their answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "churn.h"
#include "compare.h"
#include "harness.h"
#include "held.h"
#include "witness.h"

#define READERS		2u
#define HOLD_ROUNDS	12u	/* reads under one EXTENT, at most */

/* --- the readers --- */

struct resolver {
	int fd;
	uint64_t seed;
	struct ring ring;
	struct dma dma;
	struct table table;
	char *copy;
};

static void read_blocks(struct resolver *r, size_t size)
{
	struct homi_extent_resolve *a = &r->table.r;
	unsigned int i, flight = 0;
	struct cqe cqe;

	for (i = 0; i * PAGE < size; i++) {
		uint64_t at = table_lookup(&r->table, i * PAGE);
		struct sqe sqe = { .opcode = NVME_READ, .nsid = a->out_nsid, .cid = i,
				   .prp1 = dma_addr(&r->dma, i * PAGE),
				   .slba = at / a->out_block_size,
				   .nlb = PAGE / a->out_block_size - 1 };

		memset(r->dma.va + i * PAGE, 0, PAGE);
		if (at == ~0ull)
			continue;
		ring_post(&r->ring, &sqe);
		flight++;
	}
	ring_doorbell(&r->ring);
	for (; flight; flight--) {
		ASSERT_EQ(0, ring_poll(&r->ring, &cqe, 30000));
		ASSERT_EQ(NVME_SC_SUCCESS, cqe.status >> 1);
	}
}

/* Does a change wait for us? What was read before is what the file was until now. */
static bool read_and_compare(struct resolver *r)
{
	const struct homi_extent_table *t = r->table.t;
	bool recalled = __atomic_load_n(&t->state, __ATOMIC_ACQUIRE) != HOMI_EXTENT_VALID;

	read_blocks(r, t->file_size);
	/* Nobody gets on before the answer, which is ours; with that the model stays too. */
	ASSERT_EQ(t->file_size, ch->size);
	memcpy(r->copy, ch->model, t->file_size);
	ASSERT_SAME(r->copy, r->dma.va, t->file_size);
	atomic_fetch_add(recalled ? &ch->recalled : &ch->verified, 1);
	return recalled;
}

static void hold_a_while(struct resolver *r)
{
	unsigned int rounds = 1 + seed_next(&r->seed, HOLD_ROUNDS);
	bool recalled = false;

	while (rounds-- && !recalled)
		recalled = read_and_compare(r);
	if (recalled && seed_next(&r->seed, 2))
		ASSERT_EQ(0, extent_ack(&r->table, r->table.t->generation));
}

static void resolve_once(struct resolver *r)
{
	unsigned int change = atomic_load(&ch->change);
	int file = open(ch->path, O_RDONLY | O_CLOEXEC), ret;

	if (file < 0 || change % 2) {
		ASSERT(change % 2 || change != atomic_load(&ch->change));
		if (file >= 0)
			close(file);
		nap_ms(1);
		return;
	}
	ret = table_resolve(&r->table, r->fd, file, 0, 0);
	close(file);
	if (ret) {
		/* An empty one has no blocks; and who writes to it may be at it by now. */
		if (ret == -EINVAL)
			ASSERT(!ch->size || change != atomic_load(&ch->change));
		else if (ret != -EAGAIN)
			FAIL("EXTENT_RESOLVE: %s, reason %u", strerror(-ret), r->table.r.out_reason);
		atomic_fetch_add(&ch->refused, 1);
		nap_ms(1);
		return;
	}
	atomic_fetch_add(&ch->resolved, 1);
	r->table.t = mmap(NULL, r->table.r.out_mmap_length, PROT_READ, MAP_SHARED, r->fd,
			  r->table.r.out_mmap_offset);
	ASSERT(r->table.t != MAP_FAILED);
	/* From here on a change has to wait; one that was there before may be half done. */
	if (change == atomic_load(&ch->change))
		hold_a_while(r);
	else
		atomic_fetch_add(&ch->overtaken, 1);
	ASSERT_EQ(0, table_close(&r->table));
}

static void reader(void)
{
	struct resolver r = { .fd = homi_open(), .copy = malloc(MAX_SIZE) };

	r.seed = ch->seed + getpid();
	ring_open(&r.ring, r.fd, 2 * MAX_PAGES);
	dma_new(&r.dma, r.fd, MAX_SIZE);
	while (!atomic_load(&ch->stop))
		resolve_once(&r);
	ASSERT_EQ(0, ring_destroy(&r.ring));
	ASSERT_EQ(0, dma_destroy(&r.dma));
	close(r.fd);
}

/* --- */

static bool has_ended(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid;
}

FS_TEST_TIMEOUT(nothing_stale, 240)
{
	unsigned int wanted = times(1200, 120), changes, i;
	unsigned int slowness = getenv("HOMI_SLOW") ? 8 : 1;
	pid_t readers[READERS];

	churn_begin(dir);
	set_recall_ms(MINUTE_MS);
	for (i = 0; i < READERS; i++)
		readers[i] = child_start(reader);
	for (changes = 0; changes < 20 * wanted &&
	     (changes < wanted || ch->recalled < wanted / 4); changes++) {
		churn_change();
		if (has_ended(readers[0]) || has_ended(readers[1]))
			break;
		/* So that they find it in peace, for longer where all takes longer; or not */
		nap_ms(seed_next(&ch->seed, 2) * seed_next(&ch->seed, 16) * slowness);
	}
	atomic_store(&ch->stop, true);
	for (i = 0; i < READERS; i++)
		ASSERT_EQ(0, child_status(readers[i]));
	printf("# fsx: %u changes; resolved %lu times, refused %lu, overtaken %lu\n", changes,
	       ch->resolved, ch->refused, ch->overtaken);
	printf("# fsx: read %lu times, and %lu times after a recall\n", ch->verified,
	       ch->recalled);
	ASSERT(ch->verified > wanted / 4 && ch->recalled >= wanted / 4);
	churn_end();
}
