// SPDX-License-Identifier: GPL-2.0-only
/* CTRL_INFO and NS_INFO against what stock nvme and sysfs say. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "harness.h"

static bool multipath_name(const char *name)
{
	return strchr(name + 4, 'c') != NULL;
}

/* Names of the controller's namespaces in sysfs: nvme0n1, or nvme0c0n1 below a multipath head */
static unsigned int sysfs_namespaces(char names[][32], unsigned int max)
{
	char path[256];
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/class/nvme/%s", ctrl_name());
	dir = opendir(path);
	ASSERT(dir);
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "nvme", 4) || !strchr(entry->d_name + 4, 'n'))
			continue;
		ASSERT(count < max);
		snprintf(names[count++], 32, "%.31s", entry->d_name);
	}
	closedir(dir);
	return count;
}

/* nvme0c1n2 is reached as nvme0n2. */
static void disk_name(const char *name, char *disk)
{
	unsigned int a, b, c;

	if (sscanf(name, "nvme%uc%un%u", &a, &b, &c) == 3)
		snprintf(disk, 32, "nvme%un%u", a, c);
	else
		snprintf(disk, 32, "%.31s", name);
}

TEST(ctrl_info)
{
	int fd = homi_open();
	struct homi_ctrl_info info = ctrl_info(fd);
	long long queues = sysfs_number("/sys/class/nvme/%s/queue_count", ctrl_name());
	long long sqsize = sysfs_number("/sys/class/nvme/%s/sqsize", ctrl_name());

	ASSERT_EQ(sizeof(info), info.size);
	ASSERT_EQ(HOMI_CTRL_LIVE, info.out_state);
	ASSERT(info.out_generation >= 1);
	ASSERT_EQ(0, info.out_queues_reserved);
	ASSERT_EQ(0, info.out_queues_lent);
	/* queue_count has the admin queue too */
	ASSERT(queues >= 2);
	ASSERT(info.out_queues_kernel >= queues - 1);
	ASSERT(info.out_queues_granted >= queues - 1);
	ASSERT(info.out_queues_granted <= 65535);
	if (info.out_queues_spare) {
		ASSERT(info.out_queues_spare <=
		       info.out_queues_granted - info.out_queues_kernel);
		ASSERT_EQ(HOMI_REASON_NONE, info.out_reason);
	} else {
		ASSERT(info.out_reason != HOMI_REASON_NONE);
	}
	/* sqsize is 0's based and what stock makes of the same limit */
	ASSERT(info.out_max_depth >= sqsize + 1 && info.out_max_depth <= 65536);
	ASSERT(info.out_doorbell_stride >= 4);
	ASSERT(!(info.out_doorbell_stride & (info.out_doorbell_stride - 1)));
	ASSERT_EQ(PAGE, info.out_page_size);
	ASSERT(!(info.out_features &
		 ~(HOMI_CTRL_SHADOW_DOORBELLS | HOMI_CTRL_VIRTUAL_FUNCTION |
		   HOMI_CTRL_INTERRUPTS)));
}

/* The machines of the test matrix that have no spare queue are built so on purpose. */
TEST(exhausted)
{
	const char *vm = getenv("HOMI_VM");
	int fd = homi_open();
	struct homi_ctrl_info info = ctrl_info(fd);
	struct homi_queue_create q = { .size = sizeof(q), .depth = 2 };

	if (!vm || !strstr(vm, "exhausted")) {
		if (vm)
			ASSERT(info.out_queues_spare > 0);
		SKIP("this controller is not meant to be exhausted");
	}
	ASSERT_EQ(0, info.out_queues_spare);
	ASSERT_EQ(HOMI_REASON_NO_SPARE, info.out_reason);
	ASSERT_EQ(info.out_queues_granted, info.out_queues_kernel);
	ASSERT_EQ(-ENOSPC, homi_call(fd, HOMI_QUEUE_CREATE, &q));
}

TEST(max_transfer)
{
	int fd = homi_open();
	uint64_t max = ctrl_info(fd).out_max_transfer;
	long long kb = sysfs_number("/sys/class/block/%s/queue/max_hw_sectors_kb",
				    base_name(bdev_path()));

	ASSERT(kb > 0);
	if (!max)
		SKIP("the controller has no limit");
	ASSERT_EQ(0, max % PAGE);
	/* stock takes the smaller of this and a limit of its own */
	ASSERT((uint64_t)kb * 1024 <= max);
	if (getenv("HOMI_VM") && strstr(getenv("HOMI_VM"), "mdts"))
		ASSERT_EQ(16384, max);
}

TEST(iommu)
{
	char pci[PATH_MAX], link[256], type[32];
	int fd = homi_open();
	uint32_t want = HOMI_IOMMU_NONE;

	snprintf(link, sizeof(link), "/sys/class/nvme/%s/device", ctrl_name());
	ASSERT(realpath(link, pci));
	if (sysfs_read(type, sizeof(type), "%s/iommu_group/type", pci))
		want = strcmp(type, "identity") ? HOMI_IOMMU_TRANSLATING : HOMI_IOMMU_PASSTHROUGH;
	ASSERT_EQ(want, ctrl_info(fd).out_iommu);
	if (getenv("HOMI_VM") && strstr(getenv("HOMI_VM"), "translating"))
		ASSERT_EQ(HOMI_IOMMU_TRANSLATING, want);
}

