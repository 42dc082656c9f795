// SPDX-License-Identifier: GPL-2.0-only
/* What EXTENT_RESOLVE refuses to lend to somebody who would write to it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "harness.h"
#include "inplace.h"

static void again(int fd, const char *path, uint32_t reason)
{
	struct homi_extent_resolve r;
	int err = resolve_path(fd, path, &r);

	if (err != -EAGAIN || r.out_reason != reason)
		FAIL("error %d reason %u, not EAGAIN reason %u", err, r.out_reason, reason);
}

static void refused(int fd, int file, uint64_t length, uint32_t reason)
{
	struct homi_extent_resolve r;
	int err = resolve_to_write(fd, file, 0, length, &r);

	if (err != -EOPNOTSUPP || r.out_reason != reason)
		FAIL("error %d reason %u, not EOPNOTSUPP reason %u", err, r.out_reason, reason);
}

FS_TEST(open_elsewhere)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
	struct homi_extent_resolve r;
	int fd = homi_open(), file;
	struct file victim;
	unsigned int i;
	void *va;

	file_to_write(&victim, dir, "open");
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		file = open(victim.path, modes[i] | O_CLOEXEC);
		ASSERT_EQ(-EBADF, resolve_to_write(fd, file, 0, 0, &r));
		again(fd, victim.path, HOMI_REASON_OPEN);
		va = mmap(NULL, PAGE, modes[i] == O_RDWR ? PROT_WRITE : PROT_READ, MAP_SHARED,
			  file, 0);
		close(file);
		if (va == MAP_FAILED)
			continue;
		again(fd, victim.path, HOMI_REASON_OPEN);
		munmap(va, PAGE);
	}
	ASSERT_EQ(0, resolve_path(fd, victim.path, &r));
	ASSERT_EQ(0, destroy(fd, r.out_extent_id));
	file_remove(&victim);
}

FS_TEST(executed)
{
	struct homi_extent_resolve r;
	int fd = homi_open(), status, err;
	uint64_t end = now_ms() + 30000;
	char path[256];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/sleep.%d", dir, getpid());
	ASSERT(!shell("cp /bin/sleep %s && sync %s", path, path));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		syscall(SYS_close_range, 3, ~0U, 0);
		/* Not while we have it: a file that is written to is not executed. */
		do
			execl(path, "sleep", "60", NULL);
		while (errno == ETXTBSY);
		_exit(1);
	}
	/* From its exec on, for which it gets the time in between. */
	while (resolve_path(fd, path, &r) != -EAGAIN) {
		ASSERT_EQ(0, destroy(fd, r.out_extent_id));
		ASSERT(now_ms() < end);
		nap_ms(10);
	}
	ASSERT_EQ(HOMI_REASON_OPEN, r.out_reason);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	/* Who waits for a process does not wait for the last of what it had open. */
	while ((err = resolve_path(fd, path, &r)) == -EAGAIN) {
		ASSERT(now_ms() < end);
		nap_ms(10);
	}
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, destroy(fd, r.out_extent_id));
	ASSERT(!unlink(path));
}

/* What is not there can't be written in place. */
FS_TEST(holes)
{
	struct homi_extent_resolve r;
	int fd = homi_open(), file, named;
	struct file victim;

	file_to_write(&victim, dir, "holes");
	named = open(victim.path, O_PATH | O_CLOEXEC);
	file = open(victim.path, O_WRONLY | O_CLOEXEC);
	ASSERT(!ftruncate(file, SIZE + 4 * PAGE));
	close(file);
	refused(fd, named, 0, HOMI_REASON_HOLE);
	ASSERT_EQ(0, resolve_to_write(fd, named, 0, SIZE, &r));
	ASSERT_EQ(0, destroy(fd, r.out_extent_id));
	file = open(victim.path, O_WRONLY | O_CLOEXEC);
	ASSERT(!fallocate(file, 0, SIZE, 4 * PAGE));
	close(file);
	refused(fd, named, 0, HOMI_REASON_HOLE);
	refused(fd, named, SIZE + PAGE, HOMI_REASON_HOLE);
	/* Only whole blocks, for behind its end a file is zero. */
	file = open(victim.path, O_WRONLY | O_CLOEXEC);
	ASSERT(!ftruncate(file, SIZE - 100));
	close(file);
	ASSERT_EQ(0, resolve_to_write(fd, named, 0, 0, &r));
	ASSERT_EQ(0, destroy(fd, r.out_extent_id));
	ASSERT_EQ(-EINVAL, resolve_to_write(fd, named, SIZE - r.out_block_size, 0, &r));
	ASSERT_EQ(-EINVAL, resolve_to_write(fd, named, SIZE, 0, &r));
	close(named);
	file_remove(&victim);
}

FS_TEST(cut_to_whole_blocks)
{
	int fd = homi_open(), file;
	struct file victim;
	struct table table;

	file_to_write(&victim, dir, "tail");
	file = open(victim.path, O_WRONLY | O_CLOEXEC);
	ASSERT(!ftruncate(file, SIZE - PAGE - 1));
	close(file);
	table_open_to_write(&table, fd, victim.path);
	table_check(&table, 0, (SIZE - PAGE - 1) / table.t->block_size * table.t->block_size);
	ASSERT_EQ(0, table_close(&table));
	file = open(victim.path, O_WRONLY | O_CLOEXEC);
	ASSERT(!ftruncate(file, 100));
	close(file);
	ASSERT_EQ(-EINVAL, resolve_path(fd, victim.path, &table.r));
	file_remove(&victim);
}

