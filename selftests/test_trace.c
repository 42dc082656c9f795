// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each tracepoint: switched on, what it tells of is made to happen, and it tells it with the
 * right values. And the two examples that use them.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "exporter.h"
#include "harness.h"
#include "held.h"
#include "removal.h"
#include "tracer.h"
#include "uring_rw.h"

#define TRACING		"/sys/kernel/tracing/"
#define EVENTS		TRACING "events/homi/"
#define EXAMPLES	"../examples/"
#define TRACES_MAX	4096u

/* What was recorded, from "homi_" on, without the ends of lines */
static char *traces[TRACES_MAX];
static unsigned int nr_traces;

static void trace_write(const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), TRACING "%s", file);
	if (!sysfs_write(path, text))
		FAIL("can't write \"%s\" to %s: %s", text, path, strerror(errno));
}

static void trace_off(void)
{
	trace_write("events/homi/enable", "0");
	trace_write("events/homi/filter", "0");
}

/* All events of the controller called @ctrl, from now on */
static void trace_on_for(const char *ctrl)
{
	char filter[64];

	ASSERT(!access(EVENTS "enable", W_OK));
	trace_off();
	ASSERT(!shell("echo >" TRACING "trace"));
	snprintf(filter, sizeof(filter), "ctrl == \"%s\"", ctrl);
	trace_write("events/homi/filter", filter);
	trace_write("events/homi/enable", "1");
}

static void trace_on(void)
{
	trace_on_for(ctrl_name());
}

static void trace_read(void)
{
	char line[512], *event;
	FILE *f = fopen(TRACING "trace", "r");

	ASSERT(f);
	while (nr_traces)
		free(traces[--nr_traces]);
	while (fgets(line, sizeof(line), f)) {
		event = strstr(line, ": homi_");
		if (line[0] == '#' || !event)
			continue;
		line[strcspn(line, "\n")] = '\0';
		ASSERT(nr_traces < TRACES_MAX);
		traces[nr_traces++] = strdup(event + 2);
	}
	fclose(f);
}

static void trace_fail(const char *text)
{
	unsigned int i;

	for (i = 0; i < nr_traces && i < 60; i++)
		printf("# %s\n", traces[i]);
	FAIL("\"%s\" is not among %u events", text, nr_traces);
}

/* How many there are that begin and end like that, "" for any end; the last one in @which */
static unsigned int trace_count(const char *begin, const char *end, unsigned int *which)
{
	unsigned int i, count = 0;

	for (i = 0; i < nr_traces; i++) {
		size_t length = strlen(traces[i]), tail = strlen(end);

		if (strncmp(traces[i], begin, strlen(begin)) || length < tail ||
		    strcmp(traces[i] + length - tail, end))
			continue;
		count++;
		if (which)
			*which = i;
	}
	return count;
}

static void event_text(char *text, size_t size, const char *event, const char *format, va_list args)
{
	int n = snprintf(text, size, "homi_%s: ctrl=%s ", event, ctrl_name());

	vsnprintf(text + n, size - n, format, args);
}

/* Just once, and as it is here; returns which one it is. */
static unsigned int __attribute__((format(printf, 2, 3)))
expect(const char *event, const char *format, ...)
{
	unsigned int i, which = 0, count = 0;
	char text[256];
	va_list args;

	va_start(args, format);
	event_text(text, sizeof(text), event, format, args);
	va_end(args);
	for (i = 0; i < nr_traces; i++)
		if (!strcmp(traces[i], text)) {
			which = i;
			count++;
		}
	if (count != 1)
		trace_fail(text);
	return which;
}

/* A number behind it, which is returned */
static unsigned long long __attribute__((format(printf, 2, 3)))
expect_number(const char *event, const char *format, ...)
{
	unsigned int which;
	char text[256], *end;
	unsigned long long value;
	va_list args;

	va_start(args, format);
	event_text(text, sizeof(text), event, format, args);
	va_end(args);
	if (trace_count(text, "", &which) != 1)
		trace_fail(text);
	value = strtoull(traces[which] + strlen(text), &end, 10);
	ASSERT(end != traces[which] + strlen(text) && !*end);
	return value;
}

/* --- each of them --- */

TEST(queues)
{
	int fd = homi_open();
	struct ring queue;
	unsigned int lent, live, revoked, returned;

	need_queues(fd, 1);
	trace_on();
	ring_open(&queue, fd, 8);
	ASSERT_EQ(0, ring_destroy(&queue));
	ring_unmap(&queue);
	trace_off();
	trace_read();
	lent = expect("qid", "qid=%u lent", queue.q.out_qid);
	live = expect("queue_state", "qid=%u state=0->%u", queue.q.out_qid, HOMI_QUEUE_LIVE);
	revoked = expect("queue_state", "qid=%u state=%u->%u", queue.q.out_qid, HOMI_QUEUE_LIVE,
			 HOMI_QUEUE_REVOKED);
	returned = expect("qid", "qid=%u returned", queue.q.out_qid);
	ASSERT(lent < live && live < revoked && revoked < returned);
	ASSERT_EQ(4, nr_traces);
}

