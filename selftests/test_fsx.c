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

#include "compare.h"
#include "harness.h"
#include "held.h"
#include "witness.h"

#define READERS		2u
#define MAX_PAGES	64u
#define MAX_SIZE	(MAX_PAGES * PAGE)
#define HOLD_ROUNDS	12u	/* reads under one EXTENT, at most */

/* What all of them see */
static struct churn {
	atomic_uint change;	/* odd: one is under way, and @model may not be the file */
	atomic_bool stop;
	atomic_ulong resolved, refused, verified, recalled, overtaken;
	uint64_t seed;
	size_t size;		/* of the file, and behind it @model is zero */
	char model[MAX_SIZE];
	char other[MAX_SIZE];	/* content of the file that is cloned from */
	char path[256], other_path[270];
} *ch;

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

/* --- the writer --- */

static size_t some_offset(void)
{
	return seed_next(&ch->seed, MAX_SIZE);
}

static size_t some_length(size_t offset)
{
	return 1 + seed_next(&ch->seed, MAX_SIZE - offset) % (16 * PAGE);
}

static void model_resize(size_t size)
{
	if (size < ch->size)
		memset(ch->model + size, 0, ch->size - size);
	ch->size = size;
}

static void model_write(size_t offset, const void *data, size_t length)
{
	memcpy(ch->model + offset, data, length);
	if (offset + length > ch->size)
		ch->size = offset + length;
}

static int open_it(int flags)
{
	int file = open(ch->path, flags | O_CLOEXEC, 0644);

	ASSERT(file >= 0);
	return file;
}

static const char *some_data(void)
{
	static char data[MAX_SIZE] __attribute__((aligned(4096)));

	fill_random(data, MAX_SIZE, ++ch->seed);
	return data;
}

static void do_write(int file)
{
	size_t offset = some_offset(), length = some_length(offset);
	const char *data = some_data();

	ASSERT_EQ(length, pwrite(file, data, length, offset));
	model_write(offset, data, length);
}

static void do_write_direct(int file)
{
	size_t offset = some_offset() / PAGE * PAGE;
	const char *data = some_data();
	int direct = open_it(O_WRONLY | O_DIRECT);

	(void)file;
	ASSERT_EQ(PAGE, pwrite(direct, data, PAGE, offset));
	model_write(offset, data, PAGE);
	close(direct);
}

static void do_map(int file)
{
	size_t length = ch->size, offset = length ? seed_next(&ch->seed, length) : 0;
	const char *data = some_data();
	char *map;

	if (!length)
		return;
	map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT(map != MAP_FAILED);
	memcpy(map + offset, data, length - offset);
	munmap(map, length);
	model_write(offset, data, length - offset);
}

static void do_ftruncate(int file)
{
	size_t size = some_offset();

	ASSERT(!ftruncate(file, size));
	model_resize(size);
}

static void do_punch(int file)
{
	size_t offset = some_offset(), length = some_length(offset);

	ASSERT(!fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length));
	memset(ch->model + offset, 0, length);
}

static void do_zero(int file)
{
	size_t offset = some_offset(), length = some_length(offset);

	ASSERT(!fallocate(file, FALLOC_FL_ZERO_RANGE, offset, length));
	memset(ch->model + offset, 0, length);
	if (offset + length > ch->size)
		ch->size = offset + length;
}

static void do_allocate(int file)
{
	size_t offset = some_offset(), length = some_length(offset);

	if (offset % 2) {
		ASSERT(!fallocate(file, FALLOC_FL_KEEP_SIZE, offset, length));
		return;
	}
	ASSERT(!fallocate(file, 0, offset, length));
	if (offset + length > ch->size)
		ch->size = offset + length;
}

static void do_collapse(int file)
{
	size_t offset = some_offset() / PAGE * PAGE, length = 2 * PAGE;

	if (offset + length >= ch->size)
		return;
	ASSERT(!fallocate(file, FALLOC_FL_COLLAPSE_RANGE, offset, length));
	memmove(ch->model + offset, ch->model + offset + length, ch->size - offset - length);
	model_resize(ch->size - length);
}

