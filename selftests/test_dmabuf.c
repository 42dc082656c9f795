// SPDX-License-Identifier: GPL-2.0-only
/*
 * MEM of a dma-buf: data goes to where it really is, and what exporters may do wrong
 * is refused.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "account.h"
#include "harness.h"
#include "imported.h"

/* --- where it is --- */

/* The way from the controller to the accelerator, as sysfs draws it */
static void expect_path(uint32_t device, uint32_t *path, uint32_t *distance)
{
	char name[96], a[PATH_MAX], b[PATH_MAX];
	unsigned int common = 0, i;

	snprintf(name, sizeof(name), "/sys/class/nvme/%s/device", ctrl_name());
	ASSERT(realpath(name, a));
	snprintf(name, sizeof(name), "/sys/bus/pci/devices/%04x:%02x:%02x.%x", device >> 16,
		 device >> 8 & 0xff, device >> 3 & 0x1f, device & 7);
	ASSERT(realpath(name, b));
	/* Without the devices themselves: /sys/devices/pci0000:00/BRIDGE/BRIDGE... */
	*strrchr(a, '/') = '\0';
	*strrchr(b, '/') = '\0';
	for (i = 0; a[i] && a[i] == b[i]; i++)
		common += a[i] == '/' && i > strlen("/sys/devices/");
	common += !a[i] || !b[i] || (a[i] == '/') || (b[i] == '/');
	*distance = 0;
	for (i = strlen("/sys/devices/"); a[i]; i++)
		*distance += a[i] == '/';
	for (i = strlen("/sys/devices/"); b[i]; i++)
		*distance += b[i] == '/';
	/* The root bus is the first that is common. */
	*path = common > 1 ? HOMI_PATH_SWITCH : HOMI_PATH_ROOT;
	if (common > 1)
		*distance -= 2 * (common - 1) - 1;
}

static void check_bar(const struct homi_mem_info *info)
{
	uint32_t device = exporter_info(-1).out_device, path, distance;

	ASSERT_EQ(HOMI_MEM_MAPPED, info->out_state);
	ASSERT_EQ(HOMI_PLACEMENT_BAR, info->out_placement);
	ASSERT_EQ(device, info->out_device);
	ASSERT_EQ(2, info->out_bar);
	expect_path(device, &path, &distance);
	ASSERT_EQ(path, info->out_path);
	ASSERT_EQ(distance, info->out_distance);
}

TEST(data_in_the_bar)
{
	struct homi_mem_info info;

	im_begin_with(EXPORTER_BAR);
	info = mem_info(im.fd, im.dma.id);
	check_bar(&info);
	ASSERT_EQ(HOMI_MEM_DMABUF, info.out_type);
	ASSERT_EQ(LENGTH, info.out_length);
	ASSERT_EQ(HOMI_MEM_PINNED, info.out_features);
	ASSERT(!strcmp("homi_exporter", (char *)info.out_exporter));
	printf("# path %u, %u bridges\n", info.out_path, info.out_distance);
	ASSERT_EQ(1, exporter_info(im.dmabuf).out_attached);
	im_check_data(im.dma.va, &im.list);
	im_end();
}

/* The controller reads PRP lists from there as well. */
TEST(prp_list_in_the_bar)
{
	struct dma list;
	int dmabuf;

	im_begin_with(EXPORTER_BAR);
	dmabuf = exporter_export(EXPORTER_BAR, 0, 2 * PAGE);
	dma_import(&list, im.fd, dmabuf, 2 * PAGE);
	im_check_data(im.dma.va, &list);
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ASSERT_EQ(0, dma_destroy(&list));
	ASSERT_EQ(0, dma_destroy(&im.dma));
	exporter_wait_free(dmabuf);
	exporter_wait_free(im.dmabuf);
}

TEST(scattered_in_the_bar)
{
	struct homi_mem_info info;

	im_begin_with(EXPORTER_BAR | EXPORTER_SCATTERED);
	info = mem_info(im.fd, im.dma.id);
	check_bar(&info);
	im_check_data(im.dma.va, &im.list);
	im_end();
}