TEST(memory)
{
	int fd = homi_open();
	struct dma dma;

	trace_on();
	dma_new(&dma, fd, 3 * PAGE);
	ASSERT_EQ(0, dma_destroy(&dma));
	/* What was not to be had is nobody's to release. */
	ASSERT_EQ(-EFAULT, mem_register(fd, NULL, PAGE, 0, NULL, NULL));
	trace_off();
	trace_read();
	ASSERT(expect("mem", "register id=%u type=user bytes=12288 placement=host", dma.id) <
	       expect("mem", "release id=%u type=user bytes=12288 placement=host", dma.id));
	ASSERT_EQ(2, nr_traces);
}

/* That of a device, which it takes back */
TEST(memory_of_a_device)
{
	int fd = homi_open(), dmabuf;
	struct homi_mem_register reg;

	need_exporter();
	dmabuf = exporter_export(EXPORTER_BAR, 0, 16 * PAGE);
	trace_on();
	ASSERT_EQ(0, mem_import(fd, dmabuf, PAGE, 4 * PAGE, HOMI_MEM_WRITE, &reg));
	ASSERT_EQ(0, exporter_take(dmabuf, 0, 30000).out_left);
	ASSERT_EQ(0, destroy(fd, reg.out_mem_id));
	trace_off();
	trace_read();
	ASSERT(expect("mem", "register id=%u type=dmabuf bytes=16384 placement=bar", reg.out_mem_id) <
	       expect("mem", "revoke id=%u type=dmabuf bytes=16384 placement=bar", reg.out_mem_id));
	expect("mem", "release id=%u type=dmabuf bytes=16384 placement=bar", reg.out_mem_id);
	close(dmabuf);
}

TEST(recall_with_an_answer)
{
	struct waiter waiter;
	struct held h;

	hold(&h, need_fs("ext4"), "wanted");
	trace_on();
	waiter_start(&waiter, act_open_write, h.file.path);
	answer(&h, &waiter);
	trace_off();
	trace_read();
	expect("recall", "extent=%u recalled us=0", h.table.r.out_extent_id);
	/* answer() lets the other one wait for a while. */
	ASSERT(expect_number("recall", "extent=%u acked us=", h.table.r.out_extent_id) > 0);
	ASSERT_EQ(2, trace_count("homi_recall: ", "", NULL));
	let_go(&h);
}

TEST(recall_without_one)
{
	struct waiter waiter;
	struct held h;

	hold(&h, need_fs("ext4"), "wanted");
	set_recall_ms(100);
	trace_on();
	waiter_start(&waiter, act_open_write, h.file.path);
	ASSERT_EQ(0, waiter_end(&waiter, MINUTE_MS / 2, NULL));
	trace_off();
	trace_read();
	expect("recall", "extent=%u recalled us=0", h.table.r.out_extent_id);
	ASSERT_EQ(2, trace_count("homi_recall: ", "", NULL));
	/* It is not before that time that it is taken. */
	ASSERT(expect_number("recall", "extent=%u revoked us=", h.table.r.out_extent_id) >= 90000);
	if (h.queue)
		expect("queue_state", "qid=%u state=%u->%u", h.ring.q.out_qid, HOMI_QUEUE_LIVE,
		       HOMI_QUEUE_REVOKED);
	ASSERT_EQ(0, table_close(&h.table));
	if (h.queue) {
		ASSERT_EQ(0, ring_destroy(&h.ring));
		ring_unmap(&h.ring);
	}
	file_remove(&h.file);
}

static void wait_homi_live(int fd, uint64_t generation)
{
	while (ctrl_info(fd).out_generation == generation || !(poll_fd(fd, POLLOUT, 100) & POLLOUT))
		;
}

TEST(reset)
{
	int fd = homi_open();
	unsigned long long next = ctrl_info(fd).out_generation + 1;
	unsigned int quiesce, reenabled, live;

	trace_on();
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	wait_homi_live(fd, next - 1);
	trace_off();
	trace_read();
	quiesce = expect("reset", "quiesce generation=%llu", next);
	reenabled = expect("reset", "reenabled generation=%llu", next);
	live = expect("reset", "live generation=%llu", next);
	ASSERT(quiesce < reenabled && reenabled < live);
}

