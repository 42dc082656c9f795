// SPDX-License-Identifier: GPL-2.0-only
/*
 * What it takes to learn where small files lie, in ticks of the time stamp counter: for
 * scripts/bench-resolve, under which these are instructions. Nothing waits for the drive there:
 * the files are clean, and were looked at before.
 *
 * usage: count_resolve DIRECTORY FILES	(HOMI_DEV as for the tests)
 */
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <x86intrin.h>

#include "common.h"

#define PER_DIRECTORY	100
#define EXTENTS		32	/* room for, in FIEMAP's answer */

static const char *top;

static const char *name_of(unsigned int i)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/d%u/file%u", top, i / PER_DIRECTORY, i);
	return path;
}

static void make(unsigned int i)
{
	static char data[8192];
	int fd;

	if (i % PER_DIRECTORY == 0) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/d%u", top, i / PER_DIRECTORY);
		ASSERT(!mkdir(path, 0755));
	}
	fd = open(name_of(i), O_WRONLY | O_CREAT | O_TRUNC, 0644);
	memset(data, i, sizeof(data));
	ASSERT_EQ(sizeof(data), write(fd, data, sizeof(data)));
	close(fd);
}

static int open_it(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	ASSERT(fd >= 0);
	return fd;
}

static void ask_fiemap(int fd)
{
	static union {
		struct fiemap f;
		char room[sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent)];
	} u;

	memset(&u.f, 0, sizeof(u.f));
	u.f.fm_length = FIEMAP_MAX_OFFSET;
	u.f.fm_flags = FIEMAP_FLAG_SYNC;
	u.f.fm_extent_count = EXTENTS;
	ASSERT(!ioctl(fd, FS_IOC_FIEMAP, &u) && u.f.fm_mapped_extents);
}

/* All of them by one call, its table mapped and each entry looked at. */
static unsigned long long count_set(int homi, unsigned int files)
{
	char *names = malloc(files * 32), *end = names;
	const struct homi_extent_set *set;
	struct homi_resolve_set r;
	unsigned long long t;
	unsigned int i;
	int dir;

	ASSERT(names);
	t = __rdtsc();
	dir = open(top, O_PATH | O_CLOEXEC);
	for (i = 0; i < files; i++)
		end += sprintf(end, "d%u/file%u", i / PER_DIRECTORY, i) + 1;
	r = (struct homi_resolve_set){
		.size = sizeof(r), .dirfd = dir, .count = files,
		.names = (uintptr_t)names, .names_length = end - names,
	};
	ASSERT_EQ(0, homi_call(homi, HOMI_RESOLVE_SET, &r));
	close(dir);
	set = mmap(NULL, r.out_mmap_length, PROT_READ, MAP_SHARED, homi, r.out_mmap_offset);
	ASSERT(set != MAP_FAILED);
	for (i = 0; i < files; i++)
		ASSERT(set->entries[i].table);
	t = __rdtsc() - t;
	munmap((void *)set, r.out_mmap_length);
	ASSERT_EQ(0, destroy(homi, r.out_set_id));
	free(names);
	return t;
}

int main(int argc, char **argv)
{
	unsigned long long fiemap = 0, call = 0, whole = 0, set = 0, end = 0, t[5];
	unsigned int files, i, round;
	int homi;

	if (argc != 3)
		return 2;
	top = argv[1];
	files = atoi(argv[2]);
	homi = homi_open();
	for (i = 0; i < files; i++)
		make(i);
	sync();
	for (round = 0; round < 2; round++) {
		fiemap = call = whole = end = 0;
		for (i = 0; i < files; i++) {
			struct homi_extent_resolve r;
			const char *name = name_of(i);
			int fd;

			t[0] = __rdtsc();
			fd = open_it(name);
			ask_fiemap(fd);
			close(fd);
			t[1] = __rdtsc();
			fd = open_it(name);
			t[2] = __rdtsc();
			ASSERT_EQ(0, extent_resolve(homi, fd, 0, 0, &r));
			t[3] = __rdtsc();
			close(fd);
			t[4] = __rdtsc();
			ASSERT_EQ(0, destroy(homi, r.out_extent_id));
			end += __rdtsc() - t[4];
			fiemap += t[1] - t[0];
			call += t[3] - t[2];
			whole += t[4] - t[1];
		}
		set = count_set(homi, files);
	}
	printf("resolve files=%u fiemap=%llu call=%llu ratio=%.2f with_open=%llu ratio=%.2f set=%llu ratio=%.2f destroy=%llu\n",
	       files, fiemap / files, call / files, (double)call / fiemap, whole / files,
	       (double)whole / fiemap, set / files, (double)set / fiemap, end / files);
	return 0;
}
