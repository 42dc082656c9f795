// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens to namespaces and file systems while queues and EXTENTs live: each event leaves
 * an EXTENT true, revokes it, or is refused, as Documentation/safety.md says. What destroys
 * data is done to namespace 2 of an emulated controller, which nobody else uses.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include "harness.h"
#include "reader.h"
#include "removal.h"

#define SCRATCH		2u		/* namespace id */

#define ADMIN_IDENTIFY	0x06
#define ADMIN_SET	0x09
#define ADMIN_NS	0x0d
#define ADMIN_ATTACH	0x15
#define ADMIN_FORMAT	0x80
#define FEAT_PROTECT	0x84

/* --- the controller's own commands, as root sends them through stock --- */

/* 0, an NVMe status, or -errno */
static int admin(uint8_t opcode, uint32_t nsid, uint32_t cdw10, uint32_t cdw11, void *data)
{
	struct nvme_admin_cmd cmd = { .opcode = opcode, .nsid = nsid, .cdw10 = cdw10,
				      .cdw11 = cdw11, .addr = (uintptr_t)data,
				      .data_len = data ? PAGE : 0, .timeout_ms = 60000 };
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/dev/%s", ctrl_name());
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT(fd >= 0);
	ret = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd);
	if (ret < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static void rescan(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", ctrl_name());
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT(fd >= 0);
	ASSERT(!ioctl(fd, NVME_IOCTL_RESCAN));
	close(fd);
}

static uint8_t *identify(uint32_t nsid, uint32_t cns)
{
	static uint8_t data[PAGE] __attribute__((aligned(4096)));

	ASSERT_EQ(0, admin(ADMIN_IDENTIFY, nsid, cns, 0, data));
	return data;
}

/* The LBA format with this block size and no metadata, or -1 */
static int lba_format(uint32_t block_size)
{
	uint8_t *id = identify(SCRATCH, 0);
	int i;

	for (i = 0; i <= id[25]; i++)
		if (!id[128 + 4 * i] && !id[129 + 4 * i] && 1u << id[130 + 4 * i] == block_size)
			return i;
	return -1;
}

static struct homi_ns_info ns_info(int fd)
{
	struct homi_ns_info info = { .size = sizeof(info), .nsid = SCRATCH };

	ASSERT_EQ(0, homi_call(fd, HOMI_NS_INFO, &info));
	return info;
}

static void format(int lbaf, uint32_t block_size)
{
	uint64_t end = now_ms() + 20000;
	int fd = homi_open();

	ASSERT_EQ(0, admin(ADMIN_FORMAT, SCRATCH, lbaf, 0, NULL));
	while (ns_info(fd).out_block_size != block_size) {
		ASSERT(now_ms() < end);
		nap_ms(10);
	}
	close(fd);
}

/* To this controller, or from it */
static int attach(bool on)
{
	static uint16_t list[PAGE / 2] __attribute__((aligned(4096)));

	list[0] = 1;
	list[1] = *(uint16_t *)(identify(0, 1) + 78);
	return admin(ADMIN_ATTACH, SCRATCH, on ? 0 : 1, 0, list);
}

static bool disk_appears(char *disk, size_t size)
{
	uint64_t end = now_ms() + 20000;

	while (!disk_of(ctrl_name(), SCRATCH, disk, size)) {
		if (now_ms() > end)
			return false;
		nap_ms(20);
	}
	return true;
}

/* --- the namespace that may be destroyed --- */

struct scratch {
	char disk[64];
	const char *point;	/* mounted there, read-only so that nothing is written */
	const char *type;
	struct file file;
	char *want;
};

static void scratch_mount(struct scratch *s)
{
	ASSERT(!mount(s->disk, s->point, s->type, MS_RDONLY, NULL));
}

static void block_set_ro(const char *path, int on)
{
	int disk = open(path, O_RDONLY | O_CLOEXEC);

	ASSERT(disk >= 0);
	ASSERT(!ioctl(disk, BLKROSET, &on));
	close(disk);
}

static void scratch_open(struct scratch *s, const char *type)
{
	memset(s, 0, sizeof(*s));
	s->type = type;
	if (!getenv("HOMI_MONITOR"))
		SKIP("no QEMU whose namespaces may be destroyed");
	/* A test that failed may have left it detached, or formatted. */
	if (!disk_of(ctrl_name(), SCRATCH, s->disk, sizeof(s->disk)) &&
	    (attach(true) || !disk_appears(s->disk, sizeof(s->disk))))
		SKIP("%s has no namespace %u", ctrl_name(), SCRATCH);
	if (sysfs_number("/sys/block/%s/queue/logical_block_size", base_name(s->disk)) != 512)
		format(lba_format(512), 512);
	block_set_ro(s->disk, 0);
	s->point = private_mount_point();
	if (!strcmp(type, "xfs") &&
	    shell("mkfs.xfs -q -f -K --unsupported %s >/tmp/mkfs 2>&1", s->disk)) {
		ASSERT(!shell("grep -qE 'unrecognized|larger' /tmp/mkfs"));
		SKIP("mkfs.xfs makes none so small");
	}
	if (!strcmp(type, "ext4"))
		ASSERT(!shell("mkfs.ext4 -q -F -b 4096 %s", s->disk));
	ASSERT(!mount(s->disk, s->point, type, 0, NULL));
	s->want = reader_file(s->point, "file", &s->file);
	ASSERT(!umount(s->point));
	scratch_mount(s);
}

static void scratch_close(struct scratch *s)
{
	umount_soon(s->point);
	free(s->want);
}

/* A queue of somebody who has no EXTENT is left alone. */
static void bystander_reads(struct ring *ring, const struct dma *dma)
{
	struct sqe sqe = { .opcode = NVME_READ, .nsid = 1, .prp1 = dma_addr(dma, 0) };

	ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(ring->fd, ring->q.out_queue_id).out_state);
	ASSERT_EQ(0, ring_do(ring, &sqe));
}

