// SPDX-License-Identifier: MIT
/*
 * Covers of the kernel's commands.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <homi/homi.h>

_Static_assert(sizeof(struct homi_seg) == sizeof(struct homi_segment) &&
	       offsetof(struct homi_seg, dma_addr) == offsetof(struct homi_segment, dma_addr) &&
	       offsetof(struct homi_seg, length) == offsetof(struct homi_segment, length),
	       "prp.h takes the kernel's records as they are");

static int call(const struct homi_dev *dev, unsigned long nr, void *cmd)
{
	return ioctl(dev->fd, nr, cmd) < 0 ? -errno : 0;
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int homi_get_ctrl_info(const struct homi_dev *dev, struct homi_ctrl_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return call(dev, HOMI_CTRL_INFO, info);
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
	return call(dev, HOMI_NS_INFO, info);
}

int homi_destroy(const struct homi_dev *dev, uint32_t id)
{
	struct homi_destroy cmd = { .size = sizeof(cmd), .id = id };

	return call(dev, HOMI_DESTROY, &cmd);
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
	return call(dev, HOMI_MEM_SEGMENTS, &cmd);
}

int homi_mem_register(const struct homi_dev *dev, void *addr, uint64_t length,
		      uint32_t flags, struct homi_mem *mem)
{
	struct homi_mem_register cmd = {
		.size = sizeof(cmd), .flags = flags, .type = HOMI_MEM_USER,
		.addr = (uintptr_t)addr, .length = length,
	};
	int ret;

	memset(mem, 0, sizeof(*mem));
	ret = call(dev, HOMI_MEM_REGISTER, &cmd);
	if (ret)
		return ret;
	mem->addr = addr;
	mem->length = length;
	mem->id = cmd.out_mem_id;
	mem->seg_count = cmd.out_segments;
	ret = get_segments(dev, mem);
	if (!ret)
		return 0;
	/* EBUSY if there is a live queue; then it ends with the open file. */
	homi_destroy(dev, mem->id);
	free(mem->segs);
	memset(mem, 0, sizeof(*mem));
	return ret;
}

