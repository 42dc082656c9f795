// SPDX-License-Identifier: MIT
/*
 * Which controllers there are (libnvme), and on which one a file lies (sysfs).
 */
#include <dirent.h>
#include <errno.h>
#include <libnvme.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <unistd.h>

#include "cli.h"

bool read_line(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "re");
	bool good = f && fgets(buf, (int)len, f);

	if (f)
		fclose(f);
	if (good)
		buf[strcspn(buf, "\n")] = '\0';
	return good;
}

/* A copy without the blanks that fixed-width fields end in. */
static void take(char *to, size_t len, const char *from)
{
	size_t n;

	snprintf(to, len, "%s", from ? from : "");
	for (n = strlen(to); n && to[n - 1] == ' '; n--)
		to[n - 1] = '\0';
}

static void describe(struct controller *c, nvme_ctrl_t ctrl, nvme_subsystem_t subsystem)
{
	nvme_ns_t ns;
	nvme_path_t path;

	memset(c, 0, sizeof(*c));
	take(c->name, sizeof(c->name), nvme_ctrl_get_name(ctrl));
	take(c->address, sizeof(c->address), nvme_ctrl_get_address(ctrl));
	take(c->transport, sizeof(c->transport), nvme_ctrl_get_transport(ctrl));
	take(c->model, sizeof(c->model), nvme_ctrl_get_model(ctrl));
	take(c->serial, sizeof(c->serial), nvme_ctrl_get_serial(ctrl));
	take(c->firmware, sizeof(c->firmware), nvme_ctrl_get_firmware(ctrl));
	take(c->state, sizeof(c->state), nvme_ctrl_get_state(ctrl));
	take(c->subsystem, sizeof(c->subsystem), nvme_subsystem_get_nqn(subsystem));
	nvme_ctrl_for_each_ns(ctrl, ns)
		c->namespaces++;
	nvme_ctrl_for_each_path(ctrl, path)
		c->namespaces++;
}

static int by_name(const void *a, const void *b)
{
	return strverscmp(((const struct controller *)a)->name,
			  ((const struct controller *)b)->name);
}

static int add_controller(struct controller **list, unsigned int *count, nvme_ctrl_t ctrl,
			  nvme_subsystem_t subsystem)
{
	struct controller *more = realloc(*list, (*count + 1) * sizeof(**list));

	if (!more)
		return -ENOMEM;
	*list = more;
	describe(&more[(*count)++], ctrl, subsystem);
	return 0;
}

int find_controllers(struct controller **list, unsigned int *count)
{
	nvme_root_t root = nvme_create_root(NULL, LOG_ERR);
	nvme_subsystem_t subsystem;
	nvme_ctrl_t ctrl;
	nvme_host_t host;
	int ret = 0;

	*list = NULL;
	*count = 0;
	if (!root)
		return -ENOMEM;
	/* No nvme driver, no topology: that is an empty list. */
	if (nvme_scan_topology(root, NULL, NULL) < 0 && errno != ENOENT)
		ret = -errno;
	nvme_for_each_host(root, host)
		nvme_for_each_subsystem(host, subsystem)
			nvme_subsystem_for_each_ctrl(subsystem, ctrl)
				if (!ret)
					ret = add_controller(list, count, ctrl, subsystem);
	nvme_free_tree(root);
	if (*count)
		qsort(*list, *count, sizeof(**list), by_name);
	return ret;
}

/* "nvme12" and nothing behind it */
static bool is_controller(const char *name)
{
	int end = 0;

	return sscanf(name, "nvme%*u%n", &end) == 0 && end && !name[end];
}

/* Has the controller @ctrl a path (nvme0c1n2) to the head @disk (nvme0n2)? */
static bool has_path(const char *ctrl, const char *disk)
{
	unsigned int head, ns, h, c, n;
	char dir[PATH_MAX];
	struct dirent *e;
	bool found = false;
	DIR *d;

	snprintf(dir, sizeof(dir), "/sys/class/nvme/%s", ctrl);
	d = opendir(dir);
	if (!d || sscanf(disk, "nvme%un%u", &head, &ns) != 2) {
		if (d)
			closedir(d);
		return false;
	}
	while (!found && (e = readdir(d)))
		found = sscanf(e->d_name, "nvme%uc%un%u", &h, &c, &n) == 3 && h == head && n == ns;
	closedir(d);
	return found;
}

/* Of the controllers below a multipath head's subsystem the one that homi has, or any. */
static bool pick_path(const char *subsystem, const char *disk, char name[NAME_LEN])
{
	DIR *d = opendir(subsystem);
	char dev[PATH_MAX];
	struct dirent *e;
	bool ours = false;

	name[0] = '\0';
	while (d && !ours && (e = readdir(d))) {
		if (!is_controller(e->d_name) || strlen(e->d_name) >= NAME_LEN ||
		    !has_path(e->d_name, disk))
			continue;
		snprintf(dev, sizeof(dev), "/dev/homi/%s", e->d_name);
		ours = !access(dev, F_OK);
		if (ours || !name[0])
			strcpy(name, e->d_name);
	}
	if (d)
		closedir(d);
	return name[0];
}

static char *last_part(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash)
		return path;
	*slash = '\0';
	return slash + 1;
}

/* @path: directory of a disk in sysfs; is cut. */
static bool controller_of_disk(char *path, char name[NAME_LEN])
{
	const char *disk = last_part(path);
	char parent[PATH_MAX];
	const char *ctrl;

	snprintf(parent, sizeof(parent), "%s", path);
	ctrl = last_part(parent);
	if (is_controller(ctrl) && strlen(ctrl) < NAME_LEN) {
		strcpy(name, ctrl);
		return true;
	}
	return !strncmp(ctrl, "nvme-subsys", 11) && pick_path(path, disk, name);
}

int find_controller_of(const struct stat *st, const char *path, char name[NAME_LEN],
		       struct trouble *t)
{
	char link[64], dir[PATH_MAX], file[PATH_MAX + 16], disk[NAME_LEN];

	if (!major(st->st_dev))
		return trouble_set(t, EXIT_REFUSED, -EOPNOTSUPP,
				   "homi reads files of ext4 and XFS that lie on an NVMe namespace or a partition of one",
				   "%s: its file system is on no block device (btrfs, overlay, tmpfs, network)",
				   path);
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(st->st_dev),
		 minor(st->st_dev));
	if (!realpath(link, dir))
		return trouble_set(t, EXIT_REFUSED, -errno, "name the controller with -d",
				   "%s: its block device is not in sysfs: %s", path,
				   strerror(errno));
	snprintf(file, sizeof(file), "%s/partition", dir);
	if (!access(file, F_OK))
		last_part(dir);
	snprintf(disk, sizeof(disk), "%.*s", NAME_LEN - 1, strrchr(dir, '/') + 1);
	if (controller_of_disk(dir, name))
		return 0;
	return trouble_set(t, EXIT_REFUSED, -EOPNOTSUPP,
			   "homi reads files of ext4 and XFS that lie on an NVMe namespace or a partition of one",
			   "%s: it is on %s, which is %s", path, disk,
			   strncmp(disk, "dm-", 3) && strncmp(disk, "md", 2) ?
			   "no NVMe namespace" : "a stacked device");
}
