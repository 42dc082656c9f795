// SPDX-License-Identifier: GPL-2.0-only
/*
 * The budget for READ and WRITE by extents: what is over it waits, and is done in the end; whatever
 * ends the wait ends it, and nothing is held meanwhile.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "exporter.h"
#include "removal.h"
#include "budget.h"

#define OTHER	1000		/* a user */

/* How many are done as a whole; the others have one of two errors. */
static unsigned int reap_all(int err, int other)
{
	unsigned int i, done = 0;

	for (i = 0; i < ENTRIES; i++) {
		int res = uring_reap(&ring, NULL);

		done += res == PIECE;
		if (res != PIECE && res != other)
			ASSERT_EQ(err, res);
	}
	return done;
}

static void check_data(void)
{
	ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
	ASSERT_SAME(copy, mem, SIZE);
}

/* --- all of it is done --- */

static void read_all(bool waits)
{
	struct account before = account_of(0), after;

	post_many(false);
	ASSERT_EQ(ENTRIES, reap_all(0, 0));
	check_data();
	after = account_of(0);
	if (waits) {
		ASSERT(after.waits > before.waits);
		ASSERT(after.waited_us > before.waited_us);
		ASSERT_EQ(before.ios + ENTRIES, after.ios);
		ASSERT_EQ(before.bytes + SIZE, after.bytes);
	} else {
		ASSERT_EQ(before.waits, after.waits);
		ASSERT_EQ(before.waited_us, after.waited_us);
	}
}

FS_TEST(ios)
{
	start(dir);
	quota_set(IOS, 16);
	read_all(true);
	file_remove(&file);
}

FS_TEST(bytes)
{
	start(dir);
	quota_set(KIB, SIZE / 4 / 1024);
	read_all(true);
	file_remove(&file);
}

TEST(both)
{
	start(need_fs("ext4"));
	default_set(IOS, 20);
	default_set(KIB, SIZE / 2 / 1024);
	read_all(true);
	file_remove(&file);
}

/* Of a descriptor that is named each time */
TEST(descriptors)
{
	start(need_fs("ext4"));
	t.file = file.fd;
	t.flags |= HOMI_RW_FD;
	quota_set(IOS, 16);
	read_all(true);
	file_remove(&file);
}

TEST(writes)
{
	int res;

	start(need_fs("ext4"));
	file_reopen(&file, O_RDWR);
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
	fill_random(mem, SIZE, 77);
	res = rw_do(&ring, &t, true, 0, 0, PAGE);
	if (res == -EOPNOTSUPP)
		SKIP("this file system is not written to by extents here");
	ASSERT_EQ(PAGE, res);
	quota_set(IOS, 16);
	post_many(true);
	ASSERT_EQ(ENTRIES, reap_all(0, 0));
	ASSERT(account_of(0).waits > 0);
	check_data();
	file_remove(&file);
}

/* It goes when there is as much as there can be, and is paid for afterwards. */
TEST(larger_than_a_second)
{
	start(need_fs("ext4"));
	quota_set(KIB, SIZE / 8 / 1024);
	ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
	ASSERT_EQ(0, account_of(0).waits);
	check_data();
	memset(mem, 0, SIZE);
	ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
	ASSERT_EQ(1, account_of(0).waits);
	ASSERT_EQ(2 * SIZE, account_of(0).bytes);
	check_data();
	file_remove(&file);
}

/* --- who does not wait --- */

TEST(no_budget)
{
	start(need_fs("ext4"));
	read_all(false);
	ASSERT_EQ(0, account_of(0).ios);
	quota_set(IOS, 4294967295u);
	quota_set(KIB, 4294967295u);
	read_all(false);
	ASSERT_EQ(ENTRIES, account_of(0).ios);
	file_remove(&file);
}

TEST(privileged)
{
	start(need_fs("ext4"));
	quota_set(KIB, 1);
	set_cap(CAP_SYS_RESOURCE, true);
	read_all(false);
	file_remove(&file);
}

