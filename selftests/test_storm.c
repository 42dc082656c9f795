// SPDX-License-Identifier: GPL-2.0-only
/* Resets of every kind in the middle of it all, see storm.h. */
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "harness.h"
#include "storm.h"

static struct storm storm;

static uint64_t generation(void)
{
	return ctrl_info(storm.fd).out_generation;
}

static void wait_generation(uint64_t from, unsigned int ms)
{
	uint64_t end = now_ms() + ms;

	while (generation() == from) {
		if (now_ms() > end)
			FAIL("no reset within %u ms", ms);
		usleep(1000);
	}
}

/* --- the kinds of reset --- */

static void by_sysfs(struct storm *s)
{
	(void)s;
	ASSERT_EQ(0, reset_controller(ctrl_name()));
}

/* As "nvme reset" does */
static void by_ioctl(struct storm *s)
{
	char path[64];
	int fd;

	(void)s;
	snprintf(path, sizeof(path), "/dev/%s", ctrl_name());
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT(fd >= 0);
	ASSERT(!ioctl(fd, NVME_IOCTL_RESET));
	close(fd);
}

static void of_function(struct storm *s)
{
	char path[128];

	(void)s;
	snprintf(path, sizeof(path), "/sys/class/nvme/%s/device/reset", ctrl_name());
	ASSERT(sysfs_write(path, "1"));
}

static bool is_virtual(void)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/nvme/%s/device/physfn", ctrl_name());
	return !access(path, F_OK);
}

static bool function_can_be_reset(void)
{
	char path[128];

	if (is_virtual())
		return false;	/* an emulated one stays offline after that */
	snprintf(path, sizeof(path), "/sys/class/nvme/%s/device/reset", ctrl_name());
	return !access(path, W_OK);
}

static void need_no_lockdep(void)
{
	if (lockdep_watches())
		SKIP("lockdep stops at how stock begins this reset");
}

static const char *need_qemu(void)
{
	const char *drive = getenv("HOMI_DRIVE");

	if (!drive || !getenv("HOMI_MONITOR"))
		SKIP("no QEMU whose drive can be held up");
	return drive;
}

static void set_io_timeout(unsigned int ms)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), "/sys/block/%s/queue/io_timeout", base_name(bdev_path()));
	snprintf(text, sizeof(text), "%u", ms);
	ASSERT(sysfs_write(path, text));
}

/*
 * The drive gets so slow that each request takes 6 s; stock first aborts what is late, and
 * resets when that does not help. It must not stop: QEMU stands still in Delete SQ until all
 * that was fetched is done.
 */
static void by_timeout(struct storm *s)
{
	uint64_t before = generation(), turned = atomic_load(&s->stock_done) + 2 * STORM_SLOTS;
	uint64_t end = now_ms() + 20000;

	/* Requests have the time-out of when they began. */
	set_io_timeout(1000);
	while (atomic_load(&s->stock_done) < turned) {
		ASSERT(now_ms() < end);
		usleep(500);
	}
	ASSERT(drive_throttle(2 * STORM_SLOTS / 6));
	storm_wait_in_flight(s);
	wait_generation(before, 30000);
	set_io_timeout(30000);
	ASSERT(drive_throttle(0));
}

/* The port reports a fatal error; recovery resets the link, and then the driver is asked. */
static void by_aer(struct storm *s)
{
	const char *drive = need_qemu();
	uint64_t before = generation();

	(void)s;
	ASSERT(!shell("echo pcie_aer_inject_error port%d SDN >$HOMI_MONITOR",
		      atoi(drive + strlen("nvme"))));
	wait_generation(before, 30000);
}

/* Its registers read as all ones: stock takes it for dead, and asks it nothing any more. */
static void while_deaf(struct storm *s)
{
	pci_command_clear(PCI_COMMAND_MEMORY);
	by_sysfs(s);
}

/*
 * It can't read its queues any more, and says so in CSTS.CFS. Stock would give it a minute to
 * answer before that shows, so nobody's commands must go on.
 */
static void when_failed(struct storm *s)
{
	uint64_t end = now_ms() + 20000;
	unsigned long before, after;

	pci_command_clear(PCI_COMMAND_MASTER);
	after = atomic_load(&s->homi_done) + atomic_load(&s->stock_done);
	do {
		ASSERT(now_ms() < end);
		before = after;
		nap_ms(300);
		after = atomic_load(&s->homi_done) + atomic_load(&s->stock_done);
	} while (after != before);
	by_sysfs(s);
}

static void need_dead_controllers(void)
{
	if (is_virtual())
		SKIP("a VF's command register is its PF's");
}

/* --- */

/*
 * storm_end() insists that commands were lost. A slow drive may have done all that it had been
 * given when stock, which waits for it, deletes the queue; then it is reset until one has not.
 */
static void run(unsigned int resets, void (*const kinds[])(struct storm *), unsigned int n)
{
	unsigned int i;

	storm_begin(&storm);
	for (i = 0; i < resets || (i < resets + 6 && !atomic_load(&storm.lost)); i++) {
		usleep(i * 7919 % 30000);
		storm_reset(&storm, kinds[i % n]);
	}
	storm_end(&storm);
}

TEST_TIMEOUT(resets, 240)
{
	void (*const kinds[])(struct storm *) = { by_sysfs, by_ioctl };

	run(times(190, 20), kinds, 2);
}

TEST_TIMEOUT(function_resets, 120)
{
	void (*const kinds[])(struct storm *) = { of_function, by_sysfs };

	if (!function_can_be_reset())
		SKIP("a function that can't be reset, or a VF, which stays offline after that");
	need_no_lockdep();
	run(times(48, 8), kinds, 2);
}

TEST_TIMEOUT(timeouts, 120)
{
	void (*const kinds[])(struct storm *) = { by_timeout };

	need_qemu();
	need_no_lockdep();
	run(times(10, 2), kinds, 1);
}

TEST_TIMEOUT(pcie_errors, 120)
{
	void (*const kinds[])(struct storm *) = { by_aer };

	need_qemu();
	if (shell("ls /sys/bus/pci_express/drivers/aer/ 2>/dev/null | grep -q pcie"))
		SKIP("this machine leaves no port's errors to the kernel");
	run(times(24, 4), kinds, 1);
}

TEST_TIMEOUT(deaf_controller, 120)
{
	void (*const kinds[])(struct storm *) = { while_deaf };

	need_dead_controllers();
	run(times(24, 4), kinds, 1);
}

TEST_TIMEOUT(failed_controller, 120)
{
	void (*const kinds[])(struct storm *) = { when_failed };

	need_dead_controllers();
	run(times(24, 4), kinds, 1);
}
