// SPDX-License-Identifier: MIT
/*
 * Covers of the kernel's commands.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

_Static_assert(sizeof(struct homi_seg) == sizeof(struct homi_segment) &&
	       offsetof(struct homi_seg, dma_addr) == offsetof(struct homi_segment, dma_addr) &&
	       offsetof(struct homi_seg, length) == offsetof(struct homi_segment, length),
	       "prp.h takes the kernel's records as they are");

int homi_get_ctrl_info(const struct homi_dev *dev, struct homi_ctrl_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return homi_call(dev, HOMI_CTRL_INFO, info);
}

int homi_open(struct homi_dev *dev, const char *name)
{
	char path[4096];
	int len, ret;

	memset(dev, 0, sizeof(*dev));
	dev->fd = -1;
	len = snprintf(path, sizeof(path), "%s%s", strchr(name, '/') ? "" : "/dev/homi/", name);
	if (len < 0 || (size_t)len >= sizeof(path))
		return -ENAMETOOLONG;
	dev->fd = open(path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0)
		return -errno;
	ret = homi_get_ctrl_info(dev, &dev->info);
	if (ret)
		homi_close(dev);
	return ret;
}

void homi_close(struct homi_dev *dev)
{
	if (dev->fd >= 0)
		close(dev->fd);
	dev->fd = -1;
}

int homi_get_ns_info(const struct homi_dev *dev, uint32_t nsid, uint32_t flags,
		     struct homi_ns_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->flags = flags;
	info->nsid = nsid;
	return homi_call(dev, HOMI_NS_INFO, info);
}

int homi_file_register(const struct homi_dev *dev, int fd, uint32_t *file_id, uint32_t *reason)
{
	struct homi_file_register cmd = { .size = sizeof(cmd), .fd = fd };
	int ret = homi_call(dev, HOMI_FILE_REGISTER, &cmd);

	*file_id = cmd.out_file_id;
	if (reason)
		*reason = cmd.out_reason;
	return ret;
}

int homi_destroy(const struct homi_dev *dev, uint32_t id)
{
	struct homi_destroy cmd = { .size = sizeof(cmd), .id = id };

	return homi_call(dev, HOMI_DESTROY, &cmd);
}

static int get_segments(const struct homi_dev *dev, struct homi_mem *mem)
{
	struct homi_mem_segments cmd = {
		.size = sizeof(cmd), .mem_id = mem->id, .count = mem->seg_count,
	};

	mem->segs = calloc(mem->seg_count, sizeof(*mem->segs));
	if (!mem->segs)
		return -ENOMEM;
	cmd.segments = (uintptr_t)mem->segs;
	return homi_call(dev, HOMI_MEM_SEGMENTS, &cmd);
}

/* @cmd says of what; @addr is where that is in this process. */
static int register_mem(const struct homi_dev *dev, struct homi_mem_register *cmd, void *addr,
			struct homi_mem *mem)
{
	int ret;

	cmd->size = sizeof(*cmd);
	memset(mem, 0, sizeof(*mem));
	ret = homi_call(dev, HOMI_MEM_REGISTER, cmd);
	if (ret)
		return ret;
	mem->addr = addr;
	mem->length = cmd->length;
	mem->id = cmd->out_mem_id;
	mem->seg_count = cmd->out_segments;
	ret = get_segments(dev, mem);
	if (!ret)
		return 0;
	/* EBUSY if there is a live queue; then it ends with the open file. */
	homi_destroy(dev, mem->id);
	free(mem->segs);
	memset(mem, 0, sizeof(*mem));
	return ret;
}

int homi_mem_register(const struct homi_dev *dev, void *addr, uint64_t length,
		      uint32_t flags, struct homi_mem *mem)
{
	struct homi_mem_register cmd = {
		.flags = flags, .type = HOMI_MEM_USER, .addr = (uintptr_t)addr, .length = length,
	};

	return register_mem(dev, &cmd, addr, mem);
}