/* A part of a buffer, at its own place of it */
TEST(part_of_a_buffer)
{
	struct homi_mem_register r;
	struct homi_segment seg;
	uint32_t count = 1;

	im_begin_with(EXPORTER_BAR);
	ASSERT_EQ(1, im.dma.segments);
	ASSERT_EQ(0, mem_import(im.fd, im.dmabuf, 3 * PAGE, 5 * PAGE, HOMI_MEM_WRITE, &r));
	ASSERT_EQ(1, r.out_segments);
	ASSERT_EQ(0, mem_segments(im.fd, r.out_mem_id, &seg, &count));
	ASSERT_EQ(0, seg.offset);
	ASSERT_EQ(5 * PAGE, seg.length);
	ASSERT_EQ(5 * PAGE, mem_info(im.fd, r.out_mem_id).out_length);
	area_need_write(&im.area);
	area_fill(&im.area, 3, im.copy);
	memset(im.dma.va, 0, LENGTH);
	{
		struct dma part = { .fd = im.fd, .length = 5 * PAGE, .seg = &seg, .segments = 1 };

		ASSERT_EQ(0, ring_copy(&im.ring, NVME_READ, &im.area, 0, 5 * PAGE, &part, &im.list,
				       2 * PAGE));
	}
	memcpy(im.again, im.dma.va, LENGTH);
	ASSERT_SAME(im.copy, im.again + 3 * PAGE, 5 * PAGE);
	ASSERT(is_filled(im.again, 0, 3 * PAGE));
	ASSERT(is_filled(im.again + 8 * PAGE, 0, LENGTH - 8 * PAGE));
	ASSERT_EQ(-EBUSY, destroy(im.fd, r.out_mem_id));
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ASSERT_EQ(0, destroy(im.fd, r.out_mem_id));
	ASSERT_EQ(1, exporter_info(im.dmabuf).out_attached);
	ASSERT_EQ(0, dma_destroy(&im.dma));
	exporter_wait_free(im.dmabuf);
}

static void check_host(uint32_t flags, bool pinned)
{
	struct homi_mem_register r;
	struct homi_mem_info info;

	im_begin_with(flags);
	info = mem_info(im.fd, im.dma.id);
	ASSERT_EQ(HOMI_PLACEMENT_HOST, info.out_placement);
	ASSERT_EQ(HOMI_PATH_NONE, info.out_path);
	ASSERT_EQ(0, info.out_device);
	ASSERT_EQ(pinned ? HOMI_MEM_PINNED : 0, info.out_features);
	ASSERT_EQ(-EOPNOTSUPP, mem_import(im.fd, im.dmabuf, 0, LENGTH, HOMI_MEM_BAR, &r));
	ASSERT_EQ(HOMI_REASON_NOT_BAR, r.out_reason);
	ASSERT_EQ(1, exporter_info(im.dmabuf).out_attached);
}

TEST(memory_of_the_system)
{
	check_host(0, true);
	im_check_data(im.dma.va, &im.list);
	im_end();
}

/* As an exporter of vfio's kind: there is no way to pin it, so it is only watched. */
TEST(no_way_to_pin)
{
	check_host(EXPORTER_NO_PIN, false);
	im_check_data(im.dma.va, &im.list);
	im_end();
}

TEST(no_way_to_pin_in_the_bar)
{
	struct homi_mem_info info;

	im_begin_with(EXPORTER_BAR | EXPORTER_NO_PIN);
	info = mem_info(im.fd, im.dma.id);
	check_bar(&info);
	ASSERT_EQ(0, info.out_features);
	im_check_data(im.dma.va, &im.list);
	im_end();
}

/* I/O works and the device sees nothing of it; MEM_INFO is not taken in. */
TEST(exporter_that_lies)
{
	check_host(EXPORTER_BAR | EXPORTER_LIES, true);
	area_need_write(&im.area);
	area_fill(&im.area, 4, im.copy);
	memset(im.dma.va, 0x11, LENGTH);
	ASSERT_EQ(0, ring_copy(&im.ring, NVME_READ, &im.area, 0, LENGTH, &im.dma, &im.list,
			       max_step(im.fd)));
	ASSERT(is_filled(im.dma.va, 0x11, LENGTH));
	im_end();
}

