// SPDX-License-Identifier: MIT
/*
 * homi/file.h on a real controller, as TAP: files that others write to, move and
 * read meanwhile. Root, homi loaded; environment as scripts/guest-run sets it:
 * HOMI_CTRL, HOMI_EXT4, HOMI_XFS.
 *
 * A file holds one version at a time: each of its words says which, and where it
 * is. Others change all of it while they have it open, so in what one call of
 * pread gives there is one version, and never an older one than before.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <homi/file.h>

#include "../../lib/test/tap.h"

#define SIZE		(4u << 20)
#define WORDS		(SIZE / sizeof(uint64_t))
#define ROUNDS		20

static struct {
	struct homi_dev dev;
	struct homi_reader *reader;
	char path[4096];
	uint64_t *data;		/* SIZE bytes of the caller's */
	volatile uint32_t *told;	/* shared with a child: what it has done */
	volatile uint32_t *seen;	/* likewise: the last version that was read */
	pid_t child;		/* that a test which failed may have left */
} t;

static void nap(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static uint64_t word_of(uint32_t version, uint64_t i)
{
	return (uint64_t)version << 32 | i;
}

static void fill(uint64_t *words, uint32_t version)
{
	uint64_t i;

	for (i = 0; i < WORDS; i++)
		words[i] = word_of(version, i);
}

/* The version of a stretch of whole words from @first on; UINT32_MAX: more than one */
static uint32_t version_of(const uint64_t *words, uint64_t first, uint64_t count)
{
	uint32_t version = (uint32_t)(words[0] >> 32);
	uint64_t i;

	for (i = 0; i < count; i++)
		if (words[i] != word_of(version, first + i))
			return UINT32_MAX;
	return version;
}

/* Not 0 if all went well */
static int put_version(int fd, uint32_t version)
{
	uint64_t *words = malloc(SIZE);
	int good;

	if (!words)
		return 0;
	fill(words, version);
	good = pwrite(fd, words, SIZE, 0) == SIZE && !fsync(fd);
	free(words);
	return good;
}

static int make_file(uint32_t version)
{
	int fd = open(t.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), good;

	good = fd >= 0 && put_version(fd, version);
	close(fd);
	return good;
}

static int open_file(struct homi_file **file, unsigned int flags)
{
	const struct homi_file_options options = { .flags = flags };
	int fd = open(t.path, (flags & HOMI_FILE_WRITE ? O_PATH : O_RDONLY) | O_CLOEXEC), ret;

	ret = homi_file_open(file, t.reader, &t.dev, fd, &options, NULL);
	close(fd);
	return !ret;
}

/* A child, t.child, that does what @job says until it is told enough, or killed. */
static int start(int (*job)(void))
{
	*t.told = 0;
	*t.seen = 0;
	t.child = fork();
	if (t.child)
		return t.child > 0;
	/* Its parent's queue is not its business. */
	close(t.dev.fd);
	_exit(job() ? 0 : 1);
}

/* The child's end, if it has come; with @flags 0 it is waited for. 1: a good one, -1: a bad one */
static int child_end(int flags)
{
	int status;
	pid_t pid = waitpid(t.child, &status, flags);

	if (!pid)
		return 0;
	t.child = 0;
	return pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status) ? 1 : -1;
}

static int ended_well(void)
{
	return child_end(0) == 1;
}

/* How most tests begin: a new file of one version is held, and a child is at it. */
static const char *begin(struct homi_file **file, uint32_t version, unsigned int flags,
			 int (*job)(void))
{
	TAP_MUST(make_file(version));
	TAP_MUST(open_file(file, flags));
	TAP_MUST(start(job));
	return NULL;
}

/* --- reading --- */

static const char *any_range(void)
{
	static const uint64_t ranges[][2] = {
		{ 0, SIZE }, { 1, 1 }, { 4095, 2 }, { 511, 100001 }, { SIZE - 5, 5 },
		{ SIZE - 5, 100 }, { SIZE, 10 }, { SIZE * 3ull, 10 }, { 12345, 0 },
	};
	struct homi_file *file;
	uint64_t *want = malloc(SIZE);
	size_t i;

	TAP_MUST(want && make_file(1) && open_file(&file, 0));
	fill(want, 1);
	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		uint64_t at = ranges[i][0], length = ranges[i][1];
		uint64_t there = at < SIZE ? SIZE - at : 0, most = length < there ? length : there;

		memset(t.data, 0xee, SIZE);
		TAP_MUST(homi_file_pread(file, t.data, length, at) == (int64_t)most);
		TAP_MUST(!memcmp(t.data, (char *)want + (most ? at : 0), most));
		TAP_MUST(most == SIZE || ((uint8_t *)t.data)[most] == 0xee);
	}
	free(want);
	TAP_MUST(homi_file_pwrite(file, t.data, 4096, 0) == -EBADF);
	TAP_MUST(homi_file_pread(file, t.data, 1, UINT64_MAX) == -EINVAL);
	TAP_MUST(!homi_file_close(file));
	return NULL;
}

