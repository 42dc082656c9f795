// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "common.h"
#include "scratch.h"

#define PARAMETER	"/sys/module/homi/parameters/%s"

char *skip_reason;
/* A test has the drive slow; see drive_throttle(). */
static bool *throttled;
/* What tests change, and what it was before the first one */
static struct parameter {
	const char *name;
	char value[16];
} parameters[] = {
	{ .name = "recall_ms" },
	{ .name = "delete_ms" },
	{ .name = "queues_per_user" },
	{ .name = "pinned_mib_per_user" },
	{ .name = "extents_per_user" },
	{ .name = "queues_total" },
	{ .name = "pinned_mib_total" },
	{ .name = "ios_per_second_per_user" },
	{ .name = "kib_per_second_per_user" },
};

__attribute__((constructor)) static void common_init(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(parameters); i++)
		sysfs_read(parameters[i].value, sizeof(parameters[i].value), PARAMETER,
			   parameters[i].name);
	skip_reason = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			   0);
	if (skip_reason == MAP_FAILED)
		abort();
	throttled = (bool *)(skip_reason + PAGE);
}

static const char *env_or(const char *name, const char *other)
{
	const char *value = getenv(name);

	return value && *value ? value : other;
}

const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

const char *dev_path(void)
{
	static char path[64];

	if (!path[0])
		snprintf(path, sizeof(path), "/dev/homi/%s", scratch_ctrl());
	return env_or("HOMI_DEV", path);
}

const char *ctrl_name(void)
{
	return base_name(dev_path());
}

const char *bdev_path(void)
{
	return env_or("HOMI_BDEV", scratch_ns());
}

/* A partition of the block device that may be overwritten; NULL without one. */
const char *raw_path(void)
{
	return env_or("HOMI_RAW", NULL);
}

bool soak(void)
{
	return env_or("HOMI_SOAK", NULL) != NULL;
}

unsigned int times(unsigned int full, unsigned int some)
{
	unsigned int n = soak() ? full : some;

	return env_or("HOMI_SLOW", NULL) ? (n + 3) / 4 : n;
}

bool lockdep_watches(void)
{
	return !access("/proc/lockdep_stats", F_OK) &&
	       shell("grep -q 'debug_locks: *0' /proc/lockdep_stats");
}

unsigned int patience(void)
{
	return soak() ? 10 : env_or("HOMI_SLOW", NULL) ? 3 : 1;
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

void nap_ms(unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

int shell(const char *format, ...)
{
	char command[1024];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	fflush(NULL);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

bool have(const char *program)
{
	return shell("PATH=$PATH:/usr/sbin:/sbin command -v %s >/dev/null 2>&1", program) == 0;
}

static bool read_line(const char *path, char *buf, size_t size)
{
	FILE *file = fopen(path, "r");
	bool ok;

	if (!file)
		return false;
	ok = fgets(buf, size, file) != NULL;
	fclose(file);
	if (ok)
		buf[strcspn(buf, "\n")] = '\0';
	return ok;
}

bool sysfs_read(char *buf, size_t size, const char *format, ...)
{
	char path[512];
	va_list args;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	return read_line(path, buf, size);
}

/* -1 if there is no such attribute */
long long sysfs_number(const char *format, ...)
{
	char path[512], buf[64];
	va_list args;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	return read_line(path, buf, sizeof(buf)) ? strtoll(buf, NULL, 0) : -1;
}

bool sysfs_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

uint32_t bdev_nsid(void)
{
	long long nsid = sysfs_number("/sys/class/block/%s/nsid", base_name(bdev_path()));

	ASSERT(nsid > 0);
	return nsid;
}

uint32_t bdev_block_size(void)
{
	long long size = sysfs_number("/sys/class/block/%s/queue/logical_block_size",
				      base_name(bdev_path()));

	ASSERT(size >= 512);
	return size;
}

/* Bytes from the start of the namespace to that of this block device, 0 for a whole disk. */
uint64_t part_start(dev_t dev)
{
	long long start = sysfs_number("/sys/dev/block/%u:%u/start", major(dev), minor(dev));

	return start > 0 ? start * 512ull : 0;
}

static void restore_parameters(void)
{
	char path[128], now[16];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(parameters); i++) {
		snprintf(path, sizeof(path), PARAMETER, parameters[i].name);
		if (parameters[i].value[0] && sysfs_read(now, sizeof(now), "%s", path) &&
		    strcmp(now, parameters[i].value))
			sysfs_write(path, parameters[i].value);
		snprintf(path, sizeof(path), QUOTA, ctrl_name(), parameters[i].name);
		sysfs_write(path, "default");
	}
	snprintf(path, sizeof(path), FAULT, ctrl_name());
	sysfs_write(path, "0 none 0");
	sysfs_write(QUIESCE_MS, "0");
}

static void set_parameter(const char *name, unsigned int value)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), PARAMETER, name);
	snprintf(text, sizeof(text), "%u", value);
	ASSERT(sysfs_write(path, text));
}

