/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_ACCOUNT_H
#define HOMI_SELFTESTS_ACCOUNT_H

/* The limits of a controller, and what its users hold */

#include "common.h"

struct account {
	unsigned int files;
	unsigned long long queues, pinned, registered, extents;
	unsigned long long ios, bytes, waits, waited_us;	/* of the budget */
};

/* What sysfs says of a user of a controller; all 0 if he has no file open */
struct account account_at(const char *ctrl, unsigned int uid);
struct account account_of(unsigned int uid);
/* Does he hold so much now, and no FILE? Ends the test if not. */
void expect_account(unsigned int uid, unsigned int queues, unsigned int pages);
/* Waits until he has no file open: the last reference may go a little after a process. */
void wait_account_gone(unsigned int uid);

/* One limit, of this controller: 0 or -errno */
int quota_write(const char *name, const char *text);
void quota_set(const char *name, unsigned int value);
long long quota_of(const char *name);
/* The module parameter */
void default_set(const char *name, unsigned int value);

#endif
