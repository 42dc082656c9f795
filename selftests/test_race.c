// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues are created and deleted all the time while the controller is reset all the time. A
 * Create CQ that reached it at the wrong moment of a reset would cost stock all its queues, and
 * the namespace. The module's own trace event tells of each creation that a reset ran into.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "harness.h"
#include "ring.h"
#include "witness.h"

#define CREATORS	6u
#define AREA		(64 * 1024u)
#define TRACING		"/sys/kernel/tracing/instances/homi_race"
#define EVENT		TRACING "/events/homi/homi_queue_state/"

static struct race {
	struct area area;
	char *copy;
	atomic_bool stop;
	atomic_ulong created, again, read;
} race;

/* From "being made" to "lost" is what only a reset does. */
static void trace_begin(void)
{
	rmdir(TRACING);
	if (mkdir(TRACING, 0700) || access(EVENT "filter", W_OK))
		SKIP("no trace events of homi: is there tracefs?");
	ASSERT(sysfs_write(EVENT "filter", "from == 0 && to == 2"));
	ASSERT(sysfs_write(EVENT "enable", "1"));
}

static unsigned int trace_count(void)
{
	FILE *file = fopen(TRACING "/trace", "r");
	unsigned int n = 0;
	char line[256];

	ASSERT(file);
	while (fgets(line, sizeof(line), file))
		n += line[0] != '#' && strstr(line, "state=0->2");
	fclose(file);
	return n;
}

static void trace_end(void)
{
	ASSERT(sysfs_write(EVENT "enable", "0"));
	ASSERT(!rmdir(TRACING));
}

static void *creator(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	int fd = homi_open(), err;
	struct ring ring;

	while (!atomic_load(&race.stop)) {
		err = ring_create(&ring, fd, 2 + seed_next(&seed, 63));
		if (err == -EAGAIN) {
			atomic_fetch_add(&race.again, 1);
			/* Be there when it is live again. */
			poll_fd(fd, POLLOUT, 20);
			continue;
		}
		ASSERT_EQ(0, err);
		atomic_fetch_add(&race.created, 1);
		ASSERT_EQ(0, ring_destroy(&ring));
	}
	close(fd);
	return NULL;
}

static void *reader(void *arg)
{
	char *buf;

	(void)arg;
	ASSERT(!posix_memalign((void **)&buf, PAGE, AREA));
	while (!atomic_load(&race.stop)) {
		area_pread(&race.area, 0, buf, AREA);
		ASSERT_SAME(race.copy, buf, AREA);
		atomic_fetch_add(&race.read, 1);
	}
	free(buf);
	return NULL;
}

/* Each other reset comes without a pause, each other at some time after homi lends again. */
static void reset_one(int fd, uint64_t *seed, unsigned int number)
{
	int err;

	if (number % 2) {
		poll_fd(fd, POLLOUT, 1000);
		usleep(seed_next(seed, 3000));
	}
	err = reset_controller(ctrl_name());
	/* -EBUSY: homi has asked for one, since a deletion took too long. */
	if (err != -EBUSY)
		ASSERT_EQ(0, err);
	ASSERT(wait_live(ctrl_name(), 20000));
}

TEST_TIMEOUT(create_and_reset, 240)
{
	unsigned int wanted = times(700, 70), resets = 0, races, i;
	pthread_t creators[CREATORS], other;
	struct stock_queues stock;
	int fd = homi_open();
	uint64_t seed;

	need_queues(fd, CREATORS);
	trace_begin();
	seed = seed_begin();
	stock_queues_learn(&stock, ctrl_name());
	area_open(&race.area, AREA);
	ASSERT(!posix_memalign((void **)&race.copy, PAGE, AREA));
	area_fill(&race.area, seed, race.copy);
	for (i = 0; i < CREATORS; i++)
		ASSERT(!pthread_create(&creators[i], NULL, creator, (void *)(uintptr_t)(seed + i)));
	ASSERT(!pthread_create(&other, NULL, reader, NULL));
	do {
		for (i = 0; i < 10; i++) {
			reset_one(fd, &seed, resets++);
			stock_queues_check(&stock);
			ASSERT(!access(bdev_path(), F_OK));
		}
		races = trace_count();
	} while (races < wanted);
	atomic_store(&race.stop, true);
	for (i = 0; i < CREATORS; i++)
		ASSERT(!pthread_join(creators[i], NULL));
	ASSERT(!pthread_join(other, NULL));
	trace_end();
	printf("# race: %u resets ran into %u creations; %lu queues created, %lu times EAGAIN; stock read %lu times\n",
	       resets, races, race.created, race.again, race.read);
	ASSERT(race.created > 0 && race.again > 0);
	ASSERT(race.read > 0);
	stock_queues_check(&stock);
	close(fd);
	wait_nothing_left(ctrl_name());
}
