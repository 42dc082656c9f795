// SPDX-License-Identifier: GPL-2.0-only
/*
 * homi stands in stock's way by redirecting four of its functions. Here come all the others who
 * want something of the same functions, before homi and after it: each is refused, or both work.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "harness.h"
#include "ring.h"
#include "tracer.h"

#define TRACING	"/sys/kernel/tracing/"

/* The functions; the first had another name before 6.3. */
static const char *functions[4] = {
	NULL, "nvme_change_ctrl_state", "nvme_set_queue_count", "nvme_start_ctrl",
};

static void begin(void)
{
	functions[0] = shell("grep -qw nvme_quiesce_io_queues /proc/kallsyms") ?
		       "nvme_stop_queues" : "nvme_quiesce_io_queues";
}

/* A reset is seen by homi before it happens, and afterwards all goes on. */
static void check_works(void)
{
	int fd = homi_open(), err;
	struct homi_ctrl_info before = ctrl_info(fd);
	uint64_t end = now_ms() + 20000;
	struct ring ring;
	char *buf;

	ASSERT(before.out_state == HOMI_CTRL_LIVE);
	if (before.out_queues_spare)
		ring_open(&ring, fd, 16);
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	ASSERT(wait_live(ctrl_name(), 20000));
	while (ctrl_info(fd).out_state != HOMI_CTRL_LIVE) {
		ASSERT(now_ms() < end);
		nap_ms(5);
	}
	ASSERT_EQ(before.out_generation + 1, ctrl_info(fd).out_generation);
	ASSERT_EQ(before.out_queues_kernel, ctrl_info(fd).out_queues_kernel);
	if (before.out_queues_spare) {
		struct sqe flush = { .opcode = NVME_FLUSH, .nsid = bdev_nsid() };

		ASSERT_EQ(HOMI_QUEUE_LOST, queue_info(fd, ring.q.out_queue_id).out_state);
		while ((err = ring_recreate(&ring)) == -EAGAIN)
			ASSERT(now_ms() < end);
		ASSERT_EQ(0, err);
		ASSERT_EQ(NVME_SC_SUCCESS, ring_do(&ring, &flush));
		ASSERT_EQ(0, ring_destroy(&ring));
		ring_unmap(&ring);
	}
	ASSERT(!posix_memalign((void **)&buf, PAGE, PAGE));
	err = open(bdev_path(), O_RDONLY | O_DIRECT | O_CLOEXEC);
	ASSERT_EQ(PAGE, pread(err, buf, PAGE, 0));
	close(err);
	free(buf);
	close(fd);
}

/* PERMANENT: what would let the wrappers stand idle is refused. */
TEST(ftrace_stays_on)
{
	char now[8];

	begin();
	ASSERT(!sysfs_write("/proc/sys/kernel/ftrace_enabled", "0"));
	ASSERT_EQ(EBUSY, errno);
	ASSERT(sysfs_read(now, sizeof(now), "/proc/sys/kernel/ftrace_enabled"));
	ASSERT_EQ('1', now[0]);
	check_works();
}

static unsigned int trace_hits(const char *function)
{
	char line[512];
	unsigned int hits = 0;
	FILE *f = fopen(TRACING "trace", "r");

	ASSERT(f);
	while (fgets(line, sizeof(line), f))
		hits += line[0] != '#' && strstr(line, function);
	fclose(f);
	return hits;
}

static void trace_on(const char *tracer)
{
	unsigned int i;

	if (access(TRACING "set_ftrace_filter", F_OK))
		SKIP("no function tracer");
	for (i = 0; i < ARRAY_SIZE(functions); i++)
		ASSERT(!shell("echo %s >>" TRACING "set_ftrace_filter", functions[i]));
	ASSERT(sysfs_write(TRACING "trace", "0"));
	ASSERT(sysfs_write(TRACING "current_tracer", tracer));
}