static void bystander_open(struct ring *ring, struct dma *dma)
{
	int fd = homi_open();

	dma_new(dma, fd, PAGE);
	ring_open(ring, fd, 8);
	bystander_reads(ring, dma);
}

/* --- what changes nothing --- */

FS_TEST(rescan)
{
	struct reader reader;
	struct file file;
	char *want = reader_file(dir, "rescan", &file);
	unsigned int i;

	reader_start(&reader, file.path, want);
	for (i = 0; i < 5; i++) {
		rescan();
		reader_goes_on(&reader);
	}
	reader_expect_true(&reader);
	reader_end(&reader);
	file_remove(&file);
}

/* A reset takes the queue, not the blocks. */
FS_TEST(reset)
{
	struct reader reader;
	struct file file;
	char *want = reader_file(dir, "reset", &file);
	unsigned int i;

	reader_start(&reader, file.path, want);
	atomic_store(&reader.any, true);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, reset_controller(ctrl_name()));
		nap_ms(300);
	}
	nap_ms(READER_WATCHED_MS);
	ASSERT_EQ(HOMI_EXTENT_VALID, reader.table.t->state);
	ASSERT_EQ(1, reader.table.t->generation);
	reader_end(&reader);
	file_remove(&file);
}

/* Lets go of a file system that is frozen, whatever becomes of the test. */
static pid_t thaw_later(const char *dir, int *trigger)
{
	int pipes[2];
	pid_t pid;
	char byte;

	ASSERT(!pipe2(pipes, O_CLOEXEC));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		setsid();
		close(pipes[1]);
		while (read(pipes[0], &byte, 1) > 0)
			;
		_exit(shell("fsfreeze -u %s", dir));
	}
	close(pipes[0]);
	*trigger = pipes[1];
	return pid;
}

FS_TEST(freeze)
{
	struct reader reader;
	struct table other;
	struct waiter opener;
	struct file file, second;
	char *want = reader_file(dir, "freeze", &file);
	int trigger, fd = homi_open();
	pid_t thaw;

	file_create(&second, dir, "freeze-2", READER_PAGES * PAGE, 22);
	reader_start(&reader, file.path, want);
	thaw = thaw_later(dir, &trigger);
	ASSERT(!shell("fsfreeze -f %s", dir));
	reader_expect_true(&reader);
	/* More can be had, and the lease still holds. */
	table_open(&other, fd, second.fd, 0, 0);
	waiter_start(&opener, act_open_write, file.path);
	ASSERT(waiter_waits(&opener, 300));
	ASSERT_EQ(HOMI_EXTENT_RECALLED, reader.table.t->state);
	ASSERT_EQ(0, table_close(&other));
	reader_end(&reader);
	ASSERT_EQ(0, waiter_end(&opener, 20000, NULL));
	close(trigger);
	ASSERT_EQ(0, child_status(thaw));
	file_remove(&file);
	file_remove(&second);
}

/* EBUSY by the EXTENT alone, and it goes with it. */
FS_TEST(umount)
{
	char source[128], type[8];
	struct reader reader;
	struct file file;
	char *want = reader_file(dir, "umount", &file);

	snprintf(type, sizeof(type), "%s", strstr(dir, "xfs") ? "xfs" : "ext4");
	snprintf(source, sizeof(source), "%sp%d", bdev_path(), type[0] == 'x' ? 2 : 1);
	reader_start(&reader, file.path, want);
	ASSERT(umount(dir) < 0 && errno == EBUSY);
	reader_expect_true(&reader);
	reader_end(&reader);
	if (umount(dir))
		FAIL("umount %s: %s", dir, strerror(errno));
	ASSERT(!mount(source, dir, type, 0, NULL));
	file_remove(&file);
}

