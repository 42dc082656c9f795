// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each command is made to fail at the first point where the kernel can be made to (an
 * allocation, a copy to or from the caller), then at the second, and so on until it gets
 * through without meeting the fault. Whatever it answers, it is one of a few errors or success,
 * and nothing is left of it. Needs a kernel with fault injection.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "exporter.h"
#include "importer.h"
#include "uring.h"
#include "files.h"
#include "harness.h"
#include "ring.h"

#define POINTS_MAX	5000u
#define DEPTH		64u
#define MEM_SIZE	(2u << 20)

static struct {
	int nth;		/* /proc/thread-self/fail-nth */
	int fd;			/* works without faults */
	int other;		/* made or ended by the command under test */
	int event, dmabuf;
	char *va;
	const char *dir;
	struct file file;
	struct homi_queue_create q;
	struct homi_extent_resolve extent;
	struct homi_resolve_set set;
	int root;		/* directory that names of a set are looked up in */
	uint64_t generation;	/* of the extent's table */
	struct homi_segment *segments;
	uint32_t id, count;
	void *map;
	size_t length;
} e;

/* One command: all but run() is done without faults. */
struct op {
	void (*before)(void);
	int (*run)(void);		/* 0 or -errno */
	void (*after)(int err);
	bool never_fails;		/* but for a copy from the caller */
};

static void knob(const char *name, const char *value)
{
	char path[192];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s", name);
	sysfs_write(path, value);	/* not each kernel has each */
}

static void begin(void)
{
	static const char *const where[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[128];
	unsigned int i;

	e.nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (e.nth < 0)
		SKIP("this kernel has no fault injection");
	for (i = 0; i < ARRAY_SIZE(where); i++) {
		snprintf(path, sizeof(path), "%s/verbose", where[i]);
		knob(path, "0");
		snprintf(path, sizeof(path), "%s/ignore-gfp-wait", where[i]);
		knob(path, "N");
	}
	knob("fail_page_alloc/ignore-gfp-highmem", "N");
	knob("fail_page_alloc/min-order", "0");
	e.fd = homi_open();
	e.other = -1;
	e.event = eventfd(0, EFD_CLOEXEC);
	e.va = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(e.va != MAP_FAILED && e.event >= 0);
	madvise(e.va, MEM_SIZE, MADV_NOHUGEPAGE);
	memset(e.va, 1, MEM_SIZE);
	e.segments = calloc(MEM_SIZE / PAGE, sizeof(*e.segments));
	memset(e.segments, 1, MEM_SIZE / PAGE * sizeof(*e.segments));
}

/* The answer of run() with a fault at point @n; *met tells whether it came so far. */
static int run_with_fault(const struct op *op, unsigned int n, bool *met)
{
	char text[16];
	ssize_t got;
	int err;

	snprintf(text, sizeof(text), "%u", n);
	ASSERT(pwrite(e.nth, text, strlen(text), 0) > 0);
	err = op->run();
	/* Reading and writing it can meet the fault too, if it is still to come. */
	got = pread(e.nth, text, sizeof(text) - 1, 0);
	if (got >= 0)
		text[got] = '\0';
	*met = got >= 0 && !atoi(text);
	while (pwrite(e.nth, "0", 1, 0) != 1)
		ASSERT(errno == EFAULT);
	return err;
}

static void inject(const char *name, const struct op *op)
{
	unsigned int n, failed = 0;
	bool met = true;
	int err;

	for (n = 1; met; n++) {
		ASSERT(n < POINTS_MAX);
		if (op->before)
			op->before();
		err = run_with_fault(op, n, &met);
		if (err && !met)
			FAIL("%s: error %d without a fault", name, err);
		if (err && err != -EFAULT && op->never_fails)
			FAIL("%s: fault %u made it fail with %d", name, n, err);
		if (err && err != -ENOMEM && err != -EFAULT && err != -EAGAIN)
			FAIL("%s: fault %u: error %d", name, n, err);
		failed += err < 0;
		if (op->after)
			op->after(err);
	}
	/* The last turn met none. */
	printf("# fail-nth %s: %u points, %u of them an error\n", name, n - 2, failed);
	ASSERT(n > 2 || op->never_fails);
}

/* --- open and close --- */

static int run_open(void)
{
	e.other = open(dev_path(), O_RDWR | O_CLOEXEC);
	return e.other < 0 ? -errno : 0;
}

static void close_other(int err)
{
	if (!err)
		close(e.other);
	e.other = -1;
}

static void open_with_objects(void)
{
	uint32_t mem;

	e.other = homi_open();
	ASSERT_EQ(0, mem_register(e.other, e.va, 16 * PAGE, HOMI_MEM_WRITE, &mem, NULL));
	if (e.dir)
		ASSERT_EQ(0, extent_resolve(e.other, e.file.fd, 0, 0, &e.extent));
	if (ctrl_info(e.fd).out_queues_spare) {
		e.q = (struct homi_queue_create){ .size = sizeof(e.q), .depth = DEPTH };
		ASSERT_EQ(0, homi_call(e.other, HOMI_QUEUE_CREATE, &e.q));
	}
}

static int run_close(void)
{
	return close(e.other) ? -errno : 0;
}

static void check_closed(int err)
{
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, ctrl_info(e.fd).out_queues_lent);
	e.other = -1;
}