static void check_system(const char *dev, int dmabuf)
{
	struct homi_mem_info info;

	if (dmabuf < 0)
		SKIP("%s: %s", dev, strerror(-dmabuf));
	im_begin_system();
	im.dmabuf = dmabuf;
	dma_import(&im.dma, im.fd, dmabuf, LENGTH);
	ring_open(&im.ring, im.fd, DEPTH);
	info = mem_info(im.fd, im.dma.id);
	ASSERT_EQ(HOMI_PLACEMENT_HOST, info.out_placement);
	im_check_data(im.dma.va, &im.list);
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ASSERT_EQ(0, dma_destroy(&im.dma));
	close(dmabuf);
}

TEST(udmabuf)
{
	check_system("/dev/udmabuf", udmabuf_new(LENGTH));
}

TEST(system_heap)
{
	check_system("/dev/dma_heap/system", heap_new(LENGTH));
}

/* --- what is refused --- */

TEST(bad_arguments)
{
	struct homi_mem_register r = { .size = sizeof(r), .type = HOMI_MEM_USER };
	int pipes[2];

	im_begin();
	im.dmabuf = exporter_export(EXPORTER_BAR, 0, LENGTH);
	ASSERT(!pipe(pipes));
	ASSERT_EQ(-EBADF, mem_import(im.fd, -1, 0, LENGTH, 0, NULL));
	ASSERT_EQ(-EBADF, mem_import(im.fd, 1000, 0, LENGTH, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, pipes[0], 0, LENGTH, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, im.fd, 0, LENGTH, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, im.dmabuf, 0, 0, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, im.dmabuf, 0, LENGTH + PAGE, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, im.dmabuf, PAGE, LENGTH, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, im.dmabuf, LENGTH, PAGE, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, im.dmabuf, 2 * LENGTH, PAGE, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, im.dmabuf, -(uint64_t)PAGE, 2 * PAGE, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, im.dmabuf, 512, PAGE, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, im.dmabuf, 0, PAGE + 512, 0, NULL));
	ASSERT_EQ(-EINVAL, mem_import(im.fd, im.dmabuf, 0, LENGTH, 1 << 2, NULL));
	/* What is of one kind only */
	r.addr = (uintptr_t)im.copy;
	r.length = PAGE;
	r.fd = im.dmabuf;
	ASSERT_EQ(-EINVAL, homi_call(im.fd, HOMI_MEM_REGISTER, &r));
	r.fd = 0;
	r.flags = HOMI_MEM_BAR;
	ASSERT_EQ(-EINVAL, homi_call(im.fd, HOMI_MEM_REGISTER, &r));
	r.flags = 0;
	r.type = 3;
	ASSERT_EQ(-EINVAL, homi_call(im.fd, HOMI_MEM_REGISTER, &r));
	exporter_wait_free(im.dmabuf);
}

static const struct {
	const char *name;
	uint32_t flags;
	int err;
	uint32_t reason;
} wrong[] = {
	{ "attach fails", EXPORTER_FAIL_ATTACH, -EOPNOTSUPP, HOMI_REASON_ATTACH },
	{ "pin fails", EXPORTER_FAIL_PIN, -EOPNOTSUPP, HOMI_REASON_PIN },
	{ "map fails", EXPORTER_FAIL_MAP, -EOPNOTSUPP, HOMI_REASON_MAP },
	{ "too short", EXPORTER_BAR | EXPORTER_SHORT, -EOPNOTSUPP, HOMI_REASON_MAP },
	{ "in pieces", EXPORTER_BAR | EXPORTER_PIECES, -EOPNOTSUPP, HOMI_REASON_PIECES },
	{ "no plain write", EXPORTER_BAR | EXPORTER_READ_ONLY, -EPERM, HOMI_REASON_NONE },
	{ "moved meanwhile", EXPORTER_BAR | EXPORTER_MOVES, -ESTALE, HOMI_REASON_NONE },
};