int homi_mem_import(const struct homi_dev *dev, int dmabuf, uint64_t offset, uint64_t length,
		    uint32_t flags, void *addr, struct homi_mem *mem, uint32_t *reason)
{
	struct homi_mem_register cmd = {
		.flags = flags, .type = HOMI_MEM_DMABUF, .fd = dmabuf, .addr = offset,
		.length = length,
	};
	int ret = register_mem(dev, &cmd, addr, mem);

	if (reason)
		*reason = cmd.out_reason;
	return ret;
}

int homi_get_mem_info(const struct homi_dev *dev, const struct homi_mem *mem,
		      struct homi_mem_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->mem_id = mem->id;
	return homi_call(dev, HOMI_MEM_INFO, info);
}

int homi_mem_alloc(const struct homi_dev *dev, uint64_t length, uint32_t flags,
		   struct homi_mem *mem)
{
	uint64_t mask = homi_page_size() - 1;
	void *addr;
	int ret;

	memset(mem, 0, sizeof(*mem));
	if (!length || length > SIZE_MAX / 2)
		return -EINVAL;
	length = (length + mask) & ~mask;
	addr = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (addr == MAP_FAILED)
		return -errno;
	/* The controller goes on writing to these pages, so no child may share them. */
	madvise(addr, length, MADV_DONTFORK);
	ret = homi_mem_register(dev, addr, length, flags, mem);
	if (ret)
		munmap(addr, length);
	else
		mem->owned = 1;
	return ret;
}

int homi_udmabuf(uint64_t length)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = length };
	int memfd = memfd_create("homi", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), fd = -1;

	if (dev >= 0 && memfd >= 0 && !ftruncate(memfd, (off_t)length) &&
	    !fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		create.memfd = (uint32_t)memfd;
		fd = ioctl(dev, UDMABUF_CREATE, &create);
	}
	if (fd < 0)
		fd = -errno;
	if (memfd >= 0)
		close(memfd);
	if (dev >= 0)
		close(dev);
	return fd;
}

int homi_mem_release(const struct homi_dev *dev, struct homi_mem *mem)
{
	int ret = homi_destroy(dev, mem->id);

	if (ret)
		return ret;
	free(mem->segs);
	if (mem->owned)
		munmap(mem->addr, mem->length);
	memset(mem, 0, sizeof(*mem));
	return 0;
}

int homi_map_region(const struct homi_dev *dev, uint64_t offset, uint64_t length, int prot,
		      void **addr)
{
	void *at = mmap(NULL, length, prot, MAP_SHARED, dev->fd, (off_t)offset);

	if (at == MAP_FAILED)
		return -errno;
	*addr = at;
	return 0;
}

void homi_unmap_region(void *addr, uint64_t length)
{
	if (addr)
		munmap(addr, length);
}

int homi_event_bind(const struct homi_dev *dev, uint32_t id, int eventfd)
{
	struct homi_event_bind cmd = { .size = sizeof(cmd), .id = id, .eventfd = eventfd };

	return homi_call(dev, HOMI_EVENT_BIND, &cmd);
}

/* What was made just now, to be read; it is destroyed again if it can't be mapped. */
static int map_made(const struct homi_dev *dev, uint32_t id, uint64_t offset, uint64_t length,
		    void **addr)
{
	int ret = homi_map_region(dev, offset, length, PROT_READ, addr);

	if (ret)
		homi_destroy(dev, id);
	return ret;
}

static int open_extents(const struct homi_dev *dev, uint32_t flags, int fd, uint64_t offset,
			uint64_t length, struct homi_extents *extents, uint32_t *reason)
{
	struct homi_extent_resolve cmd = {
		.size = sizeof(cmd), .flags = flags, .fd = fd, .offset = offset, .length = length,
	};
	void *table = NULL;
	int ret;

	memset(extents, 0, sizeof(*extents));
	ret = homi_call(dev, HOMI_EXTENT_RESOLVE, &cmd);
	if (reason)
		*reason = ret && ret != -EOPNOTSUPP && ret != -EAGAIN ? 0 : cmd.out_reason;
	if (ret)
		return ret;
	ret = map_made(dev, cmd.out_extent_id, cmd.out_mmap_offset, cmd.out_mmap_length, &table);
	if (ret)
		return ret;
	extents->table = table;
	extents->length = cmd.out_mmap_length;
	extents->id = cmd.out_extent_id;
	return 0;
}

