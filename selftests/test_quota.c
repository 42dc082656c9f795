// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quotas: what all open files of a user hold is counted exactly, and no more than the limits is had
 * without CAP_SYS_RESOURCE.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "account.h"
#include "files.h"
#include "harness.h"
#include "removal.h"
#include "uring.h"

#define MIB	(1u << 20)
#define OTHER	1000		/* a user */

static char *memory;

static int pin(int fd, size_t length, uint32_t *id)
{
	return mem_register(fd, memory, length, HOMI_MEM_WRITE, id, NULL);
}

static int begin(void)
{
	memory = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(memory != MAP_FAILED);
	memset(memory, 1, 4 * MIB);
	expect_account(0, 0, 0);
	set_cap(CAP_SYS_RESOURCE, false);
	return homi_open();
}

TEST(pinned)
{
	uint32_t id, other, more;
	int fd = begin();

	set_quotas(0, 1);
	ASSERT_EQ(0, pin(fd, 3 * MIB / 4, &id));
	expect_account(0, 0, 192);
	ASSERT_EQ(-EDQUOT, pin(fd, MIB / 4 + PAGE, &other));
	ASSERT_EQ(-EDQUOT, pin(fd, 4 * MIB, &other));
	expect_account(0, 0, 192);
	ASSERT_EQ(0, pin(fd, MIB / 4, &other));
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &more));
	expect_account(0, 0, 256);
	ASSERT_EQ(0, destroy(fd, id));
	expect_account(0, 0, 64);
	ASSERT_EQ(0, pin(fd, 3 * MIB / 4, &id));
	ASSERT_EQ(0, destroy(fd, id));
	ASSERT_EQ(0, destroy(fd, other));
	expect_account(0, 0, 0);
}

/* Lowered below what is held: that stays, more is not had. */
TEST(lowered)
{
	uint32_t id, other;
	int fd = begin();

	set_quotas(0, 3);
	ASSERT_EQ(0, pin(fd, 3 * MIB, &id));
	set_quotas(0, 1);
	expect_account(0, 0, 768);
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &other));
	set_quotas(0, 0);
	ASSERT_EQ(0, pin(fd, PAGE, &other));
}

TEST(privileged)
{
	uint32_t id, other;
	int fd = begin();

	set_quotas(0, 1);
	set_cap(CAP_SYS_RESOURCE, true);
	ASSERT_EQ(0, pin(fd, 2 * MIB, &id));
	expect_account(0, 0, 512);
	set_cap(CAP_SYS_RESOURCE, false);
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &other));
	ASSERT_EQ(0, destroy(fd, id));
	ASSERT_EQ(0, pin(fd, PAGE, &other));
}

TEST(files_of_a_user)
{
	int fd = begin(), other = homi_open();
	uint32_t id;

	set_quotas(0, 1);
	ASSERT_EQ(0, pin(fd, MIB / 2, &id));
	ASSERT_EQ(0, pin(other, MIB / 2, &id));
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &id));
	ASSERT_EQ(2, account_of(0).files);
	close(other);
	ASSERT_EQ(1, account_of(0).files);
	expect_account(0, 0, 128);
	ASSERT_EQ(0, pin(fd, MIB / 2, &id));
}

/* Another user has another account, but not on a descriptor that was handed over. */
static void other_user(void)
{
	uint32_t id;
	int fd;

	ASSERT(!setresuid(OTHER, 0, 0));
	fd = homi_open();
	ASSERT_EQ(0, pin(fd, MIB, &id));
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &id));
	expect_account(OTHER, 0, 256);
	expect_account(0, 0, 256);
}

static int handed;

static void handed_over(void)
{
	uint32_t id;

	ASSERT(!setresuid(OTHER, 0, 0));
	ASSERT_EQ(-EDQUOT, pin(handed, PAGE, &id));
	ASSERT_EQ(0, account_of(OTHER).files);
}

TEST(users)
{
	uint32_t id;

	handed = begin();
	set_quotas(0, 1);
	ASSERT_EQ(0, pin(handed, MIB, &id));
	ASSERT_EQ(0, child_status(child_start(other_user)));
	ASSERT_EQ(0, account_of(OTHER).files);
	ASSERT_EQ(0, child_status(child_start(handed_over)));
	expect_account(0, 0, 256);
}

