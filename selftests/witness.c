// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>

#include "witness.h"

#define STATE	"/sys/kernel/debug/homi/%s/state"
#define QUEUES	"/sys/kernel/debug/homi/%s/queues"

uint64_t seed_begin(void)
{
	const char *given = getenv("HOMI_SEED");
	struct timespec ts;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &ts);
	seed = given && *given ? strtoull(given, NULL, 0) :
				 (uint64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
	printf("# seed: HOMI_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/* splitmix64: any seed will do */
uint32_t seed_next(uint64_t *seed, uint32_t below)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return (z >> 32) * below >> 32;
}

/* --- stock --- */

static unsigned int count_entries(const char *path)
{
	struct dirent *entry;
	unsigned int n = 0;
	DIR *dir = opendir(path);

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* The most that one of its block devices has; a multipath head has none. */
static unsigned int hw_queues(const char *ctrl)
{
	char path[512];
	struct dirent *entry;
	unsigned int n, most = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/class/nvme/%s", ctrl);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "nvme", 4))
			continue;
		snprintf(path, sizeof(path), "/sys/class/nvme/%s/%.64s/mq", ctrl, entry->d_name);
		n = count_entries(path);
		most = n > most ? n : most;
	}
	closedir(dir);
	return most;
}

void stock_queues_learn(struct stock_queues *stock, const char *ctrl)
{
	snprintf(stock->ctrl, sizeof(stock->ctrl), "%.31s", ctrl);
	stock->count = sysfs_number("/sys/class/nvme/%s/queue_count", ctrl);
	stock->hw = hw_queues(ctrl);
	ASSERT(stock->count > 1);
	ASSERT(stock->hw > 0);
}

/* The block layer takes the directories away and makes them anew in a reset. */
void stock_queues_check(const struct stock_queues *stock)
{
	uint64_t end = now_ms() + 30000;

	ASSERT_EQ(stock->count, sysfs_number("/sys/class/nvme/%s/queue_count", stock->ctrl));
	while (hw_queues(stock->ctrl) != stock->hw && now_ms() < end)
		usleep(1000);
	ASSERT_EQ(stock->hw, hw_queues(stock->ctrl));
}

/* --- names --- */

void pci_of(const char *ctrl, char *pci, size_t size)
{
	char link[256], path[PATH_MAX];

	snprintf(link, sizeof(link), "/sys/class/nvme/%s/device", ctrl);
	ASSERT(realpath(link, path));
	snprintf(pci, size, "%.31s", base_name(path));
}

bool node_of(const char *pci, char *path, size_t size)
{
	char dir_path[128];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(dir_path, sizeof(dir_path), "/sys/bus/pci/devices/%s/nvme", pci);
	dir = opendir(dir_path);
	if (!dir)
		return false;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, "nvme", 4)) {
			snprintf(path, size, "/dev/homi/%.32s", entry->d_name);
			found = true;
		}
	closedir(dir);
	return found && !access(path, F_OK);
}

/* --- homi --- */

void need_debugfs(void)
{
	char path[128];

	snprintf(path, sizeof(path), STATE, ctrl_name());
	if (access(path, R_OK))
		SKIP("there is no %s", path);
}

bool debugfs_shows(const char *file, const char *first, const char *second)
{
	char path[128], line[512];
	bool found = false;
	FILE *f;

	need_debugfs();
	snprintf(path, sizeof(path), "/sys/kernel/debug/homi/%s/%s", ctrl_name(), file);
	f = fopen(path, "r");
	ASSERT(f);
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, first) && strstr(line, second);
	fclose(f);
	return found;
}

/* What debugfs shows beyond a controller that nobody uses: false for nothing. */
static bool show_left(const char *ctrl, char *text, size_t size)
{
	char path[128], line[160];
	bool left = false;
	unsigned int lent;
	FILE *file;

	snprintf(path, sizeof(path), STATE, ctrl);
	file = fopen(path, "r");
	ASSERT(file);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "file ", 5) || (sscanf(line, "lent %u", &lent) == 1 && lent)) {
			snprintf(text, size, "%s", line);
			left = true;
		}
	fclose(file);
	snprintf(path, sizeof(path), QUEUES, ctrl);
	file = fopen(path, "r");
	ASSERT(file && fgets(line, sizeof(line), file));
	if (fgets(line, sizeof(line), file)) {
		snprintf(text, size, "queue %s", line);
		left = true;
	}
	fclose(file);
	return left;
}

void wait_nothing_left(const char *ctrl)
{
	uint64_t end = now_ms() + 30000;
	char text[200];

	while (show_left(ctrl, text, sizeof(text))) {
		if (now_ms() > end)
			FAIL("%s keeps: %s", ctrl, text);
		usleep(500);
	}
}

bool holds_file(pid_t pid)
{
	char path[300], line[160];
	struct dirent *entry;
	bool found = false;
	FILE *file;
	int holder;
	DIR *dir = opendir("/sys/kernel/debug/homi");

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), STATE, entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		while (fgets(line, sizeof(line), file))
			found |= sscanf(line, "file pid %d", &holder) == 1 && holder == pid;
		fclose(file);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* --- pages --- */

long long pinned_pages_about(void)
{
	long long value, acquired = -1, released = -1;
	FILE *file = fopen("/proc/vmstat", "r");
	char name[64];

	ASSERT(file);
	while (fscanf(file, "%63s %lld", name, &value) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			acquired = value;
		else if (!strcmp(name, "nr_foll_pin_released"))
			released = value;
	}
	fclose(file);
	ASSERT(acquired >= 0 && released >= 0);
	return acquired - released;
}

/* Each CPU keeps a part of the counts to itself, until it is asked. */
long long pinned_pages(void)
{
	ASSERT(sysfs_write("/proc/sys/vm/stat_refresh", "1"));
	return pinned_pages_about();
}

void wait_unpinned(long long before)
{
	uint64_t end = now_ms() + 30000;
	long long now;

	while ((now = pinned_pages()) > before) {
		if (now_ms() > end)
			FAIL("%lld pages are still pinned", now - before);
		usleep(100);
	}
}
