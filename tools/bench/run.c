// SPDX-License-Identifier: MIT
/*
 * Who does it: threads of this process, a process that plays a device, or a GPU.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../cli.h"
#include "bench.h"

#define LOOKS		(1u << 16)	/* for a completion, before the clock is looked at */
#define PATIENCE	30.0		/* seconds for one command */
#define START_SECONDS	30.0		/* for all threads of the device to be there */

/* --- the CPU: each thread has its own queue pair, and keeps it full --- */

/**
 * struct cpu - one of them
 * @began: by slot, ns
 * @free: slots that are, @nr_free of them
 * @latency: how many took from 2^(n/8) ns on
 */
struct cpu {
	struct bench *b;
	uint32_t thread;
	pthread_t id;
	struct work_count count;
	uint64_t state;
	uint64_t *began;
	uint32_t *free;
	uint32_t nr_free;
	uint64_t latency[BENCH_LATENCIES];
};

/* Three bits behind the first one */
static unsigned int latency_index(uint64_t ns)
{
	unsigned int top;

	if (ns < 8)
		return (unsigned int)ns;
	top = 63 - (unsigned int)__builtin_clzll(ns);
	return top * 8 + (unsigned int)(ns >> (top - 3) & 7);
}

/* False: nothing lies there, or it failed; what was posted before is not to wait for that. */
static bool cpu_post(struct cpu *c, struct homi_ring *ring)
{
	const struct work *w = &c->b->work;
	uint64_t offset, prp1, prp2, slot;
	struct homi_run run;
	struct homi_rw rw;
	int ret = work_pick(w, &c->state, &offset, &run);

	if (!ret) {
		c->count.holes++;
		return false;
	}
	slot = (uint64_t)c->thread * (c->b->depth - 1) + c->free[c->nr_free - 1];
	if (ret < 0 || work_prp(w, slot, run.blocks * w->block_size, &prp1, &prp2)) {
		c->count.failed = WORK_BAD;
		return false;
	}
	homi_rw_init(&rw, HOMI_OP_READ, w->nsid, (uint32_t)run.blocks, 0);
	c->nr_free--;
	c->began[c->free[c->nr_free]] = clock_now_ns(CLOCK_MONOTONIC);
	w->last[slot] = offset;
	/* Fits: there are as many slots as commands can be outstanding. */
	homi_ring_post_rw(ring, &rw, run.slba, prp1, prp2,
			  (uint64_t)c->free[c->nr_free] << 32 | run.blocks);
	return true;
}

static void cpu_take(struct cpu *c, const struct homi_completion *done, int ret)
{
	uint32_t slot = (uint32_t)(done->user >> 32);

	if (ret == HOMI_RING_OK) {
		c->count.reads++;
		c->count.bytes += (done->user & UINT32_MAX) * c->b->work.block_size;
		c->latency[latency_index(clock_now_ns(CLOCK_MONOTONIC) - c->began[slot])]++;
	} else {
		c->count.failed = ret;
		c->count.status = done->status;
	}
	c->free[c->nr_free++] = slot;
}

/* For one completion; a queue that was lost has none. */
static int cpu_wait(struct cpu *c, struct homi_ring *ring, struct homi_completion *done)
{
	double end = bench_now() + PATIENCE;
	int ret;

	do {
		ret = homi_ring_wait(ring, done, LOOKS);
	} while (ret == HOMI_RING_TIMEOUT && bench_now() < end &&
		 !homi_queue_check(&c->b->dev, &c->b->queue[c->thread]));
	return ret;
}

static void cpu_read(struct cpu *c)
{
	struct homi_ring ring = c->b->queue[c->thread].ring;	/* in registers */
	const volatile uint32_t *stop = c->b->stop;
	struct homi_completion done;
	int ret;

	do {
		while (c->nr_free && !c->count.failed && !homi_load32(stop) && cpu_post(c, &ring))
			;
		homi_ring_ring(&ring);
		if (!homi_ring_outstanding(&ring))
			continue;
		ret = cpu_wait(c, &ring, &done);
		for (; ret == HOMI_RING_OK || ret == HOMI_RING_STATUS; ret = homi_ring_poll(&ring, &done))
			cpu_take(c, &done, ret);
		if (ret != HOMI_RING_EMPTY)
			c->count.failed = ret;
		homi_ring_release(&ring);
	} while (c->count.failed != HOMI_RING_TIMEOUT && c->count.failed != HOMI_RING_PROTOCOL &&
		 (homi_ring_outstanding(&ring) || (!c->count.failed && !homi_load32(stop))));
}

static void *cpu_thread(void *arg)
{
	struct cpu *c = arg;
	uint32_t i;

	c->state = work_seed(c->thread);
	for (i = 0; i < c->b->depth - 1; i++)
		c->free[c->nr_free++] = i;
	cpu_read(c);
	c->b->counts[c->thread] = c->count;
	return NULL;
}

/* Has somebody else, or something, put an end to it? */
static bool is_over(const struct bench *b)
{
	uint32_t i;

	for (i = 0; i < b->queues; i++)
		if (homi_queue_check(&b->dev, &b->queue[i]))
			return true;
	return homi_extent_get_state(b->extents.table) != HOMI_EXTENT_VALID;
}

