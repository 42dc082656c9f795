// SPDX-License-Identifier: GPL-2.0-only
/* RESOLVE_SET: many files by one call, in one mapping. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "compare.h"
#include "harness.h"
#include "held.h"

#define FILES	42u
#define EXTRA	24u

static struct {
	int fd, dir;
	char path[256];			/* of the directory */
	char *names[FILES + EXTRA];
	unsigned int count;
	struct homi_resolve_set r;
	const struct homi_extent_set *set;
} fx;

static const char *below(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", fx.path, name);
	return path;
}

static void add(const char *name)
{
	ASSERT(fx.count < ARRAY_SIZE(fx.names));
	fx.names[fx.count++] = strdup(name);
}

/* More extents than are asked for at first */
static void make_sparse(const char *path)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);
	char page[PAGE];
	unsigned int i;

	fill_random(page, PAGE, 1);
	ASSERT(file >= 0);
	for (i = 40; i < 80; i += 2)
		ASSERT_EQ(PAGE, pwrite(file, page, PAGE, i * PAGE));
	close(file);
}

/* Of different sizes, with few extents or many, some after another in one directory */
static void make_files(const char *dir)
{
	static const char *const below_it[] = { "", "aa/", "bb/" };
	struct file file;
	char name[32];
	unsigned int i;

	fx.fd = homi_open();
	fx.count = 0;
	snprintf(fx.path, sizeof(fx.path), "%s/set.%d", dir, getpid());
	ASSERT(!mkdir(fx.path, 0755));
	ASSERT(!mkdir(below("aa"), 0755));
	ASSERT(!mkdir(below("bb"), 0755));
	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%sf%u", below_it[i / 4 % 3], i);
		file_create(&file, fx.path, name, 1 + i * 777, i);
		if (i % 5 == 4)
			make_sparse(file.path);
		close(file.fd);
		ASSERT(!rename(file.path, below(name)));
		add(name);
	}
	fx.dir = open(fx.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT(fx.dir >= 0);
}

static void remove_files(void)
{
	close(fx.dir);
	ASSERT(!shell("rm -rf %s", fx.path));
	close(fx.fd);
}

static int call(void)
{
	size_t length = 0, at = 0;
	static char *names;	/* as the call got them */
	unsigned int i;

	for (i = 0; i < fx.count; i++)
		length += strlen(fx.names[i]) + 1;
	names = realloc(names, length);
	ASSERT(names);
	for (i = 0; i < fx.count; i++)
		at += sprintf(names + at, "%s", fx.names[i]) + 1;
	fx.r = (struct homi_resolve_set){
		.size = sizeof(fx.r), .dirfd = fx.dir, .count = fx.count,
		.names = (uintptr_t)names, .names_length = length,
	};
	return homi_call(fx.fd, HOMI_RESOLVE_SET, &fx.r);
}

static void resolve(void)
{
	ASSERT_EQ(0, call());
	fx.set = mmap(NULL, fx.r.out_mmap_length, PROT_READ, MAP_SHARED, fx.fd,
		      fx.r.out_mmap_offset);
	ASSERT(fx.set != MAP_FAILED);
	ASSERT_EQ(fx.count, fx.set->count);
	ASSERT_EQ(fx.r.out_resolved, fx.set->resolved);
}

/* As if it were an EXTENT of its own */
static struct table member(unsigned int i)
{
	const struct homi_set_entry *entry = &fx.set->entries[i];
	struct table table = { .fd = fx.fd };

	ASSERT_EQ(0, entry->error);
	ASSERT(entry->extent_id);
	ASSERT_EQ(0, entry->table % 64);
	ASSERT(entry->table < fx.r.out_mmap_length);
	table.t = (const void *)((const char *)fx.set + entry->table);
	table.r.out_extent_id = entry->extent_id;
	table.r.out_nsid = table.t->nsid;
	table.r.out_count = table.t->count;
	table.r.out_block_size = table.t->block_size;
	table.r.out_mmap_length = fx.r.out_mmap_length - entry->table;
	return table;
}

static void expect_error(unsigned int i, unsigned int error, uint32_t reason)
{
	const struct homi_set_entry *entry = &fx.set->entries[i];

	ASSERT_EQ(error, entry->error);
	ASSERT_EQ(reason, entry->reason);
	ASSERT_EQ(0, entry->table);
	ASSERT_EQ(0, entry->extent_id);
}