/* What fails is not counted. */
TEST(failures)
{
	int fd = begin();
	uint32_t id;

	munmap(memory + 3 * MIB, MIB);
	ASSERT_EQ(-EFAULT, pin(fd, 4 * MIB, &id));
	ASSERT(!mprotect(memory, PAGE, PROT_READ));
	ASSERT_EQ(-EFAULT, pin(fd, 2 * PAGE, &id));
	ASSERT_EQ(-EINVAL, mem_register(fd, memory + 1, PAGE, 0, &id, NULL));
	expect_account(0, 0, 0);
}

static void held_and_killed(void)
{
	uint32_t id;
	int fd;

	ASSERT(!setresuid(OTHER, 0, 0));
	fd = homi_open();
	ASSERT_EQ(0, pin(fd, MIB, &id));
	kill(getpid(), SIGKILL);
}

TEST(killed)
{
	int fd = begin();

	ASSERT_EQ(128 + SIGKILL, child_status(child_start(held_and_killed)));
	wait_account_gone(OTHER);
	close(fd);
}

TEST(queues)
{
	struct ring ring, other;
	int fd = begin();

	need_queues(fd, 2);
	set_quotas(1, 0);
	ring_open(&ring, fd, 4);
	expect_account(0, 1, 0);
	ASSERT_EQ(-EDQUOT, ring_create(&other, fd, 4));
	/* Lost is not given back, and neither is what is still mapped. */
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	ASSERT(wait_live(ctrl_name(), 20000));
	ASSERT_EQ(POLLOUT, poll_fd(fd, POLLOUT, 20000));
	ASSERT_EQ(-EDQUOT, ring_create(&other, fd, 4));
	ASSERT_EQ(0, ring_recreate(&ring));
	expect_account(0, 1, 0);
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(-EDQUOT, ring_create(&other, fd, 4));
	ring_unmap(&ring);
	expect_account(0, 0, 0);
	ASSERT_EQ(0, ring_create(&other, fd, 4));
	ASSERT_EQ(0, ring_destroy(&other));
	/* No queue is made of a wrong depth, nor counted. */
	ASSERT_EQ(-EINVAL, ring_create(&other, fd, 1));
	expect_account(0, 0, 0);
}

/* --- ends --- */

static int sock[2];

/* Another process has the only descriptor, and closes it. */
static void closer(void)
{
	char byte;
	int fd;

	close(sock[0]);
	fd = receive_fd(sock[1], &byte, 1);
	expect_account(0, byte, 256);
	ASSERT_EQ(0, read(sock[1], &byte, 1));
	close(fd);
	ASSERT_EQ(0, account_of(0).files);
}

static void hand_over(unsigned int queues)
{
	char byte = queues;
	struct ring ring;
	uint32_t id;
	int fd;
	pid_t pid;

	ASSERT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	pid = child_start(closer);
	fd = begin();
	ASSERT_EQ(0, pin(fd, MIB, &id));
	if (queues) {
		ring_open(&ring, fd, 4);
		ring_unmap(&ring);
	}
	send_fd(sock[0], fd, &byte, 1);
	close(fd);
	close(sock[0]);
	ASSERT_EQ(0, child_status(pid));
	expect_account(0, 0, 0);
}

TEST(closed_by_somebody_else)
{
	hand_over(0);
}

TEST(closed_by_somebody_else_with_a_queue)
{
	int fd = homi_open();

	need_queues(fd, 1);
	close(fd);
	hand_over(1);
}

/* With a queue that the controller works for */
static void busy_and_killed(void)
{
	struct sqe flush = { .opcode = NVME_FLUSH, .nsid = bdev_nsid() };
	struct ring ring;
	uint32_t id;
	int fd = homi_open();

	ASSERT_EQ(0, pin(fd, MIB, &id));
	ring_open(&ring, fd, 8);
	ASSERT_EQ(0, ring_do(&ring, &flush));
	/* Busy is not free. */
	ASSERT_EQ(-EBUSY, destroy(fd, id));
	expect_account(0, 1, 256);
	kill(getpid(), SIGKILL);
}