/* The file system does it, and its cgroups. */
TEST(by_fs)
{
	start(need_fs("ext4"));
	quota_set(KIB, 1);
	t.flags = HOMI_RW_BY_FS;
	/* Not memory that is mapped for DMA by homi too, which a checker of that would report */
	ASSERT_EQ(0, destroy(t.fd, t.mem));
	ASSERT_EQ(0, mem_register(t.fd, mem, SIZE, HOMI_MEM_WRITE | HOMI_MEM_PAGES, &t.mem, NULL));
	read_all(false);
	ASSERT_EQ(0, account_of(0).ios);
	file_remove(&file);
}

/* What is not begun costs nothing. */
TEST(refused)
{
	int i;

	start(need_fs("ext4"));
	quota_set(IOS, 4);
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(-EINVAL, rw_do(&ring, &t, false, 17, 0, PAGE));
		ASSERT_EQ(-EBADF, rw_do(&ring, &t, true, 0, 0, PAGE));
		ASSERT_EQ(0, rw_do(&ring, &t, false, 2 * SIZE, 0, PAGE));
	}
	ASSERT_EQ(0, account_of(0).waits);
	ASSERT_EQ(0, account_of(0).ios);
	file_remove(&file);
}

/* A READ that asks for more than there is counts with what there is. */
TEST(end_of_file)
{
	int i;

	start(need_fs("ext4"));
	quota_set(KIB, 1024);
	for (i = 0; i < 20; i++)
		ASSERT_EQ(PAGE, rw_do(&ring, &t, false, SIZE - PAGE, 0, SIZE));
	ASSERT_EQ(20 * PAGE, account_of(0).bytes);
	ASSERT_EQ(0, account_of(0).waits);
	file_remove(&file);
}

/* --- others --- */

static void another_user(void)
{
	ASSERT(!setresuid(OTHER, 0, 0));
	file.fd = -1;
	open_all(dev_path(), NULL);
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
	ASSERT_EQ(0, account_of(OTHER).waits);
	ASSERT_EQ(1, account_of(OTHER).ios);
	/* Nor is this one held up by what he owes now. */
	ASSERT(account_of(0).waits > 0);
}

TEST(another_user_goes_on)
{
	start(need_fs("ext4"));
	quota_set(KIB, 1);
	post_many(false);
	wait_for_waits(ctrl_name(), 0, 0);
	ASSERT_EQ(0, child_status(child_start(another_user)));
	/* 16 s for each, of which one is through */
	ASSERT(io_uring_cq_ready(&ring) < ENTRIES);
	quota_set(KIB, 0);
	ASSERT_EQ(ENTRIES, reap_all(0, 0));
	check_data();
	file_remove(&file);
}

/* Somebody with the descriptor is on the budget of who opened it. */
static void uses_it(void)
{
	ASSERT(!setresuid(OTHER, 0, 0));
	ASSERT_EQ(0, uring_open(&ring, ENTRIES, IORING_SETUP_SQE128));
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
	ASSERT_EQ(0, account_of(OTHER).files);
}

TEST(handed_over)
{
	pid_t pid;

	start(need_fs("ext4"));
	quota_set(KIB, 1);
	ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
	pid = child_start(uses_it);
	wait_for_waits(ctrl_name(), 0, 0);
	quota_set(KIB, 0);
	ASSERT_EQ(0, child_status(pid));
	file_remove(&file);
}

/* Closing everything pays nothing. */
TEST(opened_again)
{
	start(need_fs("ext4"));
	quota_set(KIB, 1);
	ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
	io_uring_queue_exit(&ring);
	close(t.fd);
	wait_account_gone(0);
	open_all(dev_path(), NULL);
	ASSERT_EQ(0, account_of(0).waits);
	post_many(false);
	wait_for_waits(ctrl_name(), 0, 0);
	ASSERT_EQ(0, io_uring_cq_ready(&ring));
	quota_set(KIB, 0);
	ASSERT_EQ(ENTRIES, reap_all(0, 0));
	file_remove(&file);
}

/* --- ends of the wait --- */

