// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is counted and shown of a controller: sysfs says what the calls say, to everybody, and
 * debugfs who has what, parked and quarantined things too.
 */
#include <dirent.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "harness.h"
#include "held.h"
#include "importer.h"
#include "uring_rw.h"
#include "witness.h"

#define STATS	"/sys/class/homi/%s/stats"
#define SHOWN	"/sys/kernel/debug/homi/%s/%s"

static uint64_t stat_of(const char *name)
{
	long long value = sysfs_number(STATS "/%s", ctrl_name(), name);

	if (value < 0)
		FAIL("there is no " STATS "/%s", ctrl_name(), name);
	return value;
}

static bool shown_within(unsigned int ms, const char *file, const char *first, const char *second)
{
	uint64_t end = now_ms() + ms;

	while (!debugfs_shows(file, first, second)) {
		if (now_ms() > end)
			return false;
		nap_ms(5);
	}
	return true;
}

/* A column of the youngest open file of a process; "" if it has none */
static void file_column(pid_t pid, const char *column, char *value, size_t size)
{
	char path[128], head[512], line[512], copy[512], *name, *word, *names, *words;
	bool mine;
	FILE *f;

	snprintf(path, sizeof(path), SHOWN, ctrl_name(), "files");
	f = fopen(path, "r");
	if (!f)
		SKIP("there is no %s", path);
	ASSERT(fgets(head, sizeof(head), f));
	value[0] = '\0';
	while (fgets(line, sizeof(line), f)) {
		char found[64] = "";

		mine = false;
		strcpy(copy, head);
		name = strtok_r(copy, " \n", &names);
		word = strtok_r(line, " \n", &words);
		for (; name && word; name = strtok_r(NULL, " \n", &names),
				     word = strtok_r(NULL, " \n", &words)) {
			mine |= !strcmp(name, "pid") && atoi(word) == pid;
			if (!strcmp(name, column))
				snprintf(found, sizeof(found), "%s", word);
		}
		/* As many words as names */
		ASSERT(!name && !word);
		if (mine)
			snprintf(value, size, "%s", found);
	}
	fclose(f);
}

static void assert_column(pid_t pid, const char *column, const char *want)
{
	char value[64];

	file_column(pid, column, value, sizeof(value));
	if (strcmp(value, want))
		FAIL("%s is \"%s\", not \"%s\"", column, value, want);
}

static void assert_column_number(pid_t pid, const char *column, uint64_t want)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)want);
	assert_column(pid, column, text);
}

static struct homi_io_stats stats_of(int fd, uint32_t flags)
{
	struct homi_io_stats stats = { .size = sizeof(stats), .flags = flags };

	ASSERT_EQ(0, homi_call(fd, HOMI_IO_STATS, &stats));
	return stats;
}

/* --- reads and writes --- */

static void assert_same_counts(int fd)
{
	struct homi_io_stats all = stats_of(fd, HOMI_STATS_CTRL);

	ASSERT_EQ(all.out_fs_reads, stat_of("fs_reads"));
	ASSERT_EQ(all.out_fs_read_bytes, stat_of("fs_read_bytes"));
	ASSERT_EQ(all.out_fs_writes, stat_of("fs_writes"));
	ASSERT_EQ(all.out_fs_written_bytes, stat_of("fs_write_bytes"));
	ASSERT_EQ(all.out_fs_errors, stat_of("fs_errors"));
	ASSERT_EQ(all.out_extents_reads, stat_of("extents_reads"));
	ASSERT_EQ(all.out_extents_read_bytes, stat_of("extents_read_bytes"));
	ASSERT_EQ(all.out_extents_writes, stat_of("extents_writes"));
	ASSERT_EQ(all.out_extents_written_bytes, stat_of("extents_write_bytes"));
	ASSERT_EQ(all.out_extents_errors, stat_of("extents_errors"));
}

