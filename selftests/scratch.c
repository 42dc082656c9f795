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

/* An attribute of @disk, or of its partition @part; 0: there is none */
static uint64_t number_of(const char *disk, const char *part, const char *attribute)
{
	unsigned long long value = 0;
	char path[700];
	FILE *f;

	snprintf(path, sizeof(path), BLOCK "/%s/%s/%s", disk, part, attribute);
	f = fopen(path, "re");
	if (f && fscanf(f, "%llu", &value) != 1)
		value = 0;
	if (f)
		fclose(f);
	return value;
}

/*
 * Names alone are no proof: somebody else's may be called homi-data, or homi-raw. In MiB, as in
 * prepare.sh, where the last one has what is left, too.
 */
bool scratch_is_ours(const char *disk, unsigned int number, const char *name, uint64_t start,
		     uint64_t size)
{
	static const struct {
		const char *name;
		uint64_t start, size;
	} parts[SCRATCH_PARTS] = {
		{ "homi-ext4", 1, 420 }, { "homi-xfs", 421, 320 }, { "homi-raw", 741, 0 },
	};
	const uint64_t mib = 2048, total = number_of(disk, ".", "size") / mib;
	uint64_t want;

	if (!number || number > SCRATCH_PARTS || total < 742 + 256)
		return false;
	want = parts[number - 1].size;
	if (!want)
		want = total - 742 > 1024 ? 1024 : total - 742;
	return name && !strcmp(name, parts[number - 1].name) &&
	       start == parts[number - 1].start * mib && size == want * mib;
}

static bool part_is_ours(const char *disk, const char *part)
{
	static const char key[] = "PARTNAME=";
	char path[700], line[128], name[128] = "";
	FILE *f;

	snprintf(path, sizeof(path), BLOCK "/%s/%s/uevent", disk, part);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			snprintf(name, sizeof(name), "%.*s", (int)strcspn(line, "\n") - (int)strlen(key),
				 line + strlen(key));
	if (f)
		fclose(f);
	return scratch_is_ours(disk, number_of(disk, part, "partition"), name,
			       number_of(disk, part, "start"), number_of(disk, part, "size"));
}

unsigned int scratch_each_partition(const char *disk,
				    void (*each)(const char *disk, const char *part, void *arg),
				    void *arg)
{
	struct dirent *entry;
	unsigned int n = 0;
	char path[700];
	DIR *dir;

	snprintf(path, sizeof(path), BLOCK "/%s", disk);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), BLOCK "/%s/%s/partition", disk, entry->d_name);
		if (access(path, F_OK))
			continue;
		n++;
		each(disk, entry->d_name, arg);
	}
	if (dir)
		closedir(dir);
	return n;
}

static void count_ours(const char *disk, const char *part, void *arg)
{
	*(unsigned int *)arg += part_is_ours(disk, part);
}

unsigned int scratch_partitions(const char *disk, bool *ours)
{
	unsigned int good = 0, n = scratch_each_partition(disk, count_ours, &good);

	*ours = n == SCRATCH_PARTS && good == n;
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
	unsigned int i;
	bool ours;

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
	scratch_partitions(scratch_disk(), &ours);
	if (!ours) {
		snprintf(text, sizeof(text), "%s was not prepared for tests: run_kselftest.sh does that",
			 scratch_ns());
		return text;
	}
	return NULL;
}