static void check_member(unsigned int i)
{
	int file = openat(fx.dir, fx.names[i], O_RDONLY | O_CLOEXEC);
	struct table table = member(i);
	struct stat st;

	ASSERT(file >= 0 && !fstat(file, &st));
	table_check(&table, 0, st.st_size);
	ASSERT_EQ(st.st_size, table.t->file_size);
	compare_fiemap(&table, file, 0, st.st_size);
	compare_blocks(&table, file, NULL, NULL, NULL);
	close(file);
}

static void nobody_is_held_up(void)
{
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		int file = openat(fx.dir, fx.names[i], O_WRONLY | O_NONBLOCK | O_CLOEXEC);

		ASSERT(file >= 0);
		close(file);
	}
}

/* Each file is what EXTENT_RESOLVE says; who can't be had does not spoil the others. */
FS_TEST(tree)
{
	unsigned int i;
	int writer;

	make_files(dir);
	add("not there");
	add("aa");
	add("empty");
	ASSERT(!shell("touch %s", below("empty")));
	writer = openat(fx.dir, fx.names[7], O_WRONLY | O_CLOEXEC);
	ASSERT(writer >= 0);
	resolve();
	ASSERT_EQ(FILES - 1, fx.r.out_resolved);
	for (i = 0; i < FILES; i++)
		if (i != 7)
			check_member(i);
	expect_error(7, EAGAIN, HOMI_REASON_WRITER);
	expect_error(FILES, ENOENT, 0);
	expect_error(FILES + 1, EOPNOTSUPP, HOMI_REASON_FILE_TYPE);
	expect_error(FILES + 2, EINVAL, 0);
	close(writer);
	ASSERT_EQ(0, destroy(fx.fd, fx.r.out_set_id));
	ASSERT_EQ(-ENOENT, destroy(fx.fd, fx.r.out_set_id));
	ASSERT_EQ(SIGBUS, fault_of((void *)fx.set, false));
	nobody_is_held_up();
	munmap((void *)fx.set, fx.r.out_mmap_length);
	remove_files();
}

/* What is found is file @same of the others, or nothing and @error says why. */
static const struct {
	const char *name;
	int same;
	unsigned int error, reason;
} looks[] = {
	{ "./f0", 0 },
	{ "aa//f6", 6 },
	{ "/aa/f5", 5 },
	{ "aa/../bb/f8", 8 },
	{ "cc/f9", -1, ENOENT },
	{ "bb/f10", 10 },
	{ "a link", 7 },
	{ "a link up", -1, ENOENT },
	{ "../../../../../../../../../etc/passwd", -1, ENOENT },
	{ "proc/self/root/etc/passwd", -1, EXDEV },
	{ "proc/self/status", -1, EOPNOTSUPP, HOMI_REASON_FS },
	{ "aa/.", -1, EOPNOTSUPP, HOMI_REASON_FILE_TYPE },
	{ "f0/", -1, ENOTDIR },
	{ "f0/x", -1, ENOTDIR },
	{ "", -1, ENOENT },
	{ "f1", 2 },
};