/* Its first bytes come while it is held empty. */
static const char *empty_file(void)
{
	struct homi_file *file;
	int fd = open(t.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	TAP_MUST(fd >= 0);
	close(fd);
	TAP_MUST(open_file(&file, 0));
	TAP_MUST(!homi_file_get_table(file));
	TAP_MUST(homi_file_pread(file, t.data, SIZE, 0) == 0);
	TAP_MUST(make_file(3));
	TAP_MUST(homi_file_pread(file, t.data, SIZE, 0) == SIZE);
	TAP_MUST(version_of(t.data, 0, WORDS) == 3);
	TAP_MUST(!homi_file_close(file));
	return NULL;
}

/*
 * Every other time the file gets other blocks, and keeps its size. Once a version
 * was seen the next one comes, beside the reading of it.
 */
static int rewrite(void)
{
	uint32_t version;

	for (version = 2; version < 2 + ROUNDS; version++) {
		int fd = open(t.path, O_RDWR | O_CLOEXEC);

		if (fd < 0)
			return 0;
		if (version & 1 &&
		    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE))
			return 0;
		if (!put_version(fd, version))
			return 0;
		close(fd);
		*t.told = version;
		while (*t.seen < version)
			nap(1);
	}
	return 1;
}

static const char *beside_a_writer(void)
{
	uint32_t version, last = 1, changes = 0;
	struct homi_file *file;
	const char *wrong;

	wrong = begin(&file, 1, 0, rewrite);
	if (wrong)
		return wrong;
	do {
		uint32_t before = *t.told;

		TAP_MUST(homi_file_pread(file, t.data, SIZE, 0) == SIZE);
		version = version_of(t.data, 0, WORDS);
		TAP_MUST(version != UINT32_MAX && version >= last && version >= before);
		changes += version != last;
		last = version;
		*t.seen = last;
	} while (last < 1 + ROUNDS);
	TAP_MUST(changes == ROUNDS);
	TAP_MUST(ended_well());
	TAP_MUST(!homi_file_close(file));
	return NULL;
}

struct taker {
	uint64_t next;
	uint32_t last;
	uint32_t changes;
	int wrong;
};

/* Slow, so that it is broken into. Pieces are of whole words here. */
static int take(void *arg, uint64_t offset, const void *data, size_t length)
{
	struct taker *taker = arg;
	uint32_t version = version_of(data, offset / sizeof(uint64_t), length / sizeof(uint64_t));

	if (offset != taker->next || version == UINT32_MAX || version < taker->last)
		taker->wrong = 1;
	taker->changes += version != taker->last;
	taker->last = version;
	taker->next = offset + length;
	*t.seen = version;
	nap(10);
	return taker->wrong ? -ECANCELED : 0;
}

static const char *in_order_beside_a_writer(void)
{
	struct homi_file *file;
	const char *wrong;
	int rounds = 0;

	wrong = begin(&file, 1, 0, rewrite);
	if (wrong)
		return wrong;
	do {
		struct taker taker = { 0 };

		TAP_MUST(!homi_file_read(file, 0, UINT32_MAX, take, &taker));
		TAP_MUST(!taker.wrong && taker.next == SIZE);
		rounds += taker.changes > 1;
	} while (*t.seen < 1 + ROUNDS);
	printf("# %d reads were broken into\n", rounds);
	TAP_MUST(ended_well());
	TAP_MUST(rounds > 0);
	TAP_MUST(!homi_file_close(file));
	return NULL;
}

static int keep_open(void)
{
	int fd = open(t.path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || !put_version(fd, 2))
		return 0;
	*t.told = 1;
	while (*t.told == 1)
		nap(5);
	close(fd);
	return 1;
}

