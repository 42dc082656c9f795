/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_REMOVAL_H
#define HOMI_SELFTESTS_REMOVAL_H

/* The second controller, whose file systems nobody needs: it is taken away and comes back. */

#include "ring.h"

struct victim {
	char pci[32];		/* its address; stays what it is */
	char home[64];		/* homi's node at first */
	char dev[64];		/* and now: it may get another name */
	bool plugged;		/* by QEMU, and can be unplugged */
	char disk[64];		/* its first namespace */
	uint32_t nsid;
	uint32_t block_size;
};

/* The block device of a namespace; a path nvme0c1n1 is reached through its head nvme0n1. */
bool disk_of(const char *ctrl, uint32_t nsid, char *disk, size_t size);
/* Skips the test where there is none. */
void victim_need(struct victim *victim);
/*
 * QEMU's "spare", in a subsystem of that name: a drive that belongs to a controller itself may
 * stay in use for ever when that is unplugged under load, a subsystem's namespaces stay.
 */
void victim_need_plugged(struct victim *victim);
void victim_unbind(const struct victim *victim);
void victim_bind(struct victim *victim);
/* Waits until it is live, homi is attached and the namespace is there. */
void victim_wait_back(struct victim *victim);
void wait_no_node(const char *dev);
/* Every command that needs the controller is ENODEV. */
void check_gone(int fd);
/* As the contract says of a queue that is GONE, and of its mappings. */
void check_ring_gone(const struct ring *ring);
uint32_t first_nsid(int fd);
/* homi is attached, and a queue reads what stock reads. */
void victim_prove(const struct victim *victim);
/*
 * A small file system on the controller that goes, with a file, mounted where nothing is written;
 * returns where.
 */
const char *victim_make_file(const struct victim *victim, const char *type, size_t size,
			     char path[256]);
/* Nobody holds the old one any more: it gets its old name again. */
void victim_restore(struct victim *victim);

/* homi lets go of a file from a worker, whose last step comes a little later. */
void umount_soon(const char *point);

/* A way of taking it away, and of bringing it back */
struct removal {
	void (*remove)(const struct victim *victim);
	void (*add)(const struct victim *victim);
	bool deaf;		/* stock's requests would have to time out first */
};

extern const struct removal by_unbind, by_sysfs, by_hotplug, by_surprise;
/* Returns when it is gone, in ms. */
uint64_t victim_remove(const struct removal *how, const struct victim *victim);
void victim_add(const struct removal *how, struct victim *victim);

#endif
