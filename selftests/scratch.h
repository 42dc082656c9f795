/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_SCRATCH_H
#define HOMI_SELFTESTS_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * HOMI_TEST_NS names the one namespace that tests may write to, and by it the controller that they
 * may reset. Who may be named is for guard.c; prepare.sh then makes three partitions, by whose names
 * and places the tests know that they are meant.
 */
#define SCRATCH_NAME	32
#define SCRATCH_PARTS	3

/* HOMI_TEST_NS, or NULL */
const char *scratch_ns(void);
/* The block device of it ("nvme0n1") and its controller ("nvme0", of several paths the first) */
const char *scratch_disk(void);
const char *scratch_ctrl(void);
/* NULL, or why no test may run on it */
const char *scratch_refused(void);

/* Controller @i (0, 1, ...) that @disk is a namespace of; false: there are no more. */
bool scratch_ctrl_of(const char *disk, unsigned int i, char ctrl[SCRATCH_NAME]);
/* Does @ctrl have namespace @disk? With native multipath also by a path of another name. */
bool scratch_has(const char *ctrl, const char *disk);
/* Of a partition its disk, else itself */
void scratch_disk_of(const char *name, char disk[SCRATCH_NAME]);
bool scratch_name_of(dev_t dev, char name[SCRATCH_NAME]);
/* Is partition @number (1, 2, ...) as prepare.sh makes it on @disk? In units of 512 bytes */
bool scratch_is_ours(const char *disk, unsigned int number, const char *name, uint64_t start,
		     uint64_t size);
/* Calls @each with every partition that the kernel knows on @disk, and says how many there are */
unsigned int scratch_each_partition(const char *disk,
				    void (*each)(const char *disk, const char *part, void *arg),
				    void *arg);
/* How many partitions the kernel knows on @disk, and whether they are those of prepare.sh, all of them */
unsigned int scratch_partitions(const char *disk, bool *ours);

#endif
