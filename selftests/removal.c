// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "files.h"
#include "removal.h"

#define PCI	"/sys/bus/pci/devices/%s"

static bool controller_of(const char *pci, char *name)
{
	char path[256];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), PCI "/nvme", pci);
	dir = opendir(path);
	if (!dir)
		return false;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, "nvme", 4)) {
			snprintf(name, 32, "%.31s", entry->d_name);
			found = true;
		}
	closedir(dir);
	return found;
}

bool disk_of(const char *ctrl, uint32_t nsid, char *disk, size_t size)
{
	char path[256];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/class/nvme/%s", ctrl);
	dir = opendir(path);
	if (!dir)
		return false;
	while ((entry = readdir(dir))) {
		unsigned int ctrl_nr, path_nr, ns_nr;

		if (sysfs_number("/sys/class/nvme/%s/%s/nsid", ctrl, entry->d_name) != nsid)
			continue;
		if (sscanf(entry->d_name, "nvme%uc%un%u", &ctrl_nr, &path_nr, &ns_nr) == 3)
			snprintf(disk, size, "/dev/nvme%un%u", ctrl_nr, ns_nr);
		else
			snprintf(disk, size, "/dev/%.40s", entry->d_name);
		found = !access(disk, F_OK);
	}
	closedir(dir);
	return found;
}

/* The second controller and the spare one, learnt before the first test takes them away */
static struct victim second, spare;

static void learn(struct victim *victim, const char *ctrl)
{
	char link[256], path[PATH_MAX];

	snprintf(link, sizeof(link), "/sys/class/nvme/%s/device", ctrl);
	if (!realpath(link, path))
		return;
	snprintf(victim->pci, sizeof(victim->pci), "%.31s", base_name(path));
	snprintf(victim->home, sizeof(victim->home), "/dev/homi/%.40s", ctrl);
	victim->nsid = 1;
	if (disk_of(ctrl, 1, victim->disk, sizeof(victim->disk)))
		victim->block_size = sysfs_number("/sys/class/block/%s/queue/logical_block_size",
						  base_name(victim->disk));
}

__attribute__((constructor)) static void removal_init(void)
{
	const char *dev = getenv("HOMI_DEV2");
	char ctrl[32], nqn[256];
	unsigned int i;

	if (dev && *dev)
		learn(&second, base_name(dev));
	for (i = 0; i < 16; i++) {
		snprintf(ctrl, sizeof(ctrl), "nvme%u", i);
		if (sysfs_read(nqn, sizeof(nqn), "/sys/class/nvme/%s/subsysnqn", ctrl) &&
		    strstr(nqn, "qemu:spare"))
			learn(&spare, ctrl);
	}
}

void victim_wait_back(struct victim *victim)
{
	uint64_t end = now_ms() + 30000;
	char name[32];

	for (;;) {
		if (controller_of(victim->pci, name) && wait_live(name, 0) &&
		    disk_of(name, victim->nsid, victim->disk, sizeof(victim->disk))) {
			snprintf(victim->dev, sizeof(victim->dev), "/dev/homi/%s", name);
			if (!access(victim->dev, F_OK))
				return;
		}
		if (now_ms() > end)
			FAIL("%s does not come back", victim->pci);
		nap_ms(20);
	}
}

void victim_unbind(const struct victim *victim)
{
	ASSERT(sysfs_write("/sys/bus/pci/drivers/nvme/unbind", victim->pci));
}

static void bind(const struct victim *victim)
{
	ASSERT(sysfs_write("/sys/bus/pci/drivers/nvme/bind", victim->pci));
}

void victim_bind(struct victim *victim)
{
	bind(victim);
	victim_wait_back(victim);
}

void victim_restore(struct victim *victim)
{
	uint64_t end = now_ms() + 20000;

	/* The last reference to the old one may be dropped a little after its holder's end. */
	while (strcmp(victim->dev, victim->home)) {
		ASSERT(now_ms() < end);
		victim_unbind(victim);
		nap_ms(50);
		victim_bind(victim);
	}
}

void wait_no_node(const char *dev)
{
	uint64_t end = now_ms() + 30000;

	while (!access(dev, F_OK)) {
		ASSERT(now_ms() < end);
		nap_ms(5);
	}
}

