// SPDX-License-Identifier: GPL-2.0-only
/* Files that EXTENT_RESOLVE must refuse, each with its reason. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>

#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <linux/landlock.h>

#include "harness.h"
#include "inplace.h"

static void refused(int fd, int file, uint32_t reason)
{
	struct homi_extent_resolve r;
	int err = extent_resolve(fd, file, 0, 0, &r);

	if (err != -EOPNOTSUPP || r.out_reason != reason)
		FAIL("error %d reason %u, not EOPNOTSUPP reason %u", err, r.out_reason, reason);
	ASSERT_EQ(0, r.out_extent_id);
}

TEST(not_a_file)
{
	int fd = homi_open(), pipes[2], socks[2];

	ASSERT(!pipe(pipes));
	ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	refused(fd, open("/", O_RDONLY | O_DIRECTORY), HOMI_REASON_FILE_TYPE);
	refused(fd, pipes[0], HOMI_REASON_FILE_TYPE);
	refused(fd, socks[0], HOMI_REASON_FILE_TYPE);
	refused(fd, open("/dev/null", O_RDONLY), HOMI_REASON_FILE_TYPE);
	refused(fd, open(bdev_path(), O_RDONLY), HOMI_REASON_FILE_TYPE);
	refused(fd, fd, HOMI_REASON_FILE_TYPE);
}

TEST(bad_descriptors)
{
	int fd = homi_open(), closed = dup(fd);
	struct homi_extent_resolve r;

	close(closed);
	ASSERT_EQ(-EBADF, extent_resolve(fd, -1, 0, 0, &r));
	ASSERT_EQ(-EBADF, extent_resolve(fd, closed, 0, 0, &r));
	ASSERT_EQ(-EBADF, extent_resolve(fd, 100000, 0, 0, &r));
	ASSERT_EQ(-EBADF, extent_resolve(fd, open("/etc/passwd", O_PATH), 0, 0, &r));
}

FS_TEST(not_open_for_reading)
{
	int fd = homi_open(), err;
	struct homi_extent_resolve r;
	struct file file;

	file_create(&file, dir, "write-only", 4 * PAGE, 71);
	file_reopen(&file, O_WRONLY);
	err = extent_resolve(fd, file.fd, 0, 0, &r);
	/* as read(2) says it */
	ASSERT_EQ(-EBADF, err);
	file_remove(&file);
}

FS_TEST(somebody_elses)
{
	int fd = homi_open();
	struct homi_extent_resolve r;
	struct file file;
	pid_t pid;

	file_create(&file, dir, "root", 4 * PAGE, 72);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		become_nobody();
		ASSERT_EQ(-EPERM, extent_resolve(fd, file.fd, 0, 0, &r));
		_exit(0);
	}
	ASSERT_EQ(0, child_status(pid));
	/* The refusal holds up nobody. */
	file_reopen(&file, O_RDWR | O_NONBLOCK);
	file_remove(&file);
}

static void refused_with_flag(const char *dir, long flag, uint32_t reason)
{
	int fd = homi_open();
	struct homi_extent_resolve r;
	struct file file;
	long flags, old;
	int err;

	file_create(&file, dir, "flag", 4 * PAGE, 73);
	ASSERT(!ioctl(file.fd, FS_IOC_GETFLAGS, &old));
	flags = old | flag;
	if (ioctl(file.fd, FS_IOC_SETFLAGS, &flags)) {
		err = errno;
		file_remove(&file);
		SKIP("the file system does not know this flag: %s", strerror(err));
	}
	err = extent_resolve(fd, file.fd, 0, 0, &r);
	ASSERT(!ioctl(file.fd, FS_IOC_SETFLAGS, &old));
	ASSERT_EQ(-EOPNOTSUPP, err);
	ASSERT_EQ(reason, r.out_reason);
	ASSERT_EQ(0, extent_resolve(fd, file.fd, 0, 0, &r));
	ASSERT_EQ(0, destroy(fd, r.out_extent_id));
	file_remove(&file);
}

/* What is open goes on to be read; by its name nothing can be opened any more. */
FS_TEST(landlocked)
{
	struct landlock_ruleset_attr attr = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE,
	};
	int fd = homi_open(), rules;
	struct homi_extent_resolve r;
	struct table table;
	struct file file;

	file_create(&file, dir, "landlocked", 4 * PAGE, 77);
	rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules < 0)
		SKIP("no Landlock");
	ASSERT(!syscall(SYS_landlock_restrict_self, rules, 0));
	ASSERT(open(file.path, O_RDONLY) < 0 && errno == EACCES);
	table_open(&table, fd, file.fd, 0, 0);
	ASSERT(table.t->count > 0);
	ASSERT_EQ(0, table_close(&table));
	close(file.fd);
	file.fd = -1;
	ASSERT_EQ(-EPERM, resolve_path(fd, file.path, &r));
	ASSERT(!unlink(file.path));
}

