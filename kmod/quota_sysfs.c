// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/class/homi/nvmeN/quota: the limits of a controller, and who holds what.
 */
#include <linux/cred.h>
#include <linux/kstrtox.h>
#include <linux/math64.h>
#include <linux/sysfs.h>

#include "homi.h"

/* Of one line of "users", and of the last one where not all fit */
#define HOMI_USER_LINE	256
#define HOMI_REST_LINE	32

/**
 * struct homi_limit_attr - one limit
 * @attr: must be first
 * @limit: which
 */
struct homi_limit_attr {
	struct device_attribute attr;
	enum homi_limit limit;
};

static struct homi_ctrl *to_ctrl(struct device *dev)
{
	return container_of(dev, struct homi_ctrl, dev);
}

static enum homi_limit limit_of(struct device_attribute *attr)
{
	return container_of(attr, struct homi_limit_attr, attr)->limit;
}

static ssize_t limit_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct homi_limits *limits = &to_ctrl(dev)->limits;

	return sysfs_emit(buf, "%u\n", READ_ONCE(limits->now[limit_of(attr)]));
}

static ssize_t limit_store(struct device *dev, struct device_attribute *attr,
			   const char *buf, size_t count)
{
	bool own = !sysfs_streq(buf, "default");
	u32 value;

	if (own && kstrtou32(buf, 10, &value))
		return -EINVAL;
	homi_limit_set(to_ctrl(dev), limit_of(attr), own ? &value : NULL);
	return count;
}

#define HOMI_LIMIT_ATTR(name, which)					\
	static struct homi_limit_attr limit_##name = {			\
		.attr = __ATTR(name, 0644, limit_show, limit_store),	\
		.limit = which,						\
	}

HOMI_LIMIT_ATTR(queues_per_user, HOMI_LIMIT_QUEUES);
HOMI_LIMIT_ATTR(pinned_mib_per_user, HOMI_LIMIT_PINNED);
HOMI_LIMIT_ATTR(queues_total, HOMI_LIMIT_QUEUES_TOTAL);
HOMI_LIMIT_ATTR(pinned_mib_total, HOMI_LIMIT_PINNED_TOTAL);
HOMI_LIMIT_ATTR(extents_per_user, HOMI_LIMIT_EXTENTS);
HOMI_LIMIT_ATTR(ios_per_second_per_user, HOMI_LIMIT_IOS);
HOMI_LIMIT_ATTR(kib_per_second_per_user, HOMI_LIMIT_KIB);

static int homi_user_emit(char *buf, int at, struct homi_user *user)
{
	int len;

	len = sysfs_emit_at(buf, at, "uid %u files %u queues %llu pinned %llu",
			    from_kuid_munged(current_user_ns(), user->uid),
			    user->files, user->used[HOMI_QUOTA_QUEUES],
			    user->used[HOMI_QUOTA_PAGES] << PAGE_SHIFT);
	len += sysfs_emit_at(buf, at + len, " registered %llu extents %llu",
			     user->used[HOMI_QUOTA_FILES],
			     user->used[HOMI_QUOTA_EXTENTS]);
	spin_lock(&user->lock);
	len += sysfs_emit_at(buf, at + len, " ios %llu bytes %llu waits %llu waited_us %llu\n",
			     user->ios, user->bytes, user->waits,
			     div_u64(user->waited_ns, NSEC_PER_USEC));
	spin_unlock(&user->lock);
	return len;
}

/*
 * For everybody, as /proc/key-users and the io.stat of a user's slice are: who is
 * refused because all of a total is in use may see by whom. Who has no file open
 * holds nothing.
 */
static ssize_t users_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct homi_ctrl *ctrl = to_ctrl(dev);
	struct homi_user *user;
	unsigned int rest = 0;
	int at = 0;

	spin_lock(&ctrl->lock);
	list_for_each_entry(user, &ctrl->users, entry) {
		if (!user->files)
			continue;
		if (at + HOMI_USER_LINE + HOMI_REST_LINE > PAGE_SIZE)
			rest++;
		else
			at += homi_user_emit(buf, at, user);
	}
	spin_unlock(&ctrl->lock);
	if (rest)
		at += sysfs_emit_at(buf, at, "and %u more\n", rest);
	return at;
}
static DEVICE_ATTR_RO(users);

static struct attribute *homi_quota_attrs[] = {
	&limit_queues_per_user.attr.attr,
	&limit_pinned_mib_per_user.attr.attr,
	&limit_queues_total.attr.attr,
	&limit_pinned_mib_total.attr.attr,
	&limit_extents_per_user.attr.attr,
	&limit_ios_per_second_per_user.attr.attr,
	&limit_kib_per_second_per_user.attr.attr,
	&dev_attr_users.attr,
	NULL
};

const struct attribute_group homi_quota_group = {
	.name = "quota",
	.attrs = homi_quota_attrs,
};