TEST(reads_and_writes)
{
	uint64_t reads, errors;

	begin(need_fs("ext4"), 0);
	assert_same_counts(t.fd);
	reads = stat_of("fs_reads");
	errors = stat_of("fs_errors");
	ASSERT_EQ(2 * PAGE, rw_do(&ring, &t, false, 0, 0, 2 * PAGE));
	ASSERT_EQ(PAGE, rw_do(&ring, &t, true, 0, 0, PAGE));
	ASSERT_EQ(-EFBIG, rw_do(&ring, &t, true, 1ull << 62, 0, PAGE));
	ASSERT_EQ(reads + 1, stat_of("fs_reads"));
	ASSERT_EQ(errors + 1, stat_of("fs_errors"));
	assert_same_counts(t.fd);
	assert_column(getpid(), "fs_reads", "1");
	assert_column_number(getpid(), "fs_read_bytes", 2 * PAGE);
	assert_column_number(getpid(), "fs_write_bytes", PAGE);
	assert_column(getpid(), "fs_errors", "1");
	assert_column(getpid(), "extents_reads", "0");
	assert_column(getpid(), "uid", "0");
	assert_column(getpid(), "state", "open");
	/* And by its blocks, while nobody has it open for writing */
	reads = stat_of("extents_reads");
	begin_extents();
	ASSERT_EQ(3 * PAGE, rw_do(&ring, &t, false, 0, 0, 3 * PAGE));
	ASSERT_EQ(reads + 1, stat_of("extents_reads"));
	assert_column_number(getpid(), "extents_read_bytes", 3 * PAGE);
	assert_same_counts(t.fd);
	/* What is closed is counted still. */
	io_uring_queue_exit(&ring);
	close(t.fd);
	ASSERT_EQ(reads + 1, stat_of("extents_reads"));
	file_remove(&file);
}

/* All of them by anybody, and written by nobody */
static unsigned int mode_of(const char *path)
{
	struct stat st;

	ASSERT(!stat(path, &st));
	return st.st_mode & 07777;
}

TEST(everybody_reads)
{
	char path[128], file_path[300];
	struct dirent *entry;
	unsigned int count = 0;
	DIR *dir;

	/* What says who has what is root's. */
	snprintf(path, sizeof(path), SHOWN, ctrl_name(), "files");
	if (!access(path, F_OK))
		ASSERT_EQ(0400, mode_of(path));
	become_nobody();
	snprintf(path, sizeof(path), STATS, ctrl_name());
	dir = opendir(path);
	ASSERT(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(file_path, sizeof(file_path), "%s/%.64s", path, entry->d_name);
		stat_of(entry->d_name);
		ASSERT_EQ(0444, mode_of(file_path));
		count++;
	}
	closedir(dir);
	ASSERT_EQ(16, count);
}

/* --- queues --- */

/* An id whose queue is destroyed, and that is held back by a mapping, and then by a dma-buf */
TEST(quarantined)
{
	int fd = homi_open(), dmabuf;
	char qid[16], word[32];
	struct ring queue;

	need_queues(fd, 1);
	assert_column(getpid(), "queues", "0");
	ring_open(&queue, fd, 8);
	snprintf(qid, sizeof(qid), "%u", queue.q.out_qid);
	snprintf(word, sizeof(word), "qid=%u ", queue.q.out_qid);
	ASSERT_EQ(ctrl_info(fd).out_queues_lent, stat_of("queues_lent"));
	ASSERT_EQ(1, stat_of("queues_lent"));
	ASSERT_EQ(0, stat_of("queues_quarantined"));
	assert_column(getpid(), "queues", "1");
	assert_column(getpid(), "quarantined", "-");
	assert_column(getpid(), "dma_users", "1");
	ASSERT_EQ(0, doorbell_export(fd, queue.q.out_queue_id, HOMI_DOORBELL_REGISTERS, &dmabuf));
	ASSERT(debugfs_shows("dmabufs", "export file=", word));
	ASSERT_EQ(0, ring_destroy(&queue));
	ASSERT_EQ(1, stat_of("queues_lent"));
	ASSERT_EQ(1, stat_of("queues_quarantined"));
	assert_column(getpid(), "queues", "0");
	assert_column(getpid(), "quarantined", qid);
	assert_column(getpid(), "dma_users", "0");
	snprintf(word, sizeof(word), "%u 8 ", queue.q.out_qid);
	ASSERT(debugfs_shows("queues", word, " quarantined\n"));
	ring_unmap(&queue);
	ASSERT_EQ(1, stat_of("queues_quarantined"));
	/* Closed, and the dma-buf keeps it. */
	close(fd);
	assert_column(getpid(), "state", "closed");
	assert_column(getpid(), "quarantined", qid);
	close(dmabuf);
	/* A file ends when its last user is through with close(). */
	ASSERT(!debugfs_shows("dmabufs", "export file=", "qid="));
	ASSERT_EQ(0, stat_of("queues_quarantined"));
	ASSERT_EQ(0, stat_of("queues_lent"));
	assert_column(getpid(), "state", "");
}

static void have_a_queue(void)
{
	struct ring queue;

	ASSERT_EQ(0, ring_create(&queue, homi_open(), 8));
}

/*
 * Its process is gone, and the controller, which is asked for a reset, has not let go. The reset
 * takes its time, so that there is some to look.
 */
