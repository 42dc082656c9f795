// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queue creation and deletion that fail, hang, or are executed without an answer (a hook in
 * debugfs plays that): the controller is reset, and until then all that the queue may still
 * touch stays where it is.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "files.h"
#include "harness.h"
#include "ring.h"

#define AREA		(128 * 1024u)

enum { DELETE_SQ = 0x00, CREATE_SQ = 0x01, DELETE_CQ = 0x04, CREATE_CQ = 0x05 };

static const struct fault {
	const char *name;
	unsigned int opcode;
	const char *mode;
} deletions[] = {
	{ "Delete SQ fails", DELETE_SQ, "fail" },
	{ "Delete SQ hangs", DELETE_SQ, "hang" },
	{ "Delete SQ is not answered", DELETE_SQ, "lose" },
	{ "Delete CQ fails", DELETE_CQ, "fail" },
	{ "Delete CQ hangs", DELETE_CQ, "hang" },
	{ "Delete CQ is not answered", DELETE_CQ, "lose" },
}, creations[] = {
	{ "Create CQ fails", CREATE_CQ, "fail" },
	{ "Create CQ hangs", CREATE_CQ, "hang" },
	{ "Create CQ is not answered", CREATE_CQ, "lose" },
	{ "Create SQ fails", CREATE_SQ, "fail" },
	{ "Create SQ hangs", CREATE_SQ, "hang" },
	{ "Create SQ is not answered", CREATE_SQ, "lose" },
};

static void fault_path(char *path, size_t size)
{
	snprintf(path, size, FAULT, ctrl_name());
}

static void fault_set(unsigned int opcode, const char *mode, unsigned int count)
{
	char path[128], text[64];

	fault_path(path, sizeof(path));
	if (access(path, W_OK))
		SKIP("there is no %s", path);
	snprintf(text, sizeof(text), "%#x %s %u", opcode, mode, count);
	ASSERT(sysfs_write(path, text));
}

/* Was it used up? */
static void fault_check(void)
{
	char path[128], text[64], mode[16];
	unsigned int opcode, count;

	fault_path(path, sizeof(path));
	ASSERT(sysfs_read(text, sizeof(text), "%s", path));
	ASSERT_EQ(3, sscanf(text, "%x %15s %u", &opcode, mode, &count));
	ASSERT_EQ(0, count);
}

static void begin(void)
{
	fault_set(0, "none", 0);
	set_delete_ms(400);
}

struct stock {
	struct area area;
	char *copy, *again;
	long long queue_count;
};

static void stock_open(struct stock *stock)
{
	stock->queue_count = sysfs_number("/sys/class/nvme/%s/queue_count", ctrl_name());
	area_open(&stock->area, AREA);
	ASSERT(!posix_memalign((void **)&stock->copy, PAGE, AREA));
	ASSERT(!posix_memalign((void **)&stock->again, PAGE, AREA));
	area_fill(&stock->area, 31, stock->copy);
}

static void stock_check(struct stock *stock)
{
	ASSERT(wait_live(ctrl_name(), 30000));
	ASSERT_EQ(stock->queue_count, sysfs_number("/sys/class/nvme/%s/queue_count", ctrl_name()));
	area_pread(&stock->area, 0, stock->again, AREA);
	ASSERT_SAME(stock->copy, stock->again, AREA);
}

/* All queues back, and one can be had and works. */
static void recovered(struct stock *stock, uint64_t generation, bool reset)
{
	int fd = homi_open();
	uint64_t end = now_ms() + 30000;
	struct homi_ctrl_info info;
	struct dma dma, list;
	struct ring ring;

	do {
		info = ctrl_info(fd);
		if (info.out_state == HOMI_CTRL_LIVE && !info.out_queues_lent &&
		    (!reset || info.out_generation > generation))
			break;
		nap_ms(5);
	} while (now_ms() < end);
	ASSERT_EQ(HOMI_CTRL_LIVE, info.out_state);
	ASSERT_EQ(0, info.out_queues_lent);
	ASSERT_EQ(reset, info.out_generation > generation);
	fault_check();
	stock_check(stock);
	ring_open(&ring, fd, 8);
	dma_new(&dma, fd, AREA);
	dma_new(&list, fd, PAGE);
	ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &stock->area, 0, AREA, &dma, &list,
			       max_step(fd)));
	ASSERT_SAME(stock->copy, dma.va, AREA);
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	ASSERT_EQ(0, dma_destroy(&dma));
	ASSERT_EQ(0, dma_destroy(&list));
	close(fd);
}

