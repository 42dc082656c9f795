// SPDX-License-Identifier: GPL-2.0-only
/* Waiting for completions without spinning: by the kernel's poller, and by interrupts. */
#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "harness.h"
#include "removal.h"
#include "ring.h"

#define AREA	(64 * PAGE)
#define DEPTH	16u
#define LONG	30000
/* Reads a second of a slow drive: a few times what a guest needs for one, when it is emulated too */
#define SLOW	50

struct fixture {
	int fd;
	uint32_t flags;
	struct area area;
	struct dma dma, list;
	struct ring ring;
	char *copy;
};

static void need_flags(int fd, uint32_t flags)
{
	if (flags & HOMI_QUEUE_INTERRUPT && !(ctrl_info(fd).out_features & HOMI_CTRL_INTERRUPTS))
		SKIP("no interrupt vectors beside stock's: the kernel is older than 6.2");
}

static void fixture_open(struct fixture *fx, uint32_t flags)
{
	fx->fd = homi_open();
	fx->flags = flags;
	need_queues(fx->fd, 1);
	need_flags(fx->fd, flags);
	area_open(&fx->area, AREA);
	ASSERT(!posix_memalign((void **)&fx->copy, PAGE, AREA));
	area_fill(&fx->area, 4711, fx->copy);
	dma_new(&fx->dma, fx->fd, AREA);
	dma_new(&fx->list, fx->fd, PAGE);
	ASSERT_EQ(0, ring_create_with(&fx->ring, fx->fd, DEPTH, flags));
	ring_map(&fx->ring);
}

static int arm_at(const struct ring *ring, uint32_t cq_head, uint32_t cq_phase, uint32_t *ready)
{
	struct homi_queue_arm cmd = {
		.size = sizeof(cmd), .queue_id = ring->q.out_queue_id,
		.cq_head = cq_head, .cq_phase = cq_phase,
	};
	int err = homi_call(ring->fd, HOMI_QUEUE_ARM, &cmd);

	*ready = cmd.out_ready;
	return err;
}

static bool arm(const struct ring *ring)
{
	uint32_t ready;

	ASSERT_EQ(0, arm_at(ring, ring->cq_head, ring->cq_phase, &ready));
	return ready;
}

static int bind_completions(const struct ring *ring, int eventfd)
{
	struct homi_event_bind cmd = {
		.size = sizeof(cmd), .flags = HOMI_EVENT_COMPLETIONS,
		.id = ring->q.out_queue_id, .eventfd = eventfd,
	};

	return homi_call(ring->fd, HOMI_EVENT_BIND, &cmd);
}

static struct homi_queue_info info_of(const struct ring *ring)
{
	return queue_info(ring->fd, ring->q.out_queue_id);
}

static void post_read(struct fixture *fx, size_t at)
{
	struct sqe sqe = sqe_rw(NVME_READ, &fx->area, at, PAGE, &fx->dma, at, &fx->list);

	ring_post(&fx->ring, &sqe);
	ring_doorbell(&fx->ring);
}

static void take_one(struct fixture *fx)
{
	struct cqe cqe;

	ASSERT(ring_take(&fx->ring, &cqe));
	ASSERT_EQ(NVME_SC_SUCCESS, cqe.status >> 1);
	ring_cq_doorbell(&fx->ring);
}

static void wait_pollout(int fd)
{
	ASSERT(wait_live(ctrl_name(), LONG));
	ASSERT(poll_fd(fd, POLLOUT, LONG) & POLLOUT);
}

/*
 * @count reads, one at a time and each waited for, by @event or by poll(): the first that is not
 * there at once by the drive's being slow. Returns how often there was something to wait for.
 */
