// SPDX-License-Identifier: GPL-2.0-only
/*
 * What it takes to learn where small files lie, in ticks of the time stamp counter: for
 * scripts/bench-resolve, under which these are instructions. Nothing waits for the drive there:
 * the files are clean, and were looked at before.
 *
 * usage: count_resolve DEVICE DIRECTORY FILES
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/homi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <x86intrin.h>

#define PER_DIRECTORY	100
#define EXTENTS		32	/* room for, in FIEMAP's answer */

static const char *top;
static int homi_fd;

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
		if (mkdir(path, 0755) && errno != EEXIST)
			err(1, "%s", path);
	}
	fd = open(name_of(i), O_WRONLY | O_CREAT | O_TRUNC, 0644);
	memset(data, i, sizeof(data));
	if (fd < 0 || write(fd, data, sizeof(data)) != sizeof(data) || close(fd))
		err(1, "%s", name_of(i));
}

static int open_it(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", name);
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
	if (ioctl(fd, FS_IOC_FIEMAP, &u) || !u.f.fm_mapped_extents)
		err(1, "FIEMAP");
}

static uint32_t resolve(int fd)
{
	struct homi_extent_resolve r = { .size = sizeof(r), .fd = fd };

	if (ioctl(homi_fd, HOMI_EXTENT_RESOLVE, &r))
		err(1, "EXTENT_RESOLVE (reason %u)", r.out_reason);
	return r.out_extent_id;
}

static void destroy(uint32_t id)
{
	struct homi_destroy d = { .size = sizeof(d), .id = id };

	if (ioctl(homi_fd, HOMI_DESTROY, &d))
		err(1, "DESTROY");
}

int main(int argc, char **argv)
{
	unsigned long long fiemap = 0, call = 0, whole = 0, end = 0, t[5];
	unsigned int files, i, round;

	if (argc != 4)
		errx(2, "usage: count_resolve DEVICE DIRECTORY FILES");
	top = argv[2];
	files = atoi(argv[3]);
	homi_fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (homi_fd < 0)
		err(1, "%s", argv[1]);
	for (i = 0; i < files; i++)
		make(i);
	sync();
	for (round = 0; round < 2; round++) {
		fiemap = call = whole = end = 0;
		for (i = 0; i < files; i++) {
			const char *name = name_of(i);
			uint32_t id;
			int fd;

			t[0] = __rdtsc();
			fd = open_it(name);
			ask_fiemap(fd);
			close(fd);
			t[1] = __rdtsc();
			fd = open_it(name);
			t[2] = __rdtsc();
			id = resolve(fd);
			t[3] = __rdtsc();
			close(fd);
			t[4] = __rdtsc();
			destroy(id);
			end += __rdtsc() - t[4];
			fiemap += t[1] - t[0];
			call += t[3] - t[2];
			whole += t[4] - t[1];
		}
	}
	printf("resolve files=%u fiemap=%llu call=%llu ratio=%.2f with_open=%llu ratio=%.2f destroy=%llu\n",
	       files, fiemap / files, call / files, (double)call / fiemap, whole / files,
	       (double)whole / fiemap, end / files);
	return 0;
}
