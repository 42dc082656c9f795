/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_LEAN_H
#define HOMI_TEST_LEAN_H

/*
 * A controller that moves no data and does as little as it can for a command, so
 * that it is the initiator that is measured: it reads the cid and completes it.
 */

#include <pthread.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lean {
	volatile uint32_t sq_doorbell __attribute__((aligned(128)));
	volatile uint32_t cq_doorbell __attribute__((aligned(128)));
	void *sq __attribute__((aligned(128)));
	void *cq;
	uint32_t depth;		/* a power of two */
	volatile int stop;
	uint64_t executed;
	uint64_t ticks;		/* in all, of the time stamp counter */
	uint64_t idle;		/* of them: nothing was to be done, or could be */
	pthread_t thread;
};

int lean_start(struct lean *lean);
void lean_stop(struct lean *lean);

#ifdef __cplusplus
}
#endif

#endif /* HOMI_TEST_LEAN_H */