/* Names lead where open() below a root directory would lead, and no further. */
FS_TEST(names)
{
	char deep[5000], longest[300];
	unsigned int i;

	make_files(dir);
	private_mount_point();
	/* What is mounted below it by now is seen from there. */
	close(fx.dir);
	fx.dir = open(fx.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT(!symlink("/aa/f7", below("a link")));
	ASSERT(!symlink("../../../../../../../etc/passwd", below("a link up")));
	ASSERT(!mkdir(below("proc"), 0755));
	ASSERT(!shell("mount -t proc proc %s", below("proc")));
	ASSERT(!shell("cd %s && mount --bind f2 f1", fx.path));
	for (i = 0; i < ARRAY_SIZE(looks); i++)
		add(looks[i].name);
	memset(longest, 'x', sizeof(longest));
	longest[256] = '\0';
	add(longest);
	longest[255] = '\0';
	add(longest);
	for (i = 0; i < sizeof(deep) - 1; i += 2)
		memcpy(deep + i, "./", 2);
	strcpy(deep + 4094, "f0");
	add(deep);
	strcpy(deep + 4092, "/f0");
	add(deep);
	resolve();
	for (i = 0; i < ARRAY_SIZE(looks); i++) {
		if (looks[i].same < 0)
			expect_error(FILES + i, looks[i].error, looks[i].reason);
		else
			ASSERT_EQ(looks[i].same * 777 + 1, member(FILES + i).t->file_size);
	}
	expect_error(FILES + i, ENAMETOOLONG, 0);
	expect_error(FILES + i + 1, ENOENT, 0);
	expect_error(FILES + i + 2, ENAMETOOLONG, 0);
	ASSERT_EQ(1, member(FILES + i + 3).t->file_size);
	ASSERT_EQ(0, destroy(fx.fd, fx.r.out_set_id));
	ASSERT(!shell("umount %s", below("proc")));
	ASSERT(!shell("umount %s", below("f1")));
	remove_files();
}

/* A recall is of one file; the others go on. */
FS_TEST(recall)
{
	int event = eventfd(0, EFD_CLOEXEC);
	struct waiter waiter;
	struct table table;
	unsigned int i;

	make_files(dir);
	set_recall_ms(MINUTE_MS);
	resolve();
	ASSERT_EQ(FILES, fx.r.out_resolved);
	ASSERT_EQ(0, event_bind(fx.fd, fx.r.out_set_id, event));
	ASSERT_EQ(0, event_wait(event, 50));
	waiter_start(&waiter, act_open_write, below(fx.names[3]));
	ASSERT_EQ(1, event_wait(event, 20000));
	ASSERT_EQ(1, fx.set->changes);
	table = member(3);
	wait_recalled(&table);
	for (i = 0; i < FILES; i++)
		if (i != 3)
			ASSERT_EQ(HOMI_EXTENT_VALID, member(i).t->state);
	ASSERT(waiter_waits(&waiter, 100));
	ASSERT_EQ(POLLPRI, poll_fd(fx.fd, POLLPRI, 0));
	ASSERT_EQ(-ENOENT, extent_ack(&(struct table){ .fd = fx.fd,
				.r.out_extent_id = fx.r.out_set_id }, 1));
	ASSERT_EQ(0, extent_ack(&table, table.t->generation));
	ASSERT_EQ(0, waiter_end(&waiter, MINUTE_MS / 2, NULL));
	ASSERT_EQ(HOMI_EXTENT_ACKED, table.t->state);
	/* One that ends by itself */
	waiter_start(&waiter, act_open_write, below(fx.names[4]));
	table = member(4);
	wait_recalled(&table);
	ASSERT_EQ(0, destroy(fx.fd, table.r.out_extent_id));
	ASSERT_EQ(0, waiter_end(&waiter, MINUTE_MS / 2, NULL));
	/* told at once to who comes late */
	ASSERT_EQ(0, event_bind(fx.fd, fx.r.out_set_id, event));
	ASSERT(event_wait(event, 20000) > 0);
	/* One that is destroyed with the set, unanswered */
	waiter_start(&waiter, act_open_write, below(fx.names[6]));
	table = member(6);
	wait_recalled(&table);
	table = member(5);
	ASSERT_EQ(0, destroy(fx.fd, fx.r.out_set_id));
	ASSERT_EQ(-ENOENT, destroy(fx.fd, table.r.out_extent_id));
	ASSERT_EQ(0, waiter_end(&waiter, MINUTE_MS / 2, NULL));
	nobody_is_held_up();
	remove_files();
}

/* Nobody answers: the queues are deleted, and only that file is not true any more. */
FS_TEST(without_answer)
{
	struct waiter waiter;
	struct ring ring;

	make_files(dir);
	need_queues(fx.fd, 1);
	set_recall_ms(200);
	ring_open(&ring, fx.fd, 4);
	resolve();
	waiter_start(&waiter, act_open_write, below(fx.names[8]));
	ASSERT_EQ(0, waiter_end(&waiter, 20000, NULL));
	ASSERT_EQ(HOMI_EXTENT_REVOKED, member(8).t->state);
	ASSERT_EQ(HOMI_EXTENT_VALID, member(9).t->state);
	ASSERT_EQ(HOMI_QUEUE_REVOKED, queue_info(fx.fd, ring.q.out_queue_id).out_state);
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, destroy(fx.fd, fx.r.out_set_id));
	remove_files();
}

