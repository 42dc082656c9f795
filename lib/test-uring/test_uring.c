// SPDX-License-Identifier: MIT
/*
 * What the library hands to io_uring_register() and to homi for a dma-buf, to the byte, and
 * what it makes of each answer.
 */
#include <errno.h>
#include <string.h>

#include <homi/uring.h>

#include "standin.h"
#include "tap.h"

static const struct homi_dev dev = { .fd = FD_HOMI };
static struct io_uring ring = { .ring_fd = FD_RING };
static struct io_uring bare_ring = { .ring_fd = FD_BARE_RING };

static struct homi_uring_buf_config config_of(int target, enum homi_uring_way way)
{
	return (struct homi_uring_buf_config){
		.dev = &dev, .ring = &ring, .index = 5, .dmabuf = FD_DMABUF, .target = target,
		.way = way,
	};
}

static void put32(uint8_t *bytes, unsigned int at, uint32_t value)
{
	memcpy(bytes + at, &value, sizeof(value));
}

/*
 * Is this that update of one entry? Its bytes are written down here by their places in the
 * uapi: struct io_uring_rsrc_update2 has offset at 0, flags at 4, data at 8, tags at 16,
 * nr at 24; struct io_uring_regbuf_desc has type at 0, dmabuf_fd at 24, target_fd at 28.
 */
static int is_update(const struct registration *reg, int fd, uint32_t index, uint32_t type,
		     int dmabuf, int target)
{
	uint8_t update[32] = { 0 }, desc[80] = { 0 };

	put32(update, 0, index);
	put32(update, 4, 2);
	/* The address is the library's affair; that it is right, @reg->desc shows. */
	memcpy(update + 8, reg->arg + 8, 8);
	put32(update, 24, 1);
	put32(desc, 0, type);
	put32(desc, 24, (uint32_t)dmabuf);
	put32(desc, 28, (uint32_t)target);
	return reg->fd == fd && reg->opcode == 16 && reg->nr == 32 &&
	       !memcmp(reg->arg, update, sizeof(update)) &&
	       !memcmp(reg->desc, desc, sizeof(desc));
}

/* struct io_uring_rsrc_register: nr at 0, flags at 4; one entry, sparse */
static int is_table(const struct registration *reg)
{
	uint8_t table[32] = { 0 };

	put32(table, 0, 1);
	put32(table, 4, 1);
	return reg->fd == FD_PROBE_RING && reg->opcode == 15 && reg->nr == 32 &&
	       !memcmp(reg->arg, table, sizeof(table));
}

static const char *probe_bytes(void)
{
	standin_begin(KERNEL_NEW);
	TAP_MUST(homi_uring_probe() == HOMI_URING_DMABUF_YES);
	TAP_MUST(standin.regs == 3);
	TAP_MUST(is_update(&standin.reg[0], FD_PROBE_RING, 0, 0, 0, 0));
	TAP_MUST(is_table(&standin.reg[1]));
	TAP_MUST(is_update(&standin.reg[2], FD_PROBE_RING, 0, 2, -1, -1));
	return NULL;
}

/* Old ones are asked once. */
static const char *probe_kernels(void)
{
	static const struct {
		enum kernel kernel;
		int answer;
		unsigned int calls;
	} all[] = {
		{ KERNEL_OLD, HOMI_URING_DMABUF_NONE, 1 },
		{ KERNEL_NO_TYPE, HOMI_URING_DMABUF_NONE, 3 },
		{ KERNEL_OFF, HOMI_URING_DMABUF_OFF, 3 },
		{ KERNEL_NEW, HOMI_URING_DMABUF_YES, 3 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		standin_begin(all[i].kernel);
		TAP_MUST(homi_uring_probe() == all[i].answer);
		TAP_MUST(standin.regs == all[i].calls);
		TAP_MUST(standin.setups == 1 && standin.closes == 1);
		TAP_MUST(!standin.cmds && !standin.dmabufs);
	}
	return NULL;
}

static const char *probe_no_ring(void)
{
	static const int all[] = { ENOSYS, EPERM, EMFILE, ENFILE, ENOMEM, EINVAL };
	unsigned int i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		standin_begin(KERNEL_NEW);
		standin.setup_errno = all[i];
		TAP_MUST(homi_uring_probe() == -all[i]);
		TAP_MUST(!standin.regs && !standin.closes);
	}
	return NULL;
}