void check_gone(int fd)
{
	struct homi_ctrl_info info = { .size = sizeof(info) };
	struct homi_ns_info ns = { .size = sizeof(ns), .nsid = 1 };
	struct ring ring;
	uint32_t id;
	void *va = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err = homi_call(fd, HOMI_CTRL_INFO, &info);

	/* CTRL_INFO may tell the state, or be ENODEV as the rest */
	if (!err)
		ASSERT_EQ(HOMI_CTRL_GONE, info.out_state);
	else
		ASSERT_EQ(-ENODEV, err);
	ASSERT_EQ(-ENODEV, homi_call(fd, HOMI_NS_INFO, &ns));
	ASSERT_EQ(-ENODEV, ring_create(&ring, fd, 4));
	ASSERT_EQ(-ENODEV, mem_register(fd, va, PAGE, HOMI_MEM_WRITE, &id, NULL));
	munmap(va, PAGE);
}

void check_ring_gone(const struct ring *ring)
{
	struct ring copy = *ring;

	ASSERT_EQ(HOMI_QUEUE_GONE, queue_info(ring->fd, ring->q.out_queue_id).out_state);
	ASSERT_EQ(-ENODEV, ring_recreate(&copy));
	ASSERT_EQ(SIGBUS, fault_of(ring->sq, true));
	ASSERT_EQ(SIGBUS, fault_of(ring->cq, false));
	ASSERT_EQ(0, fault_of(ring->db, true));
	if (ring->shadow) {
		ASSERT_EQ(0, fault_of(ring->shadow, true));
		ASSERT_EQ(0, fault_of(ring->event, false));
	}
}

uint32_t first_nsid(int fd)
{
	struct homi_ns_info ns = { .size = sizeof(ns), .flags = HOMI_NS_NEXT, .nsid = 1 };

	ASSERT_EQ(0, homi_call(fd, HOMI_NS_INFO, &ns));
	return ns.out_nsid;
}

void victim_prove(const struct victim *victim)
{
	int fd = homi_open_at(victim->dev), disk = open(victim->disk, O_RDONLY | O_DIRECT);
	struct sqe sqe = { .opcode = NVME_READ, .nsid = victim->nsid,
			   .nlb = PAGE / victim->block_size - 1 };
	struct ring ring;
	struct dma dma;
	char *want;

	ASSERT(disk >= 0);
	ASSERT(!posix_memalign((void **)&want, PAGE, PAGE));
	ASSERT_EQ(PAGE, pread(disk, want, PAGE, 0));
	dma_new(&dma, fd, PAGE);
	ring_open(&ring, fd, 16);
	sqe.prp1 = dma_addr(&dma, 0);
	ASSERT_EQ(0, ring_do(&ring, &sqe));
	ASSERT_SAME(want, dma.va, PAGE);
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	ASSERT_EQ(0, dma_destroy(&dma));
	munmap(dma.va, PAGE);
	free(want);
	close(disk);
	close(fd);
}

/* --- how --- */

void umount_soon(const char *point)
{
	uint64_t end = now_ms() + 30000;

	while (umount(point)) {
		ASSERT_EQ(EBUSY, errno);
		ASSERT(now_ms() < end);
		nap_ms(5);
	}
}

static void sysfs_remove(const struct victim *victim)
{
	char path[128];

	snprintf(path, sizeof(path), PCI "/remove", victim->pci);
	ASSERT(sysfs_write(path, "1"));
}

static void sysfs_rescan(const struct victim *victim)
{
	(void)victim;
	ASSERT(sysfs_write("/sys/bus/pci/rescan", "1"));
}

/* The function answers nothing any more and cannot reach memory, before anybody is told. */
static void surprise_remove(const struct victim *victim)
{
	char path[128], command[2] = { 0, 0 };
	int fd;

	snprintf(path, sizeof(path), PCI "/config", victim->pci);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT(fd >= 0);
	ASSERT_EQ(sizeof(command), pwrite(fd, command, sizeof(command), 4));
	close(fd);
	sysfs_remove(victim);
}

/* scripts/vm calls the controller at 0000:0N:00.0 nvmeN. */
static unsigned int slot_of(const struct victim *victim)
{
	unsigned int domain, bus;

	ASSERT_EQ(2, sscanf(victim->pci, "%x:%x", &domain, &bus));
	return bus;
}

