// SPDX-License-Identifier: GPL-2.0-only
/*
 * May tests have this namespace, all of it, and reset its controller?
 *
 * usage: guard NAMESPACE	(HOMI_TEST_FORCE=1: also if there is something on it)
 *
 * Exit status 0: yes, and a line that says what it is. 1: no, and why. Nothing is written. What is
 * in use by anybody is refused whatever is forced, and so is the drive with the root file system, and
 * everything where it can't be seen who uses it.
 */
#include <blkid/blkid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "openers.h"
#include "scratch.h"

#define BLOCK		"/sys/class/block"
#define DEPTH_MAX	8	/* of devices on top of each other */

static const char *ns;

__attribute__((format(printf, 1, 2), noreturn))
static void refuse(const char *format, ...)
{
	va_list args;

	printf("%s is refused: ", ns);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	exit(1);
}

static bool read_line(char *buf, size_t size, const char *format, ...)
{
	char path[PATH_MAX];
	va_list args;
	bool ok;
	FILE *f;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	f = fopen(path, "re");
	ok = f && fgets(buf, size, f);
	if (f)
		fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = '\0';
	return ok;
}

/* --- who uses it --- */

/* Is one of the controllers of @disk below this device, itself or by dm, md and their like? */
static bool is_below(const char *name, const char *disk, unsigned int depth)
{
	char path[PATH_MAX], whole[SCRATCH_NAME], ctrl[SCRATCH_NAME];
	struct dirent *entry;
	bool found = false;
	unsigned int i;
	DIR *dir;

	scratch_disk_of(name, whole);
	for (i = 0; scratch_ctrl_of(disk, i, ctrl); i++)
		if (scratch_has(ctrl, whole))
			return true;
	snprintf(path, sizeof(path), BLOCK "/%s/slaves", name);
	dir = depth < DEPTH_MAX ? opendir(path) : NULL;
	while (dir && !found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' && is_below(entry->d_name, disk, depth + 1);
	if (dir)
		closedir(dir);
	return found;
}

/* The block device of a line of mountinfo: by number, or where that tells nothing (btrfs) by source */
static bool mounted_device(const char *line, char name[SCRATCH_NAME], char point[PATH_MAX])
{
	char source[PATH_MAX] = "";
	const char *rest = strstr(line, " - ");
	unsigned int maj, min;
	struct stat st;

	if (sscanf(line, "%*u %*u %u:%u %*s %4095s", &maj, &min, point) != 3)
		return false;
	if (maj && scratch_name_of(makedev(maj, min), name))
		return true;
	return rest && sscanf(rest, " - %*s %4095s", source) == 1 && source[0] == '/' &&
	       !stat(source, &st) && S_ISBLK(st.st_mode) && scratch_name_of(st.st_rdev, name);
}

/* Process 1 sees more than a container does. */
static const char *const mounts[] = { "/proc/self/mountinfo", "/proc/1/mountinfo" };

static void refuse_root(const char *disk)
{
	char line[2 * PATH_MAX], name[SCRATCH_NAME], point[PATH_MAX];
	unsigned int i;
	FILE *f;

	for (i = 0; i < 2; i++) {
		f = fopen(mounts[i], "re");
		while (f && fgets(line, sizeof(line), f))
			if (mounted_device(line, name, point) && !strcmp(point, "/") &&
			    is_below(name, disk, 0))
				refuse("the root file system is on the same drive (%s)", name);
		if (f)
			fclose(f);
	}
}

/* Says who uses @disk, which somebody does. */
__attribute__((noreturn)) static void refuse_used(const char *disk, const char *what)
{
	char line[2 * PATH_MAX], name[SCRATCH_NAME], whole[SCRATCH_NAME], point[PATH_MAX];
	unsigned int i;
	FILE *f;

	for (i = 0; i < 2; i++) {
		f = fopen(mounts[i], "re");
		while (f && fgets(line, sizeof(line), f)) {
			if (!mounted_device(line, name, point))
				continue;
			scratch_disk_of(name, whole);
			if (!strcmp(whole, disk))
				refuse("%s%s is mounted at %s", what, name, point);
		}
		if (f)
			fclose(f);
	}
	f = fopen("/proc/swaps", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "/dev/%31s", name) != 1)
			continue;
		scratch_disk_of(name, whole);
		if (!strcmp(whole, disk))
			refuse("%s%s is swap", what, name);
	}
	refuse("%s%s is in use (lsblk, fuser and dmsetup may tell by whom)", what, disk);
}

/*
 * The kernel lets nobody have a disk for himself while it, or a partition of it, is mounted or held.
 * Who has it open and does not hold it is looked for later, for all disks at once.
 */
static void refuse_held(const char *disk, const char *what)
{
	char path[300], name[SCRATCH_NAME];
	struct stat st;
	int fd;

	openers_watch(disk, what);
	snprintf(path, sizeof(path), "/dev/%s", disk);
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0 && errno == EBUSY)
		refuse_used(disk, what);
	if (fd < 0)
		refuse("%s%s: %s", what, path, strerror(errno));
	/* Where nobody looks after /dev, numbers are those of an earlier boot. */
	if (fstat(fd, &st) || !scratch_name_of(st.st_rdev, name) || strcmp(name, disk))
		refuse("%s%s is the node of another device", what, path);
	close(fd);
}

static void refuse_open(void)
{
	const char *hidden = openers_hidden();
	char text[256];

	if (hidden)
		refuse("%s, and so not who has it open", hidden);
	if (openers_found(text, sizeof(text)))
		refuse("%s", text);
}