/* No answer that is not expected passes for yes or no. */
static const char *probe_odd_answers(void)
{
	static const int all[] = { EPERM, ENOSYS, EACCES, ENOMEM, EFAULT, EBADFD, EOPNOTSUPP };
	unsigned int i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		standin_begin(KERNEL_NEW);
		standin.probe_errno = all[i];
		TAP_MUST(homi_uring_probe() == -all[i]);
		TAP_MUST(standin.closes == 1);
		standin_begin(KERNEL_NEW);
		standin.table_errno = all[i];
		TAP_MUST(homi_uring_probe() == -all[i]);
		TAP_MUST(standin.closes == 1);
	}
	/* EINVAL is a no to the first question only. */
	standin_begin(KERNEL_NEW);
	standin.table_errno = EINVAL;
	TAP_MUST(homi_uring_probe() == -EINVAL);
	return NULL;
}

static const char *by_kernel_bytes(void)
{
	struct homi_uring_buf_config config = config_of(FD_BDEV_DIRECT, HOMI_URING_EITHER);
	struct homi_uring_buf buf;
	uint32_t reason = 77;

	standin_begin(KERNEL_NEW);
	TAP_MUST(!homi_uring_buf_open(&buf, &config, &reason));
	TAP_MUST(buf.way == HOMI_URING_BY_KERNEL && !reason);
	TAP_MUST(buf.target == FD_BDEV_DIRECT && buf.index == 5);
	/* Three of the probe, one for it */
	TAP_MUST(standin.regs == 4 && !standin.cmds);
	TAP_MUST(is_update(&standin.reg[3], FD_RING, 5, 2, FD_DMABUF, FD_BDEV_DIRECT));
	TAP_MUST(standin.dmabufs == 1 << 5);
	TAP_MUST(!homi_uring_buf_close(&buf));
	TAP_MUST(standin.regs == 5 && !standin.cmds);
	TAP_MUST(is_update(&standin.reg[4], FD_RING, 5, 0, 0, 0));
	TAP_MUST(!standin.dmabufs);
	TAP_MUST(standin.setups == 1 && standin.closes == 1);
	/* What is closed is nothing any more. */
	TAP_MUST(!buf.way && !homi_uring_buf_close(&buf) && standin.regs == 5);
	return NULL;
}

static const char *by_homi_bytes(void)
{
	struct homi_uring_buf_config config = config_of(FD_FILE, HOMI_URING_EITHER);
	struct homi_uring_buf buf;
	uint32_t reason = 77;

	standin_begin(KERNEL_NEW);
	TAP_MUST(!homi_uring_buf_open(&buf, &config, &reason));
	TAP_MUST(buf.way == HOMI_URING_BY_HOMI && !reason);
	TAP_MUST(!standin.regs && !standin.setups && standin.cmds == 2);
	TAP_MUST(standin.cmd[0].nr == HOMI_FILE_REGISTER && standin.cmd[0].fd == FD_FILE);
	TAP_MUST(standin.cmd[1].nr == HOMI_MEM_REGISTER && standin.cmd[1].fd == FD_DMABUF);
	TAP_MUST(standin.cmd[1].length == DMABUF_SIZE && standin.cmd[1].flags == HOMI_MEM_WRITE);
	TAP_MUST(!homi_uring_buf_close(&buf));
	TAP_MUST(standin.cmds == 4 && !standin.regs);
	TAP_MUST(standin.cmd[2].nr == HOMI_DESTROY && standin.cmd[2].id == standin.cmd[1].id);
	TAP_MUST(standin.cmd[3].nr == HOMI_DESTROY && standin.cmd[3].id == standin.cmd[0].id);
	return NULL;
}

