// SPDX-License-Identifier: MIT
/*
 * What the data path costs the initiator: random reads of 4 KiB from the model
 * controller, to be run under callgrind, which counts the instructions of
 * io_loop() and of nothing else. See scripts/bench-fastpath.
 *
 * Counted: taking the next random LBA from an array, building the command, cid
 * and user pointer, the posting, the doorbells (the branch for shadow doorbells
 * and what is behind it), polling, the checks of phase, cid and status, use of
 * the user pointer, giving entries and cids back, and io_loop()'s own loops.
 *
 * usage: fastpath BATCH register|shadow IOS	or: fastpath calibrate
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <homi/ring.h>

#include "model_ring.h"

#define DEPTH		128
#define IO_SIZE		4096
#define BLOCKS		32768
#define BLOCK_SIZE	512
#define BUFFERS_DMA	0x100000000ull
#define MAX_BATCH	32

struct io {
	uint64_t prp1;
	uint64_t completed;
};

struct run {
	struct homi_ring ring;
	struct io *ios;
	const uint64_t *slba;
	uint64_t count;
	uint32_t nsid;
	uint32_t blocks;
};

static struct model model;

__attribute__((used)) static void step(void)
{
	model_step(&model);
}

/*
 * The device works beside the processor and disturbs none of its registers; so
 * the model's turn must not either, or the compiler's spilling around a call,
 * which no program has there, would be counted. This saves all registers that
 * a C function may change. Callgrind leaves out all of device_turn().
 */
__asm__(".text\n"
	".globl device_turn\n"
	".type device_turn, @function\n"
	"device_turn:\n"
	"	push %rbp\n"
	"	mov %rsp, %rbp\n"
	"	push %rax\n	push %rcx\n	push %rdx\n	push %rsi\n"
	"	push %rdi\n	push %r8\n	push %r9\n	push %r10\n"
	"	push %r11\n"
	"	sub $512, %rsp\n"
	"	and $-32, %rsp\n"
	"	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"	vmovdqa %ymm\\n, 32*\\n(%rsp)\n"
	"	.endr\n"
	"	call step\n"
	"	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"	vmovdqa 32*\\n(%rsp), %ymm\\n\n"
	"	.endr\n"
	"	lea -72(%rbp), %rsp\n"
	"	pop %r11\n	pop %r10\n	pop %r9\n	pop %r8\n"
	"	pop %rdi\n	pop %rsi\n	pop %rdx\n	pop %rcx\n"
	"	pop %rax\n"
	"	pop %rbp\n"
	"	ret\n"
	".size device_turn, . - device_turn\n");

/* Over the red zone; the two additions are counted. */
static inline __attribute__((always_inline)) void device_turn(void)
{
	__asm__ __volatile__("add $-128, %%rsp\n\t"
			     "call device_turn\n\t"
			     "sub $-128, %%rsp" : : : "memory", "cc");
}

/*
 * The I/O loop of an application: the thread that owns a ring keeps it as a
 * local variable.
 */
static inline __attribute__((always_inline)) int io_loop(const struct run *run, uint32_t batch)
{
	const uint64_t *slba = run->slba;
	const uint64_t *end = slba + run->count;
	struct io *ios = run->ios;
	struct homi_ring ring = run->ring;
	struct homi_rw rw;

	homi_rw_init(&rw, HOMI_OP_READ, run->nsid, run->blocks, 0);
	do {
		struct homi_completion done;
		struct io *io = ios;
		uint32_t left;

#pragma GCC unroll 4
		for (left = batch; left; left--, io++)
			if (homi_ring_post_rw(&ring, &rw, *slba++, io->prp1, 0,
					      (uintptr_t)io) < 0)
				return -1;
		homi_ring_ring(&ring);
		device_turn();
#pragma GCC unroll 4
		for (left = batch; left; left--) {
			if (homi_ring_poll(&ring, &done) != HOMI_RING_OK)
				return -1;
			io = (struct io *)(uintptr_t)done.user;
			io->completed++;
		}
		homi_ring_release(&ring);
	} while (slba != end);
	return 0;
}

/*
 * A program's batch is known when it is compiled; one that reads and waits has
 * no loops around its one command.
 */
