// SPDX-License-Identifier: GPL-2.0-only
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <x86intrin.h>

#include "count.h"

static volatile uint64_t *rounds;	/* of the loop */

static void go_round(void)
{
	struct sched_param none = { 0 };

	ASSERT(!sched_setscheduler(0, SCHED_IDLE, &none));
	for (;;)
		__asm__ volatile("1: incq %0; jmp 1b" : "+m"(*rounds));
}

struct count count_begin(void)
{
	return (struct count){ .tsc = __rdtsc(), .rounds = *rounds };
}

long long count_end(const struct count *c)
{
	return (long long)(__rdtsc() - c->tsc) - 2 * (long long)(*rounds - c->rounds);
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

void count_start(void)
{
	rounds = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(rounds != MAP_FAILED);
	child_start(go_round);
	calibrate();
}

static int compare(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return x < y ? -1 : x > y;
}

long long count_middle(long long *counts, unsigned int n)
{
	qsort(counts, n, sizeof(*counts), compare);
	return counts[n / 2];
}