/* A MEM of many files stays, and no dma-buf is needed then. */
static const char *by_homi_shared(void)
{
	struct homi_uring_buf_config config = config_of(FD_FILE, HOMI_URING_EITHER);
	struct homi_mem mem = { .id = 42, .length = 4096 };
	struct homi_uring_buf buf;

	config.mem = &mem;
	config.dmabuf = -1;
	standin_begin(KERNEL_OLD);
	TAP_MUST(!homi_uring_buf_open(&buf, &config, NULL));
	TAP_MUST(standin.cmds == 1 && standin.cmd[0].nr == HOMI_FILE_REGISTER);
	TAP_MUST(buf.mem.id == 42);
	TAP_MUST(!homi_uring_buf_close(&buf));
	TAP_MUST(standin.cmds == 2 && standin.cmd[1].nr == HOMI_DESTROY &&
		 standin.cmd[1].id == standin.cmd[0].id);
	return NULL;
}

/*
 * Who serves what. -EOPNOTSUPP of homi's way is the stand-in's, as it is told to refuse
 * block devices as the module does.
 */
static const struct choice {
	const char *name;
	enum kernel kernel;
	int target;
	enum homi_uring_way way;
	int answer;	/* enum homi_uring_way, or -errno */
} choices[] = {
	{ "a device, new kernel", KERNEL_NEW, FD_BDEV_DIRECT, HOMI_URING_EITHER,
	  HOMI_URING_BY_KERNEL },
	{ "a device, new kernel, demanded", KERNEL_NEW, FD_BDEV_DIRECT, HOMI_URING_BY_KERNEL,
	  HOMI_URING_BY_KERNEL },
	{ "a device, homi's way demanded", KERNEL_NEW, FD_BDEV_DIRECT, HOMI_URING_BY_HOMI,
	  -EOPNOTSUPP },
	{ "a device, old kernel", KERNEL_OLD, FD_BDEV_DIRECT, HOMI_URING_EITHER, -EOPNOTSUPP },
	{ "a device, old kernel, demanded", KERNEL_OLD, FD_BDEV_DIRECT, HOMI_URING_BY_KERNEL,
	  -EOPNOTSUPP },
	{ "a device, kernel built without", KERNEL_OFF, FD_BDEV_DIRECT, HOMI_URING_EITHER,
	  -EOPNOTSUPP },
	{ "a device, kernel built without, demanded", KERNEL_OFF, FD_BDEV_DIRECT,
	  HOMI_URING_BY_KERNEL, -EOPNOTSUPP },
	{ "a device, no such type", KERNEL_NO_TYPE, FD_BDEV_DIRECT, HOMI_URING_BY_KERNEL,
	  -EOPNOTSUPP },
	{ "a device by the page cache", KERNEL_NEW, FD_BDEV, HOMI_URING_EITHER, -EOPNOTSUPP },
	{ "a device by the page cache, demanded", KERNEL_NEW, FD_BDEV, HOMI_URING_BY_KERNEL,
	  -EINVAL },
	{ "a file, new kernel", KERNEL_NEW, FD_FILE, HOMI_URING_EITHER, HOMI_URING_BY_HOMI },
	{ "a file, new kernel, demanded", KERNEL_NEW, FD_FILE, HOMI_URING_BY_KERNEL, -ENOTBLK },
	{ "a file, old kernel", KERNEL_OLD, FD_FILE, HOMI_URING_EITHER, HOMI_URING_BY_HOMI },
	{ "a file, old kernel, demanded", KERNEL_OLD, FD_FILE, HOMI_URING_BY_KERNEL, -ENOTBLK },
	{ "a file, homi's way demanded", KERNEL_NEW, FD_FILE, HOMI_URING_BY_HOMI,
	  HOMI_URING_BY_HOMI },
	{ "no descriptor", KERNEL_NEW, 3, HOMI_URING_EITHER, -EBADF },
	{ "no way", KERNEL_NEW, FD_FILE, (enum homi_uring_way)3, -EINVAL },
};