static unsigned int read_waiting(struct fixture *fx, unsigned int count, int event)
{
	unsigned int i, waited = 0;

	memset(fx->dma.va, 0, AREA);
	for (i = 0; i < count; i++) {
		post_read(fx, i * PAGE % AREA);
		if (!arm(&fx->ring)) {
			waited++;
			if (event >= 0)
				ASSERT_EQ(1, event_wait(event, LONG));
			else
				ASSERT(poll_fd(fx->fd, POLLIN, LONG) & POLLIN);
		}
		take_one(fx);
	}
	ASSERT_SAME(fx->copy, fx->dma.va, count * PAGE < AREA ? count * PAGE : AREA);
	return waited;
}

static void check_counts(const struct fixture *fx, const struct homi_queue_info *before,
			 unsigned int waited)
{
	struct homi_queue_info after = info_of(&fx->ring);
	bool by_interrupt = fx->flags & HOMI_QUEUE_INTERRUPT;

	printf("# %u waits: %llu wake-ups, %llu looks, %llu interrupts\n", waited,
	       after.out_wakeups - before->out_wakeups, after.out_looks - before->out_looks,
	       after.out_interrupts - before->out_interrupts);
	ASSERT_EQ(by_interrupt ? HOMI_WAIT_INTERRUPT : HOMI_WAIT_POLLER, after.out_wait);
	ASSERT_EQ(waited, after.out_wakeups - before->out_wakeups);
	if (by_interrupt) {
		ASSERT(after.out_irq > 0);
		ASSERT_EQ(0, after.out_looks);
		ASSERT(after.out_interrupts - before->out_interrupts >= waited);
	} else {
		ASSERT_EQ(0, after.out_irq);
		ASSERT_EQ(0, after.out_interrupts);
		ASSERT(after.out_looks - before->out_looks >= waited);
	}
}

static void waits(uint32_t flags, bool by_event)
{
	struct homi_queue_info before;
	struct fixture fx;
	unsigned int waited;
	int event = -1;

	fixture_open(&fx, flags);
	if (by_event) {
		event = eventfd(0, EFD_CLOEXEC);
		ASSERT_EQ(0, bind_completions(&fx.ring, event));
	}
	ASSERT(drive_throttle(SLOW));
	before = info_of(&fx.ring);
	waited = read_waiting(&fx, 3 * DEPTH, event);
	ASSERT(waited > DEPTH);
	check_counts(&fx, &before, waited);
	ASSERT_EQ(0, ring_destroy(&fx.ring));
}

TEST(poller_and_poll)		{ waits(0, false); }
TEST(poller_and_eventfd)	{ waits(0, true); }
TEST(interrupt_and_poll)	{ waits(HOMI_QUEUE_INTERRUPT, false); }
TEST(interrupt_and_eventfd)	{ waits(HOMI_QUEUE_INTERRUPT, true); }

/* For each time that it was armed, and never for what is there already */
static void told_once(uint32_t flags)
{
	struct fixture fx;
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	unsigned int i;
	struct cqe cqe;

	fixture_open(&fx, flags);
	ASSERT_EQ(0, bind_completions(&fx.ring, event));
	ASSERT_EQ(0, poll_fd(fx.fd, POLLIN, 0) & POLLIN);
	ASSERT(!arm(&fx.ring));
	ASSERT(!arm(&fx.ring));
	for (i = 0; i < 4; i++)
		post_read(&fx, i * PAGE);
	ASSERT_EQ(1, event_wait(event, LONG));
	ASSERT(poll_fd(fx.fd, POLLIN, 0) & POLLIN);
	while (!ring_poll(&fx.ring, &cqe, LONG) && --i)
		;
	ASSERT_EQ(0, i);
	ASSERT_EQ(0, event_wait(event, 0));
	/* It says so until it is armed again. */
	ASSERT(poll_fd(fx.fd, POLLIN, 0) & POLLIN);
	ASSERT(!arm(&fx.ring));
	ASSERT_EQ(0, poll_fd(fx.fd, POLLIN, 0) & POLLIN);
	post_read(&fx, 0);
	ASSERT_EQ(1, event_wait(event, LONG));
	ASSERT(arm(&fx.ring));
	ASSERT_EQ(0, event_wait(event, 0));
	ASSERT_EQ(0, poll_fd(fx.fd, POLLIN, 0) & POLLIN);
	take_one(&fx);
	/* Bound when somebody was woken: told at once, so that nothing is missed */
	ASSERT(!arm(&fx.ring));
	post_read(&fx, 0);
	ASSERT_EQ(1, event_wait(event, LONG));
	ASSERT_EQ(0, bind_completions(&fx.ring, event));
	ASSERT_EQ(1, event_wait(event, 0));
	ASSERT_EQ(0, bind_completions(&fx.ring, -1));
	take_one(&fx);
	ASSERT_EQ(0, ring_destroy(&fx.ring));
	ASSERT_EQ(0, poll_fd(fx.fd, POLLIN, 0) & POLLIN);
}