/*
 * Between two tests no queue is lent: what a test made must be gone with its process. Deletion
 * may go on after the last close, for as long as a controller takes to answer or to reset.
 */
const char *check_clean(void)
{
	static char text[96];
	struct homi_ctrl_info info = { .size = sizeof(info) };
	uint64_t end = now_ms() + 30000;
	int fd, err = -ENOENT;

	restore_parameters();
	if (*throttled)
		drive_throttle(0);
	do {
		fd = open(dev_path(), O_RDWR | O_CLOEXEC);
		if (fd >= 0) {
			err = homi_call(fd, HOMI_CTRL_INFO, &info);
			close(fd);
			if (!err && !info.out_queues_lent && info.out_state == HOMI_CTRL_LIVE)
				return NULL;
		}
		nap_ms(20);
	} while (now_ms() < end);
	if (fd < 0)
		return "no device node";
	snprintf(text, sizeof(text), "%u queues lent, controller state %u, error %d",
		 info.out_queues_lent, info.out_state, err);
	return text;
}

bool drive_throttle(unsigned int per_second)
{
	const char *drive = getenv("HOMI_DRIVE"), *monitor = getenv("HOMI_MONITOR");
	char line[128];

	if (!drive || !monitor)
		return false;
	snprintf(line, sizeof(line), "block_set_io_throttle %s 0 0 0 %u 0 0\n", drive, per_second);
	*throttled = per_second;
	return sysfs_write(monitor, line);
}

void set_recall_ms(unsigned int ms)
{
	set_parameter("recall_ms", ms);
}

void set_delete_ms(unsigned int ms)
{
	set_parameter("delete_ms", ms);
}

void set_quotas(unsigned int queues, unsigned int mib)
{
	set_parameter("queues_per_user", queues);
	set_parameter("pinned_mib_per_user", mib);
}

void set_cap(unsigned int cap, bool on)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	ASSERT(!syscall(SYS_capget, &head, data));
	if (on)
		data[cap / 32].effective |= 1u << cap % 32;
	else
		data[cap / 32].effective &= ~(1u << cap % 32);
	ASSERT(!syscall(SYS_capset, &head, data));
}

void become_nobody(void)
{
	ASSERT(!setgroups(0, NULL));
	ASSERT(!setresgid(NOBODY, NOBODY, NOBODY));
	ASSERT(!setresuid(NOBODY, NOBODY, NOBODY));
}

pid_t child_start(void (*run)(void))
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	ASSERT(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
		fflush(NULL);
		_exit(0);
	}
	return pid;
}

void pci_command_clear(uint16_t bits)
{
	char path[128];
	uint16_t command;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/nvme/%s/device/config", ctrl_name());
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT(fd >= 0);
	ASSERT_EQ(sizeof(command), pread(fd, &command, sizeof(command), PCI_COMMAND));
	command &= ~bits;
	ASSERT_EQ(sizeof(command), pwrite(fd, &command, sizeof(command), PCI_COMMAND));
	close(fd);
}

/* Exit status of a child, or 128 + signal */
int child_status(pid_t pid)
{
	int status;

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void fill_random(void *buf, size_t size, uint64_t seed)
{
	uint64_t *word = buf, x = seed * 0x9e3779b97f4a7c15ull + 1;
	size_t i;

	for (i = 0; i < size / sizeof(*word); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		word[i] = x;
	}
}

void assert_same(const void *want, const void *got, size_t size, const char *file, int line)
{
	const uint8_t *a = want, *b = got;
	size_t first = 0, last = size;

	if (!memcmp(a, b, size))
		return;
	while (a[first] == b[first])
		first++;
	while (a[last - 1] == b[last - 1])
		last--;
	printf("# %s:%d: data differ from byte %zu (%02x, not %02x) to byte %zu of %zu\n", file, line,
	       first, b[first], a[first], last - 1, size);
	fflush(stdout);
	_exit(1);
}

bool is_filled(const void *buf, int byte, size_t size)
{
	const unsigned char *p = buf;

	return !size || (p[0] == (unsigned char)byte && !memcmp(p, p + 1, size - 1));
}

void send_fd(int sock, int fd, const void *data, size_t size)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { (void *)data, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(int));
	ASSERT_EQ(size, sendmsg(sock, &msg, 0));
}