int homi_extents_open(const struct homi_dev *dev, int fd, uint64_t offset, uint64_t length,
		      struct homi_extents *extents, uint32_t *reason)
{
	return open_extents(dev, 0, fd, offset, length, extents, reason);
}

int homi_extents_open_to_write(const struct homi_dev *dev, int fd, uint64_t offset,
			       uint64_t length, struct homi_extents *extents, uint32_t *reason)
{
	return open_extents(dev, HOMI_RESOLVE_WRITE, fd, offset, length, extents, reason);
}

int homi_extents_ack(const struct homi_dev *dev, const struct homi_extents *extents)
{
	struct homi_extent_ack cmd = { .size = sizeof(cmd), .extent_id = extents->id };

	/* No later than what is acknowledged: a generation that is newer is refused. */
	if (homi_extent_get_state(extents->table) == HOMI_EXTENT_RECALLED)
		cmd.generation = __atomic_load_n(&extents->table->generation, __ATOMIC_RELAXED);
	return homi_call(dev, HOMI_EXTENT_ACK, &cmd);
}

int homi_extents_close(const struct homi_dev *dev, struct homi_extents *extents)
{
	int ret = homi_destroy(dev, extents->id);

	if (ret == -EBUSY)
		return ret;
	/* What is a set's stays mapped with it. */
	if (extents->length)
		munmap((void *)(uintptr_t)extents->table, extents->length);
	memset(extents, 0, sizeof(*extents));
	return ret;
}

/* One after the other, each with its NUL, as the kernel takes them */
static char *join_names(const char *const *names, uint32_t count, size_t *length)
{
	char *all, *end;
	size_t len = 0;
	uint32_t i;

	for (i = 0; i < count; i++)
		len += strlen(names[i]) + 1;
	all = malloc(len ? len : 1);
	if (!all)
		return NULL;
	for (i = 0, end = all; i < count; i++)
		end = stpcpy(end, names[i]) + 1;
	*length = len;
	return all;
}

int homi_set_open(const struct homi_dev *dev, int dirfd, const char *const *names, uint32_t count,
		  struct homi_set *set)
{
	struct homi_resolve_set cmd = { .size = sizeof(cmd), .dirfd = dirfd, .count = count };
	void *head = NULL;
	size_t length = 0;
	char *all;
	int ret;

	memset(set, 0, sizeof(*set));
	all = join_names(names, count, &length);
	if (!all)
		return -ENOMEM;
	cmd.names = (uintptr_t)all;
	cmd.names_length = length;
	ret = homi_call(dev, HOMI_RESOLVE_SET, &cmd);
	free(all);
	if (ret)
		return ret;
	ret = map_made(dev, cmd.out_set_id, cmd.out_mmap_offset, cmd.out_mmap_length, &head);
	if (ret)
		return ret;
	set->head = head;
	set->length = cmd.out_mmap_length;
	set->id = cmd.out_set_id;
	return 0;
}

int homi_set_get(const struct homi_set *set, uint32_t index, struct homi_extents *extents)
{
	const struct homi_set_entry *entry = &set->head->entries[index];

	memset(extents, 0, sizeof(*extents));
	if (entry->error)
		return -(int)entry->error;
	extents->table = homi_set_get_table(set->head, index);
	extents->id = entry->extent_id;
	return 0;
}

int homi_set_close(const struct homi_dev *dev, struct homi_set *set)
{
	int ret = homi_destroy(dev, set->id);

	munmap((void *)(uintptr_t)set->head, set->length);
	memset(set, 0, sizeof(*set));
	return ret;
}

int homi_reserve(const struct homi_dev *dev, uint32_t count, struct homi_reserve *answer)
{
	struct homi_reserve cmd = { .size = sizeof(cmd), .count = count };
	int ret = homi_call(dev, HOMI_RESERVE, &cmd);

	if (!ret && answer)
		*answer = cmd;
	return ret;
}

