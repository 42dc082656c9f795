// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/homi.h>

#include "standin.h"

#define REGISTER_BUFFERS2	15u
#define REGISTER_BUFFERS_UPDATE	16u

struct standin standin;

long __wrap_syscall(long nr, ...);
int __wrap_ioctl(int fd, unsigned long nr, ...);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_fcntl(int fd, int cmd, ...);
off_t __wrap_lseek(int fd, off_t offset, int whence);
int __wrap_close(int fd);

void standin_begin(enum kernel kernel)
{
	memset(&standin, 0, sizeof(standin));
	standin.kernel = kernel;
}

static uint32_t get32(const uint8_t *bytes, unsigned int at)
{
	uint32_t value;

	memcpy(&value, bytes + at, sizeof(value));
	return value;
}

static uint64_t get64(const uint8_t *bytes, unsigned int at)
{
	uint64_t value;

	memcpy(&value, bytes + at, sizeof(value));
	return value;
}

static int is_zero(const uint8_t *bytes, unsigned int from, unsigned int to)
{
	while (from < to && !bytes[from])
		from++;
	return from == to;
}

/* 1 if an entry may hold what @desc says, or -errno */
static int take_desc(const uint8_t *desc)
{
	uint32_t type = get32(desc, 0);

	if (type >= (standin.kernel == KERNEL_NO_TYPE ? 2u : 3u))
		return -EINVAL;
	if (!is_zero(desc, 32, 80))
		return -EINVAL;
	if (type == 2) {
		if (standin.kernel == KERNEL_OFF)
			return -EOPNOTSUPP;
		if (!is_zero(desc, 8, 24))
			return -EINVAL;
		if (get32(desc, 28) != FD_BDEV_DIRECT || get32(desc, 24) != FD_DMABUF)
			return -EBADF;
		return 1;
	}
	/* Of the old types none is registered here: empty ones only */
	return is_zero(desc, 4, 32) && !type ? 1 : -EINVAL;
}

static int update(struct registration *reg)
{
	unsigned int table = reg->fd == FD_RING ? TABLE : 0;
	uint32_t index = get32(reg->arg, 0), flags = get32(reg->arg, 4);
	int ret;

	if (reg->fd == FD_PROBE_RING)
		table = standin.probe_table;
	if (get32(reg->arg, 24) != 1 || get32(reg->arg, 28))
		return -EINVAL;
	if (standin.kernel == KERNEL_OLD && flags)
		return -EINVAL;
	if (!table)
		return -ENXIO;
	if (index >= table || flags & ~2u)
		return -EINVAL;
	/* Without the flag these would be two words of an iovec. */
	if (flags != 2 || get64(reg->arg, 16))
		return -EFAULT;
	ret = take_desc(reg->desc);
	if (ret == 1 && reg->fd == FD_RING) {
		standin.dmabufs &= ~(1ull << index);
		if (get32(reg->desc, 0) == 2)
			standin.dmabufs |= 1ull << index;
	}
	return ret;
}

static int do_register(int fd, unsigned int opcode, const void *arg, unsigned int nr)
{
	struct registration *reg = &standin.reg[standin.regs++ % 16];

	*reg = (struct registration){ .fd = fd, .opcode = opcode, .nr = nr };
	/* Both structures are of 32 bytes. */
	if (nr != sizeof(reg->arg) || !arg)
		return -EINVAL;
	memcpy(reg->arg, arg, sizeof(reg->arg));
	if (fd == FD_PROBE_RING && standin.probe_errno)
		return -standin.probe_errno;
	if (opcode == REGISTER_BUFFERS2) {
		if (fd != FD_PROBE_RING)
			return -EBUSY;
		if (standin.table_errno)
			return -standin.table_errno;
		standin.probe_table = get32(reg->arg, 0);
		return 0;
	}
	if (opcode != REGISTER_BUFFERS_UPDATE)
		return -EINVAL;
	memcpy(reg->desc, (const void *)(uintptr_t)get64(reg->arg, 8), sizeof(reg->desc));
	if (fd != FD_PROBE_RING && standin.update_errno)
		return -standin.update_errno;
	if (fd != FD_PROBE_RING && standin.update_answer)
		return standin.update_answer;
	return update(reg);
}