TEST(killed_with_a_queue)
{
	unsigned int i;
	int fd = begin();

	need_queues(fd, 1);
	close(fd);
	for (i = 0; i < times(20, 4); i++) {
		ASSERT_EQ(128 + SIGKILL, child_status(child_start(busy_and_killed)));
		wait_account_gone(0);
		expect_account(0, 0, 0);
	}
}

/* A FILE too, and one of which nobody ever had the id */
FS_TEST(registered)
{
	struct homi_file_register *bad;
	struct file file;
	uint32_t id;
	int fd = begin();

	file_create(&file, dir, "quota", PAGE, 1);
	ASSERT_EQ(0, file_register(fd, file.fd, &id, NULL));
	ASSERT_EQ(1, account_of(0).registered);
	ASSERT_EQ(-EBADF, file_register(fd, -1, &id, NULL));
	bad = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(bad != MAP_FAILED);
	*bad = (struct homi_file_register){ .size = sizeof(*bad), .fd = file.fd };
	ASSERT(!mprotect(bad, PAGE, PROT_READ));
	ASSERT_EQ(-EFAULT, homi_call(fd, HOMI_FILE_REGISTER, bad));
	ASSERT_EQ(1, account_of(0).registered);
	ASSERT_EQ(0, file_register(fd, file.fd, &id, NULL));
	ASSERT_EQ(2, account_of(0).registered);
	ASSERT_EQ(0, destroy(fd, id));
	ASSERT_EQ(1, account_of(0).registered);
	close(fd);
	expect_account(0, 0, 0);
	file_remove(&file);
}

/* The same of memory: pinned and mapped by then */
TEST(answer_is_lost)
{
	struct homi_mem_register *bad;
	int fd = begin();

	bad = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(bad != MAP_FAILED);
	*bad = (struct homi_mem_register){
		.size = sizeof(*bad), .type = HOMI_MEM_USER, .flags = HOMI_MEM_WRITE,
		.addr = (uintptr_t)memory, .length = MIB,
	};
	ASSERT(!mprotect(bad, PAGE, PROT_READ));
	ASSERT_EQ(-EFAULT, homi_call(fd, HOMI_MEM_REGISTER, bad));
	expect_account(0, 0, 0);
}

/* What RLIMIT_MEMLOCK limits: of this process, KiB */
static long long locked_kib(void)
{
	char line[128];
	long long kib = -1;
	FILE *status = fopen("/proc/self/status", "r");

	ASSERT(status);
	while (fgets(line, sizeof(line), status))
		sscanf(line, "VmLck: %lld", &kib);
	fclose(status);
	ASSERT(kib >= 0);
	return kib;
}

/* The last reference may go in a worker. */
static void wait_locked_kib(long long kib)
{
	uint64_t end = now_ms() + 30000;

	while (locked_kib() != kib) {
		ASSERT(now_ms() < end);
		nap_ms(2);
	}
}

/* The controller goes: what was held of it stays pinned until it is closed, and no longer. */
TEST_TIMEOUT(unbound, 120)
{
	struct victim victim;
	long long before;
	struct ring ring;
	uint32_t id;
	bool queue;
	int fd;

	victim_need(&victim);
	close(begin());
	before = locked_kib();
	default_set("pinned_mib_per_user", 2);
	fd = homi_open_at(victim.dev);
	ASSERT_EQ(0, pin(fd, 2 * MIB, &id));
	queue = ctrl_info(fd).out_queues_spare;
	if (queue)
		ring_open(&ring, fd, 4);
	ASSERT_EQ(before + 2048, locked_kib());
	victim_unbind(&victim);
	if (queue)
		ring_unmap(&ring);
	close(fd);
	wait_locked_kib(before);
	victim_bind(&victim);
	ASSERT_EQ(0, account_at(base_name(victim.dev), 0).files);
	fd = homi_open_at(victim.dev);
	ASSERT_EQ(0, pin(fd, 2 * MIB, &id));
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &id));
	close(fd);
	wait_locked_kib(before);
	victim_restore(&victim);
}