int homi_mem_alloc(const struct homi_dev *dev, uint64_t length, uint32_t flags,
		   struct homi_mem *mem)
{
	uint64_t mask = page_size() - 1;
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

static int map_region(const struct homi_dev *dev, uint64_t offset, uint64_t length, int prot,
		      void **addr)
{
	void *at = mmap(NULL, length, prot, MAP_SHARED, dev->fd, (off_t)offset);

	if (at == MAP_FAILED)
		return -errno;
	*addr = at;
	return 0;
}

static void unmap_region(void *addr, uint64_t length)
{
	if (addr)
		munmap(addr, length);
}

static int map_queue(const struct homi_dev *dev, struct homi_queue *queue)
{
	const struct homi_queue_create *c = &queue->create;
	int prot = PROT_READ | PROT_WRITE;
	size_t page = page_size();
	int ret;

	ret = map_region(dev, c->out_sq_mmap_offset, c->out_sq_mmap_length, prot, &queue->sq);
	if (!ret)
		ret = map_region(dev, c->out_cq_mmap_offset, c->out_cq_mmap_length, prot,
				 &queue->cq);
	if (!ret)
		ret = map_region(dev, c->out_db_mmap_offset, page, prot, &queue->db);
	if (!ret && c->out_shadow_mmap_offset)
		ret = map_region(dev, c->out_shadow_mmap_offset, page, prot, &queue->shadow);
	if (!ret && c->out_shadow_mmap_offset)
		ret = map_region(dev, c->out_event_mmap_offset, page, prot, &queue->event);
	return ret;
}

static volatile uint32_t *word_at(void *page, uint32_t offset)
{
	return page ? (volatile uint32_t *)((char *)page + offset) : NULL;
}

static int init_ring(struct homi_queue *queue)
{
	const struct homi_queue_create *c = &queue->create;
	struct homi_ring_config config = {
		.sq = queue->sq,
		.cq = queue->cq,
		.sq_doorbell = word_at(queue->db, c->out_sq_db_offset),
		.cq_doorbell = word_at(queue->db, c->out_cq_db_offset),
		.sq_shadow = word_at(queue->shadow, c->out_sq_shadow_offset),
		.sq_event = word_at(queue->event, c->out_sq_shadow_offset),
		.cq_shadow = word_at(queue->shadow, c->out_cq_shadow_offset),
		.cq_event = word_at(queue->event, c->out_cq_shadow_offset),
		.depth = c->depth,
	};

	config.users = queue->book;
	config.free_cids = (uint16_t *)(config.users + c->depth - 1);
	return homi_ring_init(&queue->ring, &config) ? -EINVAL : 0;
}

static void unmap_queue(struct homi_queue *queue)
{
	const struct homi_queue_create *c = &queue->create;
	size_t page = page_size();

	unmap_region(queue->sq, c->out_sq_mmap_length);
	unmap_region(queue->cq, c->out_cq_mmap_length);
	unmap_region(queue->db, page);
	unmap_region(queue->shadow, page);
	unmap_region(queue->event, page);
	free(queue->book);
}

int homi_queue_open(const struct homi_dev *dev, uint32_t depth, struct homi_queue *queue)
{
	int ret;

	memset(queue, 0, sizeof(*queue));
	queue->create.size = sizeof(queue->create);
	queue->create.depth = depth;
	ret = call(dev, HOMI_QUEUE_CREATE, &queue->create);
	if (ret)
		return ret;
	queue->book = calloc(depth - 1, sizeof(uint64_t) + sizeof(uint16_t));
	ret = queue->book ? map_queue(dev, queue) : -ENOMEM;
	if (!ret)
		ret = init_ring(queue);
	if (ret)
		homi_queue_close(dev, queue);
	return ret;
}

/* Stock may come back from a reset with shadow doorbells, or without. */
static int remap_shadow(const struct homi_dev *dev, struct homi_queue *queue)
{
	const struct homi_queue_create *c = &queue->create;
	int prot = PROT_READ | PROT_WRITE;
	size_t page = page_size();
	int ret;

	if (!c->out_shadow_mmap_offset) {
		unmap_region(queue->shadow, page);
		unmap_region(queue->event, page);
		queue->shadow = NULL;
		queue->event = NULL;
		return 0;
	}
	if (queue->shadow)
		return 0;
	ret = map_region(dev, c->out_shadow_mmap_offset, page, prot, &queue->shadow);
	if (!ret)
		ret = map_region(dev, c->out_event_mmap_offset, page, prot, &queue->event);
	return ret;
}

int homi_queue_recreate(const struct homi_dev *dev, struct homi_queue *queue)
{
	struct homi_queue_create *c = &queue->create;
	struct homi_queue_recreate cmd = {
		.size = sizeof(cmd), .queue_id = c->out_queue_id, .depth = c->depth,
	};
	int ret = call(dev, HOMI_QUEUE_RECREATE, &cmd);

	if (ret)
		return ret;
	c->out_generation = cmd.out_generation;
	c->out_shadow_mmap_offset = cmd.out_shadow_mmap_offset;
	c->out_event_mmap_offset = cmd.out_event_mmap_offset;
	c->out_sq_shadow_offset = cmd.out_sq_shadow_offset;
	c->out_cq_shadow_offset = cmd.out_cq_shadow_offset;
	ret = remap_shadow(dev, queue);
	return ret ? ret : init_ring(queue);
}

int homi_event_bind(const struct homi_dev *dev, uint32_t id, int eventfd)
{
	struct homi_event_bind cmd = { .size = sizeof(cmd), .id = id, .eventfd = eventfd };

	return call(dev, HOMI_EVENT_BIND, &cmd);
}

int homi_queue_close(const struct homi_dev *dev, struct homi_queue *queue)
{
	int ret = homi_destroy(dev, queue->create.out_queue_id);

	unmap_queue(queue);
	memset(queue, 0, sizeof(*queue));
	return ret;
}

int homi_get_queue_info(const struct homi_dev *dev, uint32_t queue_id,
			struct homi_queue_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->queue_id = queue_id;
	return call(dev, HOMI_QUEUE_INFO, info);
}

int homi_queue_check(const struct homi_dev *dev, const struct homi_queue *queue)
{
	struct homi_queue_info info;
	int ret = homi_get_queue_info(dev, queue->create.out_queue_id, &info);

	if (ret)
		return ret;
	switch (info.out_state) {
	case HOMI_QUEUE_LIVE:
		return 0;
	case HOMI_QUEUE_GONE:
		return -ENODEV;
	default:
		return -ESTALE;
	}
}

/* What was made just now, to be read; it is destroyed again if it can't be mapped. */
static int map_made(const struct homi_dev *dev, uint32_t id, uint64_t offset, uint64_t length,
		    void **addr)
{
	int ret = map_region(dev, offset, length, PROT_READ, addr);

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
	ret = call(dev, HOMI_EXTENT_RESOLVE, &cmd);
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
	return call(dev, HOMI_EXTENT_ACK, &cmd);
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
	ret = call(dev, HOMI_RESOLVE_SET, &cmd);
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
	int ret = call(dev, HOMI_RESERVE, &cmd);

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
		ret = call(dev, HOMI_HOLDERS, answer);
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
		[HOMI_REASON_OPEN] = "somebody has the file open",
		[HOMI_REASON_HOLE] = "there are holes in the file, or blocks that were never written",
		[HOMI_REASON_SHARED] = "the file shares blocks with another one",
	};

	if (reason < sizeof(text) / sizeof(text[0]) && text[reason])
		return text[reason];
	return "a reason that this version of libhomi does not know";
}