static const char *choose(const struct choice *c)
{
	struct homi_uring_buf_config config = config_of(c->target, c->way);
	struct homi_uring_buf buf;
	uint32_t reason = 77;
	unsigned int i;
	int ret;

	standin_begin(c->kernel);
	if (c->target != FD_FILE) {
		standin.file_errno = EOPNOTSUPP;
		standin.file_reason = HOMI_REASON_FILE_TYPE;
	}
	ret = homi_uring_buf_open(&buf, &config, &reason);
	TAP_MUST((ret ? ret : (int)buf.way) == c->answer);
	/* Who can't is not asked: all that was registered is the probe's. */
	for (i = 0; c->kernel != KERNEL_NEW && i < standin.regs; i++)
		TAP_MUST(standin.reg[i].fd == FD_PROBE_RING);
	/* Neither way has anything of the other's. */
	TAP_MUST(!standin.dmabufs == (c->answer != HOMI_URING_BY_KERNEL));
	if (c->way == HOMI_URING_BY_KERNEL)
		TAP_MUST(!standin.cmds);
	if (c->way == HOMI_URING_BY_HOMI)
		TAP_MUST(!standin.regs && !standin.setups);
	if (ret) {
		TAP_MUST(!buf.way && !homi_uring_buf_close(&buf));
		/* homi is the one that has reasons. */
		TAP_MUST(reason == (standin.cmds ? HOMI_REASON_FILE_TYPE : 0u));
		return NULL;
	}
	TAP_MUST(!homi_uring_buf_close(&buf));
	TAP_MUST(!standin.dmabufs && standin.setups == standin.closes);
	return NULL;
}

static const char *without_controller(void)
{
	struct homi_uring_buf_config config = config_of(FD_BDEV_DIRECT, HOMI_URING_EITHER);
	struct homi_uring_buf buf;

	config.dev = NULL;
	standin_begin(KERNEL_NEW);
	TAP_MUST(!homi_uring_buf_open(&buf, &config, NULL) && buf.way == HOMI_URING_BY_KERNEL);
	TAP_MUST(!homi_uring_buf_close(&buf));
	standin_begin(KERNEL_OLD);
	TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -EOPNOTSUPP);
	config.target = FD_FILE;
	TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -ENOTBLK);
	config.way = HOMI_URING_BY_HOMI;
	TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -EINVAL);
	TAP_MUST(!standin.cmds && !standin.dmabufs);
	return NULL;
}

/* The kernel's no to one buffer is no reason to go the other way. */
static const char *refused_by_kernel(void)
{
	static const int all[] = { EINVAL, ENXIO, EPERM, ENOSYS, EOPNOTSUPP, EBADF, ENOMEM,
				   EFAULT, EAGAIN, ENODEV };
	struct homi_uring_buf_config config = config_of(FD_BDEV_DIRECT, HOMI_URING_EITHER);
	struct homi_uring_buf buf;
	unsigned int i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		standin_begin(KERNEL_NEW);
		standin.update_errno = all[i];
		TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -all[i]);
		TAP_MUST(!buf.way && !standin.cmds);
	}
	standin_begin(KERNEL_NEW);
	config.index = TABLE;
	TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -EINVAL);
	config = config_of(FD_BDEV_DIRECT, HOMI_URING_EITHER);
	config.ring = &bare_ring;
	TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -ENXIO);
	config = config_of(FD_BDEV_DIRECT, HOMI_URING_EITHER);
	config.dmabuf = -1;
	TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -EBADF);
	config.dmabuf = FD_DMABUF;
	standin.update_answer = 2;
	TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -EPROTO);
	TAP_MUST(!buf.way && !standin.cmds && !standin.dmabufs);
	return NULL;
}

/* Not known is not no, as long as there is something to be known. */
static const char *probe_fails(void)
{
	static const int all[] = { ENOSYS, EPERM, EMFILE, ENOMEM };
	struct homi_uring_buf_config config = config_of(FD_BDEV_DIRECT, HOMI_URING_EITHER);
	struct homi_uring_buf buf;
	unsigned int i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		standin_begin(KERNEL_NEW);
		standin.setup_errno = all[i];
		TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -all[i]);
		TAP_MUST(!buf.way && !standin.cmds && !standin.regs);
	}
	config.target = FD_FILE;
	TAP_MUST(!homi_uring_buf_open(&buf, &config, NULL) && buf.way == HOMI_URING_BY_HOMI);
	TAP_MUST(!homi_uring_buf_close(&buf));
	return NULL;
}

