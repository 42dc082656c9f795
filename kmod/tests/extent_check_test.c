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

/*
 * An empty file has no place: EXTENT_RESOLVE is told so, a READ tries again. What else is
 * EINVAL for a READ comes from the file system and stays that.
 */
static void homi_test_extent_empty(struct kunit *test)
{
	struct super_block *sb = kunit_kzalloc(test, sizeof(*sb), GFP_KERNEL);
	struct block_device *bdev = kunit_kzalloc(test, sizeof(*bdev), GFP_KERNEL);
	struct inode *inode = kunit_kzalloc(test, sizeof(*inode), GFP_KERNEL);
	struct file *file = kunit_kzalloc(test, sizeof(*file), GFP_KERNEL);
	struct homi_extent_obj *e = kunit_kzalloc(test, sizeof(*e), GFP_KERNEL);
	struct homi_place place = { .sb = sb, .ns.block_size = 512 };
	u32 reason = 0;

	KUNIT_ASSERT_TRUE(test, sb && bdev && inode && file && e);
	sb->s_bdev = bdev;
	file->f_inode = inode;
	KUNIT_EXPECT_PTR_EQ(test, homi_extent_ask(e, file, 0, 0, &place, NULL, &reason),
			    (struct homi_extent_table *)ERR_PTR(-EINVAL));
	e->internal = true;
	KUNIT_EXPECT_PTR_EQ(test, homi_extent_ask(e, file, 0, 0, &place, NULL, &reason),
			    (struct homi_extent_table *)ERR_PTR(-EAGAIN));
	i_size_write(inode, 512);
	KUNIT_EXPECT_PTR_EQ(test, homi_extent_ask(e, file, 512, 0, &place, NULL, &reason),
			    (struct homi_extent_table *)ERR_PTR(-EINVAL));
	KUNIT_EXPECT_EQ(test, reason, 0);
}

static struct kunit_case homi_extent_check_cases[] = {
	KUNIT_CASE(homi_test_extent_errno),
	KUNIT_CASE(homi_test_extent_empty),
	{}
};

static struct kunit_suite homi_extent_check_suite = {
	.name = "homi_extent_check",
	.test_cases = homi_extent_check_cases,
};

kunit_test_suite(homi_extent_check_suite);