static long set_errno(long ret)
{
	if (ret >= 0)
		return ret;
	errno = (int)-ret;
	return -1;
}

long __wrap_syscall(long nr, ...)
{
	unsigned int opcode, count;
	va_list args;
	void *arg;
	int fd;

	va_start(args, nr);
	if (nr == __NR_io_uring_setup) {
		count = va_arg(args, unsigned int);
		va_end(args);
		standin.setups++;
		standin.probe_table = 0;
		return set_errno(standin.setup_errno ? -standin.setup_errno :
				 count ? FD_PROBE_RING : -EINVAL);
	}
	fd = va_arg(args, int);
	opcode = va_arg(args, unsigned int);
	arg = va_arg(args, void *);
	count = va_arg(args, unsigned int);
	va_end(args);
	return set_errno(nr == __NR_io_uring_register ? do_register(fd, opcode, arg, count) :
			 -ENOSYS);
}

/* An id is its place among the commands, so that each is another. */
static int command(int fd, unsigned long nr, void *arg)
{
	struct command *cmd = &standin.cmd[standin.cmds++ % 16];
	struct homi_file_register *file = arg;
	struct homi_mem_register *mem = arg;

	*cmd = (struct command){ .nr = nr };
	switch (nr) {
	case HOMI_FILE_REGISTER:
		cmd->fd = file->fd;
		file->out_reason = standin.file_reason;
		cmd->id = file->out_file_id = standin.file_errno ? 0 : 100 + standin.cmds;
		return -standin.file_errno;
	case HOMI_MEM_REGISTER:
		cmd->fd = mem->fd;
		cmd->length = mem->length;
		cmd->flags = mem->flags;
		if (standin.mem_errno || mem->type != HOMI_MEM_DMABUF || mem->addr)
			return standin.mem_errno ? -standin.mem_errno : -EINVAL;
		cmd->id = mem->out_mem_id = 100 + standin.cmds;
		mem->out_segments = 1;
		return 0;
	case HOMI_MEM_SEGMENTS:
		standin.cmds--;
		return 0;
	case HOMI_DESTROY:
		cmd->id = ((struct homi_destroy *)arg)->id;
		return standin.destroys && standin.destroys-- ? 0 : -standin.destroy_errno;
	}
	return fd == FD_HOMI ? -ENOTTY : -EBADF;
}

int __wrap_ioctl(int fd, unsigned long nr, ...)
{
	va_list args;
	void *arg;

	va_start(args, nr);
	arg = va_arg(args, void *);
	va_end(args);
	return (int)set_errno(command(fd, nr, arg));
}

int __wrap_fstat(int fd, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	switch (fd) {
	case FD_FILE:
		st->st_mode = S_IFREG | 0600;
		return 0;
	case FD_BDEV:
	case FD_BDEV_DIRECT:
		st->st_mode = S_IFBLK | 0600;
		return 0;
	}
	return (int)set_errno(-EBADF);
}

int __wrap_fcntl(int fd, int cmd, ...)
{
	if (cmd != F_GETFL || fd < FD_FILE || fd > FD_DMABUF)
		return (int)set_errno(-EBADF);
	return fd == FD_BDEV_DIRECT ? O_RDWR | O_DIRECT : O_RDWR;
}

off_t __wrap_lseek(int fd, off_t offset, int whence)
{
	if (fd != FD_DMABUF)
		return set_errno(-EBADF);
	return set_errno(whence == SEEK_END && !offset ? DMABUF_SIZE : -EINVAL);
}

int __wrap_close(int fd)
{
	standin.closes += fd == FD_PROBE_RING;
	return 0;
}