/* A device's process that @pid is may end by itself; 0: there is none. */
static void sleep_until_stop(struct bench *b, pid_t pid)
{
	double end = bench_now() + b->seconds;
	siginfo_t info = { 0 };

	while (bench_now() < end && !is_over(b)) {
		usleep(20000);
		if (pid && (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid))
			break;
	}
	*b->stop = 1;
}

static void run_cpu(struct bench *b)
{
	struct cpu *cpus = calloc(b->threads, sizeof(*cpus));
	double begin = bench_now();
	uint32_t i, k;

	for (i = 0; cpus && i < b->threads; i++) {
		cpus[i].b = b;
		cpus[i].thread = i;
		cpus[i].began = calloc(b->depth, sizeof(*cpus[i].began));
		cpus[i].free = calloc(b->depth, sizeof(*cpus[i].free));
		if (!cpus[i].began || !cpus[i].free ||
		    pthread_create(&cpus[i].id, NULL, cpu_thread, &cpus[i]))
			break;
	}
	if (!cpus || i < b->threads)
		bench_die(EXIT_REFUSED, "thread %u of %u can't be made", i + 1, b->threads);
	sleep_until_stop(b, 0);
	for (i = 0; i < b->threads; i++)
		pthread_join(cpus[i].id, NULL);
	b->took = bench_now() - begin;
	for (i = 0; i < b->threads; i++) {
		for (k = 0; k < BENCH_LATENCIES; k++)
			b->latency[k] += cpus[i].latency[k];
		free(cpus[i].began);
		free(cpus[i].free);
	}
	free(cpus);
}

/* --- a process that plays a device --- */

/**
 * struct model - what its threads and the host share
 * @there: threads that are
 * @go: the host says so
 */
struct model {
	uint32_t there;
	uint32_t go;
};

struct model_thread {
	const struct bench *b;
	struct model *model;
	uint32_t thread;
};

/* From here on it has memory and doorbells, and no system call. */
static void *model_thread(void *arg)
{
	struct model_thread *t = arg;

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		_exit(1);
	homi_atomic_add32(&t->model->there, 1);
	while (!homi_load32(&t->model->go))
		homi_relax();
	work_shared(&t->b->work, t->thread);
	syscall(SYS_exit, 0);
	return NULL;
}

/* Mappings of queues are not inherited. */
static void model_process(struct bench *b, struct model *model)
{
	struct model_thread *threads = calloc(b->threads, sizeof(*threads));
	pthread_t id;
	uint32_t i;

	for (i = 0; i < b->queues; i++)
		if (homi_queue_map(&b->dev, &b->queue[i]))
			_exit(1);
	bench_share(b);
	if (!threads || syscall(SYS_close_range, 0, ~0u, 0))
		_exit(1);
	for (i = 0; i < b->threads; i++) {
		threads[i].b = b;
		threads[i].model = model;
		threads[i].thread = i;
		if (i && pthread_create(&id, NULL, model_thread, &threads[i]))
			_exit(1);
	}
	model_thread(&threads[0]);
}

static void run_model(struct bench *b)
{
	struct model *model = bench_shared_memory(sizeof(*model));
	double end = bench_now() + START_SECONDS, begin;
	pid_t pid, parent = getpid();
	int status = 0;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		/* Nobody would tell it to stop. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
			_exit(1);
		model_process(b, model);
		_exit(1);
	}
	if (pid < 0)
		bench_die(EXIT_REFUSED, "fork: %s", strerror(errno));
	while (homi_load32(&model->there) < b->threads) {
		if (waitpid(pid, &status, WNOHANG) == pid || bench_now() > end)
			bench_die(EXIT_REFUSED, "the device's %u threads do not come up", b->threads);
		usleep(1000);
	}
	begin = bench_now();
	homi_store32(&model->go, 1);
	sleep_until_stop(b, pid);
	if (waitpid(pid, &status, 0) != pid || status)
		bench_die(EXIT_IO, "the device's process ended with status %#x", status);
	b->took = bench_now() - begin;
}

/* --- a GPU --- */

static void run_gpu(struct bench *b)
{
	double begin = bench_now();

	if (b->gpu->run(&b->work, b->threads))
		bench_die(EXIT_REFUSED, "%s runs no %u threads", b->gpu_name, b->threads);
	sleep_until_stop(b, 0);
	if (b->gpu->wait())
		bench_die(EXIT_IO, "%s did not come to an end", b->gpu_name);
	b->took = bench_now() - begin;
	if (b->gpu->get(b->counts, b->work.counts, b->threads * sizeof(*b->counts)) ||
	    b->gpu->get(b->last, b->work.last, b->slots * sizeof(*b->last)))
		bench_die(EXIT_IO, "%s gives no copy", b->gpu_name);
}

void bench_run(struct bench *b)
{
	/* Of a GPU a look takes about a microsecond; on a host others may have to run first. */
	b->work.polls = b->gpu ? 1ull << 25 : 1ull << 28;
	if (b->gpu)
		run_gpu(b);
	else if (b->initiator == BENCH_MODEL)
		run_model(b);
	else
		run_cpu(b);
}