TEST(poller_tells_once)		{ told_once(0); }
TEST(interrupt_tells_once)	{ told_once(HOMI_QUEUE_INTERRUPT); }

/* Many queues and one thread that waits for all of them, by poll() on the open file */
TEST(many_queues)
{
	struct fixture fx;
	struct ring rings[4];
	unsigned int i, round, n;
	struct cqe cqe;

	fixture_open(&fx, 0);
	n = ctrl_info(fx.fd).out_queues_spare;
	if (n > 4)
		n = 4;
	if (n < 2)
		SKIP("not two queues more");
	for (i = 0; i < n; i++) {
		uint32_t flags = ctrl_info(fx.fd).out_features & HOMI_CTRL_INTERRUPTS && i % 2 ?
				 HOMI_QUEUE_INTERRUPT : 0;

		ASSERT_EQ(0, ring_create_with(&rings[i], fx.fd, DEPTH, flags));
		ring_map(&rings[i]);
	}
	for (round = 0; round < 8; round++) {
		struct sqe sqe = sqe_rw(NVME_READ, &fx.area, 0, PAGE, &fx.dma, 0, &fx.list);
		struct ring *one = &rings[round % n];

		for (i = 0; i < n; i++)
			ASSERT(!arm(&rings[i]));
		ASSERT_EQ(0, poll_fd(fx.fd, POLLIN, 0) & POLLIN);
		ring_post(one, &sqe);
		ring_doorbell(one);
		ASSERT(poll_fd(fx.fd, POLLIN, LONG) & POLLIN);
		ASSERT(arm(one));
		ASSERT(ring_take(one, &cqe));
		ring_cq_doorbell(one);
	}
	for (i = 0; i < n; i++)
		ASSERT_EQ(round / n + (i < round % n), info_of(&rings[i]).out_wakeups);
}

static bool irq_is_there(uint32_t irq)
{
	char line[4096];
	bool there = false;
	FILE *f = fopen("/proc/interrupts", "re");

	ASSERT(f);
	while (fgets(line, sizeof(line), f))
		there |= strtoul(line, NULL, 10) == irq && strstr(line, "homi-");
	fclose(f);
	return there;
}

static bool any_irq_is_there(void)
{
	char line[4096];
	bool there = false;
	FILE *f = fopen("/proc/interrupts", "re");

	ASSERT(f);
	while (fgets(line, sizeof(line), f))
		there |= strstr(line, "homi-") != NULL;
	fclose(f);
	return there;
}