static const char *refused_by_homi(void)
{
	struct homi_uring_buf_config config = config_of(FD_FILE, HOMI_URING_EITHER);
	struct homi_uring_buf buf;
	uint32_t reason;

	standin_begin(KERNEL_NEW);
	standin.file_errno = EOPNOTSUPP;
	standin.file_reason = HOMI_REASON_OTHER_DEVICE;
	TAP_MUST(homi_uring_buf_open(&buf, &config, &reason) == -EOPNOTSUPP);
	TAP_MUST(reason == HOMI_REASON_OTHER_DEVICE && standin.cmds == 1 && !buf.way);
	standin_begin(KERNEL_NEW);
	standin.mem_errno = EDQUOT;
	TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -EDQUOT);
	/* The FILE does not stay behind. */
	TAP_MUST(standin.cmds == 3 && standin.cmd[2].nr == HOMI_DESTROY &&
		 standin.cmd[2].id == standin.cmd[0].id);
	standin_begin(KERNEL_NEW);
	config.dmabuf = FD_FILE;
	TAP_MUST(homi_uring_buf_open(&buf, &config, NULL) == -EBADF);
	TAP_MUST(standin.cmds == 2 && standin.cmd[1].nr == HOMI_DESTROY && !standin.regs);
	return NULL;
}

/* What could not be closed can be closed later. */
static const char *close_fails(void)
{
	struct homi_uring_buf_config config = config_of(FD_BDEV_DIRECT, HOMI_URING_EITHER);
	struct homi_uring_buf buf;

	standin_begin(KERNEL_NEW);
	TAP_MUST(!homi_uring_buf_open(&buf, &config, NULL));
	standin.update_errno = EPERM;
	TAP_MUST(homi_uring_buf_close(&buf) == -EPERM && buf.way == HOMI_URING_BY_KERNEL);
	standin.update_errno = 0;
	standin.update_answer = 2;
	TAP_MUST(homi_uring_buf_close(&buf) == -EPROTO && standin.dmabufs);
	standin.update_answer = 0;
	TAP_MUST(!homi_uring_buf_close(&buf) && !standin.dmabufs);
	config.target = FD_FILE;
	standin_begin(KERNEL_NEW);
	TAP_MUST(!homi_uring_buf_open(&buf, &config, NULL));
	standin.destroy_errno = EBUSY;
	TAP_MUST(homi_uring_buf_close(&buf) == -EBUSY && buf.way == HOMI_URING_BY_HOMI);
	TAP_MUST(standin.cmds == 3 && standin.cmd[2].id == standin.cmd[1].id);
	/* The MEM goes, the FILE does not, and the MEM is not tried again. */
	standin.destroys = 1;
	TAP_MUST(homi_uring_buf_close(&buf) == -EBUSY && standin.cmds == 5);
	standin.destroy_errno = 0;
	TAP_MUST(!homi_uring_buf_close(&buf) && standin.cmds == 6);
	TAP_MUST(standin.cmd[5].id == standin.cmd[0].id);
	return NULL;
}

/* As a ring hands it out after others had it */
static struct io_uring_sqe *used_sqe(uint8_t room[128])
{
	memset(room, 0xff, 128);
	return (struct io_uring_sqe *)room;
}