TEST(limit_is_taken_away)
{
	start(need_fs("ext4"));
	quota_set(KIB, 1);
	post_many(false);
	wait_for_waits(ctrl_name(), 0, 0);
	quota_set(KIB, 2);
	ASSERT(io_uring_cq_ready(&ring) < ENTRIES);
	quota_set(KIB, 0);
	ASSERT_EQ(ENTRIES, reap_all(0, 0));
	check_data();
	/* By the module's */
	default_set(IOS, 1);
	post_many(false);
	wait_for_waits(ctrl_name(), 0, account_of(0).waits);
	default_set(IOS, 1000000);
	ASSERT_EQ(ENTRIES, reap_all(0, 0));
	check_data();
	file_remove(&file);
}

/* What waits has nothing: neither its objects, nor the file. */
TEST(holds_nothing)
{
	struct waiter writer;

	start(need_fs("ext4"));
	quota_set(KIB, 1);
	post_many(false);
	wait_for_waits(ctrl_name(), 0, 0);
	waiter_start(&writer, act_open_write, file.path);
	ASSERT_EQ(0, waiter_end(&writer, 30000, NULL));
	ASSERT_EQ(0, destroy(t.fd, t.mem));
	ASSERT_EQ(0, destroy(t.fd, t.file));
	quota_set(KIB, 0);
	ASSERT(reap_all(-ENOENT, -ENOENT) < ENTRIES);
	expect_account(0, 0, 0);
	file_remove(&file);
}

/* Its memory becomes such as a file system reads to, of the same number: that costs nothing. */
TEST(mem_exchanged)
{
	int dmabuf = udmabuf_new(SIZE);
	struct account before;
	struct dma dma;
	uint32_t id;

	start(need_fs("ext4"));
	if (dmabuf < 0)
		SKIP("/dev/udmabuf: %s", strerror(-dmabuf));
	ASSERT_EQ(0, destroy(t.fd, t.mem));
	dma_import(&dma, t.fd, dmabuf, SIZE);
	t.mem = dma.id;
	t.flags = 0;
	quota_set(KIB, 1);
	ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
	before = account_of(0);
	ASSERT_EQ(SIZE, before.bytes);
	post_many(false);
	wait_for_waits(ctrl_name(), 0, 0);
	ASSERT_EQ(0, io_uring_cq_ready(&ring));
	ASSERT_EQ(0, dma_destroy(&dma));
	ASSERT_EQ(0, mem_register(t.fd, mem, SIZE, HOMI_MEM_WRITE | HOMI_MEM_PAGES, &id, NULL));
	ASSERT_EQ(t.mem, id);
	quota_set(KIB, 0);
	ASSERT_EQ(ENTRIES, reap_all(0, 0));
	check_data();
	ASSERT_EQ(before.ios, account_of(0).ios);
	ASSERT_EQ(before.bytes, account_of(0).bytes);
	close(dmabuf);
	file_remove(&file);
}

#define CANCEL	1000u		/* user_data of cancellations, from here on */

/* Those that are left, once; how many have ended by it */
static unsigned int cancel_all(bool *ended)
{
	unsigned int i, sent = 0, cancelled = 0;
	uint64_t which;

	for (i = 0; i < ENTRIES; i++) {
		struct io_uring_sqe *sqe;

		if (ended[i])
			continue;
		sqe = io_uring_get_sqe(&ring);
		ASSERT(sqe);
		io_uring_prep_cancel64(sqe, i, 0);
		sqe->user_data = CANCEL + i;
		sent++;
	}
	ASSERT_EQ(sent, io_uring_submit(&ring));
	while (sent) {
		int res = uring_reap(&ring, &which);

		if (which >= CANCEL) {
			sent--;
			if (res && res != -ENOENT)
				ASSERT_EQ(-EALREADY, res);
			continue;
		}
		ended[which] = true;
		if (res != PIECE && res != -EINTR)
			ASSERT_EQ(-ECANCELED, res);
		cancelled += res != PIECE;
	}
	return cancelled;
}