static void keep_busy(struct ring *ring, struct stock *stock, struct dma *dma, struct dma *list)
{
	struct sqe sqe = sqe_rw(NVME_READ, &stock->area, 0, max_step(ring->fd), dma, 0, list);

	while (!ring_full(ring))
		ring_post(ring, &sqe);
	ring_doorbell(ring);
}

TEST_TIMEOUT(delete_by_destroy, 120)
{
	struct stock stock;
	unsigned int i;
	int fd = homi_open();

	need_queues(fd, 1);
	begin();
	stock_open(&stock);
	for (i = 0; i < ARRAY_SIZE(deletions); i++) {
		uint64_t generation = ctrl_info(fd).out_generation;
		struct ring ring;
		struct dma dma;

		printf("# %s\n", deletions[i].name);
		ring_open(&ring, fd, 16);
		dma_new(&dma, fd, PAGE);
		fault_set(deletions[i].opcode, deletions[i].mode, 1);
		ASSERT_EQ(0, ring_destroy(&ring));
		ASSERT_EQ(-ENOENT, ring_destroy(&ring));
		ring_unmap(&ring);
		/* Memory is given back when the controller was disabled, not before. */
		while (destroy(fd, dma.id) == -EBUSY)
			nap_ms(5);
		ASSERT(ctrl_info(fd).out_generation > generation);
		recovered(&stock, generation, true);
	}
}

/* By close, and by kill -9, with commands in flight */
static void by_end(const struct fault *fault, struct stock *stock, bool by_kill)
{
	int fd = homi_open(), status;
	uint64_t generation = ctrl_info(fd).out_generation;
	pid_t pid;

	printf("# %s, %s\n", fault->name, by_kill ? "kill" : "close");
	fault_set(fault->opcode, fault->mode, 1);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct dma dma, list;
		struct ring ring;

		close(fd);
		fd = homi_open();
		ring_open(&ring, fd, 64);
		dma_new(&dma, fd, 1 << 20);
		dma_new(&list, fd, PAGE);
		keep_busy(&ring, stock, &dma, &list);
		if (by_kill)
			kill(getpid(), SIGKILL);
		_exit(0);
	}
	close(fd);
	status = child_status(pid);
	ASSERT_EQ(by_kill ? 128 + SIGKILL : 0, status);
	recovered(stock, generation, true);
}

TEST_TIMEOUT(delete_by_close, 240)
{
	unsigned int rounds = soak() ? 4 : 1, i, k;
	int fd = homi_open();
	struct stock stock;

	need_queues(fd, 1);
	close(fd);
	begin();
	stock_open(&stock);
	for (k = 0; k < rounds; k++)
		for (i = 0; i < 2 * ARRAY_SIZE(deletions); i++)
			by_end(&deletions[i / 2], &stock, i % 2);
}