static void lost(uint32_t flags)
{
	int event = eventfd(0, EFD_CLOEXEC);
	struct homi_queue_info info;
	struct fixture fx;
	unsigned int waited;
	uint32_t ready;

	fixture_open(&fx, flags);
	ASSERT_EQ(0, bind_completions(&fx.ring, event));
	ASSERT(!arm(&fx.ring));
	if (flags)
		ASSERT(irq_is_there(info_of(&fx.ring).out_irq));
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	ASSERT_EQ(1, event_wait(event, LONG));
	ASSERT(poll_fd(fx.fd, POLLIN, 0) & POLLIN);
	ASSERT_EQ(-ESTALE, arm_at(&fx.ring, 0, 1, &ready));
	ASSERT_EQ(0, poll_fd(fx.fd, POLLIN, 0) & POLLIN);
	wait_pollout(fx.fd);
	/* Stock has its vectors, and nobody else has any. */
	info = info_of(&fx.ring);
	ASSERT_EQ(HOMI_QUEUE_LOST, info.out_state);
	ASSERT_EQ(0, info.out_irq);
	ASSERT(!any_irq_is_there());
	ASSERT_EQ(0, ring_recreate(&fx.ring));
	ASSERT(drive_throttle(SLOW));
	info = info_of(&fx.ring);
	waited = read_waiting(&fx, DEPTH, event);
	ASSERT(waited > 0);
	check_counts(&fx, &info, waited);
	if (flags)
		ASSERT(irq_is_there(info_of(&fx.ring).out_irq));
	ASSERT_EQ(0, ring_destroy(&fx.ring));
	ASSERT(!any_irq_is_there());
}

TEST(poller_and_reset)		{ lost(0); }
TEST(interrupt_and_reset)	{ lost(HOMI_QUEUE_INTERRUPT); }

static struct fixture shared;
static _Atomic bool stop;

/* Waits for ever, for what never comes but by a loss */
static void *wait_again_and_again(void *unused)
{
	uint32_t ready;

	while (!stop) {
		int err = arm_at(&shared.ring, shared.ring.cq_head, shared.ring.cq_phase, &ready);

		ASSERT(!err || err == -ESTALE);
		if (!err && !ready)
			poll_fd(shared.fd, POLLIN, 200);
		else
			nap_ms(1);
	}
	return unused;
}

static void storm(uint32_t flags)
{
	unsigned int i, n = times(100, 10);
	pthread_t thread;

	fixture_open(&shared, flags);
	ASSERT(!pthread_create(&thread, NULL, wait_again_and_again, NULL));
	for (i = 0; i < n; i++) {
		struct sqe sqe = sqe_rw(NVME_READ, &shared.area, i * PAGE % AREA, PAGE,
					&shared.dma, 0, &shared.list);

		ASSERT_EQ(0, reset_controller(ctrl_name()));
		wait_pollout(shared.fd);
		ASSERT_EQ(0, ring_recreate(&shared.ring));
		ASSERT_EQ(0, ring_do(&shared.ring, &sqe));
		ASSERT_SAME(shared.copy + i * PAGE % AREA, shared.dma.va, PAGE);
	}
	stop = true;
	ASSERT(!pthread_join(thread, NULL));
	ASSERT_EQ(0, ring_destroy(&shared.ring));
	ASSERT(!any_irq_is_there());
}

TEST_TIMEOUT(poller_in_a_storm, 600)	{ storm(0); }
TEST_TIMEOUT(interrupt_in_a_storm, 600)	{ storm(HOMI_QUEUE_INTERRUPT); }

static void *wait_once(void *event)
{
	ASSERT_EQ(1, event_wait(*(int *)event, LONG));
	return NULL;
}

/* Another thread destroys it: who waits does not wait for ever. */
static void destroyed(uint32_t flags)
{
	int event = eventfd(0, EFD_CLOEXEC);
	struct fixture fx;
	pthread_t thread;
	uint32_t ready;

	fixture_open(&fx, flags);
	ASSERT_EQ(0, bind_completions(&fx.ring, event));
	ASSERT(!arm(&fx.ring));
	ASSERT(!pthread_create(&thread, NULL, wait_once, &event));
	nap_ms(50);
	ASSERT_EQ(0, ring_destroy(&fx.ring));
	ASSERT(!pthread_join(thread, NULL));
	/* Its mappings are there still, and it is armed by nobody. */
	ASSERT_EQ(-ENOENT, arm_at(&fx.ring, 0, 1, &ready));
	ASSERT_EQ(0, poll_fd(fx.fd, POLLIN, 0) & POLLIN);
	ASSERT(!any_irq_is_there());
	ring_unmap(&fx.ring);
}