FS_TEST(immutable)
{
	refused_with_flag(dir, FS_IMMUTABLE_FL, HOMI_REASON_IMMUTABLE);
}

FS_TEST(swapfile)
{
	int fd = homi_open(), err;
	struct homi_extent_resolve r;
	struct file file;

	if (!have("mkswap"))
		SKIP("mkswap is not installed");
	file_create(&file, dir, "swap", 1 << 20, 74);
	ASSERT(!chmod(file.path, 0600));
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin mkswap -q %s >/dev/null 2>&1", file.path));
	if (swapon(file.path, 0)) {
		err = errno;
		file_remove(&file);
		SKIP("swapon: %s", strerror(err));
	}
	err = extent_resolve(fd, file.fd, 0, 0, &r);
	ASSERT(!swapoff(file.path));
	ASSERT_EQ(-EOPNOTSUPP, err);
	ASSERT_EQ(HOMI_REASON_SWAPFILE, r.out_reason);
	ASSERT_EQ(0, extent_resolve(fd, file.fd, 0, 0, &r));
	ASSERT_EQ(0, destroy(fd, r.out_extent_id));
	file_remove(&file);
}

TEST(tmpfs)
{
	int fd = homi_open(), file = memfd_create("homi", 0);

	ASSERT(!ftruncate(file, 4 * PAGE));
	/* the memfd itself counts as open for writing: tell that from the file system first */
	refused(fd, file, HOMI_REASON_FS);
	close(file);
	file = open("/proc/self/status", O_RDONLY);
	refused(fd, file, HOMI_REASON_FS);
}

/* File systems made for one test, on the partition that may be overwritten */
static const char *point;

static void need_raw(const char *program)
{
	if (!raw_path())
		SKIP("HOMI_RAW names no partition that may be overwritten");
	if (!have(program))
		SKIP("%s is not installed", program);
}

/* Makes a file below the mount point, and ends the mount whatever comes out. */
static int resolve_below(uint32_t *reason)
{
	int fd = homi_open(), err;
	struct homi_extent_resolve r;
	struct file file;

	file_create(&file, point, "file", 4 * PAGE, 75);
	err = extent_resolve(fd, file.fd, 0, 0, &r);
	*reason = r.out_reason;
	close(file.fd);
	close(fd);
	return err;
}

TEST(btrfs)
{
	uint32_t reason;
	int err;

	need_raw("mkfs.btrfs");
	point = private_mount_point();
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin mkfs.btrfs -q -f %s >/dev/null 2>&1", raw_path()));
	if (mount(raw_path(), point, "btrfs", 0, NULL))
		SKIP("mount of btrfs: %s", strerror(errno));
	err = resolve_below(&reason);
	ASSERT(!umount(point));
	ASSERT_EQ(-EOPNOTSUPP, err);
	ASSERT_EQ(HOMI_REASON_FS, reason);
}

TEST(device_mapper)
{
	uint32_t reason;
	int err;

	need_raw("dmsetup");
	point = private_mount_point();
	if (shell("PATH=$PATH:/usr/sbin; echo 0 $(blockdev --getsz %s) linear %s 0 |"
		  " dmsetup create homi-refuse >/dev/null 2>&1", raw_path(), raw_path()))
		SKIP("dmsetup cannot make a device");
	if (shell("PATH=$PATH:/usr/sbin; dmsetup mknodes; mkfs.ext4 -q -F"
		  " /dev/mapper/homi-refuse >/dev/null") ||
	    mount("/dev/mapper/homi-refuse", point, "ext4", 0, NULL))
		FAIL("no ext4 on dm: %s", strerror(errno));
	err = resolve_below(&reason);
	ASSERT(!umount(point));
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin dmsetup remove --retry homi-refuse"));
	ASSERT_EQ(-EOPNOTSUPP, err);
	ASSERT_EQ(HOMI_REASON_STACKED, reason);
}

TEST(loop_device)
{
	const char *dir = need_fs("ext4");
	uint32_t reason;
	char image[128];
	int err;

	if (!have("losetup"))
		SKIP("losetup is not installed");
	point = private_mount_point();
	snprintf(image, sizeof(image), "%s/image.%d", dir, getpid());
	ASSERT_EQ(0, shell("truncate -s 16M %s && PATH=$PATH:/usr/sbin mkfs.ext4 -q -F %s"
			   " >/dev/null", image, image));
	if (shell("PATH=$PATH:/usr/sbin:/sbin; modprobe -q loop; mount -o loop %s %s", image,
		  point)) {
		unlink(image);
		SKIP("no loop device can be mounted");
	}
	err = resolve_below(&reason);
	ASSERT(!umount(point));
	ASSERT(!unlink(image));
	ASSERT_EQ(-EOPNOTSUPP, err);
	/* on something else, or on something that lies on something else */
	ASSERT(reason == HOMI_REASON_OTHER_DEVICE || reason == HOMI_REASON_STACKED);
}