TEST_TIMEOUT(open, 120)
{
	begin();
	inject("open", &(struct op){ .run = run_open, .after = close_other });
}

TEST_TIMEOUT(close, 240)
{
	begin();
	e.dir = need_fs("ext4");
	file_create(&e.file, e.dir, "failnth", 1 << 20, 1);
	inject("close", &(struct op){ open_with_objects, run_close, check_closed,
				      .never_fails = true });
	file_remove(&e.file);
}

/* --- files for io_uring --- */

static int run_file_register(void)
{
	return file_register(e.fd, e.file.fd, &e.id, NULL);
}

static void destroy_file(int err)
{
	if (!err)
		ASSERT_EQ(0, destroy(e.fd, e.id));
}

TEST_TIMEOUT(file_register, 120)
{
	begin();
	e.dir = need_fs("ext4");
	file_create(&e.file, e.dir, "failnth-file", PAGE, 1);
	inject("FILE_REGISTER", &(struct op){ .run = run_file_register, .after = destroy_file });
	file_remove(&e.file);
}

/* --- information --- */

static int run_ctrl_info(void)
{
	struct homi_ctrl_info info = { .size = sizeof(info) };

	return homi_call(e.fd, HOMI_CTRL_INFO, &info);
}

static int run_ns_info(void)
{
	struct homi_ns_info info = { .size = sizeof(info), .nsid = 1, .flags = HOMI_NS_NEXT };

	return homi_call(e.fd, HOMI_NS_INFO, &info);
}

/* Past the last namespace the list is asked from the controller. */
static int run_ns_next(void)
{
	struct homi_ns_info info = { .size = sizeof(info), .nsid = 200, .flags = HOMI_NS_NEXT };
	int err = homi_call(e.fd, HOMI_NS_INFO, &info);

	return err == -ENOENT ? 0 : err;
}

TEST_TIMEOUT(info, 120)
{
	begin();
	inject("CTRL_INFO", &(struct op){ .run = run_ctrl_info });
	inject("NS_INFO", &(struct op){ .run = run_ns_info });
	inject("NS_INFO, next", &(struct op){ .run = run_ns_next });
}

/* --- memory --- */

static int run_register(void)
{
	return mem_register(e.fd, e.va, e.length, HOMI_MEM_WRITE, &e.id, &e.count);
}

static void register_it(void)
{
	ASSERT_EQ(0, run_register());
}

static int run_destroy(void)
{
	return destroy(e.fd, e.id);
}

static void destroy_it(int err)
{
	if (!err)
		ASSERT_EQ(0, run_destroy());
}

static void check_destroyed(int err)
{
	ASSERT_EQ(err ? 0 : -ENOENT, run_destroy());
	ASSERT_EQ(0, ctrl_info(e.fd).out_queues_lent);
}

static int run_segments(void)
{
	uint32_t count = e.count;

	return mem_segments(e.fd, e.id, e.segments, &count);
}

static void run_mem(size_t length)
{
	e.length = length;
	inject("MEM_REGISTER", &(struct op){ .run = run_register, .after = destroy_it });
	inject("DESTROY of a MEM", &(struct op){ register_it, run_destroy, check_destroyed,
						 .never_fails = true });
	register_it();
	inject("MEM_SEGMENTS", &(struct op){ .run = run_segments });
	destroy_it(0);
}

TEST_TIMEOUT(mem_of_a_page, 120)
{
	begin();
	run_mem(PAGE);
}

TEST_TIMEOUT(mem_of_many, 240)
{
	begin();
	run_mem(MEM_SIZE);
}

/* Of the system's memory: no device is needed for that. */
static int run_import(void)
{
	struct homi_mem_register r;
	int err = mem_import(e.fd, e.dmabuf, 0, 16 * PAGE, HOMI_MEM_WRITE, &r);

	e.id = r.out_mem_id;
	return err;
}

static void import_it(void)
{
	ASSERT_EQ(0, run_import());
}

static int run_mem_info(void)
{
	struct homi_mem_info info = { .size = sizeof(info), .mem_id = e.id };

	return homi_call(e.fd, HOMI_MEM_INFO, &info);
}

