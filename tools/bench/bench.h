/* SPDX-License-Identifier: MIT */
#ifndef BENCH_H
#define BENCH_H

/*
 * homi-bench: who does the I/O, where queues, PRP lists and data lie, and how many reads
 * a second that gives.
 */

#include <stdbool.h>

#include <homi/homi.h>

#include "work.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_QUEUES	64u
#define BENCH_LATENCIES	512u

/* What may lie on either side */
enum bench_what {
	BENCH_SQ,
	BENCH_CQ,
	BENCH_LISTS,
	BENCH_DATA,
	BENCH_WHATS,
};

/**
 * struct bench_gpu - a GPU, by the library that was loaded for it
 * @open: 0, or a text why not; @name is written
 * @alloc: zeroed memory of it, and a dma-buf of that in @fd; NULL: none
 * @reach: where it finds @length bytes of the host's; @io: they are registers, or memory that
 *	the kernel has mapped; NULL: it can't
 * @put: copies to its memory; 0, or not
 * @get: copies from it
 * @run: starts @threads threads with work_shared(); 0, or not
 * @wait: until they have ended; 0, or not
 * @close: lets go of all that it was given
 */
struct bench_gpu {
	const char *(*open)(char *name, size_t length);
	void *(*alloc)(uint64_t length, int *fd);
	void *(*reach)(void *host, uint64_t length, int io);
	int (*put)(void *to, const void *from, uint64_t length);
	int (*get)(void *to, const void *from, uint64_t length);
	int (*run)(const struct work *work, uint32_t threads);
	int (*wait)(void);
	void (*close)(void);
};

/* The library exports one as bench_gpu. */
#define BENCH_GPU_LIBRARY	"libhomi-bench-cuda.so"
#define BENCH_GPU_THREADS	128u	/* a block; the number of threads is a multiple */

/**
 * struct arena - memory of one side
 * @used: bytes that were given out
 * @length: bytes; 0: there is none
 * @mem: for the controller; @mem.addr is where the host has it, if it has
 * @base: where the initiator has it
 * @segs: where the initiator has those of @mem; NULL: nowhere yet
 */
struct arena {
	uint64_t used;
	uint64_t length;
	struct homi_mem mem;
	uint8_t *base;
	const struct homi_seg *segs;
};

enum bench_initiator {
	BENCH_CPU,		/* threads, each with its own queue pair */
	BENCH_MODEL,		/* a process that plays a device: threads that share queue pairs */
	BENCH_CUDA,
};

/**
 * struct bench - a run
 * @on_device: which of enum bench_what lie in the device's memory
 * @dmabuf: of that, the caller's; -1: none
 * @host: memory of the host
 * @device: of the device
 * @work: as the initiator sees it
 * @counts: of @threads, for the host
 * @last: of @slots
 * @latency: of the CPU's threads: how many took from 2^(n/8) ns on
 * @stop: what @work.stop is, for the host
 * @shared: what @work.shared is, for a host
 * @books: of each of these; homi_shared_size() bytes, rounded up
 */
struct bench {
	enum bench_initiator initiator;
	uint32_t threads;
	uint32_t queues;
	uint32_t depth;
	uint32_t bytes;
	uint32_t seconds;
	bool on_device[BENCH_WHATS];
	bool udmabuf;
	bool json;
	int dmabuf;
	const char *controller;
	const char *path;

	struct homi_dev dev;
	int file;
	uint64_t size;
	struct homi_extents extents;
	struct arena host;
	struct arena device;
	struct homi_queue queue[BENCH_QUEUES];
	uint64_t slots;
	struct work work;
	struct work_count *counts;
	uint64_t *last;
	uint64_t latency[BENCH_LATENCIES];
	volatile uint32_t *stop;
	struct homi_shared *shared;
	uint8_t *books;
	const struct bench_gpu *gpu;
	char gpu_name[64];
	double took;
};

/* Prints a sentence, and ends the program: the kernel takes everything back. */
void bench_die(int status, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));
double bench_now(void);

/* Memory that processes share, zeroed, to the end of the program */
void *bench_shared_memory(uint64_t bytes);

/* place.c: everything is made, and lies where it was wanted. */
void bench_place(struct bench *b);
void bench_unplace(struct bench *b);
/* By who has the queues mapped: @b->shared is made, for threads of a host. */
void bench_share(struct bench *b);

/* run.c: reads for @seconds; @counts, @last and @took are set. */
void bench_run(struct bench *b);

#ifdef __cplusplus
}
#endif

#endif /* BENCH_H */
