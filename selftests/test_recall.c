// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who has to wait for an EXTENT: each way in which somebody else changes a file, or moves its
 * blocks, recalls first and goes on as soon as the holder has answered. The caller's own
 * descriptors are such ways too: with one that can write nothing is granted.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "harness.h"
#include "held.h"

static void recalled_by(const char *dir, int (*act)(const char *path))
{
	struct waiter waiter;
	struct held h;

	hold(&h, dir, "wanted");
	waiter_start(&waiter, act, h.file.path);
	answer(&h, &waiter);
	let_go(&h);
}

/* --- who wants the file --- */

FS_TEST(open_for_writing)
{
	recalled_by(dir, act_open_write);
}

FS_TEST(truncate_by_path)
{
	recalled_by(dir, act_truncate);
}

FS_TEST(overwrite)
{
	recalled_by(dir, act_overwrite);
}

/* Where the VFS does not wait for a delegation, but tells to try again */
static int until_done(int (*act)(const char *path), const char *path)
{
	uint64_t end = now_ms() + MINUTE_MS;

	while (act(path)) {
		if ((errno != EAGAIN && errno != EWOULDBLOCK) || now_ms() > end)
			return -1;
		nap_ms(5);
	}
	return 0;
}

static int truncate_it(const char *path)
{
	return truncate(path, PAGE);
}

/* Not for writing, so that it has no lease to break. */
static int open_to_truncate(const char *path)
{
	return open(path, O_RDONLY | O_TRUNC | O_CLOEXEC) < 0 ? -1 : 0;
}

static int act_open_to_truncate(const char *path)
{
	return until_done(open_to_truncate, path);
}

FS_TEST(truncating_open)
{
	recalled_by(dir, act_open_to_truncate);
}

static int change(const char *path, int mode)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -1 : fallocate(fd, mode, 8 * PAGE, 8 * PAGE);
}