/* A reset of the controller would be felt on all of them. */
static void refuse_neighbours(const char *disk)
{
	char what[64], ctrl[SCRATCH_NAME], line[8];
	struct dirent *entry;
	unsigned int i;
	DIR *dir;

	dir = opendir("/sys/block");
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || !strcmp(entry->d_name, disk))
			continue;
		for (i = 0; scratch_ctrl_of(disk, i, ctrl); i++) {
			if (!scratch_has(ctrl, entry->d_name))
				continue;
			snprintf(what, sizeof(what), "%s has another namespace: ", ctrl);
			/* That of a path has no node: who uses it uses the head. */
			if (!read_line(line, sizeof(line), BLOCK "/%s/hidden", entry->d_name) ||
			    strcmp(line, "1"))
				refuse_held(entry->d_name, what);
			break;
		}
	}
	if (dir)
		closedir(dir);
}

/* --- what is on it --- */

/* Is the table of partitions on the disk the one that prepare.sh writes? */
static bool table_is_ours(const char *disk, blkid_probe pr)
{
	blkid_partlist list = blkid_probe_get_partitions(pr);
	blkid_partition part;
	int i;

	if (!list || blkid_partlist_numof_partitions(list) != SCRATCH_PARTS)
		return false;
	for (i = 0; i < SCRATCH_PARTS; i++) {
		part = blkid_partlist_get_partition_by_partno(list, i + 1);
		if (!part || !scratch_is_ours(disk, i + 1, blkid_partition_get_name(part),
					      blkid_partition_get_start(part),
					      blkid_partition_get_size(part)))
			return false;
	}
	return true;
}

/* A signature that libblkid knows, "ext4" or "a table of partitions (gpt)"; "": there is none, or ours. */
static void signature(const char *disk, char *text, size_t size, bool *ours)
{
	blkid_probe pr = blkid_new_probe_from_filename(ns);
	const char *value;
	int ret;

	text[0] = '\0';
	*ours = false;
	if (!pr)
		refuse("cannot be read: %s", strerror(errno));
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(pr, 1);
	blkid_probe_set_partitions_flags(pr, BLKID_PARTS_MAGIC);
	/* Tables come after everything else. */
	while (!text[0] && !*ours && !(ret = blkid_do_probe(pr))) {
		if (!blkid_probe_lookup_value(pr, "TYPE", &value, NULL)) {
			snprintf(text, size, "%s", value);
		} else if (!blkid_probe_lookup_value(pr, "PTTYPE", &value, NULL)) {
			snprintf(text, size, "a table of partitions (%s)", value);
			*ours = !strcmp(value, "gpt") && table_is_ours(disk, pr);
			if (*ours)
				text[0] = '\0';
		}
	}
	if (!text[0] && !*ours && ret < 0)
		refuse("it can't be told what is on it");
	blkid_free_probe(pr);
}

/*
 * What is there; "": nothing, or what an earlier run left. One that was cut off may have left a table
 * that the kernel was not told of, or the kernel partitions that are on the disk no more.
 */
static void contents(const char *disk, char *text, size_t size)
{
	bool known_ours, ours;
	unsigned int count;

	count = scratch_partitions(disk, &known_ours);
	signature(disk, text, size, &ours);
	if (count && !known_ours)
		snprintf(text, size, "%u partition%s", count, count == 1 ? "" : "s");
	else if (!text[0] && (count || ours))
		printf("%s: what an earlier run of these tests left\n", ns);
}

/* --- the namespace itself --- */

static const char *need_namespace(void)
{
	char path[PATH_MAX], line[64], ctrl[SCRATCH_NAME];
	char name[SCRATCH_NAME];
	const char *disk = scratch_disk();
	unsigned int i;
	struct stat st;

	if (stat(ns, &st))
		refuse("%s", strerror(errno));
	if (!S_ISBLK(st.st_mode))
		refuse("it is no block device");
	/* Everything else goes by the name. */
	if (!scratch_name_of(st.st_rdev, name) || strcmp(name, disk))
		refuse("it is the node of another device");
	snprintf(path, sizeof(path), BLOCK "/%s/partition", disk);
	if (!access(path, F_OK))
		refuse("it is a partition; tests need a namespace of their own");
	if (!scratch_ctrl()[0])
		refuse("it is no namespace of an NVMe controller");
	for (i = 0; scratch_ctrl_of(disk, i, ctrl); i++)
		if (!read_line(line, sizeof(line), "/sys/class/nvme/%s/transport", ctrl) ||
		    strcmp(line, "pcie"))
			refuse("%s is no PCIe controller", ctrl);
	if (read_line(line, sizeof(line), BLOCK "/%s/ro", disk) && strcmp(line, "0"))
		refuse("it is read-only");
	return disk;
}

int main(int argc, char **argv)
{
	const char *force = getenv("HOMI_TEST_FORCE"), *disk;
	char what[128];

	if (argc != 2) {
		fprintf(stderr, "usage: guard NAMESPACE\n");
		return 2;
	}
	ns = argv[1];
	setenv("HOMI_TEST_NS", ns, 1);
	disk = need_namespace();
	refuse_root(disk);
	refuse_held(disk, "");
	refuse_neighbours(disk);
	refuse_open();
	contents(disk, what, sizeof(what));
	if (what[0] && (!force || strcmp(force, "1")))
		refuse("there is %s on it. HOMI_TEST_FORCE=1 gives it up all the same", what);
	printf("%s on %s: taken%s%s\n", ns, scratch_ctrl(), what[0] ? ", and lost what is on it: " : "",
	       what);
	return 0;
}
