// SPDX-License-Identifier: GPL-2.0-only
/*
 * What EXTENT_RESOLVE answers with: included by extent_check.c.
 */
#include <kunit/test.h>

/* File systems and security modules may say anything; who asked is told what the contract has. */
static void homi_test_extent_errno(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, homi_extent_errno(0, false), 0);
	KUNIT_EXPECT_EQ(test, homi_extent_errno(-EAGAIN, false), -EAGAIN);
	KUNIT_EXPECT_EQ(test, homi_extent_errno(-EPERM, false), -EPERM);
	KUNIT_EXPECT_EQ(test, homi_extent_errno(-EACCES, false), -EPERM);
	KUNIT_EXPECT_EQ(test, homi_extent_errno(-ERESTARTSYS, false), -EINTR);
	KUNIT_EXPECT_EQ(test, homi_extent_errno(-EROFS, true), -EROFS);
	KUNIT_EXPECT_EQ(test, homi_extent_errno(-EROFS, false), -EIO);
	KUNIT_EXPECT_EQ(test, homi_extent_errno(-EUCLEAN, false), -EIO);
	KUNIT_EXPECT_EQ(test, homi_extent_errno(-ENOSPC, true), -EIO);
}

static struct kunit_case homi_extent_check_cases[] = {
	KUNIT_CASE(homi_test_extent_errno),
	{}
};

static struct kunit_suite homi_extent_check_suite = {
	.name = "homi_extent_check",
	.test_cases = homi_extent_check_cases,
};

kunit_test_suite(homi_extent_check_suite);
