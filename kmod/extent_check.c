// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which files may be resolved, and by whom.
 */
#include <linux/blkdev.h>
#include <linux/buffer_head.h>
#include <linux/exportfs.h>
#include <linux/fileattr.h>
#include <linux/fs.h>
#include <linux/fscrypt.h>

#include "extent.h"

/* Of the superblock, which is part of the format on disk */
#define HOMI_EXT4_SB_OFFSET		1024
#define HOMI_EXT4_FEATURE_COMPAT	0x5c
#define HOMI_EXT4_FEATURE_INCOMPAT	0x60
#define HOMI_EXT4_HAS_JOURNAL		0x4
#define HOMI_EXT4_INLINE_DATA		0x8000

/* 1 or 0, or an error: has it one of the features @bits? */
static int homi_ext4_has(struct super_block *sb, unsigned int where, u32 bits)
{
	unsigned int offset = HOMI_EXT4_SB_OFFSET & (sb->s_blocksize - 1);
	struct buffer_head *bh = sb_bread(sb, HOMI_EXT4_SB_OFFSET /
					      sb->s_blocksize);
	u32 features;

	if (!bh)
		return -EIO;
	features = le32_to_cpup((__le32 *)(bh->b_data + offset + where));
	brelse(bh);
	return !!(features & bits);
}

static int homi_check_fs(struct super_block *sb, u32 *reason)
{
	int ret;

	if (strcmp(sb->s_type->name, "ext4"))
		return 0;
	/*
	 * Where data may be kept in inodes, their first block goes through the
	 * journal when they leave it: it is not on the drive by an fsync, and
	 * written there later, by a checkpoint or by a replay, over what is
	 * there by then.
	 */
	ret = homi_ext4_has(sb, HOMI_EXT4_FEATURE_INCOMPAT,
			    HOMI_EXT4_INLINE_DATA);
	return ret > 0 ? homi_refuse(reason, HOMI_REASON_INLINE) : ret;
}

/**
 * homi_check_kind - is it a file of a file system that homi knows?
 * @inode: of any file
 * @reason: out: enum homi_reason
 */
int homi_check_kind(struct inode *inode, u32 *reason)
{
	const char *fs = inode->i_sb->s_type->name;

	if (!S_ISREG(inode->i_mode))
		return homi_refuse(reason, HOMI_REASON_FILE_TYPE);
	if ((strcmp(fs, "ext4") && strcmp(fs, "xfs")) || !inode->i_sb->s_bdev)
		return homi_refuse(reason, HOMI_REASON_FS);
	return 0;
}

/**
 * homi_check_inode - are its blocks where FIEMAP says, and what they say?
 * @inode: of any file
 * @reason: out: enum homi_reason
 */
int homi_check_inode(struct inode *inode, u32 *reason)
{
	int ret = homi_check_kind(inode, reason);

	if (ret)
		return ret;
	if (!inode->i_op->fiemap)
		return homi_refuse(reason, HOMI_REASON_FS);
	if (IS_ENCRYPTED(inode))
		return homi_refuse(reason, HOMI_REASON_ENCRYPTED);
	if (IS_DAX(inode))
		return homi_refuse(reason, HOMI_REASON_DAX);
	if (IS_SWAPFILE(inode))
		return homi_refuse(reason, HOMI_REASON_SWAPFILE);
	if (IS_IMMUTABLE(inode))
		return homi_refuse(reason, HOMI_REASON_IMMUTABLE);
	return 0;
}

/**
 * homi_check_file - are its data in the blocks that FIEMAP names?
 * @path: of any file
 * @reason: out: enum homi_reason
 *
 * Not where direct I/O is impossible, nor of one on another device.
 */
int homi_check_file(const struct path *path, u32 *reason)
{
	struct homi_fileattr attr = {};
	struct kstat stat;
	int ret;

	ret = vfs_getattr_nosec(path, &stat, STATX_DIOALIGN, 0);
	if (ret)
		return ret;
	if (!(stat.result_mask & STATX_DIOALIGN) || !stat.dio_offset_align)
		return homi_refuse(reason, HOMI_REASON_NO_DIO);
	if (strcmp(path->dentry->d_sb->s_type->name, "xfs"))
		return 0;
	ret = vfs_fileattr_get(path->dentry, &attr);
	if (ret && ret != -ENOIOCTLCMD && ret != -EOPNOTSUPP)
		return ret;
	if (!ret && attr.fsx_xflags & FS_XFLAG_REALTIME)
		return homi_refuse(reason, HOMI_REASON_REALTIME);
	return 0;
}

/**
 * homi_check_moves - does all that moves blocks of a file of XFS wait for direct I/O?
 * @path: of the file
 *
 * Not an atomic write that XFS does by itself: it has its data written elsewhere, and
 * frees the blocks that there were with nothing held but a lock of its own. That is
 * where it offers more of them than the drive does.
 *
 * Return: 0, -EOPNOTSUPP if it may do that, or what the file system says
 */