/* --- of all users --- */

static uint32_t handed_mem;

static void takes_the_rest(void)
{
	uint32_t id, more;
	int fd;

	ASSERT(!setresuid(OTHER, 0, 0));
	fd = homi_open();
	ASSERT_EQ(-EDQUOT, pin(fd, MIB + PAGE, &id));
	ASSERT_EQ(0, pin(fd, MIB, &id));
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &more));
	/* What somebody else lets go is there. */
	ASSERT_EQ(0, destroy(handed, handed_mem));
	ASSERT_EQ(0, pin(fd, PAGE, &more));
}

TEST(total)
{
	uint32_t id, more;

	handed = begin();
	quota_set("pinned_mib_total", 3);
	ASSERT_EQ(0, pin(handed, MIB, &id));
	ASSERT_EQ(0, pin(handed, MIB, &handed_mem));
	ASSERT_EQ(0, child_status(child_start(takes_the_rest)));
	expect_account(0, 0, 256);
	ASSERT_EQ(0, account_of(OTHER).files);
	ASSERT_EQ(0, pin(handed, 2 * MIB, &more));
	ASSERT_EQ(-EDQUOT, pin(handed, PAGE, &more));
	set_cap(CAP_SYS_RESOURCE, true);
	ASSERT_EQ(0, pin(handed, PAGE, &more));
}

TEST(total_of_queues)
{
	struct ring ring, other;
	int fd = begin();

	need_queues(fd, 2);
	default_set("queues_total", 1);
	ring_open(&ring, fd, 4);
	ASSERT_EQ(-EDQUOT, ring_create(&other, fd, 4));
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	ASSERT_EQ(0, ring_create(&other, fd, 4));
	ASSERT_EQ(0, ring_destroy(&other));
}

/* --- sysfs --- */

static const char *const names[] = {
	"queues_per_user", "pinned_mib_per_user", "queues_total", "pinned_mib_total",
	"extents_per_user",
	"ios_per_second_per_user", "kib_per_second_per_user",
};

static void nobody_writes(void)
{
	size_t i;

	become_nobody();
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		ASSERT_EQ(-EACCES, quota_write(names[i], "1"));
		ASSERT(quota_of(names[i]) >= 0);
	}
	ASSERT_EQ(1, account_of(0).files);
}

/* One's own or the module's; what is no number changes nothing. */
TEST(attributes)
{
	static const char *const bad[] = {
		" ", "x", "-1", "1x", "1 2", "0x10", "4294967296", "99999999999999999999",
		"defaults", "1\n2",
	};
	int fd = homi_open();
	size_t i, k;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		default_set(names[i], 5);
		ASSERT_EQ(5, quota_of(names[i]));
		quota_set(names[i], 7);
		default_set(names[i], 6);
		ASSERT_EQ(7, quota_of(names[i]));
		for (k = 0; k < ARRAY_SIZE(bad); k++)
			ASSERT_EQ(-EINVAL, quota_write(names[i], bad[k]));
		ASSERT_EQ(7, quota_of(names[i]));
		quota_set(names[i], 4294967295u);
		quota_set(names[i], 0);
		ASSERT_EQ(0, quota_write(names[i], "default\n"));
		ASSERT_EQ(6, quota_of(names[i]));
		default_set(names[i], 0);
	}
	ASSERT_EQ(0, child_status(child_start(nobody_writes)));
	close(fd);
}

/* The controller's own goes before the module's, none too. */
TEST(own_limit)
{
	uint32_t id;
	int fd = begin();

	default_set("pinned_mib_per_user", 1);
	quota_set("pinned_mib_per_user", 2);
	ASSERT_EQ(0, pin(fd, 2 * MIB, &id));
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &id));
	quota_set("pinned_mib_per_user", 0);
	ASSERT_EQ(0, pin(fd, MIB, &id));
	ASSERT_EQ(0, quota_write("pinned_mib_per_user", "default"));
	ASSERT_EQ(-EDQUOT, pin(fd, PAGE, &id));
}