static const char *not_waited_for(void)
{
	struct homi_file *file, *other = NULL;
	const struct homi_file_options options = { .flags = HOMI_FILE_NO_WAIT };
	uint32_t reason;
	int fd;

	TAP_MUST(make_file(1) && open_file(&file, HOMI_FILE_NO_WAIT));
	TAP_MUST(homi_file_pread(file, t.data, SIZE, 0) == SIZE);
	TAP_MUST(start(keep_open));
	/* It gets the file by the next call, which gives it up and does not wait. */
	while (*t.told != 1) {
		int64_t got = homi_file_pread(file, t.data, SIZE, 0);

		TAP_MUST(got == SIZE || got == -EAGAIN);
	}
	TAP_MUST(homi_file_pread(file, t.data, SIZE, 0) == -EAGAIN);
	TAP_MUST(homi_file_get_reason(file) == HOMI_REASON_WRITER);
	TAP_MUST(!homi_file_get_table(file));
	fd = open(t.path, O_RDONLY | O_CLOEXEC);
	TAP_MUST(homi_file_open(&other, t.reader, &t.dev, fd, &options, &reason) == -EAGAIN);
	TAP_MUST(reason == HOMI_REASON_WRITER && !other);
	close(fd);
	*t.told = 2;
	TAP_MUST(ended_well());
	TAP_MUST(homi_file_pread(file, t.data, SIZE, 0) == SIZE);
	TAP_MUST(version_of(t.data, 0, WORDS) == 2);
	TAP_MUST(!homi_file_close(file));
	return NULL;
}

/* A holder that does nothing hears of it, and lets the other one go on. */
static const char *gives_way(void)
{
	struct homi_file *file;
	struct pollfd pfd;

	TAP_MUST(make_file(1) && open_file(&file, 0));
	pfd = (struct pollfd){ .fd = homi_file_get_event(file), .events = POLLIN };
	TAP_MUST(!homi_file_give_way(file) && homi_file_get_table(file));
	TAP_MUST(poll(&pfd, 1, 0) == 0);
	TAP_MUST(start(keep_open));
	TAP_MUST(poll(&pfd, 1, 20000) == 1);
	TAP_MUST(*t.told == 0);
	TAP_MUST(!homi_file_give_way(file) && !homi_file_get_table(file));
	while (!*t.told)
		nap(5);
	*t.told = 2;
	TAP_MUST(ended_well());
	TAP_MUST(homi_file_pread(file, t.data, SIZE, 0) == SIZE);
	TAP_MUST(version_of(t.data, 0, WORDS) == 2);
	TAP_MUST(poll(&pfd, 1, 0) == 0);
	TAP_MUST(!homi_file_close(file));
	return NULL;
}

static int reset(void)
{
	char path[128];
	int i, fd;

	snprintf(path, sizeof(path), "/sys/class/nvme/%s/reset_controller", getenv("HOMI_CTRL"));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	/* EBUSY and the like: there is one already. */
	for (i = 0; i < 4; i++) {
		if (write(fd, "1", 1) != 1 && errno == EBADF)
			return 0;
		nap(150);
	}
	*t.told = 1;
	return 1;
}

static const char *under_resets(void)
{
	struct homi_file *file;
	const char *wrong;
	unsigned int n = 0;

	wrong = begin(&file, 7, 0, reset);
	if (wrong)
		return wrong;
	do {
		TAP_MUST(homi_file_pread(file, t.data, SIZE, 0) == SIZE);
		TAP_MUST(version_of(t.data, 0, WORDS) == 7);
		n++;
	} while (!*t.told);
	TAP_MUST(ended_well());
	printf("# %u reads\n", n);
	TAP_MUST(!homi_file_close(file));
	return NULL;
}

/* --- writing --- */

/* Each block is of one version, all are of two that follow each other, and none goes back. */
static int look_at(const uint64_t *words, uint32_t *last)
{
	uint32_t low = UINT32_MAX, high = 0;
	uint64_t i, count = 4096 / sizeof(uint64_t);

	for (i = 0; i < WORDS; i += count) {
		uint32_t version = version_of(words + i, i, count);

		if (version == UINT32_MAX || version < *last)
			return 0;
		low = version < low ? version : low;
		high = version > high ? version : high;
	}
	*last = low;
	return high <= low + 1;
}

/* Once for each version, beside the writing of the next one. */
static int look(void)
{
	uint64_t *words = malloc(SIZE);
	uint32_t last = 1, seen = 0;

	while (words && *t.told != 1) {
		int fd;

		if (*t.seen == seen) {
			nap(1);
			continue;
		}
		seen = *t.seen;
		fd = open(t.path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || pread(fd, words, SIZE, 0) != SIZE || !look_at(words, &last))
			return 0;
		close(fd);
	}
	free(words);
	return last > 1;
}

static const char *writes_beside_a_reader(void)
{
	uint64_t half = SIZE / 2;
	struct homi_file *file;
	uint32_t version;
	int end;

	TAP_MUST(make_file(1) && open_file(&file, HOMI_FILE_WRITE));
	TAP_MUST(homi_file_pwrite(file, t.data, 100, 0) == -EINVAL);
	TAP_MUST(homi_file_pwrite(file, t.data, 4096, SIZE) == -EINVAL);
	TAP_MUST(start(look));
	for (version = 2; version < 2 + ROUNDS; version++) {
		fill(t.data, version);
		TAP_MUST(homi_file_pwrite(file, t.data, half, 0) == (int64_t)half);
		TAP_MUST(homi_file_pwrite(file, t.data + half / 8, half, half) == (int64_t)half);
		memset(t.data, 0, SIZE);
		TAP_MUST(homi_file_pread(file, t.data, SIZE, 0) == SIZE);
		TAP_MUST(version_of(t.data, 0, WORDS) == version);
		*t.seen = version;
	}
	*t.told = 1;
	/* It may wait for the file in its last open. */
	while (!(end = child_end(WNOHANG))) {
		TAP_MUST(!homi_file_give_way(file));
		nap(5);
	}
	TAP_MUST(end == 1);
	TAP_MUST(!homi_file_close(file));
	return NULL;
}

