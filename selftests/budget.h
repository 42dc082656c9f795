/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BUDGET_H
#define BUDGET_H

/*
 * READs and WRITEs by extents that a budget is for.
 */
#include <linux/capability.h>

#include "account.h"
#include "harness.h"
#define SIZE	(1u << 20)
#include "uring_rw.h"

#define IOS	"ios_per_second_per_user"
#define KIB	"kib_per_second_per_user"

/* READ by extents of a file that nobody writes to, without privilege; @path may be NULL. */
static inline void open_all(const char *dev, const char *path)
{
	ASSERT_EQ(0, uring_open(&ring, ENTRIES, IORING_SETUP_SQE128));
	t = (struct rw_target){ .fd = homi_open_at(dev), .flags = HOMI_RW_BY_EXTENTS };
	mem = new_memory(SIZE);
	copy = new_memory(SIZE);
	ASSERT_EQ(0, mem_register(t.fd, mem, SIZE, HOMI_MEM_WRITE, &t.mem, NULL));
	if (path)
		snprintf(file.path, sizeof(file.path), "%s", path);
	file_reopen(&file, O_RDONLY);
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
}

static inline void start(const char *dir)
{
	file_create(&file, dir, "budget", SIZE, 1);
	set_cap(CAP_SYS_RESOURCE, false);
	open_all(dev_path(), NULL);
}

/* As many as wait at a time, one at least */
static inline void wait_for_waits(const char *ctrl, unsigned int uid, unsigned long long more_than)
{
	uint64_t end = now_ms() + 30000;

	while (account_at(ctrl, uid).waits <= more_than) {
		ASSERT(now_ms() < end);
		nap_ms(2);
	}
}

#endif