TEST(virtual_function)
{
	char pci[PATH_MAX], link[256];
	int fd = homi_open();

	snprintf(link, sizeof(link), "/sys/class/nvme/%s/device", ctrl_name());
	ASSERT(realpath(link, pci));
	strncat(pci, "/physfn", sizeof(pci) - strlen(pci) - 1);
	ASSERT_EQ(!access(pci, F_OK),
		  !!(ctrl_info(fd).out_features & HOMI_CTRL_VIRTUAL_FUNCTION));
}

static void check_namespace(int fd, const char *name)
{
	struct homi_ns_info info = { .size = sizeof(info) };
	char disk[32], dev[32], want[32];
	long long nsid, blocks, block_size;

	disk_name(name, disk);
	nsid = sysfs_number("/sys/class/nvme/%s/%s/nsid", ctrl_name(), name);
	ASSERT(nsid > 0);
	info.nsid = nsid;
	ASSERT_EQ(0, homi_call(fd, HOMI_NS_INFO, &info));
	ASSERT_EQ(nsid, info.out_nsid);
	block_size = sysfs_number("/sys/class/block/%s/queue/logical_block_size", disk);
	blocks = sysfs_number("/sys/class/block/%s/size", disk);
	ASSERT_EQ(block_size, info.out_block_size);
	ASSERT_EQ(blocks * 512, info.out_blocks * info.out_block_size);
	ASSERT_EQ(0, info.out_metadata_size);
	ASSERT_EQ(0, info.__reserved);
	ASSERT(sysfs_read(dev, sizeof(dev), "/sys/class/block/%s/dev", disk));
	snprintf(want, sizeof(want), "%u:%u", info.out_major, info.out_minor);
	ASSERT(!strcmp(want, dev));
	ASSERT_EQ(multipath_name(name), !!(info.out_features & HOMI_NS_MULTIPATH));
	ASSERT_EQ(sysfs_number("/sys/class/block/%s/ro", disk),
		  !!(info.out_features & HOMI_NS_READ_ONLY));
	ASSERT(!(info.out_features & HOMI_NS_ZONED));
}

TEST(ns_info)
{
	char names[32][32];
	unsigned int i, count = sysfs_namespaces(names, ARRAY_SIZE(names));
	int fd = homi_open();

	ASSERT(count > 0);
	for (i = 0; i < count; i++)
		check_namespace(fd, names[i]);
}

/* All of them, once each and in order */
TEST(ns_next)
{
	char names[32][32];
	unsigned int i, count = sysfs_namespaces(names, ARRAY_SIZE(names)), seen = 0;
	struct homi_ns_info info = { .size = sizeof(info), .flags = HOMI_NS_NEXT, .nsid = 1 };
	int fd = homi_open(), err;

	while (!(err = homi_call(fd, HOMI_NS_INFO, &info))) {
		ASSERT(info.out_nsid >= info.nsid);
		for (i = 0; i < count; i++)
			if (sysfs_number("/sys/class/nvme/%s/%s/nsid", ctrl_name(), names[i]) ==
			    info.out_nsid)
				break;
		ASSERT(i < count);
		seen++;
		info.nsid = info.out_nsid + 1;
	}
	ASSERT_EQ(-ENOENT, err);
	ASSERT_EQ(count, seen);
}

TEST(ns_absent)
{
	static const uint32_t absent[] = { 0, 31, 0xfffffffe, 0xffffffff };
	int fd = homi_open();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(absent); i++) {
		struct homi_ns_info info = { .size = sizeof(info), .nsid = absent[i] };
		int err = homi_call(fd, HOMI_NS_INFO, &info);

		/* 0 is no namespace id at all */
		if (absent[i] || err != -EINVAL)
			ASSERT_EQ(-ENOENT, err);
		info.flags = HOMI_NS_NEXT;
		if (absent[i] > 30)
			ASSERT_EQ(-ENOENT, homi_call(fd, HOMI_NS_INFO, &info));
	}
}

static unsigned int kernel_lines(const char *word)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	unsigned int count = 0;
	char line[8192];
	ssize_t got;

	ASSERT(fd >= 0);
	while ((got = read(fd, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		if (got <= 0)
			continue;
		line[got] = '\0';
		count += strstr(line, word) != NULL;
	}
	close(fd);
	return count;
}

/* Nobody notices that homi is asked; and user errors are not logged. */
TEST(asking_changes_nothing)
{
	unsigned int before = kernel_lines("nvme"), i;
	long long queues = sysfs_number("/sys/class/nvme/%s/queue_count", ctrl_name());
	struct homi_ctrl_info info;
	uint64_t generation;
	char junk[256] = { 0 };
	int fd = homi_open();

	generation = ctrl_info(fd).out_generation;
	for (i = 0; i < 50; i++) {
		int again = homi_open();

		info = ctrl_info(again);
		ASSERT_EQ(0, info.out_queues_lent);
		homi_call(again, HOMI_QUEUE_CREATE, junk);
		homi_call(again, HOMI_NS_INFO, junk);
		close(again);
	}
	ASSERT_EQ(generation, ctrl_info(fd).out_generation);
	ASSERT_EQ(before, kernel_lines("nvme"));
	ASSERT_EQ(queues, sysfs_number("/sys/class/nvme/%s/queue_count", ctrl_name()));
	ASSERT(wait_live(ctrl_name(), 0));
}

TEST(device_node)
{
	struct stat st;

	ASSERT(!stat(dev_path(), &st));
	ASSERT(S_ISCHR(st.st_mode));
	/* 0600, or 0660 where the udev rule is installed; never for others */
	ASSERT(!(st.st_mode & 0007));
	ASSERT_EQ(0, st.st_uid);
}
