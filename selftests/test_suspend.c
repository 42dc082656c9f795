// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine sleeps in the middle of it all, see storm.h. The surroundings must be in memory
 * (scripts/suspend-guest), and the drive slow: in-flight must not end while processes are
 * being frozen.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "harness.h"
#include "storm.h"

static struct storm storm;

static void sleep_now(struct storm *s)
{
	(void)s;
	ASSERT(sysfs_write("/sys/power/state", "mem"));
}

static void run(unsigned int times)
{
	storm_begin(&storm);
	while (times--)
		storm_reset(&storm, sleep_now);
	storm_end(&storm);
}

/* All drivers suspend and resume, and power stays on. */
TEST_TIMEOUT(devices, 240)
{
	need_own_machine("it is put to sleep");
	if (!sysfs_write("/sys/power/pm_test", "devices"))
		SKIP("this kernel has no pm_test");
	sysfs_write("/sys/module/suspend/parameters/pm_test_delay", "1");
	run(soak() ? 6 : 3);
	ASSERT(sysfs_write("/sys/power/pm_test", "none"));
}

/* scripts/vm wakes the machine; elsewhere the clock does, unless its alarm goes off before that. */
static void sleep_until_woken(struct storm *s)
{
	ASSERT(sysfs_write("/sys/class/rtc/rtc0/wakealarm", "0"));
	ASSERT(sysfs_write("/sys/class/rtc/rtc0/wakealarm", "+20"));
	sleep_now(s);
}

/* Power goes (S3). */
TEST_TIMEOUT(to_memory, 240)
{
	char modes[64];
	int i;

	need_own_machine("it is put to sleep");
	ASSERT(sysfs_read(modes, sizeof(modes), "/sys/power/mem_sleep"));
	if (!strstr(modes, "deep"))
		SKIP("this machine has no S3");
	ASSERT(sysfs_write("/sys/power/mem_sleep", "deep"));
	storm_begin(&storm);
	for (i = 0; i < (soak() ? 4 : 2); i++)
		storm_reset(&storm, sleep_until_woken);
	storm_end(&storm);
}
