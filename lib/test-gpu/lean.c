// SPDX-License-Identifier: MIT
#include <immintrin.h>

#include <homi/wire.h>

#include "lean.h"

static void *run(void *arg)
{
	struct lean *l = arg;
	const struct homi_sqe *sq = l->sq;
	uint32_t mask = l->depth - 1, head = 0, tail = 0, i;
	uint64_t begin = __rdtsc(), last = begin;
	__m128i *cq = l->cq;

	while (!l->stop) {
		uint32_t n = (l->sq_doorbell - head) & mask;
		uint32_t room = (l->cq_doorbell - tail - 1) & mask;

		if (!n || !room) {
			uint64_t now = __rdtsc();

			l->idle += now - last;
			last = now;
			_mm_pause();
			continue;
		}
		if (n > room)
			n = room;
		/* The doorbell before the commands. */
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		for (i = 0; i < n; i++, head++, tail++) {
			uint32_t phase = !(tail & l->depth);
			uint32_t cid = sq[head & mask].cid;

			/* In one store, as a device's write arrives. */
			_mm_store_si128(&cq[tail & mask],
					_mm_set_epi32((int)(phase << 16 | cid), (int)(head & mask), 0,
						      0));
		}
		l->executed += n;
		last = __rdtsc();
	}
	l->ticks = __rdtsc() - begin;
	return NULL;
}

int lean_start(struct lean *l)
{
	l->sq_doorbell = 0;
	l->cq_doorbell = 0;
	l->stop = 0;
	l->executed = 0;
	l->ticks = 0;
	l->idle = 0;
	return pthread_create(&l->thread, NULL, run, l);
}

void lean_stop(struct lean *l)
{
	l->stop = 1;
	pthread_join(l->thread, NULL);
}