/* Another one, which comes back; its name is in the event, not ours. */
TEST(removal)
{
	struct victim victim;
	char text[128];
	uint64_t generation;
	int fd;

	victim_need(&victim);
	fd = homi_open_at(victim.dev);
	generation = ctrl_info(fd).out_generation;
	close(fd);
	snprintf(text, sizeof(text), "homi_reset: ctrl=%s dead generation=%llu",
		 base_name(victim.dev), (unsigned long long)generation);
	trace_on_for(base_name(victim.dev));
	victim_unbind(&victim);
	wait_no_node(victim.dev);
	trace_off();
	trace_read();
	if (trace_count(text, text, NULL) != 1)
		trace_fail(text);
	victim_bind(&victim);
}

TEST(refusals)
{
	struct homi_queue_create queue = { .size = sizeof(queue), .depth = 8 };
	struct homi_extent_resolve resolve;
	int fd = homi_open(), writer;
	struct file f;

	file_create(&f, need_fs("ext4"), "refused", PAGE, 3);
	writer = open(f.path, O_WRONLY | O_CLOEXEC);
	trace_on();
	set_cap(CAP_SYS_RAWIO, false);
	ASSERT_EQ(-EPERM, homi_call(fd, HOMI_QUEUE_CREATE, &queue));
	set_cap(CAP_SYS_RAWIO, true);
	ASSERT_EQ(-EAGAIN, extent_resolve(fd, f.fd, 0, 0, &resolve));
	close(writer);
	/* A mistake is no refusal. */
	ASSERT_EQ(-EINVAL, extent_resolve(fd, f.fd, 1, 0, &resolve));
	trace_off();
	trace_read();
	expect("refuse", "command=0x%02x error=%d reason=0", HOMI_CMD_QUEUE_CREATE, -EPERM);
	expect("refuse", "command=0x%02x error=%d reason=%u", HOMI_CMD_EXTENT_RESOLVE, -EAGAIN,
	       HOMI_REASON_WRITER);
	ASSERT_EQ(2, trace_count("homi_refuse", "", NULL));
	file_remove(&f);
}

/* Once as it was asked for, and once with what came of it; what went on in between is left out. */
static void expect_rw(const char *what, uint64_t offset, uint32_t length, long res)
{
	char begin[96], end[96];
	unsigned int submit, complete;

	snprintf(begin, sizeof(begin), "homi_rw_submit: ctrl=%s io=", ctrl_name());
	snprintf(end, sizeof(end), " %s offset=%llu length=%u res=0", what,
		 (unsigned long long)offset, length);
	/* Twice, if it could not be done without waiting. */
	if (!trace_count(begin, end, &submit))
		trace_fail(end);
	snprintf(begin, sizeof(begin), "homi_rw_complete: ctrl=%s io=", ctrl_name());
	snprintf(end, sizeof(end), " %s offset=%llu length=%u res=%ld", what,
		 (unsigned long long)offset, length, res);
	if (trace_count(begin, end, &complete) != 1)
		trace_fail(end);
	ASSERT(submit < complete);
}

TEST(reads_and_writes)
{
	begin(need_fs("ext4"), 0);
	trace_on();
	ASSERT_EQ(2 * PAGE, rw_do(&ring, &t, false, 3 * PAGE, 0, 2 * PAGE));
	ASSERT_EQ(PAGE, rw_do(&ring, &t, true, 5 * PAGE, 0, PAGE));
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, SIZE - PAGE, 0, 3 * PAGE));
	trace_off();
	trace_read();
	expect_rw("fs read", 3 * PAGE, 2 * PAGE, 2 * PAGE);
	expect_rw("fs write", 5 * PAGE, PAGE, PAGE);
	expect_rw("fs read", SIZE - PAGE, 3 * PAGE, PAGE);
	/* By the blocks, which are homi's to give back when somebody wants them */
	begin_extents();
	trace_on();
	ASSERT_EQ(4 * PAGE, rw_do(&ring, &t, false, 7 * PAGE, 0, 4 * PAGE));
	ASSERT_EQ(0, act_open_write(file.path));
	trace_off();
	trace_read();
	expect_rw("extents read", 7 * PAGE, 4 * PAGE, 4 * PAGE);
	ASSERT_EQ(1, trace_count("homi_recall: ", " recalled us=0", NULL));
	ASSERT_EQ(2, trace_count("homi_recall: ", "", NULL));
	file_remove(&file);
}

/* What is filtered out is not there; nor is anything when it is off. */
TEST(filtered)
{
	int fd = homi_open();
	struct dma dma;

	trace_on_for("nvme77");
	dma_new(&dma, fd, PAGE);
	ASSERT_EQ(0, dma_destroy(&dma));
	trace_off();
	dma_new(&dma, fd, PAGE);
	ASSERT_EQ(0, dma_destroy(&dma));
	trace_read();
	ASSERT_EQ(0, nr_traces);
}