static void trace_off(void)
{
	ASSERT(sysfs_write(TRACING "current_tracer", "nop"));
	ASSERT(!shell("echo >" TRACING "set_ftrace_filter"));
}

TEST(function_tracer)
{
	unsigned int i;

	begin();
	trace_on("function");
	check_works();
	for (i = 0; i < ARRAY_SIZE(functions); i++)
		ASSERT(trace_hits(functions[i]) > 0);
	trace_off();
	check_works();
}

/* It replaces return addresses, by which a redirection knows its caller. */
TEST(graph_tracer)
{
	unsigned int i;

	begin();
	if (shell("grep -qw function_graph " TRACING "available_tracers"))
		SKIP("no function graph tracer");
	trace_on("function_graph");
	check_works();
	for (i = 0; i < ARRAY_SIZE(functions); i++)
		ASSERT(trace_hits(functions[i]) > 0);
	trace_off();
	check_works();
}

/* Entry and return probes, which perf and tracers of the bpftrace kind put there too. */
TEST(kprobes)
{
	unsigned int i;

	begin();
	if (access(TRACING "kprobe_events", F_OK))
		SKIP("no kprobe events");
	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		ASSERT(!shell("echo p:homi_test/p%u %s >>" TRACING "kprobe_events", i, functions[i]));
		ASSERT(!shell("echo r:homi_test/r%u %s >>" TRACING "kprobe_events", i, functions[i]));
	}
	ASSERT(sysfs_write(TRACING "trace", "0"));
	ASSERT(sysfs_write(TRACING "events/homi_test/enable", "1"));
	check_works();
	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		char name[16];

		snprintf(name, sizeof(name), " p%u: ", i);
		ASSERT(trace_hits(name) > 0);
		snprintf(name, sizeof(name), " r%u: ", i);
		ASSERT(trace_hits(name) > 0);
	}
	ASSERT(sysfs_write(TRACING "events/homi_test/enable", "0"));
	ASSERT(!shell("echo >" TRACING "kprobe_events"));
	check_works();
}

#define PROBES	"/tmp/homi.probes"

/* A tracer's own probes, put there and taken away. */
TEST_TIMEOUT(bpftrace, 180)
{
	unsigned int i;

	begin();
	if (!have("bpftrace"))
		SKIP("no bpftrace");
	ASSERT(!shell("rm -f " PROBES));
	for (i = 0; i < ARRAY_SIZE(functions); i++)
		ASSERT(!shell("echo 'kprobe:%s, kretprobe:%s { @[probe] = count(); }' >>" PROBES,
			      functions[i], functions[i]));
	if (!tracer_start(PROBES, 120000)) {
		tracer_show();
		FAIL("bpftrace does not start");
	}
	check_works();
	tracer_end();
	for (i = 0; i < ARRAY_SIZE(functions); i++)
		if (shell("grep -q '@.kprobe:%s.: [1-9]' " TRACER_OUT, functions[i]) ||
		    shell("grep -q '@.kretprobe:%s.: [1-9]' " TRACER_OUT, functions[i])) {
			tracer_show();
			FAIL("bpftrace saw no %s", functions[i]);
		}
	tracer_remove();
	ASSERT(!unlink(PROBES));
	check_works();
}

/* fentry or fexit: a direct call from the function's first instruction. */
static int attach_bpf(struct btf *btf, int btf_fd, const char *function,
		      enum bpf_attach_type type)
{
	/* r0 = 0; exit */
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = type,
		    .attach_btf_obj_fd = btf_fd);
	int prog, link;

	opts.attach_btf_id = btf__find_by_name_kind(btf, function, BTF_KIND_FUNC);
	ASSERT((int)opts.attach_btf_id > 0);
	prog = bpf_prog_load(BPF_PROG_TYPE_TRACING, "homi_test", "GPL", insns,
			     ARRAY_SIZE(insns), &opts);
	if (prog < 0)
		return prog;
	link = bpf_raw_tracepoint_open(NULL, prog);
	close(prog);
	return link;
}