static int act_punch(const char *path)
{
	return change(path, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

FS_TEST(punch)
{
	recalled_by(dir, act_punch);
}

static int act_collapse(const char *path)
{
	return change(path, FALLOC_FL_COLLAPSE_RANGE);
}

FS_TEST(collapse)
{
	recalled_by(dir, act_collapse);
}

static int act_insert(const char *path)
{
	return change(path, FALLOC_FL_INSERT_RANGE);
}

FS_TEST(insert)
{
	recalled_by(dir, act_insert);
}

static int act_zero(const char *path)
{
	return change(path, FALLOC_FL_ZERO_RANGE);
}

FS_TEST(zero)
{
	recalled_by(dir, act_zero);
}

static int act_map(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *map;

	if (fd < 0)
		return -1;
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -1;
	map[1] ^= 1;
	return 0;
}

FS_TEST(map_for_writing)
{
	recalled_by(dir, act_map);
}

/* Whoever has a descriptor that can't write has to open the file once more. */
static int act_reopen(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char again[64];

	snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
	return open(again, O_RDWR | O_CLOEXEC) < 0 ? -1 : 0;
}

FS_TEST(reopen_by_proc)
{
	recalled_by(dir, act_reopen);
}

/* The file keeps its blocks when it loses its name; the VFS recalls a delegation all the same. */
FS_TEST(unlinked)
{
	recalled_by(dir, act_unlink);
}

static int act_rename_over(const char *path)
{
	char other[300];
	int fd;

	snprintf(other, sizeof(other), "%s.new", path);
	fd = open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	return fd < 0 ? -1 : rename(other, path);
}

FS_TEST(renamed_over)
{
	recalled_by(dir, act_rename_over);
}

/* --- other people's tools --- */

static int run_tool(const char *tool, const char *path)
{
	int status = shell("%s %s >/tmp/homi-tool 2>&1", tool, path);

	if (status)
		shell("sed 's/^/# /' /tmp/homi-tool");
	errno = EIO;
	return status ? -1 : 0;
}

static int act_defrag(const char *path)
{
	return run_tool("e4defrag", path);
}

TEST(e4defrag)
{
	recalled_by(need_fs("ext4"), act_defrag);
}

static int act_fsr(const char *path)
{
	return run_tool("xfs_fsr -v", path);
}

TEST(xfs_fsr)
{
	recalled_by(need_fs("xfs"), act_fsr);
}

/* --- one file's blocks into another one --- */

static struct file source;

static int act_clone(const char *path)
{
	int from, to;

	from = open(source.path, O_RDONLY | O_CLOEXEC);
	to = open(path, O_WRONLY | O_CLOEXEC);
	return from < 0 || to < 0 ? -1 : ioctl(to, FICLONE, from);
}

static int act_dedupe(const char *path)
{
	struct file_dedupe_range *r = calloc(1, sizeof(*r) + sizeof(r->info[0]));
	int from, to;

	from = open(source.path, O_RDONLY | O_CLOEXEC);
	to = open(path, O_RDONLY | O_CLOEXEC);
	if (!r || from < 0 || to < 0)
		return -1;
	r->src_length = PAGES * PAGE;
	r->dest_count = 1;
	r->info[0].dest_fd = to;
	if (ioctl(from, FIDEDUPERANGE, r))
		return -1;
	errno = -r->info[0].status;
	return r->info[0].status == FILE_DEDUPE_RANGE_SAME ? 0 : -1;
}

static void recalled_with_source(int (*act)(const char *path))
{
	const char *dir = need_fs("xfs");
	struct fiemap *map, *from;
	struct waiter waiter;
	struct held h;

	hold(&h, dir, "wanted");
	file_create(&source, dir, "source", PAGES * PAGE, 61);
	waiter_start(&waiter, act, h.file.path);
	answer(&h, &waiter);
	/* It really took place: they share their blocks. */
	map = file_fiemap(h.file.fd);
	from = file_fiemap(source.fd);
	ASSERT_EQ(fiemap_lookup(from, 0), fiemap_lookup(map, 0));
	free(map);
	free(from);
	file_remove(&source);
	let_go(&h);
}

TEST(reflink)
{
	recalled_with_source(act_clone);
}

/* By the owner, through a descriptor that is open for reading */
TEST(dedupe)
{
	recalled_with_source(act_dedupe);
}

/* --- overlayfs above it --- */

static char merged[300];

static int act_overlay_write(const char *path)
{
	(void)path;
	return act_open_write(merged);
}

static int act_overlay_truncate(const char *path)
{
	(void)path;
	return until_done(truncate_it, merged);
}

static void recalled_through_overlay(const char *dir, int (*act)(const char *path))
{
	const char *point = private_mount_point();
	char upper[300], options[1100];
	struct waiter waiter;
	struct held h;

	snprintf(upper, sizeof(upper), "%s/overlay.%d", dir, getpid());
	ASSERT(!shell("mkdir -p %s/up %s/work %s/low", upper, upper, upper));
	snprintf(options, sizeof(options), "lowerdir=%s/low,upperdir=%s/up,workdir=%s/work", upper,
		 upper, upper);
	if (mount("homi", point, "overlay", 0, options)) {
		shell("rm -rf %s", upper);
		SKIP("mount of overlayfs: %s", strerror(errno));
	}
	snprintf(options, sizeof(options), "%s/up", upper);
	hold(&h, options, "wanted");
	snprintf(merged, sizeof(merged), "%s/%s", point, base_name(h.file.path));
	waiter_start(&waiter, act, h.file.path);
	answer(&h, &waiter);
	let_go(&h);
	ASSERT(!umount(point));
	ASSERT(!shell("rm -rf %s", upper));
}

FS_TEST(overlay_write)
{
	recalled_through_overlay(dir, act_overlay_write);
}

FS_TEST(overlay_truncate)
{
	recalled_through_overlay(dir, act_overlay_truncate);
}

/* --- what moves nothing --- */

static int act_none(const char *path)
{
	(void)path;
	return 0;
}

static int act_journal_data(const char *path)
{
	return run_tool("chattr +j", path);
}

static int act_move_metadata(const char *path)
{
	return run_tool("chattr -e", path);
}

/*
 * Through a descriptor that only reads: what is there stays where it is, and who writes to it
 * differently afterwards has to open it for that.
 */
static void stays_true(const char *dir, int (*act)(const char *path))
{
	struct fiemap *map;
	struct waiter waiter;
	struct stat st;
	struct held h;
	unsigned int i;

	hold(&h, dir, "stays");
	waiter_start(&waiter, act, h.file.path);
	if (waiter_end(&waiter, 20000, NULL))
		printf("# not done by this file system\n");
	map = file_fiemap(h.file.fd);
	ASSERT(!fstat(h.file.fd, &st));
	for (i = 0; i < PAGES; i++)
		ASSERT_EQ(fiemap_lookup(map, i * PAGE) + part_start(st.st_dev),
			  table_lookup(&h.table, i * PAGE));
	free(map);
	if (h.table.t->state == HOMI_EXTENT_VALID) {
		waiter_start(&waiter, act_open_write, h.file.path);
		answer(&h, &waiter);
	}
	let_go(&h);
}

TEST(data_journal)
{
	stays_true(need_fs("ext4"), act_journal_data);
}

TEST(without_extents)
{
	stays_true(need_fs("ext4"), act_move_metadata);
}

FS_TEST(nothing)
{
	stays_true(dir, act_none);
}

/* --- who answers, and has it again --- */

/* As slow as can be: who has the processor has all of it. */
static void on_processor(int priority)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	ASSERT(!sched_setaffinity(0, sizeof(first), &first));
	ASSERT(!setpriority(PRIO_PROCESS, 0, priority));
}

static void spin(void)
{
	on_processor(0);
	for (;;)
		;
}

static int act_chmod_slowly(const char *path)
{
	on_processor(19);
	return chmod(path, 0640);
}

/* The answer, and the next EXTENT of the same file, as soon as that can be */
static void have_again(struct held *h)
{
	struct table before = h->table;
	int err;

	ASSERT_EQ(0, extent_ack(&before, before.t->generation));
	do {
		err = table_resolve(&h->table, h->fd, h->file.fd, 0, 0);
	} while (err == -EAGAIN);
	ASSERT_EQ(0, err);
	h->table.t = mmap(NULL, h->table.r.out_mmap_length, PROT_READ, MAP_SHARED, h->fd,
			  h->table.r.out_mmap_offset);
	ASSERT(h->table.t != MAP_FAILED);
	ASSERT_EQ(0, table_close(&before));
}

/*
 * Who waits for a delegation tells those that have one when he comes. One that is there before
 * he has seen the last of these go is told too, and each time until he is through.
 */
FS_TEST_TIMEOUT(had_again, 120)
{
	unsigned int told = 0, i;
	struct waiter waiter;
	struct held h;
	pid_t spinner;

	hold(&h, dir, "again");
	spinner = child_start(spin);
	for (i = 0; i < times(20, 5); i++) {
		waiter_start(&waiter, act_chmod_slowly, h.file.path);
		wait_recalled(&h.table);
		have_again(&h);
		while (waiter_waits(&waiter, 20)) {
			ASSERT(now_ms() - waiter.begin < 20000 * patience());
			if (h.table.t->state != HOMI_EXTENT_RECALLED)
				continue;
			told++;
			have_again(&h);
		}
		ASSERT_EQ(0, waiter_end(&waiter, 0, NULL));
		/* He was done before he was seen to wait, or not. */
		if (h.table.t->state == HOMI_EXTENT_RECALLED)
			have_again(&h);
	}
	printf("# %u times told once more\n", told);
	kill(spinner, SIGKILL);
	ASSERT_EQ(128 + SIGKILL, child_status(spinner));
	let_go(&h);
}

/* --- one's own descriptors --- */

static void refused(int fd, int file)
{
	struct homi_extent_resolve r;

	ASSERT_EQ(-EAGAIN, extent_resolve(fd, file, 0, 0, &r));
	ASSERT_EQ(HOMI_REASON_WRITER, r.out_reason);
}

FS_TEST(own_descriptor)
{
	int fd = homi_open(), writer, twin;
	struct table table;
	struct file file;
	char *map;

	file_create(&file, dir, "own", 4 * PAGE, 62);
	writer = open(file.path, O_RDWR | O_CLOEXEC);
	ASSERT(writer >= 0);
	refused(fd, file.fd);
	refused(fd, writer);
	twin = dup(writer);
	close(writer);
	refused(fd, file.fd);
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, twin, 0);
	ASSERT(map != MAP_FAILED);
	close(twin);
	/* The mapping holds it open. */
	refused(fd, file.fd);
	ASSERT(!munmap(map, PAGE));
	table_open(&table, fd, file.fd, 0, 0);
	/* What does not write may stay. */
	ASSERT(ftruncate(file.fd, 0) && errno == EINVAL);
	ASSERT(fallocate(file.fd, 0, 0, PAGE) && errno == EBADF);
	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file.fd, 0);
	ASSERT(map != MAP_FAILED);
	ASSERT(mprotect(map, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES);
	ASSERT_EQ(HOMI_EXTENT_VALID, table.t->state);
	ASSERT_EQ(0, table_close(&table));
	munmap(map, PAGE);
	file_remove(&file);
}
