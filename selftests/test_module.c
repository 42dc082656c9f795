// SPDX-License-Identifier: GPL-2.0-only
/* The module's parameters; needs HOMI_KO, the module's file, and unloads it for a while. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "files.h"
#include "harness.h"
#include "ring.h"

static char *ko;

static bool appears(const char *dev, unsigned int ms)
{
	uint64_t end = now_ms() + ms;

	while (access(dev, F_OK)) {
		if (now_ms() > end)
			return false;
		nap_ms(10);
	}
	return true;
}

static int unload(void)
{
	return shell("rmmod homi 2>/dev/null");
}

static int load(const char *parameters)
{
	return shell("insmod %s %s", ko, parameters);
}

/* Whatever the test comes to, the next one finds the module as it was. */
static void restore(void)
{
	if (!access("/sys/module/homi", F_OK))
		unload();
	load("");
	appears(dev_path(), 30000);
}

static void reload(const char *parameters)
{
	ko = getenv("HOMI_KO");
	if (!ko || !*ko)
		SKIP("HOMI_KO does not name the module's file");
	ASSERT_EQ(0, unload());
	ASSERT_EQ(0, load(parameters));
}

/* Ends the test's process like FAIL(), which would leave the parameters behind. */
#define CHECK(cond)							\
	do {								\
		if (!(cond)) {						\
			restore();					\
			FAIL("%s (errno %d)", #cond, errno);		\
		}							\
	} while (0)

static void pci_address(char *bdf, size_t size, const char *ctrl)
{
	ASSERT(sysfs_read(bdf, size, "/sys/class/nvme/%s/address", ctrl));
}

/* Info and MEM need no offsets; what needs them is refused, with the reason. */
TEST(no_btf)
{
	struct homi_queue_create q = { .size = sizeof(q), .depth = 16 };
	struct homi_ns_info ns = { .size = sizeof(ns), .nsid = 1 };
	const char *dir = getenv("HOMI_EXT4");
	struct homi_ctrl_info info = { .size = sizeof(info) };
	struct homi_extent_resolve r;
	struct file file = { .fd = -1 };
	uint32_t mem;
	void *va;
	int fd;

	reload("no_btf=1");
	CHECK(appears(dev_path(), 30000));
	fd = open(dev_path(), O_RDWR);
	CHECK(fd >= 0);
	CHECK(!homi_call(fd, HOMI_CTRL_INFO, &info));
	CHECK(info.out_state == HOMI_CTRL_LIVE && info.out_reason == HOMI_REASON_NO_BTF);
	CHECK(info.out_queues_granted > 0 && !info.out_queues_spare && !info.out_queues_lent);
	CHECK(homi_call(fd, HOMI_QUEUE_CREATE, &q) == -EOPNOTSUPP);
	CHECK(homi_call(fd, HOMI_NS_INFO, &ns) == -EOPNOTSUPP);
	va = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(va != MAP_FAILED);
	CHECK(!mem_register(fd, va, 4 * PAGE, HOMI_MEM_WRITE, &mem, NULL));
	CHECK(!destroy(fd, mem));
	if (dir && *dir) {
		file_create(&file, dir, "no-btf", 4 * PAGE, 1);
		CHECK(extent_resolve(fd, file.fd, 0, 0, &r) == -EOPNOTSUPP);
		file_remove(&file);
	}
	/* A reset is seen without offsets too, and lived through. */
	CHECK(!reset_controller(ctrl_name()));
	CHECK(wait_live(ctrl_name(), 30000));
	CHECK(homi_call(fd, HOMI_QUEUE_CREATE, &q) < 0);
	close(fd);
	restore();
}

TEST(only)
{
	char bdf[32], parameters[64];

	pci_address(bdf, sizeof(bdf), ctrl_name());
	snprintf(parameters, sizeof(parameters), "only=%s", bdf);
	reload(parameters);
	CHECK(appears(dev_path(), 30000));
	/* All were looked at before insmod returned. */
	CHECK(shell("[ $(ls /dev/homi | wc -l) = 1 ]") == 0);
	restore();
}

TEST(except)
{
	char bdf[32], parameters[64];

	pci_address(bdf, sizeof(bdf), ctrl_name());
	snprintf(parameters, sizeof(parameters), "except=%s", bdf);
	reload(parameters);
	CHECK(!appears(dev_path(), 500));
	CHECK(shell("[ $(ls /dev/homi 2>/dev/null | wc -l) = $(($(ls /sys/class/nvme | wc -l) - 1)) ]") == 0);
	/* A name that only begins like it is another one. */
	CHECK(!unload());
	snprintf(parameters, sizeof(parameters), "only=0000:7f:1f.0,%s0", bdf);
	CHECK(!load(parameters));
	CHECK(!appears(dev_path(), 500));
	restore();
}

TEST(unload_while_open)
{
	char *before = getenv("HOMI_KO");
	int fd = homi_open();

	if (!before || !*before)
		SKIP("HOMI_KO does not name the module's file");
	ASSERT(unload() != 0);
	ASSERT_EQ(HOMI_CTRL_LIVE, ctrl_info(fd).out_state);
	close(fd);
}

/*
 * An upgrade while somebody uses homi: the new file takes the old one's place on disk and nobody
 * notices, the old module can't be unloaded in the middle of I/O, and once nobody uses it the next
 * modprobe brings the new one. In a copy of the modules' directory that only this test sees.
 */
#define NEWER	"9.9.9"

static void modules_of_ours(void)
{
	private_mount_point();
	CHECK(shell("d=/lib/modules/$(uname -r); mkdir /tmp/up /tmp/work && mount -t overlay -o"
		    " lowerdir=$d,upperdir=/tmp/up,workdir=/tmp/work homi $d") == 0);
}

/* As dkms does it: by a file beside it that gets its name, and depmod, here for this module alone */
static void install_module(const char *version)
{
	CHECK(shell("d=/lib/modules/$(uname -r)/updates/dkms; PATH=$PATH:/usr/sbin; mkdir -p $d &&"
		    " old=$(modinfo -F version %s) && [ ${#old} = 5 ] &&"
		    " LC_ALL=C sed \"s/version=$old/version=%s/\" %s >$d/new && mv $d/new $d/homi.ko &&"
		    " depmod $(uname -r) $d/homi.ko 2>/dev/null &&"
		    " [ $(modinfo -F version homi) = %s ]", ko, version, ko, version) == 0);
}

static bool runs_version(const char *version)
{
	char line[32];

	return sysfs_read(line, sizeof(line), "/sys/module/homi/version") && !strcmp(line, version);
}

/* Commands that are on their way while somebody wants the module away */
static void use(struct ring *ring, const struct dma *dma)
{
	struct sqe sqe = { .opcode = NVME_READ, .nsid = bdev_nsid(), .prp1 = dma_addr(dma, 0) };
	unsigned int posted = 0;
	struct cqe cqe;

	while (!ring_full(ring)) {
		ring_post(ring, &sqe);
		posted++;
	}
	ring_doorbell(ring);
	CHECK(shell("PATH=$PATH:/usr/sbin modprobe -r homi 2>/tmp/said") != 0);
	CHECK(shell("grep -q 'in use' /tmp/said") == 0);
	CHECK(posted > 1);
	while (posted--)
		CHECK(!ring_poll(ring, &cqe, 30000) && cqe.status >> 1 == NVME_SC_SUCCESS);
	CHECK(ring_do(ring, &sqe) == NVME_SC_SUCCESS);
}

/* The end of the last close may still be under way in a worker. */
static void unload_soon(void)
{
	uint64_t end = now_ms() + 30000;

	while (shell("PATH=$PATH:/usr/sbin modprobe -r homi 2>/dev/null")) {
		CHECK(now_ms() < end);
		nap_ms(20);
	}
}

static void load_installed(const char *version)
{
	CHECK(shell("PATH=$PATH:/usr/sbin modprobe homi") == 0);
	CHECK(runs_version(version));
	CHECK(appears(dev_path(), 30000));
}

TEST_TIMEOUT(upgrade_while_in_use, 180)
{
	char old[32];
	uint64_t generation;
	struct ring ring;
	struct dma dma;
	int fd = homi_open();

	ko = getenv("HOMI_KO");
	if (!ko || !*ko)
		SKIP("HOMI_KO does not name the module's file");
	need_queues(fd, 1);
	close(fd);
	ASSERT(sysfs_read(old, sizeof(old), "/sys/module/homi/version"));
	modules_of_ours();
	install_module(old);
	unload_soon();
	load_installed(old);
	fd = homi_open();
	generation = ctrl_info(fd).out_generation;
	ring_open(&ring, fd, 64);
	dma_new(&dma, fd, 4 * PAGE);
	use(&ring, &dma);
	install_module(NEWER);
	use(&ring, &dma);
	/* That there is one already is no error, and changes nothing. */
	load_installed(old);
	use(&ring, &dma);
	CHECK(queue_info(fd, ring.q.out_queue_id).out_state == HOMI_QUEUE_LIVE);
	CHECK(ctrl_info(fd).out_generation == generation);
	ring_unmap(&ring);
	close(fd);
	unload_soon();
	load_installed(NEWER);
	fd = homi_open();
	ring_open(&ring, fd, 64);
	dma_new(&dma, fd, 4 * PAGE);
	use(&ring, &dma);
	ring_unmap(&ring);
	close(fd);
	unload_soon();
	restore();
	CHECK(runs_version(old));
}
