// SPDX-License-Identifier: GPL-2.0-only
/*
 * What may be given to the tests, and what may not: guard.c, asked about a namespace of the next
 * controller (HOMI_RAW2), with everything on it and everybody at it. Nothing is left on it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "files.h"
#include "harness.h"
#include "removal.h"

#define SBIN	"PATH=$PATH:/usr/sbin:/sbin; "
#define PLAIN	"HOMI_TEST_FORCE="
#define FORCED	"HOMI_TEST_FORCE=1"
/* What prepare.sh writes. The last one has what is left (rest_mib()), 1 GiB at most. */
#define EXT4	"start=1MiB, size=420MiB, name=homi-ext4\\n"
#define XFS	"start=421MiB, size=320MiB, name=homi-xfs\\n"
#define RAW(s)	"start=741MiB, size=" s "MiB, name=homi-raw\\n"

static const char *ns;
static char said[4096];

/* Its exit status; what it says is in @said */
static int ask(const char *force, const char *wrapper, const char *path)
{
	char command[1024];
	size_t n;
	FILE *f;
	int status;

	snprintf(command, sizeof(command), "%s %s ./guard %s 2>&1", force, wrapper, path);
	fflush(NULL);
	f = popen(command, "r");
	ASSERT(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = '\0';
	status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void expect(const char *force, const char *path, int status, const char *text)
{
	int got = ask(force, "", path);

	if (got != status || !strstr(said, text))
		FAIL("%s guard %s: status %d, not %d with \"%s\": %s", force, path, got, status, text,
		     said);
}

static void taken(const char *force) { expect(force, ns, 0, ": taken"); }
static void refused(const char *force, const char *text) { expect(force, ns, 1, text); }

static void wipe(void)
{
	ASSERT(!shell(SBIN "for p in %sp*; do [ ! -b $p ] || wipefs -qa $p; done; wipefs -qa %s &&"
		      " blockdev --rereadpt %s >/dev/null", ns, ns, ns));
}

static void begin(void)
{
	ns = getenv("HOMI_RAW2");
	if (!ns || !*ns)
		SKIP("HOMI_RAW2 names no second namespace that may be overwritten");
	wipe();
}

/* Of the last partition, as prepare.sh has it */
static unsigned long long rest_mib(void)
{
	unsigned long long mib = sysfs_number("/sys/class/block/%s/size", base_name(ns)) / 2048;

	return mib - 742 > 1024 ? 1024 : mib - 742;
}

/* "$rest" in @script is rest_mib(). The kernel is not told. */
static void table(const char *script)
{
	ASSERT(!shell(SBIN "rest=%llu; printf \"label: gpt\\n%s\" | sfdisk -q --no-reread"
		      " --no-tell-kernel %s", rest_mib(), script, ns));
}

static void partitions(const char *script)
{
	table(script);
	ASSERT(!shell(SBIN "blockdev --rereadpt %s >/dev/null && [ -b %sp1 ]", ns, ns));
}

TEST(empty)
{
	begin();
	taken(PLAIN);
	taken(FORCED);
}

static const char *const makers[][3] = {
	{ "mkfs.ext4", "mkfs.ext4 -q -F", "ext4" },
	{ "mkfs.xfs", "mkfs.xfs -q -f", "xfs" },
	{ "mkfs.btrfs", "mkfs.btrfs -q -f", "btrfs" },
	{ "mkswap", "mkswap -q", "swap" },
};

TEST(file_systems)
{
	unsigned int i;
	char text[64];

	begin();
	for (i = 0; i < ARRAY_SIZE(makers); i++) {
		if (!have(makers[i][0]))
			continue;
		ASSERT(!shell(SBIN "%s %s >/dev/null 2>&1", makers[i][1], ns));
		snprintf(text, sizeof(text), "there is %s on it. HOMI_TEST_FORCE=1", makers[i][2]);
		refused(PLAIN, text);
		refused("HOMI_TEST_FORCE=0", text);
		expect(FORCED, ns, 0, makers[i][2]);
		wipe();
		taken(PLAIN);
	}
}

TEST(tables_of_partitions)
{
	begin();
	partitions("size=32MiB, name=data\\n");
	refused(PLAIN, "there is 1 partition on it");
	taken(FORCED);
	/* A table that the kernel was not told of, and one without entries */
	wipe();
	ASSERT(!shell(SBIN "printf 'label: dos\\nsize=32MiB\\n' |"
		      " sfdisk -q --no-reread --no-tell-kernel %s", ns));
	refused(PLAIN, "a table of partitions (dos)");
	wipe();
	ASSERT(!shell(SBIN "printf 'label: gpt\\n' | sfdisk -q %s 2>/dev/null", ns));
	refused(PLAIN, "a table of partitions (gpt)");
	taken(FORCED);
	wipe();
}

/* Somebody else's partitions may have names like ours, and even the same. */
static const struct {
	unsigned int count;
	const char *script;
} not_ours[] = {
	{ 1, "size=32MiB, name=homi-data\\n" },
	{ 1, EXT4 },
	{ 2, EXT4 XFS },
	{ 3, EXT4 XFS "start=741MiB, size=64MiB, name=homi-data\\n" },
	{ 3, EXT4 XFS RAW("64") },
	{ 3, "start=2MiB, size=419MiB, name=homi-ext4\\n" XFS RAW("$rest") },
	{ 3, EXT4 "start=421MiB, size=320MiB, name=homi-xfs2\\n" RAW("$rest") },
	{ 3, "start=1MiB, size=420MiB, name=homi-xfs\\n"
	     "start=421MiB, size=320MiB, name=homi-ext4\\n" RAW("$rest") },
	{ 3, "start=421MiB, size=320MiB, name=homi-xfs\\n"
	     "start=1MiB, size=420MiB, name=homi-ext4\\n" RAW("$rest") },
	{ 4, EXT4 "start=421MiB, size=320MiB, name=homi-xfs\\n" RAW("64")
	     "start=805MiB, size=8MiB, name=homi-raw\\n" },
};

TEST(names_like_ours)
{
	unsigned int i;
	char text[64];

	begin();
	for (i = 0; i < ARRAY_SIZE(not_ours); i++) {
		partitions(not_ours[i].script);
		snprintf(text, sizeof(text), "there is %u partition%s on it", not_ours[i].count,
			 not_ours[i].count == 1 ? "" : "s");
		refused(PLAIN, text);
		wipe();
	}
}

/* What prepare.sh makes is taken, and what it leaves when it is cut off in the middle. */
TEST(an_earlier_run)
{
	begin();
	partitions(EXT4 XFS RAW("$rest"));
	taken(PLAIN);
	ASSERT(!shell("./prepare.sh table %s", ns));
	taken(PLAIN);
	if (!strstr(said, "what an earlier run of these tests left"))
		FAIL("after prepare.sh: %s", said);
	/* The kernel was not told of the table, */
	wipe();
	table(EXT4 XFS RAW("$rest"));
	taken(PLAIN);
	if (!strstr(said, "what an earlier run of these tests left"))
		FAIL("before the kernel reads it: %s", said);
	/* or not of its end. What somebody put there then is his. */
	ASSERT(!shell(SBIN "blockdev --rereadpt %s; [ -b %sp3 ] && dd if=/dev/zero of=%s bs=1M count=1"
		      " conv=notrunc,fsync status=none", ns, ns, ns));
	ASSERT(!shell("[ -b %sp3 ]", ns));
	taken(PLAIN);
	ASSERT(!shell(SBIN "mkfs.ext4 -q -F %s 64m 2>/dev/null && [ -b %sp3 ]", ns, ns));
	refused(PLAIN, "there is ext4 on it");
	wipe();
}

static void refused_anyway(const char *text)
{
	refused(PLAIN, text);
	refused(FORCED, text);
}

TEST(mounted)
{
	const char *point;
	char text[128];

	begin();
	point = private_mount_point();
	ASSERT(!shell(SBIN "mkfs.ext4 -q -F %s 64m", ns));
	ASSERT(!mount(ns, point, "ext4", MS_RDONLY, NULL));
	snprintf(text, sizeof(text), "%s is mounted at %s", base_name(ns), point);
	refused_anyway(text);
	umount_soon(point);
	wipe();
	partitions(EXT4 XFS RAW("$rest"));
	ASSERT(!shell(SBIN "mkfs.ext4 -q -F %sp2 64m", ns));
	snprintf(text, sizeof(text), "%sp2", ns);
	ASSERT(!mount(text, point, "ext4", 0, NULL));
	snprintf(text, sizeof(text), "%sp2 is mounted at %s", base_name(ns), point);
	refused_anyway(text);
	/* Where it can't be seen */
	ask(FORCED, "nsenter -t 1 -m --wd=.", ns);
	if (!strstr(said, "is in use"))
		FAIL("mounted elsewhere: %s", said);
	umount_soon(point);
	taken(PLAIN);
	wipe();
}

TEST(in_use)
{
	char text[128];
	int fd;

	begin();
	fd = open(ns, O_RDONLY | O_EXCL | O_CLOEXEC);
	ASSERT(fd >= 0);
	refused_anyway("is in use");
	close(fd);
	taken(PLAIN);
	if (have("dmsetup")) {
		ASSERT(!shell(SBIN "echo 0 2048 linear %s 0 | dmsetup create homi-guard >/dev/null", ns));
		refused_anyway("is in use");
		ASSERT(!shell(SBIN "dmsetup remove --retry homi-guard"));
	}
	ASSERT(!shell(SBIN "mkswap -q %s && swapon %s", ns, ns));
	snprintf(text, sizeof(text), "%s is swap", base_name(ns));
	refused_anyway(text);
	ASSERT(!shell(SBIN "swapoff %s", ns));
	wipe();
	taken(PLAIN);
}

/* Refused, and told that @pid has @name open: whatever is forced, so that is asked for once. */
static void refused_open(const char *name, int pid, const char *command)
{
	char text[128];

	snprintf(text, sizeof(text), "%s is open in process %d (%s)", name, pid, command);
	refused(FORCED, text);
}

static int open_plain(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		FAIL("open %s: %s", path, strerror(errno));
	return fd;
}

/* As virtual machines and databases have it: the kernel keeps nobody out for them. */
TEST(open_elsewhere)
{
	const char *disk, *ctrl2 = getenv("HOMI_DEV2");
	char path[64];
	void *map;
	int fd;

	begin();
	disk = base_name(ns);
	fd = open_plain(ns);
	refused_open(disk, getpid(), "test_guard");
	/* Mapped is enough. */
	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT(map != MAP_FAILED);
	close(fd);
	refused_open(disk, getpid(), "test_guard");
	munmap(map, PAGE);
	taken(PLAIN);
	/* By other doors */
	snprintf(path, sizeof(path), "/dev/ng%s", disk + strlen("nvme"));
	if (!access(path, F_OK)) {
		fd = open_plain(path);
		refused_open(path + strlen("/dev/"), getpid(), "test_guard");
		close(fd);
	}
	fd = open_plain(ctrl2);
	refused_open(ctrl2 + strlen("/dev/"), getpid(), "test_guard");
	close(fd);
	partitions(EXT4 XFS RAW("$rest"));
	snprintf(path, sizeof(path), "%sp2", ns);
	fd = open_plain(path);
	refused_open(base_name(path), getpid(), "test_guard");
	close(fd);
	taken(PLAIN);
	wipe();
}

/* Who has a look at it and goes again is waited for, as udev does with whatever is new. */
TEST(open_for_a_moment)
{
	pid_t pid;
	int fd;

	begin();
	fd = open_plain(ns);
	pid = fork();
	ASSERT(pid >= 0);
	if (!pid) {
		nap_ms(1000);
		_exit(0);
	}
	close(fd);
	taken(PLAIN);
	ASSERT_EQ(0, child_status(pid));
}

static volatile int thread_fd = -1;

static void *open_unshared(void *arg)
{
	(void)arg;
	if (unshare(CLONE_FILES))
		FAIL("unshare: %s", strerror(errno));
	thread_fd = open_plain(ns);
	for (;;)
		pause();
}

/* A thread may have files of its own. */
TEST(open_in_a_thread)
{
	pthread_t thread;
	char path[64];

	begin();
	ASSERT(!pthread_create(&thread, NULL, open_unshared, NULL));
	while (thread_fd < 0)
		nap_ms(10);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", thread_fd);
	ASSERT(access(path, F_OK));
	refused_open(base_name(ns), getpid(), "test_guard");
}

/* What the kernel has open for somebody is claimed as little. */
TEST(behind_a_loop_device)
{
	int status;

	begin();
	if (shell(SBIN "modprobe -q loop; losetup -f %s", ns))
		SKIP("no loop device can be made");
	status = ask(FORCED, "", ns);
	ASSERT(!shell(SBIN "losetup -d $(losetup -nO NAME -j %s)", ns));
	ASSERT_EQ(1, status);
	if (!strstr(said, "/loop/backing_file"))
		FAIL("behind a loop device: %s", said);
	taken(PLAIN);
}

/* Who can't see everybody does not agree. */
TEST(not_all_processes_are_seen)
{
	begin();
	ASSERT_EQ(1, ask(FORCED, "unshare -pf --mount-proc", ns));
	if (!strstr(said, "outside of this container"))
		FAIL("in a PID namespace: %s", said);
	ASSERT_EQ(1, ask(FORCED, "unshare -pf", ns));
	ASSERT_EQ(1, ask(FORCED, "setpriv --bounding-set=-sys_ptrace", ns));
	if (!strstr(said, "can't be looked at"))
		FAIL("without CAP_SYS_PTRACE: %s", said);
	ASSERT_EQ(1, ask(FORCED, "setpriv --bounding-set=-sys_admin,-checkpoint_restore", ns));
	if (!strstr(said, "can't be looked at"))
		FAIL("without CAP_SYS_ADMIN: %s", said);
	taken(PLAIN);
}

/* Names may lie: it is the device's number that is opened. */
TEST(another_node)
{
	struct stat st;
	char name[64];

	begin();
	snprintf(name, sizeof(name), "/tmp/%s", base_name(ns));
	ASSERT(!stat(bdev_path(), &st));
	unlink(name);
	ASSERT(!mknod(name, S_IFBLK | 0600, st.st_rdev));
	expect(FORCED, name, 1, "is the node of another device");
	ASSERT(!unlink(name));
	ASSERT(!stat(ns, &st));
	ASSERT(!mknod(name, S_IFBLK | 0600, st.st_rdev));
	expect(PLAIN, name, 0, ": taken");
	ASSERT(!unlink(name));
}

/* A system whose root is on it, by itself or by a device mapper's device. */
static void refused_as_root(const char *point, const char *source)
{
	char here[256], wrapper[700];

	ASSERT(getcwd(here, sizeof(here)));
	ASSERT(!mount(source, point, "ext4", 0, NULL));
	ASSERT(!shell("cd %s && mkdir -p usr proc sys dev t && for d in bin lib lib64; do"
		      " ln -sfn usr/$d $d || exit 1; done &&"
		      " for d in usr proc sys dev; do mount --rbind /$d $d || exit 1; done &&"
		      " mount --bind %s t", point, here));
	snprintf(wrapper, sizeof(wrapper), "chroot %s sh -c 'cd /t && exec \"$@\"' -", point);
	ASSERT_EQ(1, ask(FORCED, wrapper, ns));
	if (!strstr(said, "the root file system is on the same drive"))
		FAIL("root on %s: %s", source, said);
	ASSERT(!shell("cd %s && umount -l t usr proc sys dev", point));
	umount_soon(point);
}

TEST(root)
{
	const char *point;

	begin();
	point = private_mount_point();
	ASSERT(!shell(SBIN "mkfs.ext4 -q -F %s 64m", ns));
	refused_as_root(point, ns);
	if (have("dmsetup")) {
		ASSERT(!shell(SBIN "echo 0 131072 linear %s 0 | dmsetup create homi-guard >/dev/null;"
			      " dmsetup mknodes", ns));
		refused_as_root(point, "/dev/mapper/homi-guard");
		ASSERT(!shell(SBIN "dmsetup remove --retry homi-guard"));
	}
	wipe();
	taken(PLAIN);
}

/* Those that these tests have are mounted, so there is a reason against each other one as well. */
TEST(neighbours)
{
	char disk[64], text[128];
	uint32_t nsid = bdev_nsid() == 1 ? 2 : 1;
	int fd, status;

	need_fs("ext4");
	if (!disk_of(ctrl_name(), nsid, disk, sizeof(disk)))
		SKIP("%s has no other namespace", ctrl_name());
	snprintf(text, sizeof(text), "%s has another namespace: %sp", ctrl_name(),
		 base_name(bdev_path()));
	expect(FORCED, disk, 1, text);
	need_own_machine("what tests use is unmounted for a moment");
	if (shell("umount $HOMI_EXT4 $HOMI_XFS"))
		SKIP("the file systems are busy");
	fd = open_plain(bdev_path());
	status = ask(FORCED, "", disk);
	close(fd);
	ASSERT(!shell("mount %sp1 $HOMI_EXT4 && mount %sp2 $HOMI_XFS", bdev_path(), bdev_path()));
	ASSERT_EQ(1, status);
	snprintf(text, sizeof(text), "%s has another namespace: %s is open in process %d", ctrl_name(),
		 base_name(bdev_path()), getpid());
	if (!strstr(said, text))
		FAIL("a neighbour is open: %s", said);
}

TEST(no_namespace)
{
	char path[128];

	expect(FORCED, "/dev/null", 1, "is no block device");
	expect(FORCED, "/dev/nvme999n1", 1, "No such file");
	expect(FORCED, ctrl_name(), 1, "No such file");
	expect(FORCED, dev_path(), 1, "is no block device");
	expect(FORCED, bdev_path(), 1, "is mounted at");
	snprintf(path, sizeof(path), "%sp1", bdev_path());
	expect(FORCED, path, 1, "it is a partition");
	if (access("/dev/loop0", F_OK))
		SKIP("there is no other block device");
	expect(FORCED, "/dev/loop0", 1, "no namespace of an NVMe controller");
}

/* And what the programs themselves refuse */
static void runs(const char *env, int status, const char *text)
{
	int got = shell("env -u HOMI_TEST_NS -u HOMI_DEV -u HOMI_BDEV -u HOMI_RAW %s ./test_uapi"
			" /nothing >/tmp/homi-guard 2>&1", env);

	if (got != status || shell("grep -q '%s' /tmp/homi-guard", text))
		FAIL("%s: status %d, not %d with \"%s\"", env, got, status, text);
	unlink("/tmp/homi-guard");
}

TEST(programs)
{
	char env[256];

	runs("", TEST_SKIP, "SKIP HOMI_TEST_NS names no namespace");
	runs("HOMI_TEST_NS=/dev/null", 1, "Bail out! /dev/null is no namespace");
	begin();
	snprintf(env, sizeof(env), "HOMI_TEST_NS=%s", ns);
	runs(env, 1, "was not prepared");
	partitions("size=32MiB, name=homi-data\\n");
	runs(env, 1, "was not prepared");
	wipe();
	snprintf(env, sizeof(env), "HOMI_TEST_NS=%s HOMI_RAW=%s", bdev_path(), ns);
	runs(env, 1, "is not on");
	snprintf(env, sizeof(env), "HOMI_TEST_NS=%s HOMI_DEV=%s", bdev_path(), getenv("HOMI_DEV2"));
	runs(env, 1, "is not on HOMI_DEV");
	snprintf(env, sizeof(env), "HOMI_TEST_NS=%s", bdev_path());
	runs(env, TEST_SKIP, "# 0 passed, 0 failed, 0 skipped");
}