/* Descriptor of a module's BTF; 0 is vmlinux's. */
static int module_btf(const char *module)
{
	struct bpf_btf_info info;
	uint32_t id = 0, size;
	char name[64];
	int fd;

	while (!bpf_btf_get_next_id(id, &id)) {
		fd = bpf_btf_get_fd_by_id(id);
		if (fd < 0)
			continue;
		memset(&info, 0, sizeof(info));
		info.name = (uintptr_t)name;
		info.name_len = sizeof(name);
		size = sizeof(info);
		if (!bpf_obj_get_info_by_fd(fd, &info, &size) && !strcmp(name, module))
			return fd;
		close(fd);
	}
	return 0;
}

static void bpf_trampolines(enum bpf_attach_type type)
{
	struct btf *vmlinux, *btf;
	int fd, links[ARRAY_SIZE(functions)];
	unsigned int i, attached = 0;

	begin();
	if (access("/sys/kernel/btf/vmlinux", F_OK))
		SKIP("no BTF");
	vmlinux = btf__load_vmlinux_btf();
	ASSERT(vmlinux);
	fd = module_btf("nvme_core");
	btf = fd ? btf__load_module_btf("nvme_core", vmlinux) : vmlinux;
	ASSERT(btf);
	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		links[i] = attach_bpf(btf, fd, functions[i], type);
		attached += links[i] >= 0;
		printf("# %s: %s\n", functions[i], links[i] < 0 ? strerror(-links[i]) : "attached");
	}
	check_works();
	for (i = 0; i < ARRAY_SIZE(functions); i++)
		if (links[i] >= 0)
			close(links[i]);
	check_works();
	printf("# %u of 4 attached\n", attached);
}

TEST(bpf_fentry)
{
	bpf_trampolines(BPF_TRACE_FENTRY);
}

TEST(bpf_fexit)
{
	bpf_trampolines(BPF_TRACE_FEXIT);
}

static int load(const char *path, const char *parameters)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	ASSERT(fd >= 0);
	err = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return err;
}

static int unload(const char *name)
{
	return syscall(SYS_delete_module, name, 0) ? -errno : 0;
}

static const char *need_env(const char *name)
{
	const char *value = getenv(name);

	if (!value || !*value)
		SKIP("%s names no module", name);
	return value;
}

static void wait_for_device(void)
{
	uint64_t end = now_ms() + 30000;

	while (access(dev_path(), F_OK)) {
		ASSERT(now_ms() < end);
		nap_ms(10);
	}
}

/* As a live patch of the same function would be */
TEST(rival_is_refused)
{
	const char *rival = need_env("HOMI_RIVAL");
	char parameters[64];
	unsigned int i;

	begin();
	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		snprintf(parameters, sizeof(parameters), "symbol=%s", functions[i]);
		ASSERT_EQ(-EBUSY, load(rival, parameters));
	}
	check_works();
}

/* It was there before homi: homi is refused, all or nothing, and comes when it is gone. */
TEST(rival_was_first)
{
	const char *rival = need_env("HOMI_RIVAL"), *ko = need_env("HOMI_KO");
	char parameters[64];
	unsigned int i;

	begin();
	ASSERT_EQ(0, unload("homi"));
	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		snprintf(parameters, sizeof(parameters), "symbol=%s", functions[i]);
		ASSERT_EQ(0, load(rival, parameters));
		ASSERT_EQ(-EBUSY, load(ko, ""));
		ASSERT_EQ(0, reset_controller(ctrl_name()));
		ASSERT(wait_live(ctrl_name(), 20000));
		ASSERT(sysfs_number("/sys/module/homi_rival/parameters/hits") > 0 || i == 0);
		ASSERT_EQ(0, unload("homi_rival"));
	}
	/* What homi had in place before it met the rival is taken away again. */
	ASSERT_EQ(0, load(rival, "symbol=nvme_change_ctrl_state"));
	ASSERT_EQ(0, unload("homi_rival"));
	ASSERT_EQ(0, load(ko, ""));
	wait_for_device();
	check_works();
}