int homi_holders(const struct homi_dev *dev, uint32_t flags, struct homi_holder **holders,
		 struct homi_holders *answer)
{
	uint32_t room = 16;
	int ret;

	/* Others may come while room is made for those who were there. */
	do {
		*holders = calloc(room, sizeof(**holders));
		if (!*holders)
			return -ENOMEM;
		*answer = (struct homi_holders) {
			.size = sizeof(*answer), .flags = flags, .count = room,
			.holders = (uintptr_t)*holders,
		};
		ret = homi_call(dev, HOMI_HOLDERS, answer);
		if (!ret)
			return 0;
		free(*holders);
		*holders = NULL;
		room = answer->count + 16;
	} while (ret == -EMSGSIZE);
	return ret;
}

const char *homi_strreason(uint32_t reason)
{
	static const char *const text[] = {
		[HOMI_REASON_NONE] = "no reason given",
		[HOMI_REASON_NO_BTF] = "no usable type information (BTF) of the running nvme driver",
		[HOMI_REASON_NO_HOOK] = "the module could not hook the nvme driver by ftrace",
		[HOMI_REASON_NO_ADMIN_QUEUE] = "the admin queue could not be found",
		[HOMI_REASON_ENTRY_SIZE] = "the controller's queue entries are not 64 and 16 bytes",
		[HOMI_REASON_STRIDE] = "the doorbells of one queue span two pages",
		[HOMI_REASON_NO_SPARE] = "no spare queue: the kernel and others have all of them",
		[HOMI_REASON_DEAD] = "the nvme driver gave the controller up",
		[HOMI_REASON_ENCRYPTED_MEMORY] = "memory is encrypted (SEV, TDX)",
		[HOMI_REASON_FILE_TYPE] = "not a regular file",
		[HOMI_REASON_FS] = "this kind of file system is not supported (ext4 and XFS are)",
		[HOMI_REASON_STACKED] = "the file system lies on dm, md or another stacked device",
		[HOMI_REASON_OTHER_DEVICE] = "the file is not on this controller",
		[HOMI_REASON_NS_FORMAT] = "the namespace is zoned or has metadata",
		[HOMI_REASON_NO_DIO] = "direct I/O is impossible on this file (journalled or inline data, verity)",
		[HOMI_REASON_ENCRYPTED] = "the file is encrypted",
		[HOMI_REASON_DAX] = "the file uses DAX",
		[HOMI_REASON_SWAPFILE] = "the file is a swap file",
		[HOMI_REASON_IMMUTABLE] = "the file is immutable",
		[HOMI_REASON_LEASES_OFF] = "file leases are off (sysctl fs.leases-enable)",
		[HOMI_REASON_WRITER] = "somebody has the file open for writing",
		[HOMI_REASON_EXTENT] = "an extent of the file has no plain block address",
		[HOMI_REASON_REALTIME] = "the data lie on a realtime or log device",
		[HOMI_REASON_LEASE] = "a conflicting lease on the file is held",
		[HOMI_REASON_INLINE] = "the file system keeps data in inodes (ext4 inline_data), so they may be in its journal only",
		[HOMI_REASON_BOUNCED] = "the controller would get copies of that memory (bounce buffers)",
		[HOMI_REASON_PIECES] = "the memory is in pieces that are no whole pages of the controller",
		[HOMI_REASON_ATTACH] = "the exporter of the dma-buf does not share it with this controller",
		[HOMI_REASON_PIN] = "the exporter of the dma-buf can't keep it in place",
		[HOMI_REASON_MAP] = "the exporter of the dma-buf does not map it for this controller",
		[HOMI_REASON_NOT_BAR] = "the memory is not in a device's BAR, though that was asked for",
		[HOMI_REASON_FILE_PAGES] = "the pages belong to a file system's file",
		[HOMI_REASON_OPEN] = "somebody has the file open",
		[HOMI_REASON_HOLE] = "there are holes in the file, or blocks that were never written",
		[HOMI_REASON_SHARED] = "the file shares blocks with another one",
	};

	if (reason < sizeof(text) / sizeof(text[0]) && text[reason])
		return text[reason];
	return "a reason that this version of libhomi does not know";
}
