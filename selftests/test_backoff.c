// SPDX-License-Identifier: GPL-2.0-only
/*
 * READs by where a file lies take leases, of which anybody who may read it can have as many as he
 * likes, again and again. Who wants the file gets it all the same: what is counted here is how
 * often he has to try, and how many READs are done until he has it.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "harness.h"
#include "peer.h"

/* In flight all the time */
#define READS		32u
/* Opens that are to succeed, and tries that may fail in all */
#define OPENS		40u
#define REFUSED		20u
/* That may be done while somebody waits once */
#define READS_MOST	(1000 * READS)

/* Of the child's; shared with it */
static struct {
	atomic_ulong good, refused;
} *reads;
static pid_t reader;

/* Each second one of a FILE of its own, which keeps its lease; the others take one each time. */
static void post_one(const uint32_t *files, uint64_t which)
{
	struct rw_target one = t;
	struct homi_uring_rw rw;

	one.file = which % 2 ? files[which] : (uint32_t)file.fd;
	one.flags |= which % 2 ? 0 : HOMI_RW_FD;
	rw = rw_make(&one, which * PAGE, which * PAGE, PAGE);
	rw_post(&ring, t.fd, false, &rw, which);
}

static void read_on(void)
{
	uint32_t files[READS];
	uint64_t which;
	int res;

	begin_peer(NULL, 0);
	file.fd = open(file.path, O_RDONLY);
	for (which = 0; which < READS; which++) {
		ASSERT_EQ(0, file_register(t.fd, file.fd, &files[which], NULL));
		post_one(files, which);
	}
	for (;;) {
		io_uring_submit(&ring);
		res = uring_reap(&ring, &which);
		if (res == PAGE) {
			atomic_fetch_add(&reads->good, 1);
		} else {
			ASSERT_EQ(-EAGAIN, res);
			atomic_fetch_add(&reads->refused, 1);
			nap_ms(1);
		}
		post_one(files, which);
	}
}

static unsigned long done(void)
{
	return atomic_load(&reads->good) + atomic_load(&reads->refused);
}

/* Until those that are in flight now are over, and others were begun */
static void let_them_read(void)
{
	unsigned long before = done();
	int status;

	while (done() - before < 2 * READS) {
		nap_ms(1);
		ASSERT_EQ(0, waitpid(reader, &status, WNOHANG));
	}
}

static void begin_reads(const char *dir)
{
	reads = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(reads != MAP_FAILED);
	file_create(&file, dir, "backoff", SIZE, 1);
	reader = child_start(read_on);
	let_them_read();
	ASSERT(atomic_load(&reads->good));
}

static void end_reads(void)
{
	let_them_read();
	kill(reader, SIGKILL);
	ASSERT_EQ(128 + SIGKILL, child_status(reader));
	/* Beside leases, where that can be done, they go on. */
	if (goes_beside())
		ASSERT_EQ(0, atomic_load(&reads->refused));
	munmap(reads, PAGE);
}

/* He waits for a delegation, and looks again when it is gone; some times. */
static void gets_through(const char *dir, int (*act)(const char *path))
{
	unsigned long before, most = 0;
	struct waiter waiter;
	unsigned int i;

	begin_reads(dir);
	for (i = 0; i < times(5, 5); i++) {
		before = atomic_load(&reads->good);
		waiter_start(&waiter, act, file.path);
		while (waiter_waits(&waiter, 20))
			ASSERT(atomic_load(&reads->good) - before < READS_MOST);
		ASSERT_EQ(0, waiter_end(&waiter, 1000, NULL));
		before = atomic_load(&reads->good) - before;
		most = before > most ? before : most;
		let_them_read();
	}
	printf("# at most %lu reads meanwhile\n", most);
	end_reads();
	file_remove(&file);
}

static int act_chmod(const char *path)
{
	return chmod(path, 0640);
}

static int act_chown(const char *path)
{
	return chown(path, 1000, 1000);
}

static int act_utimes(const char *path)
{
	return utimensat(AT_FDCWD, path, NULL, 0);
}

static int act_setxattr(const char *path)
{
	return setxattr(path, "user.homi", "x", 1, 0);
}

static int act_rename(const char *path)
{
	char other[300];

	snprintf(other, sizeof(other), "%s.other", path);
	return rename(path, other) || rename(other, path);
}

/* A second name, so that the first one can go, some times */
static int act_link_unlink(const char *path)
{
	char other[300];

	snprintf(other, sizeof(other), "%s.other", path);
	return link(path, other) || unlink(other);
}

FS_TEST(mode)
{
	gets_through(dir, act_chmod);
}

FS_TEST(owner)
{
	gets_through(dir, act_chown);
}

FS_TEST(times)
{
	gets_through(dir, act_utimes);
}

FS_TEST(attributes)
{
	gets_through(dir, act_setxattr);
}

FS_TEST(name)
{
	gets_through(dir, act_rename);
}

FS_TEST(unlinked)
{
	gets_through(dir, act_link_unlink);
}

/* He is told to come again, which he does when whoever read then has had the time to end it. */
FS_TEST_TIMEOUT(opened_without_waiting, 120)
{
	unsigned int opened = 0, refused = 0;

	begin_reads(dir);
	while (opened < OPENS) {
		int fd = open(file.path, O_WRONLY | O_NONBLOCK);

		if (fd >= 0) {
			opened++;
			close(fd);
		} else {
			ASSERT_EQ(EWOULDBLOCK, errno);
			ASSERT(++refused < REFUSED);
		}
		let_them_read();
	}
	printf("# %u times opened, %u refused\n", opened, refused);
	end_reads();
	file_remove(&file);
}

static bool is_leased(void)
{
	unsigned long inode;
	FILE *locks = fopen("/proc/locks", "r");
	char line[256], kind[16];
	struct stat st;
	bool found = false;

	ASSERT(locks && !fstat(file.fd, &st));
	while (fgets(line, sizeof(line), locks))
		if (sscanf(line, "%*d: %15s %*s %*s %*d %*x:%*x:%lu", kind, &inode) == 2 &&
		    !strcmp(kind, "DELEG") && inode == st.st_ino)
			found = true;
	fclose(locks);
	return found;
}

/* It is for a while only. */
FS_TEST(leased_again)
{
	unsigned int beside = 0;
	int res;

	begin_peer(dir, 0);
	check_one(0, 0, SIZE);
	ASSERT(is_leased());
	ASSERT(!chmod(file.path, 0600));
	ASSERT(!is_leased());
	do {
		res = rw_do(&ring, &t, false, 0, 0, SIZE);
		if (res != -EAGAIN || goes_beside())
			ASSERT_EQ(SIZE, res);
		if (!is_leased())
			beside++;
		nap_ms(20);
	} while (!is_leased());
	check_one(0, 0, SIZE);
	printf("# %u reads without a lease before\n", beside);
	file_remove(&file);
}

/* Who opens it for writing, and waits for that, keeps leases away by that, and no longer. */
FS_TEST(not_after_who_writes)
{
	struct waiter waiter;

	begin_peer(dir, 0);
	check_one(0, 0, SIZE);
	ASSERT(is_leased());
	waiter_start(&waiter, act_open_write, file.path);
	ASSERT_EQ(0, waiter_end(&waiter, 10000, NULL));
	check_one(0, 0, SIZE);
	ASSERT(is_leased());
	file_remove(&file);
}