/* The block device's flag is for the block layer; a raw queue does not pass there. */
TEST(block_device_read_only)
{
	struct scratch s;
	struct reader reader;
	struct ring ring;
	struct dma dma;
	struct sqe sqe = { .opcode = NVME_WRITE, .nsid = SCRATCH };

	scratch_open(&s, "ext4");
	reader_start(&reader, s.file.path, s.want);
	ASSERT(!(ns_info(reader.fd).out_features & HOMI_NS_READ_ONLY));
	block_set_ro(s.disk, 1);
	ASSERT(ns_info(reader.fd).out_features & HOMI_NS_READ_ONLY);
	reader_expect_true(&reader);
	bystander_open(&ring, &dma);
	memcpy(dma.va, s.want, PAGE);
	sqe.prp1 = dma_addr(&dma, 0);
	sqe.slba = table_lookup(&reader.table, 0) / reader.table.r.out_block_size;
	sqe.nlb = PAGE / reader.table.r.out_block_size - 1;
	ASSERT_EQ(0, ring_do(&ring, &sqe));
	block_set_ro(s.disk, 0);
	ASSERT(!(ns_info(reader.fd).out_features & HOMI_NS_READ_ONLY));
	reader_expect_true(&reader);
	reader_end(&reader);
	scratch_close(&s);
}

TEST(write_protect)
{
	struct scratch s;
	struct reader reader;
	int status;

	scratch_open(&s, "ext4");
	reader_start(&reader, s.file.path, s.want);
	status = admin(ADMIN_SET, SCRATCH, FEAT_PROTECT, 1, NULL);
	reader_expect_true(&reader);
	if (!status) {
		rescan();
		reader_expect_true(&reader);
		ASSERT_EQ(0, admin(ADMIN_SET, SCRATCH, FEAT_PROTECT, 0, NULL));
		rescan();
	}
	reader_end(&reader);
	scratch_close(&s);
	if (status)
		SKIP("the controller has no write protection (status %#x)", status);
}

/* --- what takes the blocks away --- */

static void format_other_size(const char *type)
{
	int small = -1, big = -1, fd, file;
	struct homi_extent_resolve again;
	struct reader reader;
	struct scratch s;
	struct ring ring;
	struct dma dma;

	scratch_open(&s, type);
	small = lba_format(512);
	big = lba_format(4096);
	if (small < 0 || big < 0)
		SKIP("namespace %u has one block size", SCRATCH);
	reader_start(&reader, s.file.path, s.want);
	bystander_open(&ring, &dma);
	reader_goes_on(&reader);
	atomic_store(&reader.any, true);
	format(big, 4096);
	reader_expect_revoked(&reader);
	bystander_reads(&ring, &dma);
	/* Asked again, homi tells of blocks as they are now, or refuses. */
	fd = homi_open();
	file = open(s.file.path, O_RDONLY | O_CLOEXEC);
	if (file >= 0 && !extent_resolve(fd, file, 0, 0, &again))
		ASSERT_EQ(4096, again.out_block_size);
	if (file >= 0)
		close(file);
	close(fd);
	/* The holder may go on with what there is. */
	reader_recreate(&reader);
	ring_unmap(&ring);
	close(ring.fd);
	reader_end(&reader);
	scratch_close(&s);
	format(small, 512);
}

TEST(format_other_size_ext4) { format_other_size("ext4"); }
TEST(format_other_size_xfs) { format_other_size("xfs"); }

/*
 * The data are lost, the blocks are where they were: an EXTENT is as true as what stock reads.
 * Nothing keeps root from doing this to a mounted namespace.
 */
