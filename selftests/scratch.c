// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "scratch.h"

#define BLOCK		"/sys/class/block"
#define NVME		"/sys/class/nvme"

const char *scratch_ns(void)
{
	const char *ns = getenv("HOMI_TEST_NS");

	return ns && *ns ? ns : NULL;
}

const char *scratch_disk(void)
{
	static char disk[SCRATCH_NAME];
	const char *ns = scratch_ns();
	char *path;

	if (disk[0] || !ns)
		return disk;
	path = realpath(ns, NULL);
	if (path)
		snprintf(disk, sizeof(disk), "%s", strrchr(path, '/') + 1);
	free(path);
	return disk;
}

/* nvme1n2, and nvme1c3n2, which is a path to it */
static bool same_namespace(const char *entry, const char *disk)
{
	unsigned int a, b, n, m, path;
	int end = 0;

	if (!strcmp(entry, disk))
		return true;
	return sscanf(entry, "nvme%uc%un%u%n", &a, &path, &n, &end) == 3 && !entry[end] &&
	       sscanf(disk, "nvme%un%u%n", &b, &m, &end) == 2 && !disk[end] && a == b && n == m;
}

bool scratch_has(const char *ctrl, const char *disk)
{
	struct dirent *entry;
	bool found = false;
	char path[300];
	DIR *dir;

	snprintf(path, sizeof(path), NVME "/%s", ctrl);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir)))
		found = same_namespace(entry->d_name, disk);
	if (dir)
		closedir(dir);
	return found;
}

bool scratch_ctrl_of(const char *disk, unsigned int i, char ctrl[SCRATCH_NAME])
{
	struct dirent **list;
	int n = scandir(NVME, &list, NULL, versionsort), k;
	bool found = false;

	for (k = 0; k < n; k++) {
		if (!found && list[k]->d_name[0] != '.' && scratch_has(list[k]->d_name, disk) &&
		    !i--) {
			snprintf(ctrl, SCRATCH_NAME, "%.31s", list[k]->d_name);
			found = true;
		}
		free(list[k]);
	}
	if (n >= 0)
		free(list);
	return found;
}

const char *scratch_ctrl(void)
{
	static char ctrl[SCRATCH_NAME];

	if (!ctrl[0] && scratch_disk()[0])
		scratch_ctrl_of(scratch_disk(), 0, ctrl);
	return ctrl;
}

/* The name that a partition has in its table */
static bool is_ours(const char *disk, const char *part)
{
	static const char want[] = "PARTNAME=" SCRATCH_PREFIX;
	char path[700], line[128];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), BLOCK "/%s/%s/uevent", disk, part);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, want, strlen(want));
	if (f)
		fclose(f);
	return found;
}

unsigned int scratch_partitions(const char *disk, unsigned int *ours)
{
	struct dirent *entry;
	unsigned int n = 0;
	char path[700];
	DIR *dir;

	*ours = 0;
	snprintf(path, sizeof(path), BLOCK "/%s", disk);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), BLOCK "/%s/%s/partition", disk, entry->d_name);
		if (access(path, F_OK))
			continue;
		n++;
		*ours += is_ours(disk, entry->d_name);
	}
	if (dir)
		closedir(dir);
	return n;
}

bool scratch_name_of(dev_t dev, char name[SCRATCH_NAME])
{
	char path[64], *real;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	real = realpath(path, NULL);
	if (!real)
		return false;
	snprintf(name, SCRATCH_NAME, "%.31s", strrchr(real, '/') + 1);
	free(real);
	return true;
}

void scratch_disk_of(const char *name, char disk[SCRATCH_NAME])
{
	char path[300], *real;

	snprintf(disk, SCRATCH_NAME, "%.31s", name);
	snprintf(path, sizeof(path), BLOCK "/%s/partition", name);
	if (access(path, F_OK))
		return;
	snprintf(path, sizeof(path), BLOCK "/%s", name);
	real = realpath(path, NULL);
	if (!real)
		return;
	*strrchr(real, '/') = '\0';
	snprintf(disk, SCRATCH_NAME, "%.31s", strrchr(real, '/') + 1);
	free(real);
}

/* What else a test is told to use must belong to that namespace. */
static bool lies_on(const char *path, const char *disk)
{
	char name[SCRATCH_NAME], whole[SCRATCH_NAME];
	struct stat st;

	if (stat(path, &st) || !S_ISBLK(st.st_mode) || !scratch_name_of(st.st_rdev, name))
		return false;
	scratch_disk_of(name, whole);
	return !strcmp(whole, disk);
}

const char *scratch_refused(void)
{
	static const char *const others[] = { "HOMI_BDEV", "HOMI_RAW" };
	const char *dev = getenv("HOMI_DEV"), *other;
	static char text[256];
	unsigned int i, ours;

	if (!scratch_disk()[0] || !scratch_ctrl()[0]) {
		snprintf(text, sizeof(text), "%s is no namespace of an NVMe controller", scratch_ns());
		return text;
	}
	if (dev && *dev && !scratch_has(strrchr(dev, '/') ? strrchr(dev, '/') + 1 : dev,
					scratch_disk())) {
		snprintf(text, sizeof(text), "%s is not on HOMI_DEV, which is %s", scratch_ns(), dev);
		return text;
	}
	for (i = 0; i < 2; i++) {
		other = getenv(others[i]);
		if (!other || !*other || lies_on(other, scratch_disk()))
			continue;
		snprintf(text, sizeof(text), "%s, which is %s, is not on %s", others[i], other,
			 scratch_ns());
		return text;
	}
	if (!scratch_partitions(scratch_disk(), &ours) ||
	    ours != scratch_partitions(scratch_disk(), &ours)) {
		snprintf(text, sizeof(text), "%s was not prepared for tests: run_kselftest.sh does that",
			 scratch_ns());
		return text;
	}
	return NULL;
}