int homi_check_moves(const struct path *path)
{
	u32 max;
	int ret = homi_atomic_write_max(path, &max);

	if (ret)
		return ret;
	return max > homi_bdev_atomic_max(path->dentry->d_sb->s_bdev) ?
		       -EOPNOTSUPP : 0;
}

/* Only to tell why: whatever is not of this controller is refused. */
static bool homi_is_stacked(struct gendisk *disk)
{
	static const char * const stacked[] = { "dm-", "md", "loop", "bcache" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(stacked); i++)
		if (!strncmp(disk->disk_name, stacked[i], strlen(stacked[i])))
			return true;
	return false;
}

static int homi_check_device(struct homi_ctrl *ctrl, struct block_device *bdev,
			     struct homi_nvme_ns *ns, u32 *reason)
{
	int ret = ctrl->ops->find_ns_by_bdev(&ctrl->nvme, bdev, ns);

	if (ret == -EOPNOTSUPP)
		return homi_refuse(reason, HOMI_REASON_NO_BTF);
	if (ret)
		return homi_refuse(reason, homi_is_stacked(bdev->bd_disk) ?
				   HOMI_REASON_STACKED :
				   HOMI_REASON_OTHER_DEVICE);
	if (ns->zoned || ns->metadata_size)
		return homi_refuse(reason, HOMI_REASON_NS_FORMAT);
	return 0;
}

/* The rule of leases: the owner, or CAP_LEASE. No reader may stall a writer. */
static bool homi_may_lease(const struct path *path)
{
	vfsuid_t uid = i_uid_into_vfsuid(mnt_idmap(path->mnt),
					 d_inode(path->dentry));

	return vfsuid_eq_kuid(uid, current_fsuid()) || capable(CAP_LEASE);
}

/* Who names a file with O_PATH was not asked for more than that yet. */
static int homi_may_write(struct file *file)
{
	int ret = path_permission(&file->f_path, MAY_READ | MAY_WRITE);

	if (ret == -EACCES || (!ret && IS_APPEND(file_inode(file))))
		ret = -EPERM;
	return ret;
}

/**
 * homi_path_may - may what lies there be resolved by the caller, who may read it?
 * @path: of any file
 * @reason: out: enum homi_reason
 */
int homi_path_may(const struct path *path, u32 *reason)
{
	int ret = homi_check_inode(d_inode(path->dentry), reason);

	if (ret)
		return ret;
	return homi_may_lease(path) ? 0 : -EPERM;
}

/**
 * homi_extent_may - may this file be resolved by the caller?
 * @file: as the caller opened it
 * @write: to be written to
 * @reason: out: enum homi_reason
 */
int homi_extent_may(struct file *file, bool write, u32 *reason)
{
	int ret;

	if (!(file->f_mode & (write ? FMODE_PATH : FMODE_READ)))
		return -EBADF;
	ret = homi_path_may(&file->f_path, reason);
	if (ret)
		return ret;
	return write ? homi_may_write(file) : 0;
}

/*
 * What file systems offer to NFS's servers is enough, but not where that writes
 * the inode and no more: ext4 without a journal.
 */
static bool homi_commits_metadata(struct super_block *sb)
{
	if (!sb->s_export_op || !sb->s_export_op->commit_metadata)
		return false;
	return strcmp(sb->s_type->name, "ext4") ||
	       homi_ext4_has(sb, HOMI_EXT4_FEATURE_COMPAT,
			     HOMI_EXT4_HAS_JOURNAL) > 0;
}

/**
 * homi_place_find - are the files of a file system on a controller, and where?
 * @ctrl: the controller
 * @sb: one of its files has passed homi_check_kind()
 * @place: out
 * @reason: out: enum homi_reason
 */
int homi_place_find(struct homi_ctrl *ctrl, struct super_block *sb,
		    struct homi_place *place, u32 *reason)
{
	int ret;

	if (homi_ctrl_is_gone(ctrl))
		return -ENODEV;
	ret = homi_check_fs(sb, reason);
	if (!ret)
		ret = homi_check_device(ctrl, sb->s_bdev, &place->ns, reason);
	if (ret)
		return ret;
	place->sb = sb;
	place->commits = homi_commits_metadata(sb);
	return 0;
}

/**
 * homi_extent_errno - what EXTENT_RESOLVE answers with
 * @err: 0 or a negative errno; a file system may say anything: that its own blocks are
 *	bad (EUCLEAN), say, or what an earlier write-back met (ENOSPC), which means
 *	something else here; EACCES is a security module's EPERM
 * @write: HOMI_RESOLVE_WRITE
 */
int homi_extent_errno(int err, bool write)
{
	switch (err) {
	case 0:
	case -EAGAIN:
	case -EBADF:
	case -EDQUOT:
	case -EFAULT:
	case -EINTR:
	case -EINVAL:
	case -ENODEV:
	case -ENOMEM:
	case -EOPNOTSUPP:
	case -EPERM:
		return err;
	case -ERESTARTSYS:
		return -EINTR;
	case -EACCES:
		return -EPERM;
	case -EROFS:
		return write ? err : -EIO;
	default:
		return -EIO;
	}
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/extent_check_test.c"
#endif