struct reader {
	pthread_t thread;
	atomic_bool stop;
	atomic_ulong done;
};

/* Stock's I/O, which nothing may disturb. */
static void *read_on(void *arg)
{
	struct reader *reader = arg;
	int fd = open(bdev_path(), O_RDONLY | O_DIRECT | O_CLOEXEC);
	char *buf;

	ASSERT(fd >= 0 && !posix_memalign((void **)&buf, PAGE, 16 * PAGE));
	while (!atomic_load(&reader->stop)) {
		ASSERT_EQ(16 * PAGE, pread(fd, buf, 16 * PAGE, 0));
		atomic_fetch_add(&reader->done, 1);
	}
	close(fd);
	free(buf);
	return NULL;
}

static void reader_start(struct reader *reader)
{
	memset(reader, 0, sizeof(*reader));
	ASSERT(!pthread_create(&reader->thread, NULL, read_on, reader));
}

/*
 * Without homi stock's driver before 6.12 may lose a doorbell in a reset, see Documentation/compat.md:
 * then a read is late by both of its time-outs, and no more than that.
 */
static unsigned int stock_is_late_ms(void)
{
	unsigned int major, minor;
	struct utsname name;

	ASSERT(!uname(&name) && sscanf(name.release, "%u.%u", &major, &minor) == 2);
	return major > 6 || (major == 6 && minor >= 12) ? 0 : 65000;
}

static void reader_stop(struct reader *reader)
{
	unsigned long done = atomic_load(&reader->done);
	uint64_t end = now_ms() + 20000 + stock_is_late_ms();

	while (atomic_load(&reader->done) < done + 3)
		ASSERT(now_ms() < end);
	atomic_store(&reader->stop, true);
	ASSERT(!pthread_join(reader->thread, NULL));
}

/* rmmod waits for a reset that sleeps in a wrapper, and the reset goes on. */
TEST(unload_while_in_wrapper)
{
	const char *ko = need_env("HOMI_KO");
	struct reader reader;
	uint64_t begin_ms;
	pid_t child;
	char held[16];

	ASSERT(sysfs_read(held, sizeof(held), QUIESCE_MS) && sysfs_write(QUIESCE_MS, "3000"));
	reader_start(&reader);
	child = fork();
	if (!child)
		_exit(reset_controller(ctrl_name()) ? 1 : 0);
	begin_ms = now_ms();
	nap_ms(500);
	ASSERT_EQ(0, unload("homi"));
	ASSERT(now_ms() - begin_ms >= 2500);
	ASSERT_EQ(0, child_status(child));
	ASSERT(wait_live(ctrl_name(), 20000));
	reader_stop(&reader);
	ASSERT_EQ(0, load(ko, ""));
	wait_for_device();
	begin();
	check_works();
}

/* Loaded and unloaded while resets and stock's I/O go on without pause */
TEST_TIMEOUT(reload_under_resets, 200)
{
	const char *ko = need_env("HOMI_KO");
	unsigned int i, rounds = soak() ? 60 : 20;
	struct reader reader;
	pid_t child;

	reader_start(&reader);
	child = fork();
	if (!child) {
		for (i = 0;; i++) {
			if (reset_controller(ctrl_name()))
				_exit(1);
			usleep(i * 7919 % 50000);
		}
	}
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(0, unload("homi"));
		usleep(i * 104729 % 30000);
		ASSERT_EQ(0, load(ko, ""));
		usleep(i * 7919 % 30000);
	}
	ASSERT(!kill(child, SIGKILL));
	ASSERT_EQ(128 + SIGKILL, child_status(child));
	ASSERT(wait_live(ctrl_name(), 20000));
	reader_stop(&reader);
	wait_for_device();
	begin();
	check_works();
}