static const char *sqe_by_kernel(void)
{
	struct homi_uring_buf_config config = config_of(FD_BDEV_DIRECT, HOMI_URING_EITHER);
	uint8_t room[128] __attribute__((aligned(8))), want[64] = { 0 };
	struct homi_uring_buf buf;
	uint64_t offset = 0x123456000, addr = 0x2000;
	int write;

	standin_begin(KERNEL_NEW);
	TAP_MUST(!homi_uring_buf_open(&buf, &config, NULL));
	for (write = 0; write < 2; write++) {
		if (write)
			homi_uring_prep_buf_write(used_sqe(room), &buf, offset, addr, 0x5000);
		else
			homi_uring_prep_buf_read(used_sqe(room), &buf, offset, addr, 0x5000);
		/* opcode, fd, off, addr, len, buf_index; user_data is the caller's */
		want[0] = write ? 5 : 4;
		put32(want, 4, FD_BDEV_DIRECT);
		memcpy(want + 8, &offset, 8);
		memcpy(want + 16, &addr, 8);
		put32(want, 24, 0x5000);
		memcpy(want + 32, room + 32, 8);
		want[40] = 5;
		TAP_MUST(!memcmp(room, want, sizeof(want)));
	}
	TAP_MUST(!homi_uring_buf_close(&buf));
	return NULL;
}

static const char *sqe_by_homi(void)
{
	struct homi_uring_buf_config config = config_of(FD_FILE, HOMI_URING_EITHER);
	uint8_t room[128] __attribute__((aligned(8))), want[128] = { 0 };
	struct homi_uring_rw rw = { .file_offset = 0x123456000, .length = 0x5000,
				    .mem_offset = 0x2000 };
	struct homi_uring_buf buf;
	int write;

	standin_begin(KERNEL_NEW);
	TAP_MUST(!homi_uring_buf_open(&buf, &config, NULL));
	rw.file = (int32_t)standin.cmd[0].id;
	rw.mem_id = standin.cmd[1].id;
	for (write = 0; write < 2; write++) {
		if (write)
			homi_uring_prep_buf_write(used_sqe(room), &buf, 0x123456000, 0x2000, 0x5000);
		else
			homi_uring_prep_buf_read(used_sqe(room), &buf, 0x123456000, 0x2000, 0x5000);
		/* opcode, fd, cmd_op, the command area; user_data is the caller's */
		want[0] = IORING_OP_URING_CMD;
		put32(want, 4, FD_HOMI);
		put32(want, 8, write ? HOMI_WRITE : HOMI_READ);
		memcpy(want + 32, room + 32, 8);
		memcpy(want + 48, &rw, sizeof(rw));
		TAP_MUST(!memcmp(room, want, sizeof(want)));
		/* Likewise by who has the structure already */
		homi_uring_prep_rw(used_sqe(room), buf.dev, write ? HOMI_WRITE : HOMI_READ, &rw);
		memcpy(want + 32, room + 32, 8);
		TAP_MUST(!memcmp(room, want, sizeof(want)));
	}
	TAP_MUST(!homi_uring_buf_close(&buf));
	return NULL;
}

int main(void)
{
	char name[128];
	unsigned int i;

	tap_try(probe_bytes(), "uring: the probe's bytes");
	tap_try(probe_kernels(), "uring: the probe tells kernels apart, and leaves nothing");
	tap_try(probe_no_ring(), "uring: no io_uring, or none for the caller");
	tap_try(probe_odd_answers(), "uring: no other answer is a yes or a no");
	tap_try(by_kernel_bytes(), "uring: bytes of the kernel's way");
	tap_try(by_homi_bytes(), "uring: commands of homi's way");
	tap_try(by_homi_shared(), "uring: a MEM of many files");
	for (i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		snprintf(name, sizeof(name), "uring: who serves %s", choices[i].name);
		tap_try(choose(&choices[i]), name);
	}
	tap_try(without_controller(), "uring: without a controller of homi's");
	tap_try(refused_by_kernel(), "uring: what the kernel refuses is not tried by homi");
	tap_try(probe_fails(), "uring: not known is not no");
	tap_try(refused_by_homi(), "uring: what homi refuses leaves nothing behind");
	tap_try(close_fails(), "uring: a close that fails can be repeated");
	tap_try(sqe_by_kernel(), "uring: SQE of the kernel's way");
	tap_try(sqe_by_homi(), "uring: SQE of homi's way");
	return tap_end();
}