TEST(cancelled)
{
	bool ended[ENTRIES] = { false };
	unsigned int cancelled = 0;
	uint64_t end;

	start(need_fs("ext4"));
	quota_set(KIB, 1);
	post_many(false);
	wait_for_waits(ctrl_name(), 0, 0);
	for (end = now_ms() + 30000; memchr(ended, false, sizeof(ended));) {
		ASSERT(now_ms() < end);
		cancelled += cancel_all(ended);
		nap_ms(5);
	}
	ASSERT(cancelled > ENTRIES / 2);
	/* They left nothing: the next one goes as soon as it may. */
	quota_set(KIB, 0);
	read_all(false);
	file_remove(&file);
}

/* The ring goes, and then the last descriptor. */
TEST(closed)
{
	start(need_fs("ext4"));
	quota_set(KIB, 1);
	post_many(false);
	wait_for_waits(ctrl_name(), 0, 0);
	io_uring_queue_exit(&ring);
	close(t.fd);
	wait_account_gone(0);
	file_remove(&file);
}

static void post_and_sleep(void)
{
	file.fd = -1;
	open_all(dev_path(), NULL);
	post_many(false);
	for (;;)
		pause();
}

TEST(killed)
{
	unsigned int i;
	pid_t pid;

	start(need_fs("ext4"));
	close(t.fd);
	io_uring_queue_exit(&ring);
	munmap(mem, SIZE);
	wait_account_gone(0);
	quota_set(KIB, 1);
	for (i = 0; i < times(20, 4); i++) {
		pid = child_start(post_and_sleep);
		wait_for_waits(ctrl_name(), 0, 0);
		ASSERT(!kill(pid, SIGKILL));
		ASSERT_EQ(128 + SIGKILL, child_status(pid));
		wait_account_gone(0);
		/* What was counted is kept with what he owes, and goes with it. */
		quota_set(KIB, 0);
		close(homi_open());
		quota_set(KIB, 1);
	}
	file_remove(&file);
}

static void post_and_reap(void)
{
	file.fd = -1;
	open_all(dev_path(), NULL);
	post_many(false);
	reap_all(-EINTR, -EINTR);
}

/* A process is stopped at once, and goes on later, whatever it had waiting. */
TEST(stopped)
{
	int status;
	pid_t pid;

	start(need_fs("ext4"));
	quota_set(KIB, 1);
	pid = child_start(post_and_reap);
	wait_for_waits(ctrl_name(), 0, 0);
	ASSERT(!kill(pid, SIGSTOP));
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	ASSERT(WIFSTOPPED(status));
	ASSERT(!kill(pid, SIGCONT));
	quota_set(KIB, 0);
	ASSERT_EQ(0, child_status(pid));
	file_remove(&file);
}

/* The controller is reset: nobody who waits sees it. */
TEST(reset)
{
	start(need_fs("ext4"));
	quota_set(KIB, 1);
	post_many(false);
	wait_for_waits(ctrl_name(), 0, 0);
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	ASSERT(wait_live(ctrl_name(), 30000));
	ASSERT(io_uring_cq_ready(&ring) < ENTRIES);
	quota_set(KIB, 0);
	ASSERT_EQ(ENTRIES, reap_all(0, 0));
	check_data();
	file_remove(&file);
}

TEST_TIMEOUT(unbound, 120)
{
	struct victim victim;
	const char *point;
	char path[256];

	victim_need(&victim);
	point = victim_make_file(&victim, "ext4", SIZE, path);
	set_cap(CAP_SYS_RESOURCE, false);
	default_set(KIB, 1);
	file.fd = -1;
	open_all(victim.dev, path);
	post_many(false);
	wait_for_waits(base_name(victim.dev), 0, 0);
	victim_unbind(&victim);
	ASSERT(reap_all(-ENODEV, -ENODEV) < ENTRIES);
	check_gone(t.fd);
	default_set(KIB, 0);
	close(file.fd);
	io_uring_queue_exit(&ring);
	close(t.fd);
	umount_soon(point);
	victim_bind(&victim);
	/* Another controller, of which nobody holds anything */
	ASSERT_EQ(0, account_at(base_name(victim.dev), 0).files);
	victim_prove(&victim);
	victim_restore(&victim);
}