TEST(format_same_size)
{
	struct reader reader;
	struct scratch s;
	uint64_t at;
	char *page;
	int disk;

	scratch_open(&s, "ext4");
	reader_start(&reader, s.file.path, s.want);
	reader_goes_on(&reader);
	atomic_store(&reader.any, true);
	format(lba_format(512), 512);
	reader_expect_true(&reader);
	at = table_lookup(&reader.table, 0);
	reader_join(&reader);
	disk = open(s.disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
	ASSERT(disk >= 0);
	ASSERT(!posix_memalign((void **)&page, PAGE, PAGE));
	ASSERT_EQ(PAGE, pread(disk, page, PAGE, at));
	reader_post(&reader, 0);
	{
		struct cqe cqe;

		ASSERT_EQ(0, ring_poll(&reader.ring, &cqe, 30000));
		ASSERT_EQ(0, cqe.status >> 1);
	}
	ASSERT_SAME(page, reader.dma.va, PAGE);
	close(disk);
	ASSERT_EQ(0, ring_destroy(&reader.ring));
	ASSERT_EQ(0, table_close(&reader.table));
	scratch_close(&s);
}

static void detach_and_attach(const char *type)
{
	struct homi_extent_resolve again;
	struct homi_ns_info info = { .size = sizeof(info), .nsid = SCRATCH };
	struct reader reader;
	struct scratch s;
	struct ring ring;
	struct dma dma;
	int status, file;

	scratch_open(&s, type);
	reader_start(&reader, s.file.path, s.want);
	bystander_open(&ring, &dma);
	reader_goes_on(&reader);
	atomic_store(&reader.any, true);
	file = open(s.file.path, O_RDONLY | O_CLOEXEC);
	ASSERT(file >= 0);
	status = attach(false);
	if (status) {
		close(file);
		reader_end(&reader);
		scratch_close(&s);
		SKIP("namespaces of this controller cannot be detached (status %#x)", status);
	}
	reader_expect_revoked(&reader);
	bystander_reads(&ring, &dma);
	ASSERT_EQ(-ENOENT, homi_call(reader.fd, HOMI_NS_INFO, &info));
	ASSERT(extent_resolve(reader.fd, file, 0, 0, &again) < 0);
	/* Raw commands to it are refused by the controller. */
	reader_recreate(&reader);
	{
		struct sqe sqe = { .opcode = NVME_READ, .nsid = SCRATCH,
				   .prp1 = dma_addr(&reader.dma, 0) };

		ASSERT(ring_do(&reader.ring, &sqe) > 0);
	}
	close(file);
	ASSERT_EQ(0, attach(true));
	ASSERT(disk_appears(s.disk, sizeof(s.disk)));
	/* It is another one, whatever it is called. */
	ASSERT_EQ(HOMI_EXTENT_REVOKED, reader.table.t->state);
	ASSERT_EQ(0, ring_destroy(&reader.ring));
	ASSERT_EQ(0, table_close(&reader.table));
	ASSERT_EQ(0, dma_destroy(&reader.dma));
	close(reader.fd);
	umount_soon(s.point);
	scratch_mount(&s);
	reader_start(&reader, s.file.path, s.want);
	reader_expect_true(&reader);
	reader_end(&reader);
	scratch_close(&s);
}

TEST(detach_and_attach_ext4) { detach_and_attach("ext4"); }
TEST(detach_and_attach_xfs) { detach_and_attach("xfs"); }

TEST(delete_namespace)
{
	struct reader reader;
	struct scratch s;
	int status;

	scratch_open(&s, "ext4");
	reader_start(&reader, s.file.path, s.want);
	reader_goes_on(&reader);
	atomic_store(&reader.any, true);
	status = admin(ADMIN_NS, SCRATCH, 1, 0, NULL);
	if (!status)
		reader_expect_revoked(&reader);
	else
		reader_expect_true(&reader);
	reader_end(&reader);
	scratch_close(&s);
	if (status)
		SKIP("the controller deletes no namespaces (status %#x)", status);
}

TEST(shrink)
{
	const char *drive = getenv("HOMI_DRIVE");
	struct reader reader;
	struct scratch s;
	uint64_t blocks;
	bool shrunk;

	scratch_open(&s, "ext4");
	if (!drive)
		SKIP("HOMI_DRIVE is not set");
	reader_start(&reader, s.file.path, s.want);
	reader_goes_on(&reader);
	blocks = ns_info(reader.fd).out_blocks;
	atomic_store(&reader.any, true);
	ASSERT(!shell("echo block_resize %.5s%c%u %lluB >$HOMI_MONITOR", drive, 'n', SCRATCH,
		      (unsigned long long)blocks * 512 / 2));
	nap_ms(300);
	rescan();
	nap_ms(300);
	shrunk = ns_info(reader.fd).out_blocks < blocks;
	if (shrunk)
		reader_expect_revoked(&reader);
	else
		reader_expect_true(&reader);
	ASSERT(!shell("echo block_resize %.5s%c%u %lluB >$HOMI_MONITOR", drive, 'n', SCRATCH,
		      (unsigned long long)blocks * 512));
	nap_ms(300);
	rescan();
	reader_end(&reader);
	scratch_close(&s);
	if (!shrunk)
		SKIP("QEMU's controller does not tell that its drive was resized");
}
