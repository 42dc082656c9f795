// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "openers.h"
#include "scratch.h"

#define BLOCK		"/sys/class/block"
#define INIT_PID_NS	0xeffffffcu	/* the kernel's PROC_PID_INIT_INO, which never changed */
#define TRIES		30		/* a tenth of a second each */

/* A device that is looked for */
struct node {
	mode_t type;
	unsigned int major, minor;
	char name[64], what[64];
};

static struct node *nodes;
static unsigned int node_count;

const char *openers_hidden(void)
{
	static char text[128];
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) || st.st_ino != INIT_PID_NS)
		return "the processes outside of this container (its PID namespace) can't be seen";
	/* Process 1 is always there, also for who is not shown those of others (hidepid). */
	if (!stat("/proc/1/ns/pid", &st))
		return NULL;
	snprintf(text, sizeof(text), "other processes can't be looked at: %s", strerror(errno));
	return text;
}

/* --- what is looked for --- */

/* The device whose number is in @path, if there is one */
static void watch(mode_t type, const char *path, const char *name, const char *what)
{
	FILE *f = fopen(path, "re");
	struct node *node;
	unsigned int maj, min;

	if (!f)
		return;
	if (fscanf(f, "%u:%u", &maj, &min) == 2) {
		nodes = realloc(nodes, (node_count + 1) * sizeof(*nodes));
		if (!nodes)
			abort();
		node = &nodes[node_count++];
		*node = (struct node){ .type = type, .major = maj, .minor = min };
		snprintf(node->name, sizeof(node->name), "%s", name);
		snprintf(node->what, sizeof(node->what), "%s", what);
	}
	fclose(f);
}

static void watch_block(const char *disk, const char *name, void *what)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), BLOCK "/%s/%s/dev", disk, name);
	watch(S_IFBLK, path, name, what);
}

void openers_watch(const char *disk, const char *what)
{
	char path[PATH_MAX], name[SCRATCH_NAME + 8], ctrl[SCRATCH_NAME];
	unsigned int i, n;

	snprintf(path, sizeof(path), BLOCK "/%s/dev", disk);
	watch(S_IFBLK, path, disk, what);
	scratch_each_partition(disk, watch_block, (void *)what);
	/* Stock's way for commands of one's own, with multipath beside the head too, and homi's */
	if (sscanf(disk, "nvme%un%u", &i, &n) == 2) {
		snprintf(name, sizeof(name), "ng%un%u", i, n);
		snprintf(path, sizeof(path), "/sys/class/nvme-generic/%s/dev", name);
		watch(S_IFCHR, path, name, what);
	}
	for (i = 0; scratch_ctrl_of(disk, i, ctrl); i++) {
		snprintf(name, sizeof(name), "homi/%s", ctrl);
		snprintf(path, sizeof(path), "/sys/class/%s/dev", name);
		watch(S_IFCHR, path, name, what);
	}
}

static const struct node *watched(mode_t mode, unsigned int maj, unsigned int min)
{
	unsigned int i;

	for (i = 0; i < node_count; i++)
		if (nodes[i].type == (mode & S_IFMT) && nodes[i].major == maj && nodes[i].minor == min)
			return &nodes[i];
	return NULL;
}

/* --- processes --- */

/*
 * What a directory of /proc has links to: what a task has open, or a process mapped. Tasks that end
 * meanwhile are no error. EPERM is of who may not follow the links; other files deny themselves (EACCES).
 */
static const struct node *linked(const char *path, bool *denied)
{
	const struct node *node = NULL;
	struct dirent *entry;
	struct statx st;
	DIR *dir;

	dir = opendir(path);
	while (dir && !node && !*denied && (entry = readdir(dir))) {
		/* Nobody is asked who may not answer (a server of files). */
		if (!statx(dirfd(dir), entry->d_name, AT_STATX_DONT_SYNC, STATX_TYPE, &st))
			node = watched(st.stx_mode, st.stx_rdev_major, st.stx_rdev_minor);
		else
			*denied = errno == EPERM;
	}
	if (dir)
		closedir(dir);
	return node;
}

/* A process has one table of open files for all of its tasks, but need not. */
static const struct node *opened_by(int pid, bool *denied)
{
	const struct node *node;
	struct dirent *entry;
	char path[64];
	DIR *dir;
	int tid;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	node = linked(path, denied);
	if (!node) {
		snprintf(path, sizeof(path), "/proc/%d/map_files", pid);
		node = linked(path, denied);
	}
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && !node && (entry = readdir(dir))) {
		tid = atoi(entry->d_name);
		if (!tid || tid == pid || !syscall(SYS_kcmp, pid, tid, KCMP_FILES, 0, 0))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/fd", pid, tid);
		node = linked(path, denied);
	}
	if (dir)
		closedir(dir);
	return node;
}

static bool process_has(int pid, char *text, size_t size)
{
	char path[64], comm[64] = "";
	const struct node *node;
	struct stat st;
	bool denied;
	FILE *f;

	/* What asks for the same right as following its links does, and fails for no other reason */
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	denied = stat(path, &st) && (errno == EACCES || errno == EPERM);
	node = opened_by(pid, &denied);
	if (!node && !denied)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(comm, sizeof(comm), f))
		comm[strcspn(comm, "\n")] = '\0';
	if (f)
		fclose(f);
	if (node)
		snprintf(text, size, "%s%s is open in process %d (%s)", node->what, node->name, pid, comm);
	else
		snprintf(text, size, "what process %d (%s) has open can't be looked at", pid, comm);
	return true;
}

static bool any_process_has(char *text, size_t size)
{
	struct dirent *entry;
	bool found = false;
	DIR *dir;
	int pid;

	dir = opendir("/proc");
	while (dir && !found && (entry = readdir(dir))) {
		pid = atoi(entry->d_name);
		found = pid > 0 && pid != getpid() && process_has(pid, text, size);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* What the kernel itself has open for somebody, without a claim: who is told of by a path in a file */
static bool kernel_has(char *text, size_t size)
{
	static const char *const patterns[] = {
		"/sys/block/loop*/loop/backing_file",
		"/sys/kernel/config/nvmet/subsystems/*/namespaces/*/device_path",
		"/sys/kernel/config/target/core/*/*/udev_path",
	};
	const struct node *node = NULL;
	char line[PATH_MAX] = "";
	unsigned int i;
	struct stat st;
	glob_t found;
	size_t k;
	FILE *f;

	for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]) && !node; i++) {
		if (glob(patterns[i], 0, NULL, &found))
			continue;
		for (k = 0; k < found.gl_pathc && !node; k++) {
			f = fopen(found.gl_pathv[k], "re");
			if (!f || !fgets(line, sizeof(line), f))
				line[0] = '\0';
			if (f)
				fclose(f);
			line[strcspn(line, "\n")] = '\0';
			if (!stat(line, &st))
				node = watched(st.st_mode, major(st.st_rdev), minor(st.st_rdev));
			if (node)
				snprintf(text, size, "%s%s is in use, see %s", node->what, node->name,
					 found.gl_pathv[k]);
		}
		globfree(&found);
	}
	return node;
}

/* Who looks at new disks (udev, blkid) has them open for a moment: nobody is meant who goes by himself. */
bool openers_found(char *text, size_t size)
{
	unsigned int i;

	for (i = 0; i < TRIES; i++) {
		if (i)
			usleep(100000);
		if (!kernel_has(text, size) && !any_process_has(text, size))
			return false;
	}
	return true;
}