TEST_TIMEOUT(mem_of_a_dmabuf, 240)
{
	begin();
	e.dmabuf = udmabuf_new(16 * PAGE);
	if (e.dmabuf < 0)
		SKIP("/dev/udmabuf: %s", strerror(-e.dmabuf));
	inject("MEM_REGISTER of a dma-buf", &(struct op){ .run = run_import, .after = destroy_it });
	inject("DESTROY of such a MEM", &(struct op){ import_it, run_destroy, check_destroyed,
						      .never_fails = true });
	import_it();
	inject("MEM_INFO", &(struct op){ .run = run_mem_info });
	destroy_it(0);
}

/* --- queues --- */

static int run_create(void)
{
	e.q = (struct homi_queue_create){ .size = sizeof(e.q), .depth = DEPTH };
	return homi_call(e.fd, HOMI_QUEUE_CREATE, &e.q);
}

static void check_created(int err)
{
	if (!err) {
		ASSERT_EQ(1, ctrl_info(e.fd).out_queues_lent);
		ASSERT_EQ(0, destroy(e.fd, e.q.out_queue_id));
	}
	ASSERT_EQ(0, ctrl_info(e.fd).out_queues_lent);
}

static void create_it(void)
{
	ASSERT_EQ(0, run_create());
	e.id = e.q.out_queue_id;
}

static int run_map(void)
{
	e.map = mmap(NULL, e.length, PROT_READ | PROT_WRITE, MAP_SHARED, e.fd,
		     e.q.out_sq_mmap_offset);
	return e.map == MAP_FAILED ? -errno : 0;
}

static int run_map_doorbells(void)
{
	e.map = mmap(NULL, e.length, PROT_READ | PROT_WRITE, MAP_SHARED, e.fd,
		     e.q.out_db_mmap_offset);
	return e.map == MAP_FAILED ? -errno : 0;
}

static void unmap_it(int err)
{
	if (!err)
		ASSERT(!munmap(e.map, e.length));
}

static int run_queue_info(void)
{
	struct homi_queue_info info = { .size = sizeof(info), .queue_id = e.id };

	return homi_call(e.fd, HOMI_QUEUE_INFO, &info);
}

static int run_export(void)
{
	return doorbell_export(e.fd, e.id, HOMI_DOORBELL_REGISTERS, &e.dmabuf);
}

/* With the last descriptor its hold on the queue goes. */
static void check_exported(int err)
{
	if (!err)
		ASSERT(!close(e.dmabuf));
	ASSERT_EQ(1, ctrl_info(e.fd).out_queues_lent);
}

static int run_bind(void)
{
	return event_bind(e.fd, e.id, e.event);
}

TEST_TIMEOUT(queue, 240)
{
	begin();
	need_queues(e.fd, 1);
	inject("QUEUE_CREATE", &(struct op){ .run = run_create, .after = check_created });
	inject("DESTROY of a QUEUE", &(struct op){ create_it, run_destroy, check_destroyed,
						   .never_fails = true });
	create_it();
	inject("QUEUE_INFO", &(struct op){ .run = run_queue_info });
	inject("EVENT_BIND", &(struct op){ .run = run_bind });
	inject("DOORBELL_EXPORT", &(struct op){ .run = run_export, .after = check_exported });
	e.length = e.q.out_sq_mmap_length;
	inject("mmap of a ring", &(struct op){ .run = run_map, .after = unmap_it });
	e.length = PAGE;
	inject("mmap of doorbells", &(struct op){ .run = run_map_doorbells, .after = unmap_it });
	destroy_it(0);
}

static void lose_it(void)
{
	uint64_t end = now_ms() + 20000;

	ASSERT_EQ(0, reset_controller(ctrl_name()));
	ASSERT(wait_live(ctrl_name(), 20000));
	while (ctrl_info(e.fd).out_state != HOMI_CTRL_LIVE)
		ASSERT(now_ms() < end);
	ASSERT_EQ(HOMI_QUEUE_LOST, queue_info(e.fd, e.id).out_state);
}

/* Only a queue that came back has to be lost again. */
static void lose_again(void)
{
	if (queue_info(e.fd, e.id).out_state == HOMI_QUEUE_LIVE)
		lose_it();
}

static int run_recreate(void)
{
	struct homi_queue_recreate cmd = {
		.size = sizeof(cmd),
		.queue_id = e.id,
		.depth = DEPTH,
	};

	return homi_call(e.fd, HOMI_QUEUE_RECREATE, &cmd);
}