TEST(poller_and_destroy)	{ destroyed(0); }
TEST(interrupt_and_destroy)	{ destroyed(HOMI_QUEUE_INTERRUPT); }

static uint32_t child_flags;

static void arm_and_hang(void)
{
	struct fixture fx;

	fixture_open(&fx, child_flags);
	ASSERT(!arm(&fx.ring));
	post_read(&fx, 0);
	kill(getpid(), SIGKILL);
}

static void killed(uint32_t flags)
{
	int fd = homi_open();
	uint32_t spare;

	need_queues(fd, 1);
	need_flags(fd, flags);
	spare = ctrl_info(fd).out_queues_spare;
	child_flags = flags;
	ASSERT(WIFSIGNALED(child_status(child_start(arm_and_hang))));
	ASSERT_EQ(spare, ctrl_info(fd).out_queues_spare);
	ASSERT(!any_irq_is_there());
}

TEST(poller_and_kill)		{ killed(0); }
TEST(interrupt_and_kill)	{ killed(HOMI_QUEUE_INTERRUPT); }

static void removed(uint32_t flags)
{
	int event = eventfd(0, EFD_CLOEXEC), fd;
	struct victim victim;
	struct ring ring;
	uint32_t ready;

	victim_need(&victim);
	fd = homi_open_at(victim.dev);
	need_flags(fd, flags);
	if (!ctrl_info(fd).out_queues_spare)
		SKIP("no queue to spare there");
	ASSERT_EQ(0, ring_create_with(&ring, fd, DEPTH, flags));
	ASSERT_EQ(0, bind_completions(&ring, event));
	ASSERT(!arm(&ring));
	victim_unbind(&victim);
	ASSERT_EQ(1, event_wait(event, LONG));
	ASSERT(poll_fd(fd, POLLIN, 0) & POLLHUP);
	ASSERT_EQ(-ENODEV, arm_at(&ring, 0, 1, &ready));
	ASSERT(!any_irq_is_there());
	ASSERT_EQ(0, ring_destroy(&ring));
	close(fd);
	victim_bind(&victim);
	victim_prove(&victim);
}

TEST(poller_and_unbind)		{ removed(0); }
TEST(interrupt_and_unbind)	{ removed(HOMI_QUEUE_INTERRUPT); }

/* Vectors are given back exactly: as many as before can be had again. */
static unsigned int take_all(int fd, struct ring *rings, unsigned int most)
{
	unsigned int n;
	int err = 0;

	for (n = 0; n < most; n++) {
		err = ring_create_with(&rings[n], fd, 2, HOMI_QUEUE_INTERRUPT);
		if (err)
			break;
	}
	ASSERT(!err || err == -ENOSPC);
	return n;
}

TEST(all_vectors)
{
	static struct ring rings[256];
	unsigned int i, k, n, again;
	int fd = homi_open();

	need_queues(fd, 2);
	need_flags(fd, HOMI_QUEUE_INTERRUPT);
	n = take_all(fd, rings, 256);
	ASSERT(n >= 1);
	for (i = 0; i < n; i++)
		for (k = 0; k < i; k++)
			ASSERT(info_of(&rings[i]).out_irq != info_of(&rings[k]).out_irq);
	/* What fails leaves nothing behind. */
	ASSERT(ring_create_with(&rings[n], fd, 2, HOMI_QUEUE_INTERRUPT) < 0 || n == 256);
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, ring_destroy(&rings[i]));
	ASSERT(!any_irq_is_there());
	again = take_all(fd, rings, 256);
	printf("# %u queues with vectors\n", n);
	ASSERT_EQ(n, again);
}

