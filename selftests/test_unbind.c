// SPDX-License-Identifier: GPL-2.0-only
/*
 * The stock driver is unbound with homi in use: every holder gets ENODEV, the node goes, and
 * comes back. On the second controller, whose file systems nobody needs.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "harness.h"
#include "ring.h"

static char pci[64];		/* address of the second controller */
static char dev2[64];

static void need_second(void)
{
	const char *dev = getenv("HOMI_DEV2");
	char link[256], path[PATH_MAX];

	if (!dev || !*dev)
		SKIP("HOMI_DEV2 is not set: there is no second controller");
	snprintf(dev2, sizeof(dev2), "%s", dev);
	snprintf(link, sizeof(link), "/sys/class/nvme/%s/device", base_name(dev));
	ASSERT(realpath(link, path));
	snprintf(pci, sizeof(pci), "%.63s", base_name(path));
}

static void unbind(void)
{
	ASSERT(sysfs_write("/sys/bus/pci/drivers/nvme/unbind", pci));
}

static bool one_is_live(char *name)
{
	char path[256];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/nvme", pci);
	dir = opendir(path);
	if (!dir)
		return false;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, "nvme", 4)) {
			snprintf(name, 32, "%.31s", entry->d_name);
			found = true;
		}
	closedir(dir);
	return found && wait_live(name, 0);
}

/* Binds and waits for homi's node of the controller, whatever its name is now. */
static void bind(char *dev)
{
	uint64_t end = now_ms() + 20000;
	char name[32];

	ASSERT(sysfs_write("/sys/bus/pci/drivers/nvme/bind", pci));
	for (;;) {
		if (one_is_live(name)) {
			snprintf(dev, 64, "/dev/homi/%s", name);
			if (!access(dev, F_OK))
				return;
		}
		ASSERT(now_ms() < end);
		nap_ms(20);
	}
}

static void wait_no_node(const char *dev)
{
	uint64_t end = now_ms() + 5000;

	while (!access(dev, F_OK)) {
		ASSERT(now_ms() < end);
		nap_ms(5);
	}
}

static void check_gone(int fd)
{
	struct homi_ctrl_info info = { .size = sizeof(info) };
	struct homi_ns_info ns = { .size = sizeof(ns), .nsid = 1 };
	struct ring ring;
	uint32_t id;
	void *va = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err = homi_call(fd, HOMI_CTRL_INFO, &info);

	/* CTRL_INFO may tell the state, or be ENODEV as the rest */
	if (!err)
		ASSERT_EQ(HOMI_CTRL_GONE, info.out_state);
	else
		ASSERT_EQ(-ENODEV, err);
	ASSERT_EQ(-ENODEV, homi_call(fd, HOMI_NS_INFO, &ns));
	ASSERT_EQ(-ENODEV, ring_create(&ring, fd, 4));
	ASSERT_EQ(-ENODEV, mem_register(fd, va, PAGE, HOMI_MEM_WRITE, &id, NULL));
	munmap(va, PAGE);
}

TEST(idle)
{
	char dev[64];
	int fd;

	need_second();
	fd = homi_open_at(dev2);
	unbind();
	wait_no_node(dev2);
	check_gone(fd);
	close(fd);
	bind(dev);
	/* Nobody held the old one: the name is the old one, too. */
	ASSERT(!strcmp(dev, dev2));
	fd = homi_open_at(dev);
	ASSERT_EQ(HOMI_CTRL_LIVE, ctrl_info(fd).out_state);
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
}

static struct sqe read_lba_0(const struct dma *dma, uint32_t nsid)
{
	struct sqe sqe = { .opcode = NVME_READ, .nsid = nsid, .prp1 = dma_addr(dma, 0) };

	return sqe;
}

static uint32_t first_nsid(int fd)
{
	struct homi_ns_info ns = { .size = sizeof(ns), .flags = HOMI_NS_NEXT, .nsid = 1 };

	ASSERT_EQ(0, homi_call(fd, HOMI_NS_INFO, &ns));
	return ns.out_nsid;
}

static void post_reads(struct ring *ring, const struct dma *dma, uint32_t nsid)
{
	struct sqe sqe = read_lba_0(dma, nsid);

	while (!ring_full(ring))
		ring_post(ring, &sqe);
	ring_doorbell(ring);
}

