/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_STANDIN_H
#define HOMI_TEST_STANDIN_H

/*
 * Stands in for the kernel: for io_uring's registration as kernels do it that know nothing
 * of dma-bufs, that were built without, and that have it; for homi's commands; and for
 * what descriptors are. It takes the bytes at the offsets that the kernel's uapi gives
 * them, and knows none of the library's structures.
 */

#include <stdint.h>

/* Descriptors that only the stand-in has */
enum {
	FD_HOMI = 1000,
	FD_RING,	/* of the caller, with a table of buffers */
	FD_BARE_RING,	/* without one */
	FD_PROBE_RING,
	FD_FILE,
	FD_BDEV,
	FD_BDEV_DIRECT,
	FD_DMABUF,
};

#define TABLE		8u
#define DMABUF_SIZE	0x300000

enum kernel {
	KERNEL_OLD,	/* the flag is a reserved field */
	KERNEL_NO_TYPE,	/* the flag, but no dma-bufs */
	KERNEL_OFF,	/* built without dma-bufs */
	KERNEL_NEW,
};

/* One io_uring_register(), and the descriptor if it was an update */
struct registration {
	int fd;
	unsigned int opcode;
	unsigned int nr;
	uint8_t arg[32];
	uint8_t desc[80];
};

/* One command of homi's that made or destroyed something */
struct command {
	unsigned long nr;
	int fd;
	uint32_t id;
	uint64_t length;
	uint32_t flags;
};

extern struct standin {
	enum kernel kernel;
	int setup_errno;
	int update_errno;	/* for each update of a ring of the caller's */
	int update_answer;	/* likewise, if it is not 0 */
	int probe_errno;	/* for each call for the ring of the probe */
	int table_errno;	/* for the probe's table only */
	int file_errno;
	int mem_errno;
	int destroy_errno;
	unsigned int destroys;	/* that succeed before */
	uint32_t file_reason;
	unsigned int probe_table;
	struct registration reg[16];
	unsigned int regs;
	struct command cmd[16];
	unsigned int cmds;
	unsigned int setups;
	unsigned int closes;	/* of the ring of the probe */
	uint64_t dmabufs;	/* entries of the caller's ring that hold one */
} standin;

/* Anew, with this kernel */
void standin_begin(enum kernel kernel);

#endif /* HOMI_TEST_STANDIN_H */
