/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_COMMON_H
#define HOMI_SELFTESTS_COMMON_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/homi.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		4096u
#define NOBODY		65534
#define TEST_SKIP	4

/* Ends the test (also from a thread or a child of it, whose status must then be looked at). */
#define FAIL(...)							\
	do {								\
		printf("# %s:%d: ", __FILE__, __LINE__);		\
		printf(__VA_ARGS__);					\
		printf("\n");						\
		fflush(stdout);						\
		_exit(1);						\
	} while (0)

#define ASSERT(cond)							\
	do {								\
		if (!(cond))						\
			FAIL("%s (errno %d)", #cond, errno);		\
	} while (0)

#define ASSERT_EQ(want, got)						\
	do {								\
		long long _want = (long long)(want);			\
		long long _got = (long long)(got);			\
		if (_want != _got)					\
			FAIL("%s is %lld (0x%llx), not %s = %lld", #got, _got,	\
			     (unsigned long long)_got, #want, _want);	\
	} while (0)

#define SKIP(...)							\
	do {								\
		snprintf(skip_reason, SKIP_REASON_SIZE, __VA_ARGS__);	\
		fflush(stdout);						\
		_exit(TEST_SKIP);					\
	} while (0)

#define SKIP_REASON_SIZE 256
extern char *skip_reason;	/* shared between the harness and the test's process */

/* The surroundings */
const char *dev_path(void);
const char *ctrl_name(void);
const char *bdev_path(void);
const char *raw_path(void);
bool soak(void);
/* For what goes beyond one drive: a machine on which the tests run is not always theirs alone. */
static inline void need_own_machine(const char *what)
{
	if (!getenv("HOMI_VM"))
		SKIP("%s: only where HOMI_VM says that the machine is there for tests", what);
}

/*
 * Stock begins a freeze in the process that resets a function, or in the work of a time-out, and
 * ends it in its reset work. Lockdep takes that for an error of who began it, and is of no use any
 * more then: not while it watches. (In guest-run's pass "unlocked" it does not.)
 */
bool lockdep_watches(void);
/*
 * How often: @full in a soak, else @some, and a quarter of that where everything is slow. What a soak
 * does in all is the sum over the machines (and passes, see settings) that run the test.
 */
unsigned int times(unsigned int full, unsigned int some);
/* How many times as long as usual a test may take before it hangs, for the same reasons */
unsigned int patience(void);
uint64_t now_ms(void);
void nap_ms(unsigned int ms);
bool have(const char *program);
int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool sysfs_read(char *buf, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
long long sysfs_number(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool sysfs_write(const char *path, const char *text);
const char *base_name(const char *path);
uint32_t bdev_nsid(void);
uint32_t bdev_block_size(void);
uint64_t part_start(dev_t dev);
/* What a test left behind, or NULL; undoes what is set here, and ends faults. */
const char *check_clean(void);
/*
 * How many commands QEMU's drive behind bdev_path() does in a second, 0 for all that it can, until
 * the end of the test. False: this is no QEMU.
 */
bool drive_throttle(unsigned int per_second);
void set_recall_ms(unsigned int ms);
void set_delete_ms(unsigned int ms);
/* Of a controller, by which admin commands are made to go wrong */
#define FAULT	"/sys/kernel/debug/homi/%s/fault"
/* How long a reset sleeps before stock begins with it */
#define QUIESCE_MS	"/sys/kernel/debug/homi/quiesce_ms"
/* Of a controller; as the module parameter is when the test ends */
#define QUOTA	"/sys/class/homi/%s/quota/%s"
/* Per user and controller, 0 for none; as it was when the test ends */
void set_quotas(unsigned int queues, unsigned int mib);
/* Whether a capability that this process has is in force */
void set_cap(unsigned int cap, bool on);
void become_nobody(void);
/* Takes bits from the function's command register, which stock sets again when it starts anew. */
void pci_command_clear(uint16_t bits);
int child_status(pid_t pid);
/* A child that calls @run and exits with 0, and does not live longer than its parent */
pid_t child_start(void (*run)(void));
/* A descriptor over a unix socket, with data */
void send_fd(int sock, int fd, const void *data, size_t size);
int receive_fd(int sock, void *data, size_t size);
void fill_random(void *buf, size_t size, uint64_t seed);
void assert_same(const void *want, const void *got, size_t size, const char *file, int line);
#define ASSERT_SAME(want, got, size)	assert_same(want, got, size, __FILE__, __LINE__)
bool is_filled(const void *buf, int byte, size_t size);
/* The signal that an access raises, 0 for none. */
int fault_of(volatile void *addr, bool write);

/* The commands: 0 or -errno */
int homi_call(int fd, unsigned long cmd, void *arg);
int homi_open(void);
int homi_open_at(const char *path);
struct homi_ctrl_info ctrl_info(int fd);
struct homi_queue_info queue_info(int fd, uint32_t id);
int mem_register(int fd, const void *addr, size_t length, uint32_t flags, uint32_t *id,
		 uint32_t *segments);
int mem_segments(int fd, uint32_t id, struct homi_segment *segments, uint32_t *count);
int extent_resolve(int fd, int file, uint64_t offset, uint64_t length,
		   struct homi_extent_resolve *answer);
int destroy(int fd, uint32_t id);
int event_bind(int fd, uint32_t id, int eventfd);
/* Count of an eventfd since it was read last, 0 if nothing came within @ms */
uint64_t event_wait(int eventfd, unsigned int ms);
/* What poll() says of @fd, waiting up to @ms for one of @events */
short poll_fd(int fd, short events, int ms);
void need_queues(int fd, unsigned int count);

/* Controller state as stock nvme tells it */
bool wait_live(const char *ctrl, unsigned int ms);
int reset_controller(const char *ctrl);

#endif
