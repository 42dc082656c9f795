// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a read of a file takes, in ticks of the time stamp counter in which the processor is
 * not idle: for scripts/bench-io, under which these are instructions. By io_uring with a
 * registered file and registered buffers and O_DIRECT; by homi's READ to pages; and by its
 * READ to memory without pages, an accelerator's if there is one.
 *
 * usage: count_io FILE IOS	(HOMI_DEV as for the tests; FILE of 16 MiB at least)
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <x86intrin.h>

#include "exporter.h"
#include "uring.h"

#define DEPTH	32u
#define LARGE	(128u << 10)
#define ROOM	(DEPTH * LARGE)
#define FILE_SIZE	(16u << 20)

enum way { BASE, PAGES, EXTENTS, WAYS };

static struct io_uring rings[2];	/* for SQEs of either size */
static struct rw_target t;
static uint32_t mems[WAYS];
static char *room[WAYS];

/* Nanoseconds in which the only processor had nothing to do */
static unsigned long long idle_ns(void)
{
	static char text[1 << 16];
	unsigned long long ns = 0;
	size_t length;
	FILE *f = fopen("/proc/timer_list", "r");
	char *at;

	ASSERT(f);
	length = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[length] = '\0';
	at = strstr(text, ".idle_sleeptime");
	ASSERT(at && sscanf(strchr(at, ':'), ": %llu", &ns) == 1);
	return ns;
}

struct count {
	unsigned long long tsc, idle;
};

static struct count count_begin(void)
{
	struct count c = { .idle = idle_ns() };

	c.tsc = __rdtsc();
	return c;
}

static long long count_end(const struct count *c)
{
	unsigned long long tsc = __rdtsc() - c->tsc;

	return tsc - (idle_ns() - c->idle);
}

/* What is known: a loop of 50 million instructions, and a sleep, of which nothing is counted. */
static void calibrate(void)
{
	struct count c = count_begin();
	unsigned long n = 25000000;
	long long loop, sleep;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(n));
	loop = count_end(&c);
	c = count_begin();
	nap_ms(500);
	sleep = count_end(&c);
	printf("# 50000000 instructions: %lld; asleep for 500000000: %lld\n", loop, sleep);
	ASSERT(loop > 49900000 && loop < 52000000);
	ASSERT(sleep < 5000000);
}

static void post(enum way way, unsigned int slot, uint64_t at, uint32_t size)
{
	struct io_uring_sqe *sqe;

	if (way == BASE) {
		sqe = io_uring_get_sqe(&rings[0]);
		io_uring_prep_read_fixed(sqe, 0, room[BASE] + slot * size, size, at, 0);
	} else {
		struct homi_uring_rw rw;

		t.mem = mems[way];
		t.flags = way == EXTENTS ? HOMI_RW_BY_EXTENTS : HOMI_RW_BY_FS;
		rw = rw_make(&t, at, (uint64_t)slot * size, size);
		sqe = rw_post(&rings[1], 0, false, &rw, slot);
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

static long long run(enum way way, uint32_t size, unsigned int depth, unsigned int ios)
{
	struct io_uring *ring = &rings[way != BASE];
	unsigned int done, i;
	struct count c = { 0 };

	/* A tenth before it is counted */
	for (done = 0; done < ios + ios / 10; done += depth) {
		if (!c.tsc && done >= ios / 10)
			c = count_begin();
		for (i = 0; i < depth; i++)
			post(way, i, (uint64_t)(done + i) * 7919 % (FILE_SIZE / size) * size, size);
		ASSERT_EQ(depth, io_uring_submit_and_wait(ring, depth));
		for (i = 0; i < depth; i++)
			ASSERT_EQ(size, uring_reap(ring, NULL));
	}
	return count_end(&c) / (long long)(done - ios / 10);
}

static void *memory(void)
{
	void *va = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			MAP_POPULATE, -1, 0);

	ASSERT(va != MAP_FAILED);
	return va;
}

static void prepare(const char *path)
{
	struct iovec vec = { .iov_len = ROOM };
	int direct = open(path, O_RDONLY | O_DIRECT), dmabuf;
	struct homi_mem_register r;
	int i;

	ASSERT(direct >= 0);
	t = (struct rw_target){ .fd = homi_open() };
	ASSERT_EQ(0, uring_open(&rings[0], 2 * DEPTH, 0));
	ASSERT_EQ(0, uring_open(&rings[1], 2 * DEPTH, IORING_SETUP_SQE128));
	for (i = 0; i < WAYS; i++)
		room[i] = memory();
	vec.iov_base = room[BASE];
	ASSERT_EQ(0, io_uring_register_files(&rings[0], &direct, 1));
	ASSERT_EQ(0, io_uring_register_buffers(&rings[0], &vec, 1));
	ASSERT_EQ(0, io_uring_register_files(&rings[1], &t.fd, 1));
	ASSERT_EQ(0, file_register(t.fd, direct, (uint32_t *)&t.file, NULL));
	ASSERT_EQ(0, mem_register(t.fd, room[PAGES], ROOM, HOMI_MEM_WRITE | HOMI_MEM_PAGES,
				  &mems[PAGES], NULL));
	if (access("/dev/homi_exporter", F_OK)) {
		ASSERT_EQ(0, mem_register(t.fd, room[EXTENTS], ROOM, HOMI_MEM_WRITE,
					  &mems[EXTENTS], NULL));
		return;
	}
	need_exporter();
	dmabuf = exporter_export(EXPORTER_BAR, 0, ROOM);
	ASSERT_EQ(0, mem_import(t.fd, dmabuf, 0, ROOM, HOMI_MEM_WRITE | HOMI_MEM_BAR, &r));
	mems[EXTENTS] = r.out_mem_id;
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = { 4096, LARGE };
	static const unsigned int depths[] = { 1, DEPTH };
	unsigned int s, d, way, ios;

	if (argc != 3)
		return 2;
	calibrate();
	prepare(argv[1]);
	for (s = 0; s < 2; s++)
		for (d = 0; d < 2; d++) {
			long long insn[WAYS];

			ios = atoi(argv[2]) / (s ? 4 : 1) / DEPTH * DEPTH;
			for (way = 0; way < WAYS; way++)
				insn[way] = run(way, sizes[s], depths[d], ios);
			printf("io size=%u depth=%u io_uring=%lld pages=%lld ratio=%.2f extents=%lld ratio=%.2f\n",
			       sizes[s], depths[d], insn[BASE], insn[PAGES],
			       (double)insn[PAGES] / insn[BASE], insn[EXTENTS],
			       (double)insn[EXTENTS] / insn[BASE]);
			fflush(stdout);
		}
	return 0;
}
