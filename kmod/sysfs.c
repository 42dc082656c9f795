// SPDX-License-Identifier: GPL-2.0-only
/*
 * In sysfs: /sys/class/homi/nvmeN/stats, what happened to a controller since homi has
 * it, one number per file, for everybody to read. Who reads one is waited for before
 * the controller goes.
 */
#include <linux/device.h>
#include <linux/sysfs.h>

#include "show.h"

static struct homi_ctrl *to_ctrl(struct device *dev)
{
	return container_of(dev, struct homi_ctrl, dev);
}

#define HOMI_STAT(_name, _value)					\
static ssize_t _name##_show(struct device *dev,				\
			    struct device_attribute *attr, char *buf)	\
{									\
	struct homi_ctrl *ctrl = to_ctrl(dev);				\
									\
	return sysfs_emit(buf, "%llu\n", (u64)(_value));		\
}									\
static DEVICE_ATTR_RO(_name)

/* As HOMI_IO_STATS tells it */
enum homi_io_stat {
	HOMI_IO_READS,
	HOMI_IO_READ_BYTES,
	HOMI_IO_WRITES,
	HOMI_IO_WRITE_BYTES,
	HOMI_IO_ERRORS,
};

static u64 homi_io_stat(struct homi_ctrl *ctrl, enum homi_way by,
			enum homi_io_stat which)
{
	struct homi_io_counts sum = {};

	homi_io_counts_all(ctrl, &sum);
	switch (which) {
	case HOMI_IO_READS:
		return atomic64_read(&sum.by[by].ios[0]);
	case HOMI_IO_READ_BYTES:
		return atomic64_read(&sum.by[by].bytes[0]);
	case HOMI_IO_WRITES:
		return atomic64_read(&sum.by[by].ios[1]);
	case HOMI_IO_WRITE_BYTES:
		return atomic64_read(&sum.by[by].bytes[1]);
	default:
		return atomic64_read(&sum.by[by].errors);
	}
}

HOMI_STAT(fs_reads, homi_io_stat(ctrl, HOMI_BY_FS, HOMI_IO_READS));
HOMI_STAT(fs_read_bytes, homi_io_stat(ctrl, HOMI_BY_FS, HOMI_IO_READ_BYTES));
HOMI_STAT(fs_writes, homi_io_stat(ctrl, HOMI_BY_FS, HOMI_IO_WRITES));
HOMI_STAT(fs_write_bytes, homi_io_stat(ctrl, HOMI_BY_FS, HOMI_IO_WRITE_BYTES));
HOMI_STAT(fs_errors, homi_io_stat(ctrl, HOMI_BY_FS, HOMI_IO_ERRORS));
HOMI_STAT(extents_reads, homi_io_stat(ctrl, HOMI_BY_EXTENTS, HOMI_IO_READS));
HOMI_STAT(extents_read_bytes,
	  homi_io_stat(ctrl, HOMI_BY_EXTENTS, HOMI_IO_READ_BYTES));
HOMI_STAT(extents_writes, homi_io_stat(ctrl, HOMI_BY_EXTENTS, HOMI_IO_WRITES));
HOMI_STAT(extents_write_bytes,
	  homi_io_stat(ctrl, HOMI_BY_EXTENTS, HOMI_IO_WRITE_BYTES));
HOMI_STAT(extents_errors, homi_io_stat(ctrl, HOMI_BY_EXTENTS, HOMI_IO_ERRORS));

static u32 homi_lent(struct homi_ctrl *ctrl)
{
	u32 lent;

	spin_lock(&ctrl->lock);
	lent = ctrl->lent;
	spin_unlock(&ctrl->lock);
	return lent;
}

/* Generations begin with 1. */
static u64 homi_resets(struct homi_ctrl *ctrl)
{
	u64 resets;

	spin_lock(&ctrl->lock);
	resets = ctrl->generation - 1;
	spin_unlock(&ctrl->lock);
	return resets;
}

/* As CTRL_INFO tells it, the ones of queues that are held back included */
HOMI_STAT(queues_lent, homi_lent(ctrl));
HOMI_STAT(queues_quarantined, homi_queues_held_back(ctrl));
HOMI_STAT(resets, homi_resets(ctrl));
HOMI_STAT(recalls, atomic64_read(&ctrl->recalls));
HOMI_STAT(revoked, atomic64_read(&ctrl->revoked));
HOMI_STAT(refused, atomic64_read(&ctrl->refused));

static struct attribute *homi_stats_attrs[] = {
	&dev_attr_fs_reads.attr,
	&dev_attr_fs_read_bytes.attr,
	&dev_attr_fs_writes.attr,
	&dev_attr_fs_write_bytes.attr,
	&dev_attr_fs_errors.attr,
	&dev_attr_extents_reads.attr,
	&dev_attr_extents_read_bytes.attr,
	&dev_attr_extents_writes.attr,
	&dev_attr_extents_write_bytes.attr,
	&dev_attr_extents_errors.attr,
	&dev_attr_queues_lent.attr,
	&dev_attr_queues_quarantined.attr,
	&dev_attr_resets.attr,
	&dev_attr_recalls.attr,
	&dev_attr_revoked.attr,
	&dev_attr_refused.attr,
	NULL
};

const struct attribute_group homi_stats_group = {
	.name = "stats",
	.attrs = homi_stats_attrs,
};
