// SPDX-License-Identifier: GPL-2.0-only
/* The module's parameters; needs HOMI_KO, the module's file, and unloads it for a while. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "files.h"
#include "harness.h"

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