TEST_TIMEOUT(parked, 120)
{
	uint64_t generation, resets = stat_of("resets");
	int fd = homi_open();
	char path[128], state[64];
	uint64_t end;
	pid_t pid;

	need_queues(fd, 1);
	snprintf(path, sizeof(path), FAULT, ctrl_name());
	if (access(path, W_OK))
		SKIP("there is no %s", path);
	generation = ctrl_info(fd).out_generation;
	ASSERT_EQ(generation - 1, resets);
	set_delete_ms(100);
	ASSERT(sysfs_write(QUIESCE_MS, "8000"));
	ASSERT(sysfs_write(path, "0x00 fail 1"));
	pid = child_start(have_a_queue);
	ASSERT_EQ(0, child_status(pid));
	ASSERT(shown_within(5000, "files", " parked ", ""));
	assert_column(pid, "state", "parked");
	assert_column(pid, "dma_users", "1");
	ASSERT(debugfs_shows("queues", " 8 ", " parked\n"));
	ASSERT_EQ(1, stat_of("queues_quarantined"));
	while (ctrl_info(fd).out_generation == generation || poll_fd(fd, POLLOUT, 100) != POLLOUT)
		;
	/* Its memory goes with the reset, and it then. */
	end = now_ms() + 30000;
	do {
		ASSERT(now_ms() < end);
		nap_ms(5);
		file_column(pid, "state", state, sizeof(state));
	} while (state[0]);
	ASSERT_EQ(0, stat_of("queues_lent"));
	ASSERT_EQ(resets + 1, stat_of("resets"));
	ASSERT_EQ(ctrl_info(fd).out_generation - 1, stat_of("resets"));
}

/* --- recalls and refusals --- */

TEST(recalls)
{
	uint64_t recalls = stat_of("recalls"), revoked = stat_of("revoked");
	struct waiter waiter;
	struct held h;

	hold(&h, need_fs("ext4"), "wanted");
	waiter_start(&waiter, act_open_write, h.file.path);
	answer(&h, &waiter);
	ASSERT_EQ(recalls + 1, stat_of("recalls"));
	ASSERT_EQ(revoked, stat_of("revoked"));
	let_go(&h);
	/* Without an answer */
	hold(&h, need_fs("ext4"), "wanted");
	set_recall_ms(50);
	waiter_start(&waiter, act_open_write, h.file.path);
	ASSERT_EQ(0, waiter_end(&waiter, MINUTE_MS / 2, NULL));
	ASSERT_EQ(HOMI_EXTENT_REVOKED, h.table.t->state);
	ASSERT_EQ(recalls + 2, stat_of("recalls"));
	ASSERT_EQ(revoked + 1, stat_of("revoked"));
	ASSERT_EQ(0, table_close(&h.table));
	if (h.queue) {
		ASSERT_EQ(0, ring_destroy(&h.ring));
		ring_unmap(&h.ring);
	}
	file_remove(&h.file);
}

TEST(refusals)
{
	struct homi_queue_create queue = { .size = sizeof(queue), .depth = 8 };
	struct homi_extent_resolve answer;
	struct homi_destroy bad = { .size = sizeof(bad), .id = 77 };
	uint64_t refused = stat_of("refused");
	int fd = homi_open(), writer;
	struct file f;

	set_cap(CAP_SYS_RAWIO, false);
	ASSERT_EQ(-EPERM, homi_call(fd, HOMI_QUEUE_CREATE, &queue));
	set_cap(CAP_SYS_RAWIO, true);
	ASSERT_EQ(refused + 1, stat_of("refused"));
	/* Mistakes are no refusals. */
	ASSERT_EQ(-ENOENT, homi_call(fd, HOMI_DESTROY, &bad));
	queue.depth = 0;
	ASSERT_EQ(-EINVAL, homi_call(fd, HOMI_QUEUE_CREATE, &queue));
	ASSERT_EQ(refused + 1, stat_of("refused"));
	/* Somebody writes to it: EAGAIN, and why */
	file_create(&f, need_fs("ext4"), "refused", PAGE, 3);
	writer = open(f.path, O_WRONLY | O_CLOEXEC);
	ASSERT_EQ(-EAGAIN, extent_resolve(fd, f.fd, 0, 0, &answer));
	ASSERT_EQ(HOMI_REASON_WRITER, answer.out_reason);
	ASSERT_EQ(refused + 2, stat_of("refused"));
	close(writer);
	file_remove(&f);
	/* By io_uring too */
	begin(need_fs("ext4"), 0);
	refused = stat_of("refused");
	t.flags = HOMI_RW_BY_EXTENTS;
	ASSERT_EQ(-EOPNOTSUPP, rw_do(&ring, &t, false, 0, 0, PAGE));
	ASSERT_EQ(refused + 1, stat_of("refused"));
	file_remove(&file);
}