/* While one is waited for, the other one is given to who has the first. */
static int want_the_other(void)
{
	char other[4200];
	int fd = open(t.path, O_RDWR | O_CLOEXEC), second;

	snprintf(other, sizeof(other), "%s.other", t.path);
	if (fd < 0)
		return 0;
	*t.told = 1;
	nap(100);
	second = open(other, O_RDWR | O_CLOEXEC);
	if (second < 0 || !put_version(second, 9) || !put_version(fd, 9))
		return 0;
	close(second);
	close(fd);
	return 1;
}

static const char *two_files(void)
{
	struct homi_file *file, *second;
	char path[4200];

	TAP_MUST(make_file(1));
	snprintf(path, sizeof(path), "%s", t.path);
	TAP_MUST(snprintf(t.path, sizeof(t.path), "%.4000s.other", path) > 0);
	TAP_MUST(make_file(1) && open_file(&second, 0));
	snprintf(t.path, sizeof(t.path), "%.4000s", path);
	TAP_MUST(open_file(&file, 0) && start(want_the_other));
	do {
		TAP_MUST(homi_file_pread(file, t.data, SIZE, 0) == SIZE);
	} while (version_of(t.data, 0, WORDS) != 9);
	TAP_MUST(homi_file_pread(second, t.data, SIZE, 0) == SIZE);
	TAP_MUST(version_of(t.data, 0, WORDS) == 9);
	TAP_MUST(ended_well());
	TAP_MUST(!homi_file_close(second) && !homi_file_close(file));
	return NULL;
}

/* 60 s: longer than anybody waits here, so only giving way lets the other side go on. */
static int set_recall_ms(const char *ms)
{
	int fd = open("/sys/module/homi/parameters/recall_ms", O_WRONLY | O_CLOEXEC), good;

	good = fd >= 0 && write(fd, ms, strlen(ms)) == (ssize_t)strlen(ms);
	close(fd);
	return good;
}

/* On a device of its own, with which all ends that a test which failed has left. */
static const char *run(const char *(*test)(void))
{
	const char *wrong;
	int ret;

	TAP_MUST(!homi_open(&t.dev, getenv("HOMI_CTRL")));
	TAP_MUST(!homi_reader_open(&t.reader, &t.dev, NULL));
	wrong = test();
	if (t.child > 0) {
		kill(t.child, SIGKILL);
		child_end(0);
	}
	ret = homi_reader_close(t.reader);
	homi_close(&t.dev);
	if (wrong)
		return wrong;
	TAP_MUST(!ret);
	return NULL;
}

static void on(const char *mount)
{
	static const struct {
		const char *(*test)(void);
		const char *name;
	} tests[] = {
		{ any_range, "any range" },
		{ empty_file, "a file that is empty at first" },
		{ beside_a_writer, "beside a writer, one version at a time" },
		{ in_order_beside_a_writer, "in order beside a writer" },
		{ not_waited_for, "not waiting" },
		{ gives_way, "gives way while it does nothing" },
		{ under_resets, "under resets" },
		{ two_files, "two files of one reader" },
		{ writes_beside_a_reader, "writes beside a reader" },
	};
	char name[256];
	size_t i;

	snprintf(t.path, sizeof(t.path), "%s/file", mount);
	for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		snprintf(name, sizeof(name), "%s: %s", mount, tests[i].name);
		tap_try(run(tests[i].test), name);
	}
	unlink(t.path);
	snprintf(name, sizeof(name), "%s/file.other", mount);
	unlink(name);
}

int main(void)
{
	const char *ext4 = getenv("HOMI_EXT4"), *xfs = getenv("HOMI_XFS");

	if (!ext4 || !xfs || !getenv("HOMI_CTRL"))
		return 2;
	t.data = malloc(SIZE);
	t.told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t.seen = t.told + 1;
	if (!tap_ok(t.data && t.told != MAP_FAILED && set_recall_ms("60000"), "set up"))
		return tap_end();
	on(ext4);
	on(xfs);
	tap_ok(set_recall_ms("5000"), "recall_ms is what it was");
	return tap_end();
}
