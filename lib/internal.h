/* SPDX-License-Identifier: MIT */
#ifndef LIB_INTERNAL_H
#define LIB_INTERNAL_H

#include <errno.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <homi/file.h>

/* A command: 0 or a negative errno */
static inline int homi_call(const struct homi_dev *dev, unsigned long nr, void *cmd)
{
	return ioctl(dev->fd, nr, cmd) < 0 ? -errno : 0;
}

static inline size_t homi_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int homi_map_region(const struct homi_dev *dev, uint64_t offset, uint64_t length, int prot,
		    void **addr);
void homi_unmap_region(void *addr, uint64_t length);

static inline uint64_t homi_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* The open files of a reader, linked in file.c */
struct homi_file **homi_reader_files(struct homi_reader *reader);

/*
 * Files that somebody wants are given back, beside the one that is at work: those
 * that are read, of which nothing is in flight; with @all also those that are
 * written to, which takes the reader's queue.
 */
void homi_files_give_way(struct homi_file *files, int all);

#endif /* LIB_INTERNAL_H */
