// SPDX-License-Identifier: GPL-2.0-only
/*
 * READ and WRITE whose objects, file system, controller or process go in the middle.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <linux/fs.h>

#include "harness.h"
#include "uring_rw.h"

/* All that they name is destroyed while they are in flight; they end as if it were not. */
FS_TEST(destroyed_in_flight)
{
	unsigned int round, i, done = 0;
	uint64_t which;

	begin(dir, 0);
	for (round = 0; round < times(40, 8); round++) {
		bool write = round % 2, good[ENTRIES] = { false };

		fill_random(mem, SIZE, 400 + round);
		memcpy(copy, mem, SIZE);
		/* What is cached has to wait for a worker, and so has what is new of a MEM. */
		ASSERT(!posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED));
		ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
		memcpy(mem, copy, PAGE);
		drive_throttle(4000);
		post_many(write);
		ASSERT_EQ(0, destroy(t.fd, t.mem));
		ASSERT_EQ(0, destroy(t.fd, t.file));
		{
			struct homi_uring_rw rw = rw_make(&t, 0, 0, PAGE);

			rw_post(&ring, t.fd, false, &rw, ENTRIES);
			ASSERT_EQ(1, io_uring_submit(&ring));
		}
		drive_throttle(0);
		for (i = 0; i < ENTRIES + 1; i++) {
			int res = uring_reap(&ring, &which);

			/* Those that had to wait for a worker may come too late. */
			if (res != 8 * PAGE)
				ASSERT_EQ(-ENOENT, res);
			if (which == ENTRIES)
				ASSERT_EQ(-ENOENT, res);
			else
				good[which] = res == 8 * PAGE;
		}
		/* Either way it is in @mem, and what it has to be in @copy. */
		ASSERT_EQ(SIZE, pread(file.fd, write ? mem : copy, SIZE, 0));
		for (i = 0; i < ENTRIES; i++) {
			done += good[i];
			if (good[i])
				ASSERT_SAME(mem + i * 8 * PAGE, copy + i * 8 * PAGE, 8 * PAGE);
		}
		t.mem = register_pages(t.fd, mem, SIZE, HOMI_MEM_WRITE);
		ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
	}
	printf("# %u of %u were done all the same\n", done, round * ENTRIES);
	ASSERT(done);
	file_remove(&file);
}

static void be_killed(void)
{
	unsigned int i;

	begin(NULL, 0);
	register_again(O_RDWR);
	for (;;) {
		post_many(true);
		post_many(false);
		close(homi_open());
		for (i = 0; i < 2 * ENTRIES; i++)
			ASSERT_EQ(8 * PAGE, uring_reap(&ring, NULL));
	}
}

FS_TEST(killed_in_flight)
{
	unsigned int round;
	pid_t pid;

	file_create(&file, dir, "killed", SIZE, 2);
	for (round = 0; round < times(60, 10); round++) {
		pid = child_start(be_killed);
		nap_ms(20 + round * 7 % 40);
		kill(pid, SIGKILL);
		ASSERT_EQ(128 + SIGKILL, child_status(pid));
	}
	file_remove(&file);
	/* check_clean() finds what is left of it, the module's use count for one. */
}

/* The descriptor of homi is closed, and the ring goes, with I/O in flight. */
FS_TEST(closed_in_flight)
{
	unsigned int round;

	for (round = 0; round < times(40, 8); round++) {
		begin(dir, 0);
		post_many(round % 2);
		close(t.fd);
		if (round % 4 < 2)
			io_uring_queue_exit(&ring);
		else
			close(ring.ring_fd);
		munmap(mem, SIZE);
		munmap(copy, SIZE);
		file_remove(&file);
	}
}

/* Resets are not seen: everything is done, once, and no error comes. */
FS_TEST_TIMEOUT(resets_unseen, 120)
{
	unsigned int resets = times(50, 5), done = 0, i, round, posted;
	unsigned int blocks = SIZE / PAGE;
	uint64_t slot;

	begin(dir, 0);
	for (round = 0; round < resets; round++) {
		bool begun = false;

		fill_random(mem, SIZE, 50 + round);
		memcpy(copy, mem, SIZE);
		for (posted = 0, i = 0; i < blocks; i++) {
			for (; posted < blocks && posted - i < ENTRIES; posted++) {
				struct homi_uring_rw rw = rw_make(&t, posted * PAGE, posted * PAGE, PAGE);

				rw_post(&ring, t.fd, true, &rw, posted);
			}
			io_uring_submit(&ring);
			if (!begun && i >= blocks / 4) {
				ASSERT_EQ(0, reset_controller(ctrl_name()));
				begun = true;
			}
			ASSERT_EQ(PAGE, uring_reap(&ring, &slot));
			done++;
		}
		ASSERT(wait_live(ctrl_name(), 30000));
		memset(mem, 0, SIZE);
		ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
		ASSERT_SAME(copy, mem, SIZE);
	}
	printf("# %u writes over %u resets\n", done, resets);
	file_remove(&file);
}

static unsigned int reap_for(unsigned int ms)
{
	struct __kernel_timespec ts = { .tv_nsec = ms * 1000000ll };
	struct io_uring_cqe *cqe;
	unsigned int count = 0;

	while (!io_uring_wait_cqe_timeout(&ring, &cqe, &ts)) {
		count += cqe->res == 8 * PAGE;
		io_uring_cqe_seen(&ring, cqe);
	}
	return count;
}

/* Freezing waits for what is in flight; what has not begun waits until it is thawed. */
FS_TEST(frozen)
{
	unsigned int round, before, while_frozen;
	int root;

	begin(dir, 0);
	root = open(dir, O_RDONLY | O_DIRECTORY);
	for (round = 0; round < 5; round++) {
		post_many(true);
		ASSERT(!ioctl(root, FIFREEZE, 0));
		before = reap_for(200);
		post_many(true);
		while_frozen = reap_for(200);
		/* Nothing is looked at before this: it would stay frozen. */
		ASSERT(!ioctl(root, FITHAW, 0));
		ASSERT_EQ(0, while_frozen);
		for (; before < 2 * ENTRIES; before++)
			ASSERT_EQ(8 * PAGE, uring_reap(&ring, NULL));
	}
	file_remove(&file);
}