static void do_insert(int file)
{
	size_t offset = some_offset() / PAGE * PAGE, length = 2 * PAGE;

	if (offset >= ch->size || ch->size + length > MAX_SIZE)
		return;
	ASSERT(!fallocate(file, FALLOC_FL_INSERT_RANGE, offset, length));
	memmove(ch->model + offset + length, ch->model + offset, ch->size - offset);
	memset(ch->model + offset, 0, length);
	ch->size += length;
}

/* XFS shares the blocks of the other one then. */
static void do_clone(int file)
{
	size_t offset = some_offset() / PAGE * PAGE;
	struct file_clone_range range = {
		.src_fd = open(ch->other_path, O_RDONLY | O_CLOEXEC), .src_offset = offset,
		.src_length = MAX_SIZE - offset < 8 * PAGE ? MAX_SIZE - offset : 8 * PAGE,
		.dest_offset = offset,
	};
	int ret = ioctl(file, FICLONERANGE, &range);

	close(range.src_fd);
	if (ret)
		ASSERT_EQ(EOPNOTSUPP, errno);
	else
		model_write(offset, ch->other + offset, range.src_length);
}

static void do_copy(int file)
{
	int from = open(ch->other_path, O_RDONLY | O_CLOEXEC);
	size_t offset = some_offset(), length = some_length(offset);
	off_t in = offset, out = offset;
	ssize_t done = copy_file_range(from, &in, file, &out, length, 0);

	ASSERT(done > 0);
	model_write(offset, ch->other + offset, done);
	close(from);
}

static void (*const by_descriptor[])(int file) = {
	do_write, do_write, do_write_direct, do_map, do_ftruncate, do_punch, do_zero, do_allocate,
	do_collapse, do_insert, do_clone, do_copy,
};

static void do_truncate_path(void)
{
	size_t size = some_offset();

	ASSERT(!truncate(ch->path, size));
	model_resize(size);
}

/* Another file gets this one's name, and its blocks after that. */
static void do_replace(void)
{
	const char *data = some_data();
	size_t size = 1 + some_offset();
	char path[300];
	int file;

	snprintf(path, sizeof(path), "%s.new", ch->path);
	file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ASSERT(file >= 0);
	ASSERT_EQ(size, write(file, data, size));
	close(file);
	ASSERT(!rename(path, ch->path));
	model_resize(0);
	model_write(0, data, size);
}

static void do_rewrite(void)
{
	close(open_it(O_WRONLY | O_TRUNC));
	model_resize(0);
}

static void do_some(void)
{
	unsigned int n = 1 + seed_next(&ch->seed, 4);
	int file = open_it(O_RDWR);

	while (n--)
		by_descriptor[seed_next(&ch->seed, ARRAY_SIZE(by_descriptor))](file);
	close(file);
}

static void change(void)
{
	atomic_fetch_add(&ch->change, 1);
	switch (seed_next(&ch->seed, 10)) {
	case 0:
		do_truncate_path();
		break;
	case 1:
		do_replace();
		break;
	case 2:
		do_rewrite();
		do_some();
		break;
	default:
		do_some();
	}
	atomic_fetch_add(&ch->change, 1);
}

static void make_file(const char *path, char *content, uint64_t seed)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ASSERT(file >= 0);
	fill_random(content, MAX_SIZE, seed);
	ASSERT_EQ(MAX_SIZE, write(file, content, MAX_SIZE));
	close(file);
}

static void begin(const char *dir)
{
	ch = mmap(NULL, sizeof(*ch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(ch != MAP_FAILED);
	ch->seed = seed_begin();
	snprintf(ch->path, sizeof(ch->path), "%s/churn.%d", dir, getpid());
	snprintf(ch->other_path, sizeof(ch->other_path), "%s.other", ch->path);
	make_file(ch->path, ch->model, ch->seed);
	make_file(ch->other_path, ch->other, ch->seed + 1);
	ch->size = MAX_SIZE;
}

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

	begin(dir);
	set_recall_ms(MINUTE_MS);
	for (i = 0; i < READERS; i++)
		readers[i] = child_start(reader);
	for (changes = 0; changes < 20 * wanted &&
	     (changes < wanted || ch->recalled < wanted / 4); changes++) {
		change();
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
	unlink(ch->path);
	unlink(ch->other_path);
	munmap(ch, sizeof(*ch));
}