/* --- the examples --- */

#define READS	25u

/* The first kernel of those it has to run on; on others it may be older than they are. */
static bool must_run(void)
{
	struct utsname name;

	ASSERT(!uname(&name));
	return !strncmp(name.release, "6.12", 4);
}

static void bpftrace_start(void)
{
	char line[SKIP_REASON_SIZE / 2];

	if (!have("bpftrace"))
		SKIP("no bpftrace");
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		SKIP("no BTF");
	if (access(EXAMPLES "homi_latency.bt", R_OK))
		SKIP("no " EXAMPLES "homi_latency.bt");
	if (tracer_start("-B none " EXAMPLES "homi_latency.bt", 120000 * patience()))
		return;
	if (must_run()) {
		tracer_show();
		FAIL("bpftrace does not start");
	}
	shell("grep -v '^Attaching' " TRACER_OUT " | head -n 1 >" TRACER "/why");
	if (!sysfs_read(line, sizeof(line), TRACER "/why"))
		strcpy(line, "says nothing");
	tracer_remove();
	SKIP("this bpftrace does not run on this kernel: %s", line);
}

/* A histogram's numbers, added up */
static unsigned int bpftrace_sum(const char *key)
{
	char command[512];
	unsigned int sum;
	FILE *f;

	snprintf(command, sizeof(command),
		 "awk -v key='@%s[%s]:' '/^@/ { mine = $1 == key } mine && /^[[(]/ { sub(/^[^])]*[])]/, \"\"); n += $1 } END { print n + 0 }' " TRACER_OUT,
		 key, ctrl_name());
	f = popen(command, "r");
	ASSERT(f && fscanf(f, "%u", &sum) == 1);
	pclose(f);
	return sum;
}

TEST_TIMEOUT(example_of_bpftrace, 240)
{
	unsigned int i;

	begin(need_fs("ext4"), 0);
	bpftrace_start();
	for (i = 0; i < READS; i++)
		ASSERT_EQ(PAGE, rw_do(&ring, &t, false, i * PAGE, 0, PAGE));
	ASSERT_EQ(PAGE, rw_do(&ring, &t, true, 0, 0, PAGE));
	tracer_end();
	tracer_show();
	ASSERT(!shell("grep -q 'until Ctrl-C' " TRACER_OUT));
	ASSERT_EQ(READS, bpftrace_sum("fs_read"));
	ASSERT_EQ(1, bpftrace_sum("fs_write"));
	ASSERT_EQ(0, bpftrace_sum("extents_read"));
	ASSERT(shell("grep -q '^@begin' " TRACER_OUT));
	tracer_remove();
	file_remove(&file);
}

#define TC_OUT	"/tmp/homi.trace-cmd"

/* A line of its report: the names are those that the kernel prints. */
static bool reported(const char *event, const char *text)
{
	return !shell("grep 'homi_%s: ' " TC_OUT " | grep -q 'ctrl=%s %s'", event, ctrl_name(), text);
}

TEST_TIMEOUT(example_of_trace_cmd, 240)
{
	int fd = homi_open();
	unsigned long long next = ctrl_info(fd).out_generation + 1;
	char text[64];

	if (!have("trace-cmd"))
		SKIP("no trace-cmd");
	if (access(EXAMPLES "homi_trace.sh", X_OK))
		SKIP("no " EXAMPLES "homi_trace.sh");
	ASSERT_EQ(0, shell(EXAMPLES "homi_trace.sh %s sh -c 'echo 1 >/sys/class/nvme/%s/reset_controller; sleep 3; echo said' >" TC_OUT,
			   ctrl_name(), ctrl_name()));
	wait_homi_live(fd, next - 1);
	shell("head -n 30 " TC_OUT " | sed 's/^/# /'");
	ASSERT(!shell("grep -qx said " TC_OUT));
	snprintf(text, sizeof(text), "quiesce generation=%llu", next);
	ASSERT(reported("reset", text));
	snprintf(text, sizeof(text), "reenabled generation=%llu", next);
	ASSERT(reported("reset", text));
	/* Its status, and only the events that are asked for */
	ASSERT_EQ(3, shell("HOMI_EVENTS='homi:homi_mem homi:homi_refuse' " EXAMPLES "homi_trace.sh %s sh -c 'echo 1 >/sys/class/nvme/%s/reset_controller; exit 3' >" TC_OUT,
			   ctrl_name(), ctrl_name()));
	ASSERT(shell("grep -q 'homi_reset: ' " TC_OUT));
	wait_homi_live(fd, next);
	/* It leaves nothing on. */
	ASSERT(!shell("grep -q 0 " EVENTS "enable"));
	shell("rm -f " TC_OUT);
}