int receive_fd(int sock, void *data, size_t size)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { data, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int fd;

	ASSERT_EQ(size, recvmsg(sock, &msg, 0));
	ASSERT(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static sigjmp_buf fault_return;

static void fault_handler(int sig)
{
	siglongjmp(fault_return, sig);
}

int fault_of(volatile void *addr, bool write)
{
	struct sigaction act = { .sa_handler = fault_handler }, old_bus, old_segv;
	volatile uint32_t *word = addr;
	int sig;

	sigaction(SIGBUS, &act, &old_bus);
	sigaction(SIGSEGV, &act, &old_segv);
	sig = sigsetjmp(fault_return, 1);
	if (!sig) {
		if (write)
			*word = 0;
		else
			(void)*word;
	}
	sigaction(SIGBUS, &old_bus, NULL);
	sigaction(SIGSEGV, &old_segv, NULL);
	return sig;
}

int homi_call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

int homi_open_at(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		FAIL("open %s: %s", path, strerror(errno));
	return fd;
}

int homi_open(void)
{
	return homi_open_at(dev_path());
}

struct homi_ctrl_info ctrl_info(int fd)
{
	struct homi_ctrl_info info = { .size = sizeof(info) };

	ASSERT_EQ(0, homi_call(fd, HOMI_CTRL_INFO, &info));
	return info;
}

struct homi_queue_info queue_info(int fd, uint32_t id)
{
	struct homi_queue_info info = { .size = sizeof(info), .queue_id = id };

	ASSERT_EQ(0, homi_call(fd, HOMI_QUEUE_INFO, &info));
	return info;
}

int mem_register(int fd, const void *addr, size_t length, uint32_t flags, uint32_t *id,
		 uint32_t *segments)
{
	struct homi_mem_register reg = {
		.size = sizeof(reg), .flags = flags, .type = HOMI_MEM_USER,
		.addr = (uintptr_t)addr, .length = length,
	};
	int err = homi_call(fd, HOMI_MEM_REGISTER, &reg);

	if (!err && id)
		*id = reg.out_mem_id;
	if (!err && segments)
		*segments = reg.out_segments;
	return err;
}

int mem_segments(int fd, uint32_t id, struct homi_segment *segments, uint32_t *count)
{
	struct homi_mem_segments cmd = {
		.size = sizeof(cmd),
		.mem_id = id,
		.count = *count,
		.segments = (uintptr_t)segments,
	};
	int err = homi_call(fd, HOMI_MEM_SEGMENTS, &cmd);

	*count = cmd.count;
	return err;
}

int extent_resolve(int fd, int file, uint64_t offset, uint64_t length,
		   struct homi_extent_resolve *answer)
{
	memset(answer, 0, sizeof(*answer));
	answer->size = sizeof(*answer);
	answer->fd = file;
	answer->offset = offset;
	answer->length = length;
	return homi_call(fd, HOMI_EXTENT_RESOLVE, answer);
}

int destroy(int fd, uint32_t id)
{
	struct homi_destroy cmd = { .size = sizeof(cmd), .id = id };

	return homi_call(fd, HOMI_DESTROY, &cmd);
}

int event_bind(int fd, uint32_t id, int eventfd)
{
	struct homi_event_bind cmd = { .size = sizeof(cmd), .id = id, .eventfd = eventfd };

	return homi_call(fd, HOMI_EVENT_BIND, &cmd);
}

short poll_fd(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	ASSERT(poll(&p, 1, ms) >= 0);
	return p.revents;
}

uint64_t event_wait(int eventfd, unsigned int ms)
{
	uint64_t count;

	if (!poll_fd(eventfd, POLLIN, ms))
		return 0;
	ASSERT_EQ(sizeof(count), read(eventfd, &count, sizeof(count)));
	return count;
}

/* Skips the test where the controller has not got so many queues to lend. */
void need_queues(int fd, unsigned int count)
{
	struct homi_ctrl_info info = ctrl_info(fd);

	if (info.out_queues_spare >= count)
		return;
	/* Without a spare queue there must be a reason, and create must say so. */
	if (!info.out_queues_spare && !info.out_queues_lent)
		ASSERT(info.out_reason != HOMI_REASON_NONE);
	SKIP("needs %u spare queues, %s has %u (reason %u)", count, ctrl_name(),
	     info.out_queues_spare, info.out_reason);
}

bool wait_live(const char *ctrl, unsigned int ms)
{
	uint64_t end = now_ms() + ms;
	char state[32];

	do {
		if (sysfs_read(state, sizeof(state), "/sys/class/nvme/%s/state", ctrl) &&
		    !strcmp(state, "live"))
			return true;
		nap_ms(5);
	} while (now_ms() < end);
	return false;
}

/* Returns when stock nvme has ended the reset: 0 or -errno. */
int reset_controller(const char *ctrl)
{
	char path[256];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/sys/class/nvme/%s/reset_controller", ctrl);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	if (write(fd, "1", 1) != 1)
		err = -errno;
	close(fd);
	return err;
}