/* Below it is a good file of ours: it must be given itself, not through the overlay. */
FS_TEST(overlayfs)
{
	char options[512], base[128];
	uint32_t reason;
	int err;

	point = private_mount_point();
	snprintf(base, sizeof(base), "%s/overlay.%d", dir, getpid());
	ASSERT_EQ(0, shell("mkdir -p %s/lower %s/upper %s/work", base, base, base));
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
		 base, base, base);
	if (mount("homi", point, "overlay", 0, options)) {
		shell("rm -rf %s", base);
		SKIP("mount of overlayfs: %s", strerror(errno));
	}
	err = resolve_below(&reason);
	ASSERT(!umount(point));
	ASSERT_EQ(0, shell("rm -rf %s", base));
	ASSERT_EQ(-EOPNOTSUPP, err);
	ASSERT(reason == HOMI_REASON_FS || reason == HOMI_REASON_STACKED);
}

/* The flag takes effect only where allocation is not delayed. */
TEST(data_journal_flag)
{
	need_raw("mkfs.ext4");
	point = private_mount_point();
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin mkfs.ext4 -q -F %s >/dev/null", raw_path()));
	ASSERT(!mount(raw_path(), point, "ext4", 0, "nodelalloc"));
	refused_with_flag(point, FS_JOURNAL_DATA_FL, HOMI_REASON_NO_DIO);
	ASSERT(!umount(point));
}

TEST(data_journal_mount)
{
	struct homi_extent_resolve r;
	int err, fd, writer;
	struct file file;
	uint32_t reason;

	need_raw("mkfs.ext4");
	point = private_mount_point();
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin mkfs.ext4 -q -F %s >/dev/null", raw_path()));
	ASSERT(!mount(raw_path(), point, "ext4", 0, "data=journal"));
	err = resolve_below(&reason);
	ASSERT_EQ(-EOPNOTSUPP, err);
	ASSERT_EQ(HOMI_REASON_NO_DIO, reason);
	/* Also while there is something for which to try again would help */
	file_create(&file, point, "written", 4 * PAGE, 76);
	writer = open(file.path, O_WRONLY | O_CLOEXEC);
	ASSERT(writer >= 0);
	fd = homi_open();
	ASSERT_EQ(-EOPNOTSUPP, extent_resolve(fd, file.fd, 0, 0, &r));
	ASSERT_EQ(HOMI_REASON_NO_DIO, r.out_reason);
	close(fd);
	close(file.fd);
	close(writer);
	ASSERT(!umount(point));
}

TEST(inline_data)
{
	int fd = homi_open(), err;
	struct homi_extent_resolve r;
	struct file file;

	need_raw("mkfs.ext4");
	point = private_mount_point();
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin mkfs.ext4 -q -F -O inline_data -I 256 %s"
			   " >/dev/null", raw_path()));
	if (mount(raw_path(), point, "ext4", 0, NULL))
		SKIP("ext4 without inline data: %s", strerror(errno));
	file_create(&file, point, "inline", 20, 76);
	err = extent_resolve(fd, file.fd, 0, 0, &r);
	close(file.fd);
	ASSERT(!umount(point));
	ASSERT_EQ(-EOPNOTSUPP, err);
	ASSERT_EQ(HOMI_REASON_INLINE, r.out_reason);
}

/* A directory "e" whose files are encrypted; 0 or an errno. */
static int encrypt_below(const char *mount_point)
{
	struct fscrypt_add_key_arg *key = calloc(1, sizeof(*key) + 64);
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
		.flags = FSCRYPT_POLICY_FLAGS_PAD_32,
	};
	char dir[300];
	int fd, err = 0;

	snprintf(dir, sizeof(dir), "%s/e", mount_point);
	ASSERT(!mkdir(dir, 0755));
	fd = open(dir, O_RDONLY);
	ASSERT(fd >= 0);
	key->key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER;
	key->raw_size = 64;
	memset(key->raw, 0x5a, 64);
	if (ioctl(fd, FS_IOC_ADD_ENCRYPTION_KEY, key))
		err = errno;
	memcpy(policy.master_key_identifier, key->key_spec.u.identifier,
	       sizeof(policy.master_key_identifier));
	if (!err && ioctl(fd, FS_IOC_SET_ENCRYPTION_POLICY, &policy))
		err = errno;
	close(fd);
	free(key);
	return err;
}