static void check_recreated(int err)
{
	uint32_t state = queue_info(e.fd, e.id).out_state;

	/* An answer that cannot be written does not take it back. */
	if (err == -EFAULT && state == HOMI_QUEUE_LIVE)
		return;
	ASSERT_EQ(err ? HOMI_QUEUE_LOST : HOMI_QUEUE_LIVE, state);
}

TEST_TIMEOUT(recreate, 240)
{
	begin();
	need_queues(e.fd, 1);
	create_it();
	inject("QUEUE_RECREATE", &(struct op){ lose_again, run_recreate, check_recreated });
	destroy_it(0);
}

/* --- files --- */

static int run_resolve(void)
{
	int err = extent_resolve(e.fd, e.file.fd, 0, 0, &e.extent);

	e.id = e.extent.out_extent_id;
	return err;
}

static void resolve_it(void)
{
	ASSERT_EQ(0, run_resolve());
}

static int run_map_table(void)
{
	e.map = mmap(NULL, e.length, PROT_READ, MAP_SHARED, e.fd, e.extent.out_mmap_offset);
	return e.map == MAP_FAILED ? -errno : 0;
}

/* Without an EXTENT nobody waits. */
static void check_resolved(int err)
{
	int file;

	destroy_it(err);
	file = open(e.file.path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	ASSERT(file >= 0);
	close(file);
}

/* Somebody tries and does not wait, which recalls it. */
static void recall_it(void)
{
	const struct homi_extent_table *table;
	uint64_t end = now_ms() + 20000;

	set_recall_ms(60000);
	resolve_it();
	ASSERT(open(e.file.path, O_RDWR | O_NONBLOCK | O_CLOEXEC) < 0 && errno == EWOULDBLOCK);
	while (!poll_fd(e.fd, POLLPRI, 10))
		ASSERT(now_ms() < end);
	table = mmap(NULL, e.extent.out_mmap_length, PROT_READ, MAP_SHARED, e.fd,
		     e.extent.out_mmap_offset);
	ASSERT(table != MAP_FAILED);
	e.generation = table->generation;
	ASSERT_EQ(0, munmap((void *)table, e.extent.out_mmap_length));
}

static int run_ack(void)
{
	struct homi_extent_ack cmd = {
		.size = sizeof(cmd), .extent_id = e.id, .generation = e.generation,
	};

	return homi_call(e.fd, HOMI_EXTENT_ACK, &cmd);
}

/* Not read, not acknowledged: the answer can be given again. */
static void check_acked(int err)
{
	if (err)
		ASSERT_EQ(0, run_ack());
	check_resolved(0);
}

/* Three times the same: one that can't be had does not end the call. */
static int run_set(void)
{
	static char names[3 * sizeof(e.file.path)];
	const char *name = strrchr(e.file.path, '/') + 1;
	size_t len = 0;
	unsigned int i;
	int err;

	for (i = 0; i < 3; i++)
		len += sprintf(names + len, "%s", name) + 1;
	e.set = (struct homi_resolve_set){
		.size = sizeof(e.set), .dirfd = e.root, .count = 3,
		.names = (uintptr_t)names, .names_length = len,
	};
	err = homi_call(e.fd, HOMI_RESOLVE_SET, &e.set);
	return err ? err : e.set.out_resolved == 3 ? 0 : -ENOMEM;
}

/* What was made is all there, and nothing else is. */
static void check_set(int err)
{
	(void)err;
	e.id = e.set.out_set_id;
	check_resolved(e.id ? 0 : -ENOENT);
	ASSERT_EQ(-ENOENT, destroy(e.fd, 1));
}

FS_TEST_TIMEOUT(set, 240)
{
	begin();
	file_create(&e.file, dir, "failnth", 1 << 20, 1);
	e.root = open(dir, O_RDONLY | O_CLOEXEC);
	ASSERT(e.root >= 0);
	inject("RESOLVE_SET", &(struct op){ .run = run_set, .after = check_set });
	close(e.root);
	file_remove(&e.file);
}

FS_TEST_TIMEOUT(extent, 240)
{
	begin();
	file_create(&e.file, dir, "failnth", 1 << 20, 1);
	inject("EXTENT_RESOLVE", &(struct op){ .run = run_resolve, .after = check_resolved });
	inject("DESTROY of an EXTENT", &(struct op){ resolve_it, run_destroy, check_destroyed,
						     .never_fails = true });
	inject("EXTENT_ACK", &(struct op){ recall_it, run_ack, check_acked, .never_fails = true });
	resolve_it();
	inject("EVENT_BIND", &(struct op){ .run = run_bind });
	e.length = e.extent.out_mmap_length;
	inject("mmap of a table", &(struct op){ .run = run_map_table, .after = unmap_it });
	destroy_it(0);
	file_remove(&e.file);
}