TEST(exporters_that_fail)
{
	struct homi_mem_register r;
	unsigned int i, k;
	int dmabuf, err;

	im_begin();
	ring_open(&im.ring, im.fd, DEPTH);
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		dmabuf = exporter_export(wrong[i].flags, 0, LENGTH);
		for (k = 0; k < 3; k++) {
			err = mem_import(im.fd, dmabuf, 0, LENGTH, HOMI_MEM_WRITE, &r);
			if (err != wrong[i].err || r.out_reason != wrong[i].reason)
				FAIL("%s: error %d, reason %u", wrong[i].name, err, r.out_reason);
		}
		exporter_wait_free(dmabuf);
		close(dmabuf);
	}
	/* Nobody had an address of these, so queues are left alone. */
	ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(im.fd, im.ring.q.out_queue_id).out_state);
}

/* As GPU drivers do that can pin in the system's memory only */
TEST(moved_to_be_pinned)
{
	im_begin_with(EXPORTER_BAR | EXPORTER_PIN_MOVES);
	ASSERT_EQ(HOMI_MEM_MAPPED, mem_info(im.fd, im.dma.id).out_state);
	im_check_data(im.dma.va, &im.list);
	im_end();
}

/* --- how it ends --- */

TEST(destroyed_in_any_order)
{
	im_begin_with(EXPORTER_BAR);
	ASSERT_EQ(-EBUSY, destroy(im.fd, im.dma.id));
	close(im.dmabuf);
	im_check_data(im.dma.va, &im.list);
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ASSERT_EQ(0, dma_destroy(&im.dma));
	ASSERT_EQ(-ENOENT, destroy(im.fd, im.dma.id));
}

TEST(file_closed_with_all_of_it)
{
	im_begin_with(EXPORTER_BAR);
	ring_unmap(&im.ring);
	ASSERT(!close(im.fd));
	exporter_wait_free(im.dmabuf);
}

/* The buffer is known to the test by another descriptor, so it outlives who dies. */
TEST(killed_with_reads_in_flight)
{
	unsigned int rounds = times(40, 8), i;
	int sock[2];

	need_exporter();
	for (i = 0; i < rounds; i++) {
		char byte;
		pid_t pid;

		ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
		pid = fork();
		ASSERT(pid >= 0);
		if (!pid) {
			im_begin_with(EXPORTER_BAR);
			send_fd(sock[1], im.dmabuf, "x", 1);
			im_reader(NULL);
		}
		close(sock[1]);
		im.dmabuf = receive_fd(sock[0], &byte, 1);
		ASSERT(im.dmabuf >= 0);
		nap_ms(20 + i * 7 % 40);
		ASSERT(!kill(pid, SIGKILL));
		ASSERT(waitpid(pid, NULL, 0) == pid);
		exporter_wait_free(im.dmabuf);
		close(im.dmabuf);
		close(sock[0]);
	}
}

TEST(stays_through_a_reset)
{
	im_begin_with(EXPORTER_BAR);
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	ASSERT(wait_live(ctrl_name(), 30000));
	ASSERT_EQ(HOMI_MEM_MAPPED, mem_info(im.fd, im.dma.id).out_state);
	while (ring_recreate(&im.ring) == -EAGAIN)
		nap_ms(10);
	im_check_data(im.dma.va, &im.list);
	im_end();
}

/* All of the buffer is kept in place, whatever part of it is used. */
TEST(quota)
{
	struct homi_mem_register r;

	im_begin();
	ASSERT_EQ(0, dma_destroy(&im.list));
	im.dmabuf = exporter_export(EXPORTER_BAR, 0, 2 << 20);
	set_quotas(0, 1);
	set_cap(CAP_SYS_RESOURCE, false);
	ASSERT_EQ(-EDQUOT, mem_import(im.fd, im.dmabuf, 0, PAGE, 0, &r));
	expect_account(0, 0, 0);
	set_quotas(0, 2);
	ASSERT_EQ(0, mem_import(im.fd, im.dmabuf, 0, PAGE, 0, &r));
	expect_account(0, 0, (2 << 20) / PAGE);
	/* Taken back it is no use, and the id is there until it is destroyed. */
	ASSERT_EQ(0, exporter_take(im.dmabuf, 0, 30000).out_left);
	ASSERT_EQ(-EDQUOT, mem_import(im.fd, im.dmabuf, 0, PAGE, 0, NULL));
	ASSERT_EQ(0, destroy(im.fd, r.out_mem_id));
	expect_account(0, 0, 0);
	set_cap(CAP_SYS_RESOURCE, true);
	exporter_wait_free(im.dmabuf);
}