TEST(encrypted)
{
	int fd = homi_open(), err;
	struct homi_extent_resolve r;
	struct file file;

	need_raw("mkfs.ext4");
	point = private_mount_point();
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin mkfs.ext4 -q -F -O encrypt %s >/dev/null",
			   raw_path()));
	ASSERT(!mount(raw_path(), point, "ext4", 0, NULL));
	err = encrypt_below(point);
	if (err) {
		umount(point);
		SKIP("this kernel has no fscrypt for ext4: %s", strerror(err));
	}
	file_create(&file, point, "e/secret", 4 * PAGE, 77);
	err = extent_resolve(fd, file.fd, 0, 0, &r);
	close(file.fd);
	ASSERT(!umount(point));
	ASSERT_EQ(-EOPNOTSUPP, err);
	ASSERT_EQ(HOMI_REASON_ENCRYPTED, r.out_reason);
}

/* Who reads the blocks by himself would not have them verified. */
TEST(verity)
{
	struct fsverity_enable_arg enable = {
		.version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = PAGE,
	};
	struct homi_extent_resolve r;
	struct file file;
	int fd = homi_open();

	need_raw("mkfs.ext4");
	point = private_mount_point();
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin mkfs.ext4 -q -F -b 4096 -O verity %s >/dev/null",
			   raw_path()));
	ASSERT(!mount(raw_path(), point, "ext4", 0, NULL));
	file_create(&file, point, "verified", 9 * PAGE, 78);
	if (ioctl(file.fd, FS_IOC_ENABLE_VERITY, &enable)) {
		int err = errno;

		close(file.fd);
		umount(point);
		SKIP("this kernel has no fs-verity for ext4: %s", strerror(err));
	}
	refused(fd, file.fd, HOMI_REASON_NO_DIO);
	close(file.fd);
	ASSERT_EQ(-EOPNOTSUPP, resolve_path(fd, file.path, &r));
	ASSERT_EQ(HOMI_REASON_NO_DIO, r.out_reason);
	ASSERT(!umount(point));
}

static void set_realtime(int file)
{
	struct fsxattr attr;

	ASSERT(!ioctl(file, FS_IOC_FSGETXATTR, &attr));
	attr.fsx_xflags |= FS_XFLAG_REALTIME;
	ASSERT(!ioctl(file, FS_IOC_FSSETXATTR, &attr));
}

/* FIEMAP does not tell which of the two devices it means. The log is on neither. */
TEST(realtime)
{
	int fd = homi_open(), file;
	struct homi_extent_resolve r;
	struct file plain;
	char path[300];

	need_own_machine("a loop device is taken");
	need_raw("mkfs.xfs");
	point = private_mount_point();
	/* In a tmpfs there */
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin; modprobe -q loop; truncate -s 64M /tmp/rt &&"
			   " losetup /dev/loop7 /tmp/rt && mkfs.xfs -q -f --unsupported"
			   " -m reflink=0,rmapbt=0 -r rtdev=/dev/loop7,extsize=64k %s >/dev/null",
			   raw_path()));
	if (shell("mount -t xfs -o rtdev=/dev/loop7 %s %s", raw_path(), point)) {
		shell("losetup -d /dev/loop7");
		SKIP("this kernel has no realtime part of XFS");
	}
	snprintf(path, sizeof(path), "%s/realtime", point);
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ASSERT(file >= 0);
	set_realtime(file);
	ASSERT_EQ(sizeof(path), write(file, path, sizeof(path)));
	close(file);
	file = open(path, O_RDONLY | O_CLOEXEC);
	refused(fd, file, HOMI_REASON_REALTIME);
	close(file);
	ASSERT_EQ(-EOPNOTSUPP, resolve_path(fd, path, &r));
	ASSERT_EQ(HOMI_REASON_REALTIME, r.out_reason);
	/* Its neighbour is where it says. */
	file_create(&plain, point, "plain", 4 * PAGE, 79);
	ASSERT_EQ(0, extent_resolve(fd, plain.fd, 0, 0, &r));
	ASSERT_EQ(0, destroy(fd, r.out_extent_id));
	close(plain.fd);
	ASSERT(!umount(point));
	ASSERT_EQ(0, shell("losetup -d /dev/loop7"));
}

/* A file of this controller, asked at another one */
FS_TEST(other_controller)
{
	const char *second = getenv("HOMI_DEV2"), *bdev2 = getenv("HOMI_BDEV2");
	struct file file;

	if (!second || !*second)
		SKIP("HOMI_DEV2 is not set: there is no second controller");
	if (bdev2 && !strcmp(bdev2, bdev_path()))
		SKIP("the second controller is another path to the same namespace");
	file_create(&file, dir, "other", 4 * PAGE, 78);
	refused(homi_open_at(second), file.fd, HOMI_REASON_OTHER_DEVICE);
	file_remove(&file);
}