/* Closed with all of it there, mapped or not */
FS_TEST(closed)
{
	make_files(dir);
	resolve();
	ASSERT_EQ(0, call());
	close(fx.fd);
	ASSERT_EQ(HOMI_EXTENT_VALID, member(0).t->state);
	munmap((void *)fx.set, fx.r.out_mmap_length);
	nobody_is_held_up();
	fx.fd = homi_open();
	remove_files();
}

static void hold_and_wait(void)
{
	fx.fd = homi_open();
	for (;;)
		ASSERT_EQ(0, call());
}

/* In the middle of the call, or between two */
FS_TEST_TIMEOUT(killed, 60)
{
	unsigned int i;

	make_files(dir);
	for (i = 0; i < times(40, 6); i++) {
		pid_t pid = child_start(hold_and_wait);

		nap_ms(i * 7 % 60);
		ASSERT(!kill(pid, SIGKILL));
		ASSERT_EQ(128 + SIGKILL, child_status(pid));
		set_recall_ms(MINUTE_MS);
		nobody_is_held_up();
	}
	remove_files();
}

static void as_nobody(void)
{
	become_nobody();
	ASSERT_EQ(0, call());
	ASSERT_EQ(0, fx.r.out_resolved);
	resolve();
	expect_error(0, EACCES, 0);
	expect_error(2, EACCES, 0);
}

static void as_owner(void)
{
	become_nobody();
	ASSERT_EQ(0, call());
	ASSERT_EQ(1, fx.r.out_resolved);
	resolve();
	expect_error(0, EPERM, 0);
	expect_error(1, EACCES, 0);
	ASSERT_EQ(HOMI_EXTENT_VALID, member(2).t->state);
}

/* Each file by the rules of its own */
FS_TEST(permissions)
{
	make_files(dir);
	fx.count = 3;
	ASSERT(!chmod(below(fx.names[1]), 0600));
	ASSERT(!chmod(below(fx.names[0]), 0644));
	ASSERT(!chown(below(fx.names[2]), NOBODY, NOBODY));
	ASSERT_EQ(0, child_status(child_start(as_owner)));
	/* Its owner can't look it up: not in this directory. */
	ASSERT(!chmod(fx.path, 0700));
	ASSERT_EQ(0, child_status(child_start(as_nobody)));
	fx.count = FILES;
	remove_files();
}

FS_TEST(bad_calls)
{
	struct homi_resolve_set good, bad;
	int file;

	make_files(dir);
	ASSERT_EQ(0, call());
	ASSERT_EQ(0, destroy(fx.fd, fx.r.out_set_id));
	good = fx.r;
#define BAD(error, ...)							\
	do {								\
		bad = good;						\
		__VA_ARGS__;						\
		ASSERT_EQ(-(error), homi_call(fx.fd, HOMI_RESOLVE_SET, &bad)); \
	} while (0)
	BAD(EINVAL, bad.flags = 1);
	BAD(EINVAL, bad.count = 0);
	BAD(EINVAL, bad.count--);
	BAD(EINVAL, bad.count++);
	BAD(EINVAL, bad.count = ~0u);
	BAD(EINVAL, bad.names_length--);
	BAD(EINVAL, bad.names_length = 0);
	BAD(EINVAL, bad.names_length = 1ull << 62);
	BAD(EFAULT, bad.names = 8);
	BAD(EBADF, bad.dirfd = -1);
	file = openat(fx.dir, fx.names[0], O_RDONLY | O_CLOEXEC);
	BAD(ENOTDIR, bad.dirfd = file);
	close(file);
	/* by its name alone */
	close(fx.dir);
	fx.dir = open(fx.path, O_PATH | O_CLOEXEC);
	resolve();
	ASSERT_EQ(FILES, fx.r.out_resolved);
	ASSERT_EQ(0, destroy(fx.fd, fx.r.out_set_id));
	close(fx.dir);
	fx.dir = open(fx.path, O_RDONLY | O_CLOEXEC);
	remove_files();
}