__attribute__((noinline)) int io_loop_1(const struct run *run);
int io_loop_1(const struct run *run)
{
	return io_loop(run, 1);
}

__attribute__((noinline)) int io_loop_32(const struct run *run);
int io_loop_32(const struct run *run)
{
	return io_loop(run, 32);
}

/* A million rounds of two instructions, and the model's turn in the middle. */
__attribute__((noinline)) void calibrate(void);
void calibrate(void)
{
	uint32_t n = 500000;

	__asm__ __volatile__("1: decl %0\n\tjnz 1b" : "+r"(n) : : "cc");
	device_turn();
	n = 500000;
	__asm__ __volatile__("1: decl %0\n\tjnz 1b" : "+r"(n) : : "cc");
}

static int fail(const char *what)
{
	fprintf(stderr, "fastpath: %s\n", what);
	return 1;
}

static int setup(struct model *m, struct homi_ring *ring, uint8_t **buffers, bool shadow)
{
	static uint64_t users[DEPTH - 1];
	static uint16_t cids[DEPTH - 1];
	struct model_config config = {
		.depth = DEPTH, .page_size = 4096, .block_size = BLOCK_SIZE, .blocks = BLOCKS,
		.shadow = shadow,
	};
	struct homi_ring_config rc;
	uint64_t i;

	if (model_init(m, &config))
		return -1;
	*buffers = aligned_alloc(4096, MAX_BATCH * IO_SIZE);
	if (!*buffers)
		return -1;
	memset(*buffers, 0, MAX_BATCH * IO_SIZE);
	model_map(m, BUFFERS_DMA, *buffers, MAX_BATCH * IO_SIZE);
	for (i = 0; i < BLOCKS; i++)
		memcpy(m->data + i * BLOCK_SIZE, &i, sizeof(i));
	rc = model_ring_config(m, users, cids);
	return homi_ring_init(ring, &rc);
}

static int measure(uint32_t batch, bool shadow, uint64_t count)
{
	static struct io ios[MAX_BATCH];
	uint64_t *slba = malloc(count * sizeof(*slba));
	uint64_t seed = 1, total = 0;
	uint8_t *buffers;
	struct run run = {
		.ios = ios, .slba = slba, .count = count, .nsid = MODEL_NSID,
		.blocks = IO_SIZE / BLOCK_SIZE,
	};
	uint64_t i;

	if (!slba || setup(&model, &run.ring, &buffers, shadow))
		return fail("setup");
	for (i = 0; i < count; i++)
		slba[i] = model_random(&seed) % (BLOCKS - IO_SIZE / BLOCK_SIZE + 1);
	for (i = 0; i < MAX_BATCH; i++)
		ios[i].prp1 = BUFFERS_DMA + i * IO_SIZE;
	if (batch == 1 ? io_loop_1(&run) : io_loop_32(&run))
		return fail("an I/O failed");

	/* That all of it was real work. */
	for (i = 0; i < MAX_BATCH; i++)
		total += ios[i].completed;
	if (total != count || model.executed != count)
		return fail("I/Os are missing");
	for (i = 0; i < batch; i++)
		if (memcmp(buffers + i * IO_SIZE, model.data + slba[count - batch + i] * BLOCK_SIZE,
			   IO_SIZE))
			return fail("wrong data");
	if (model.violations)
		return fail(model.violation);
	if (!shadow && (model.sq_writes != count / batch || model.cq_writes > count / batch))
		return fail("doorbells are not one per batch");
	free(slba);
	free(buffers);
	model_destroy(&model);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t count;
	uint32_t batch;

	if (argc == 2 && !strcmp(argv[1], "calibrate")) {
		struct homi_ring ring;
		uint8_t *buffers;

		if (setup(&model, &ring, &buffers, false))
			return fail("setup");
		calibrate();
		free(buffers);
		model_destroy(&model);
		return 0;
	}
	if (argc != 4)
		return fail("usage: fastpath BATCH register|shadow IOS, or: fastpath calibrate");
	batch = (uint32_t)strtoul(argv[1], NULL, 10);
	count = strtoull(argv[3], NULL, 10);
	if ((batch != 1 && batch != MAX_BATCH) || count < batch || count % batch)
		return fail("bad arguments");
	return measure(batch, !strcmp(argv[2], "shadow"), count);
}