TEST(refused)
{
	struct ring in_mem;
	struct fixture fx;
	struct dma cq;
	uint32_t ready;
	int err;

	fixture_open(&fx, 0);
	ASSERT_EQ(-EINVAL, arm_at(&fx.ring, DEPTH, 1, &ready));
	ASSERT_EQ(-EINVAL, arm_at(&fx.ring, UINT32_MAX, 1, &ready));
	ASSERT_EQ(-EINVAL, arm_at(&fx.ring, 0, 2, &ready));
	fx.ring.q.out_queue_id++;
	ASSERT_EQ(-ENOENT, arm_at(&fx.ring, 0, 1, &ready));
	ASSERT_EQ(-ENOENT, bind_completions(&fx.ring, -1));
	fx.ring.q.out_queue_id = fx.dma.id;
	ASSERT_EQ(-ENOENT, arm_at(&fx.ring, 0, 1, &ready));
	ASSERT_EQ(-ENOENT, bind_completions(&fx.ring, -1));
	if (ctrl_info(fx.fd).out_queues_spare < 1)
		SKIP("not one queue more");
	/* Where nobody could look */
	dma_new(&cq, fx.fd, PAGE);
	ASSERT_EQ(0, ring_create_in(&in_mem, fx.fd, DEPTH, NULL, &cq));
	ASSERT_EQ(HOMI_WAIT_NONE, info_of(&in_mem).out_wait);
	ASSERT_EQ(-EOPNOTSUPP, arm_at(&in_mem, 0, 1, &ready));
	ASSERT_EQ(-EOPNOTSUPP, bind_completions(&in_mem, eventfd(0, EFD_CLOEXEC)));
	ASSERT_EQ(0, ring_destroy(&in_mem));
	in_mem.q.flags = HOMI_QUEUE_INTERRUPT;
	ASSERT_EQ(-EOPNOTSUPP, homi_call(fx.fd, HOMI_QUEUE_CREATE, &in_mem.q));
	/* And where there are none */
	err = ring_create_with(&in_mem, fx.fd, DEPTH, HOMI_QUEUE_INTERRUPT);
	if (ctrl_info(fx.fd).out_features & HOMI_CTRL_INTERRUPTS)
		ASSERT(!err || err == -ENOSPC);
	else
		ASSERT_EQ(-EOPNOTSUPP, err);
}

/* Of the poller's thread; -1 if there is none */
static long long poller_switches(void)
{
	char comm[32], name[32], path[64], line[128];
	long long switches = -1;
	DIR *proc = opendir("/proc");
	struct dirent *d;

	snprintf(name, sizeof(name), "homi-%.10s\n", ctrl_name());
	ASSERT(proc);
	while ((d = readdir(proc))) {
		FILE *f;

		if (!isdigit((unsigned char)d->d_name[0]) ||
		    !sysfs_read(comm, sizeof(comm), "/proc/%s/comm", d->d_name) ||
		    strncmp(comm, name, strlen(name) - 1))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/status", d->d_name);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			sscanf(line, "voluntary_ctxt_switches: %lld", &switches);
		if (f)
			fclose(f);
	}
	closedir(proc);
	return switches;
}

/* The thread sleeps while nobody waits, whatever is completed. */
TEST(poller_sleeps)
{
	struct fixture fx;
	long long before;
	unsigned int i;
	uint64_t looks;

	fixture_open(&fx, 0);
	ASSERT(!arm(&fx.ring));
	post_read(&fx, 0);
	ASSERT(poll_fd(fx.fd, POLLIN, LONG) & POLLIN);
	take_one(&fx);
	nap_ms(100);
	before = poller_switches();
	ASSERT(before > 0);
	looks = info_of(&fx.ring).out_looks;
	for (i = 0; i < 16; i++) {
		struct sqe sqe = sqe_rw(NVME_READ, &fx.area, 0, PAGE, &fx.dma, 0, &fx.list);

		ASSERT_EQ(0, ring_do(&fx.ring, &sqe));
		nap_ms(20);
	}
	ASSERT_EQ(looks, info_of(&fx.ring).out_looks);
	ASSERT_EQ(before, poller_switches());
	/* And while somebody does it looks, at ever longer intervals. */
	ASSERT(!arm(&fx.ring));
	nap_ms(500);
	ASSERT(info_of(&fx.ring).out_looks > looks + 10);
}