TEST(with_queues)
{
	struct ring ring;
	struct dma dma;
	char dev[64];
	int fd;

	need_second();
	fd = homi_open_at(dev2);
	need_queues(fd, 1);
	ring_open(&ring, fd, 64);
	dma_new(&dma, fd, 4 * PAGE);
	post_reads(&ring, &dma, first_nsid(fd));
	unbind();
	wait_no_node(dev2);
	ASSERT_EQ(HOMI_QUEUE_GONE, queue_info(fd, ring.q.out_queue_id).out_state);
	check_gone(fd);
	/* A store to a doorbell goes nowhere or raises SIGBUS; it never reaches the device. */
	ASSERT(fault_of(ring.db, true) != SIGSEGV);
	if (ring.shadow)
		ASSERT(fault_of(ring.shadow, true) != SIGSEGV);
	memset(dma.va, 0x2e, 4 * PAGE);
	nap_ms(50);
	ASSERT(is_filled(dma.va, 0x2e, 4 * PAGE));
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, dma_destroy(&dma));
	ring_unmap(&ring);
	close(fd);
	bind(dev);
	fd = homi_open_at(dev);
	ring_open(&ring, fd, 16);
	dma_new(&dma, fd, PAGE);
	{
		struct sqe sqe = read_lba_0(&dma, first_nsid(fd));

		ASSERT_EQ(0, ring_do(&ring, &sqe));
	}
}

/* The old open file stays dead when the controller is back, and does not hinder the new one. */
TEST(held_over_rebind)
{
	struct ring ring, fresh;
	struct dma dma;
	char dev[64];
	int old, fd;

	need_second();
	old = homi_open_at(dev2);
	need_queues(old, 1);
	ring_open(&ring, old, 8);
	dma_new(&dma, old, PAGE);
	unbind();
	bind(dev);
	fd = homi_open_at(dev);
	check_gone(old);
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
	ASSERT_EQ(0, ring_create(&fresh, fd, 8));
	ASSERT_EQ(HOMI_QUEUE_GONE, queue_info(old, ring.q.out_queue_id).out_state);
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	close(old);
	ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(fd, fresh.q.out_queue_id).out_state);
	ASSERT_EQ(0, ring_destroy(&fresh));
	close(fd);
	/* once more, so that the name is free and is taken again */
	unbind();
	bind(dev);
	ASSERT(!strcmp(dev, dev2));
}

/* Only mappings are left when it goes. */
TEST(mappings_only)
{
	struct ring ring;
	char dev[64];
	int fd;

	need_second();
	fd = homi_open_at(dev2);
	need_queues(fd, 1);
	ring_open(&ring, fd, 64);
	close(fd);
	unbind();
	ASSERT(fault_of(ring.db, true) != SIGSEGV);
	ASSERT(fault_of(ring.sq, true) != SIGSEGV);
	ring_unmap(&ring);
	bind(dev);
	ASSERT(!strcmp(dev, dev2));
}

/* Somebody creates, registers, does I/O and destroys all the time while it goes. */
static void be_busy(void)
{
	int fd = homi_open_at(dev2);

	for (;;) {
		char *va = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0);
		struct ring ring;
		uint32_t mem;
		int err = ring_create(&ring, fd, 16);

		if (err == -ENODEV)
			_exit(0);
		if (err != -EAGAIN && err != -ENOSPC)
			ASSERT_EQ(0, err);
		if (mem_register(fd, va, PAGE, HOMI_MEM_WRITE, &mem, NULL) == -ENODEV)
			_exit(0);
		if (!err)
			ASSERT_EQ(0, ring_destroy(&ring));
		ASSERT_EQ(0, destroy(fd, mem));
		munmap(va, PAGE);
	}
}

TEST_TIMEOUT(under_load, 120)
{
	unsigned int rounds = soak() ? 50 : 3, i, k;
	pid_t pids[3];
	char dev[64];
	int fd;

	need_second();
	fd = homi_open_at(dev2);
	need_queues(fd, 1);
	close(fd);
	for (i = 0; i < rounds; i++) {
		fflush(NULL);
		for (k = 0; k < ARRAY_SIZE(pids); k++) {
			pids[k] = fork();
			if (!pids[k])
				be_busy();
		}
		nap_ms(50 + i * 31 % 100);
		unbind();
		for (k = 0; k < ARRAY_SIZE(pids); k++)
			ASSERT_EQ(0, child_status(pids[k]));
		bind(dev);
		ASSERT(!strcmp(dev, dev2));
	}
}