/* A recall whose fence hangs: the writer goes on only after the reset. */
FS_TEST_TIMEOUT(delete_by_recall, 120)
{
	struct waiter writer;
	struct stock stock;
	struct table table;
	struct file file;
	unsigned int i;
	uint64_t took;
	int fd = homi_open();

	need_queues(fd, 1);
	begin();
	set_recall_ms(100);
	stock_open(&stock);
	for (i = 0; i < ARRAY_SIZE(deletions); i++) {
		uint64_t generation = ctrl_info(fd).out_generation;
		struct ring ring;

		printf("# %s\n", deletions[i].name);
		file_create(&file, dir, "fenced", 8 * PAGE, i);
		table_open(&table, fd, file.fd, 0, 0);
		ring_open(&ring, fd, 16);
		fault_set(deletions[i].opcode, deletions[i].mode, 1);
		waiter_start(&writer, act_open_write, file.path);
		ASSERT_EQ(0, waiter_end(&writer, 15000, &took));
		ASSERT_EQ(HOMI_EXTENT_REVOKED, table.t->state);
		ASSERT(queue_info(fd, ring.q.out_queue_id).out_state != HOMI_QUEUE_LIVE);
		ASSERT(ctrl_info(fd).out_generation > generation);
		ASSERT_EQ(0, ring_destroy(&ring));
		ring_unmap(&ring);
		ASSERT_EQ(0, table_close(&table));
		file_remove(&file);
		recovered(&stock, generation, true);
	}
}

/* Nothing is left of a queue that could not be made. */
TEST_TIMEOUT(create, 120)
{
	struct stock stock;
	unsigned int i;
	int fd = homi_open();

	need_queues(fd, 1);
	begin();
	stock_open(&stock);
	for (i = 0; i < ARRAY_SIZE(creations); i++) {
		bool fails = !strcmp(creations[i].mode, "fail");
		uint64_t generation = ctrl_info(fd).out_generation;
		struct ring ring;

		printf("# %s\n", creations[i].name);
		fault_set(creations[i].opcode, creations[i].mode, 1);
		ASSERT_EQ(-EIO, ring_create(&ring, fd, 16));
		recovered(&stock, generation, !fails);
	}
}

/* In place: the queue is lost as before, and the next try works. */
TEST_TIMEOUT(recreate, 120)
{
	struct stock stock;
	struct ring ring;
	unsigned int i;
	int fd = homi_open(), err;

	need_queues(fd, 1);
	begin();
	stock_open(&stock);
	ring_open(&ring, fd, 16);
	for (i = 0; i < ARRAY_SIZE(creations); i++) {
		uint64_t end = now_ms() + 30000;

		printf("# %s\n", creations[i].name);
		ASSERT_EQ(0, reset_controller(ctrl_name()));
		ASSERT(wait_live(ctrl_name(), 30000));
		fault_set(creations[i].opcode, creations[i].mode, 1);
		while ((err = ring_recreate(&ring)) == -EAGAIN && now_ms() < end)
			nap_ms(2);
		ASSERT_EQ(-EIO, err);
		ASSERT_EQ(HOMI_QUEUE_LOST, queue_info(fd, ring.q.out_queue_id).out_state);
		fault_check();
		while ((err = ring_recreate(&ring)) == -EAGAIN && now_ms() < end)
			nap_ms(2);
		ASSERT_EQ(0, err);
		stock_check(&stock);
	}
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	recovered(&stock, 0, true);
}

/* While a deletion hangs it can be seen who keeps what. */
TEST(parked_is_visible)
{
	char path[128], line[128];
	struct stock stock;
	bool seen = false;
	int fd = homi_open();
	struct ring ring;
	uint64_t generation;
	FILE *file;
	pid_t pid;

	need_queues(fd, 1);
	begin();
	set_delete_ms(2000);
	stock_open(&stock);
	generation = ctrl_info(fd).out_generation;
	fault_set(DELETE_SQ, "hang", 1);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		fd = homi_open();
		ASSERT_EQ(0, ring_create(&ring, fd, 8));
		_exit(0);
	}
	nap_ms(700);
	snprintf(path, sizeof(path), "/sys/kernel/debug/homi/%s/state", ctrl_name());
	file = fopen(path, "r");
	ASSERT(file);
	while (fgets(line, sizeof(line), file)) {
		int holder, users;

		seen |= sscanf(line, "file pid %d dma_users %d", &holder, &users) == 2 &&
			holder == pid && users == 1;
	}
	fclose(file);
	ASSERT(seen);
	ASSERT_EQ(1, ctrl_info(fd).out_queues_lent);
	ASSERT_EQ(0, child_status(pid));
	recovered(&stock, generation, true);
}