TEST(shared)
{
	const char *dir = need_fs("xfs");
	int fd = homi_open(), from, to;
	struct file victim;
	char path[300];

	file_to_write(&victim, dir, "shared");
	snprintf(path, sizeof(path), "%s.too", victim.path);
	from = open(victim.path, O_RDONLY | O_CLOEXEC);
	to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ASSERT(!ioctl(to, FICLONE, from));
	close(from);
	close(to);
	from = open(victim.path, O_PATH | O_CLOEXEC);
	refused(fd, from, 0, HOMI_REASON_SHARED);
	close(from);
	ASSERT(!unlink(path));
	file_remove(&victim);
}

TEST(not_a_file)
{
	int fd = homi_open();

	refused(fd, open("/", O_PATH | O_CLOEXEC), 0, HOMI_REASON_FILE_TYPE);
	refused(fd, open("/dev/null", O_PATH | O_CLOEXEC), 0, HOMI_REASON_FILE_TYPE);
	refused(fd, open("/proc/self/exe", O_PATH | O_NOFOLLOW | O_CLOEXEC), 0,
		HOMI_REASON_FILE_TYPE);
}

static void resolve_as_nobody(int fd, const char *path, int want)
{
	struct homi_extent_resolve r;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		become_nobody();
		ASSERT_EQ(want, resolve_path(fd, path, &r));
		if (!want)
			ASSERT_EQ(0, destroy(fd, r.out_extent_id));
		_exit(0);
	}
	ASSERT_EQ(0, child_status(pid));
}

/* Its name is all that O_PATH asks for. */
FS_TEST(rights)
{
	int fd = homi_open();
	struct file victim;
	struct stat st;

	file_to_write(&victim, dir, "rights");
	ASSERT(!chmod(victim.path, 0666));
	resolve_as_nobody(fd, victim.path, -EPERM);
	ASSERT(!chown(victim.path, 65534, 65534));
	ASSERT(!chmod(victim.path, 0444));
	resolve_as_nobody(fd, victim.path, -EPERM);
	/* And as by a write(), what it may run with ends. */
	ASSERT(!chmod(victim.path, 04755));
	resolve_as_nobody(fd, victim.path, 0);
	ASSERT(!stat(victim.path, &st));
	ASSERT_EQ(0755, st.st_mode & 07777);
	file_remove(&victim);
}

static void set_flag(const char *path, long flag)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	long flags;

	ASSERT(file >= 0);
	ASSERT(!ioctl(file, FS_IOC_GETFLAGS, &flags));
	flags = (flags & ~(FS_APPEND_FL | FS_IMMUTABLE_FL)) | flag;
	ASSERT(!ioctl(file, FS_IOC_SETFLAGS, &flags));
	close(file);
}

FS_TEST(append_only)
{
	struct homi_extent_resolve r;
	int fd = homi_open(), named;
	struct file victim;

	file_to_write(&victim, dir, "append");
	set_flag(victim.path, FS_APPEND_FL);
	ASSERT_EQ(-EPERM, resolve_path(fd, victim.path, &r));
	set_flag(victim.path, FS_IMMUTABLE_FL);
	named = open(victim.path, O_PATH | O_CLOEXEC);
	refused(fd, named, 0, HOMI_REASON_IMMUTABLE);
	close(named);
	set_flag(victim.path, 0);
	file_remove(&victim);
}

FS_TEST(read_only_mount)
{
	const char *point = private_mount_point();
	struct homi_extent_resolve r;
	struct file victim;
	int fd = homi_open();
	char path[300];

	file_to_write(&victim, dir, "mount");
	ASSERT(!mount(dir, point, NULL, MS_BIND, NULL));
	ASSERT(!mount("none", point, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	snprintf(path, sizeof(path), "%s/%s", point, base_name(victim.path));
	ASSERT_EQ(-EROFS, resolve_path(fd, path, &r));
	ASSERT(!umount(point));
	file_remove(&victim);
}

/* Who comes second has the first one recalled, and his turn when that has answered. */
FS_TEST(exclusive)
{
	int fd = homi_open(), other = homi_open(), file;
	struct table first, second;
	struct homi_extent_resolve r;
	struct file victim;

	set_recall_ms(MINUTE_MS);
	file_to_write(&victim, dir, "exclusive");
	table_open_to_write(&first, fd, victim.path);
	again(other, victim.path, HOMI_REASON_LEASE);
	ack_recall(&first);
	while (resolve_path(other, victim.path, &r) == -EAGAIN)
		nap_ms(2);
	ASSERT_EQ(0, table_close(&first));
	ASSERT_EQ(0, destroy(other, r.out_extent_id));
	/* Likewise with a reader. */
	file = open(victim.path, O_RDONLY | O_CLOEXEC);
	table_open(&first, fd, file, 0, 0);
	close(file);
	again(other, victim.path, HOMI_REASON_LEASE);
	ack_recall(&first);
	table_open_to_write(&second, other, victim.path);
	ASSERT_EQ(0, table_close(&second));
	ASSERT_EQ(0, table_close(&first));
	file_remove(&victim);
}