/* A line to QEMU's monitor; what it answers is shown if it looks like an error. */
static void monitor(const char *line)
{
	int fd = open(getenv("HOMI_MONITOR"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
	char answer[8192], *error;
	ssize_t n, total = 0;

	ASSERT(fd >= 0);
	ASSERT_EQ(strlen(line), write(fd, line, strlen(line)));
	ASSERT_EQ(1, write(fd, "\n", 1));
	/* It echoes each character, so there is something to be read in any case. */
	while (poll_fd(fd, POLLIN, 500) & POLLIN) {
		n = read(fd, answer + total, sizeof(answer) - 1 - total);
		if (n <= 0)
			break;
		total += n;
		if (total > (ssize_t)sizeof(answer) / 2) {
			memmove(answer, answer + total / 2, total - total / 2);
			total -= total / 2;
		}
	}
	answer[total] = '\0';
	close(fd);
	error = strstr(answer, "Error");
	if (error)
		printf("# monitor: %.*s\n", (int)strcspn(error, "\r\n"), error);
}

static void unplug(const struct victim *victim)
{
	char line[64];

	snprintf(line, sizeof(line), "device_del nvme%u", slot_of(victim));
	monitor(line);
}

static void plug(const struct victim *victim)
{
	unsigned int n = slot_of(victim);
	char line[128];

	snprintf(line, sizeof(line), "device_add nvme,id=nvme%u,serial=homi%u,bus=port%u,"
		 "subsys=spare", n, n, n);
	monitor(line);
}

const struct removal by_unbind = { victim_unbind, bind, false };
const struct removal by_sysfs = { sysfs_remove, sysfs_rescan, false };
const struct removal by_hotplug = { unplug, plug, false };
const struct removal by_surprise = { surprise_remove, sysfs_rescan, true };

static bool is_gone(const struct removal *how, const struct victim *victim)
{
	char path[128];

	snprintf(path, sizeof(path), how == &by_unbind ? PCI "/driver" : PCI, victim->pci);
	return access(path, F_OK) < 0;
}

uint64_t victim_remove(const struct removal *how, const struct victim *victim)
{
	uint64_t begin = now_ms();

	how->remove(victim);
	while (!is_gone(how, victim)) {
		if (now_ms() > begin + 30000)
			FAIL("%s is still there", victim->pci);
		nap_ms(5);
	}
	wait_no_node(victim->dev);
	return now_ms() - begin;
}

/*
 * QEMU lets go of the old one and its slot only some time after the guest has; and where ACPI tells of the new one a slot whose device was removed by sysfs before may need to
 * be looked at.
 */
void victim_add(const struct removal *how, struct victim *victim)
{
	uint64_t begin = now_ms(), again = begin + 3000;
	char name[32];

	how->add(victim);
	while (how == &by_hotplug && !controller_of(victim->pci, name) &&
	       now_ms() < begin + 30000) {
		nap_ms(50);
		if (now_ms() < again)
			continue;
		sysfs_rescan(victim);
		if (!controller_of(victim->pci, name))
			how->add(victim);
		again = now_ms() + 3000;
	}
	victim_wait_back(victim);
}

/* A test that failed may have left it away. */
static void bring_back(struct victim *victim)
{
	char path[128];

	snprintf(path, sizeof(path), PCI, victim->pci);
	if (access(path, F_OK))
		sysfs_rescan(victim);
	if (access(path, F_OK) && victim->plugged)
		victim_add(&by_hotplug, victim);
	else
		sysfs_write("/sys/bus/pci/drivers/nvme/bind", victim->pci);
	victim_wait_back(victim);
	victim_restore(victim);
}

void victim_need(struct victim *victim)
{
	if (!second.pci[0])
		SKIP("HOMI_DEV2 names no second controller");
	*victim = second;
	bring_back(victim);
}

/* Whichever driver it is that notices, it shows its slots. */
static bool can_plug(void)
{
	return !shell("[ -n \"$(ls /sys/bus/pci/slots 2>/dev/null)\" ]");
}

void victim_need_plugged(struct victim *victim)
{
	if (!spare.pci[0] || !getenv("HOMI_MONITOR"))
		SKIP("no QEMU with a spare controller that could be unplugged");
	if (!can_plug())
		SKIP("this kernel has no driver for the slots of this machine");
	spare.plugged = true;
	*victim = spare;
	bring_back(victim);
}

const char *victim_make_file(const struct victim *victim, const char *type, size_t size,
			     char path[256])
{
	const char *point = private_mount_point();
	struct file file;
	char part[80];

	snprintf(part, sizeof(part), "%sp3", victim->disk);
	if (access(part, F_OK))
		snprintf(part, sizeof(part), "%s", victim->disk);
	if (!strcmp(type, "xfs"))
		ASSERT(!shell("mkfs.xfs -q -f -K -d size=320m %s >/dev/null", part));
	else
		ASSERT(!shell("mkfs.ext4 -q -F -b 4096 %s 8192", part));
	ASSERT(!mount(part, point, type, 0, NULL));
	file_create(&file, point, "held", size, 5);
	memcpy(path, file.path, sizeof(file.path));
	close(file.fd);
	ASSERT(!umount(point));
	ASSERT(!mount(part, point, type, MS_RDONLY, NULL));
	return point;
}
