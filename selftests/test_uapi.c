// SPDX-License-Identifier: GPL-2.0-only
/*
 * The contract of all commands at once: sizes, flags, reserved fields, addresses, numbers, ids
 * and privileges. What a command does is the matter of the other tests. Long because each command
 * and each of its fields has a row.
 */
#include <asm/termbits.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "files.h"
#include "harness.h"

#define LAYOUT(type, field, offset)	\
	_Static_assert(offsetof(struct type, field) == (offset), #type "." #field)
#define LENGTH(type, size)	_Static_assert(sizeof(struct type) == (size), #type)

LAYOUT(homi_ctrl_info, out_state, 8);
LAYOUT(homi_ctrl_info, out_features, 12);
LAYOUT(homi_ctrl_info, out_generation, 16);
LAYOUT(homi_ctrl_info, out_queues_granted, 24);
LAYOUT(homi_ctrl_info, out_queues_kernel, 28);
LAYOUT(homi_ctrl_info, out_queues_lent, 32);
LAYOUT(homi_ctrl_info, out_queues_spare, 36);
LAYOUT(homi_ctrl_info, out_max_depth, 40);
LAYOUT(homi_ctrl_info, out_doorbell_stride, 44);
LAYOUT(homi_ctrl_info, out_page_size, 48);
LAYOUT(homi_ctrl_info, out_iommu, 52);
LAYOUT(homi_ctrl_info, out_max_transfer, 56);
LAYOUT(homi_ctrl_info, out_reason, 64);
LAYOUT(homi_ctrl_info, out_queues_reserved, 68);
LENGTH(homi_ctrl_info, 72);
LAYOUT(homi_ns_info, nsid, 8);
LAYOUT(homi_ns_info, out_nsid, 12);
LAYOUT(homi_ns_info, out_block_size, 16);
LAYOUT(homi_ns_info, out_metadata_size, 20);
LAYOUT(homi_ns_info, out_blocks, 24);
LAYOUT(homi_ns_info, out_major, 32);
LAYOUT(homi_ns_info, out_minor, 36);
LAYOUT(homi_ns_info, out_features, 40);
LENGTH(homi_ns_info, 48);
LAYOUT(homi_mem_register, type, 8);
LAYOUT(homi_mem_register, fd, 12);
LAYOUT(homi_mem_register, addr, 16);
LAYOUT(homi_mem_register, length, 24);
LAYOUT(homi_mem_register, out_mem_id, 32);
LAYOUT(homi_mem_register, out_segments, 36);
LAYOUT(homi_mem_register, out_placement, 40);
LAYOUT(homi_mem_register, out_reason, 44);
LENGTH(homi_mem_register, 48);
LAYOUT(homi_segment, dma_addr, 8);
LAYOUT(homi_segment, length, 16);
LENGTH(homi_segment, 24);
LAYOUT(homi_mem_segments, mem_id, 8);
LAYOUT(homi_mem_segments, count, 12);
LAYOUT(homi_mem_segments, segments, 16);
LENGTH(homi_mem_segments, 24);
LAYOUT(homi_mem_info, mem_id, 8);
LAYOUT(homi_mem_info, out_type, 12);
LAYOUT(homi_mem_info, out_state, 16);
LAYOUT(homi_mem_info, out_placement, 20);
LAYOUT(homi_mem_info, out_length, 24);
LAYOUT(homi_mem_info, out_device, 32);
LAYOUT(homi_mem_info, out_bar, 40);
LAYOUT(homi_mem_info, out_path, 44);
LAYOUT(homi_mem_info, out_distance, 48);
LAYOUT(homi_mem_info, out_features, 52);
LAYOUT(homi_mem_info, out_exporter, 56);
LENGTH(homi_mem_info, 88);
LAYOUT(homi_queue_create, depth, 8);
LAYOUT(homi_queue_create, out_queue_id, 16);
LAYOUT(homi_queue_create, out_qid, 20);
LAYOUT(homi_queue_create, out_sq_mmap_offset, 24);
LAYOUT(homi_queue_create, out_sq_mmap_length, 32);
LAYOUT(homi_queue_create, out_cq_mmap_offset, 40);
LAYOUT(homi_queue_create, out_cq_mmap_length, 48);
LAYOUT(homi_queue_create, out_db_mmap_offset, 56);
LAYOUT(homi_queue_create, out_sq_db_offset, 64);
LAYOUT(homi_queue_create, out_cq_db_offset, 68);
LAYOUT(homi_queue_create, out_shadow_mmap_offset, 72);
LAYOUT(homi_queue_create, out_event_mmap_offset, 80);
LAYOUT(homi_queue_create, out_sq_shadow_offset, 88);
LAYOUT(homi_queue_create, out_cq_shadow_offset, 92);
LAYOUT(homi_queue_create, out_generation, 96);
LAYOUT(homi_queue_create, sq_mem_id, 104);
LAYOUT(homi_queue_create, cq_mem_id, 108);
LAYOUT(homi_queue_create, sq_offset, 112);
LAYOUT(homi_queue_create, cq_offset, 120);
LENGTH(homi_queue_create, 128);
LAYOUT(homi_queue_recreate, queue_id, 8);
LAYOUT(homi_queue_recreate, depth, 12);
LAYOUT(homi_queue_recreate, out_generation, 16);
LAYOUT(homi_queue_recreate, out_shadow_mmap_offset, 24);
LAYOUT(homi_queue_recreate, out_event_mmap_offset, 32);
LAYOUT(homi_queue_recreate, out_sq_shadow_offset, 40);
LAYOUT(homi_queue_recreate, out_cq_shadow_offset, 44);
LENGTH(homi_queue_recreate, 48);
LAYOUT(homi_event_bind, id, 8);
LAYOUT(homi_event_bind, eventfd, 12);
LENGTH(homi_event_bind, 16);
LAYOUT(homi_queue_info, queue_id, 8);
LAYOUT(homi_queue_info, out_state, 12);
LAYOUT(homi_queue_info, out_qid, 16);
LAYOUT(homi_queue_info, out_depth, 20);
LAYOUT(homi_queue_info, out_generation, 24);
LAYOUT(homi_queue_info, out_wait, 32);
LAYOUT(homi_queue_info, out_irq, 36);
LAYOUT(homi_queue_info, out_wakeups, 40);
LAYOUT(homi_queue_info, out_looks, 48);
LAYOUT(homi_queue_info, out_interrupts, 56);
LENGTH(homi_queue_info, 64);
LAYOUT(homi_queue_arm, queue_id, 8);
LAYOUT(homi_queue_arm, cq_head, 12);
LAYOUT(homi_queue_arm, cq_phase, 16);
LAYOUT(homi_queue_arm, out_ready, 20);
LAYOUT(homi_queue_arm, __reserved, 24);
LENGTH(homi_queue_arm, 32);
LAYOUT(homi_extent, slba, 8);
LAYOUT(homi_extent, blocks, 16);
LAYOUT(homi_extent, flags, 24);
LENGTH(homi_extent, 32);
LAYOUT(homi_extent_table, nsid, 4);
LAYOUT(homi_extent_table, generation, 8);
LAYOUT(homi_extent_table, count, 16);
LAYOUT(homi_extent_table, file_size, 24);
LAYOUT(homi_extent_table, block_size, 32);
LAYOUT(homi_extent_table, records, 64);
LAYOUT(homi_extent_resolve, fd, 8);
LAYOUT(homi_extent_resolve, offset, 16);
LAYOUT(homi_extent_resolve, length, 24);
LAYOUT(homi_extent_resolve, out_extent_id, 32);
LAYOUT(homi_extent_resolve, out_nsid, 36);
LAYOUT(homi_extent_resolve, out_count, 40);
LAYOUT(homi_extent_resolve, out_mmap_offset, 48);
LAYOUT(homi_extent_resolve, out_mmap_length, 56);
LAYOUT(homi_extent_resolve, out_block_size, 64);
LAYOUT(homi_extent_resolve, out_reason, 68);
LENGTH(homi_extent_resolve, 72);
LAYOUT(homi_extent_ack, extent_id, 8);
LAYOUT(homi_extent_ack, generation, 16);
LENGTH(homi_extent_ack, 24);
LAYOUT(homi_doorbell_export, queue_id, 8);
LAYOUT(homi_doorbell_export, part, 12);
LAYOUT(homi_doorbell_export, out_fd, 16);
LENGTH(homi_doorbell_export, 24);
LAYOUT(homi_reserve, count, 8);
LAYOUT(homi_reserve, out_queues_granted, 16);
LAYOUT(homi_reserve, out_queues_kernel, 20);
LAYOUT(homi_reserve, out_queues_spare, 24);
LAYOUT(homi_reserve, out_reserved, 28);
LAYOUT(homi_reserve, out_generation, 32);
LENGTH(homi_reserve, 40);
LAYOUT(homi_destroy, id, 8);
LENGTH(homi_destroy, 16);
LAYOUT(homi_holder, queues, 4);
LAYOUT(homi_holder, at_controller, 8);
LAYOUT(homi_holder, qids, 12);
LENGTH(homi_holder, 16);
LAYOUT(homi_holders, count, 8);
LAYOUT(homi_holders, holders, 16);
LAYOUT(homi_holders, out_revoked, 24);
LAYOUT(homi_holders, out_busy, 28);
LENGTH(homi_holders, 32);
LAYOUT(homi_set_entry, extent_id, 8);
LAYOUT(homi_set_entry, error, 12);
LAYOUT(homi_set_entry, reason, 16);
LENGTH(homi_set_entry, 24);
LAYOUT(homi_extent_set, resolved, 4);
LAYOUT(homi_extent_set, changes, 8);
LAYOUT(homi_extent_set, entries, 32);
LENGTH(homi_extent_set, 32);
LAYOUT(homi_resolve_set, dirfd, 8);
LAYOUT(homi_resolve_set, count, 12);
LAYOUT(homi_resolve_set, names, 16);
LAYOUT(homi_resolve_set, names_length, 24);
LAYOUT(homi_resolve_set, out_set_id, 32);
LAYOUT(homi_resolve_set, out_resolved, 36);
LAYOUT(homi_resolve_set, out_mmap_offset, 40);
LAYOUT(homi_resolve_set, out_mmap_length, 48);
LENGTH(homi_resolve_set, 56);
LAYOUT(homi_file_register, fd, 8);
LAYOUT(homi_file_register, out_file_id, 16);
LAYOUT(homi_file_register, out_reason, 20);
LENGTH(homi_file_register, 24);
LAYOUT(homi_io_stats, out_fs_reads, 8);
LAYOUT(homi_io_stats, out_fs_writes, 16);
LAYOUT(homi_io_stats, out_fs_read_bytes, 24);
LAYOUT(homi_io_stats, out_fs_written_bytes, 32);
LAYOUT(homi_io_stats, out_fs_errors, 40);
LAYOUT(homi_io_stats, out_extents_reads, 48);
LAYOUT(homi_io_stats, out_extents_read_bytes, 56);
LAYOUT(homi_io_stats, out_extents_errors, 64);
LENGTH(homi_io_stats, 88);
LAYOUT(homi_uring_call, __reserved, 8);
LENGTH(homi_uring_call, 16);
LAYOUT(homi_uring_rw, file, 4);
LAYOUT(homi_uring_rw, file_offset, 8);
LAYOUT(homi_uring_rw, mem_id, 16);
LAYOUT(homi_uring_rw, length, 20);
LAYOUT(homi_uring_rw, mem_offset, 24);
LAYOUT(homi_uring_rw, __reserved, 32);
LENGTH(homi_uring_rw, 64);

_Static_assert(HOMI_FILE_REGISTER == 0xe890 && HOMI_READ == 0xe891 && HOMI_WRITE == 0xe892 &&
	       HOMI_IO_STATS == 0xe893 && HOMI_QUEUE_ARM == 0xe894, "command numbers");
_Static_assert(HOMI_CTRL_INFO == 0xe880 && HOMI_EXTENT_ACK == 0xe889 && HOMI_RESERVE == 0xe88c &&
	       HOMI_DOORBELL_EXPORT == 0xe88b && HOMI_DESTROY == 0xe88d && HOMI_HOLDERS == 0xe88e && HOMI_RESOLVE_SET == 0xe88f,
	       "command numbers");

/* One file whose objects the commands of the table may name */
static struct fixture {
	int fd;
	uint32_t mem, queue;	/* queue is 0 where the controller has none to lend */
	void *page;
	struct homi_segment segments[8];
	struct homi_holder holders[8];
} fx;

/* What a good call of each command holds, and what it must return. */
static int good_ctrl_info(void *buf)
{
	(void)buf;
	return 0;
}

static int good_ns_info(void *buf)
{
	((struct homi_ns_info *)buf)->nsid = bdev_nsid();
	return 0;
}

static int good_mem_register(void *buf)
{
	struct homi_mem_register *cmd = buf;

	cmd->type = HOMI_MEM_USER;
	cmd->addr = (uintptr_t)fx.page;
	cmd->length = PAGE;
	return 0;
}

static int good_mem_segments(void *buf)
{
	struct homi_mem_segments *cmd = buf;

	cmd->mem_id = fx.mem;
	cmd->count = ARRAY_SIZE(fx.segments);
	cmd->segments = (uintptr_t)fx.segments;
	return 0;
}

static int good_mem_info(void *buf)
{
	((struct homi_mem_info *)buf)->mem_id = fx.mem;
	return 0;
}

static int good_queue_create(void *buf)
{
	((struct homi_queue_create *)buf)->depth = 4;
	return ctrl_info(fx.fd).out_queues_spare ? 0 : -ENOSPC;
}

/* The fixture's queue is live. */
static int good_queue_recreate(void *buf)
{
	struct homi_queue_recreate *cmd = buf;

	cmd->queue_id = fx.queue ? fx.queue : 77;
	cmd->depth = 2;
	return fx.queue ? -EBUSY : -ENOENT;
}

static int good_event_bind(void *buf)
{
	((struct homi_event_bind *)buf)->eventfd = -1;
	return 0;
}

static int good_queue_info(void *buf)
{
	((struct homi_queue_info *)buf)->queue_id = fx.queue ? fx.queue : 77;
	return fx.queue ? 0 : -ENOENT;
}

static int good_queue_arm(void *buf)
{
	struct homi_queue_arm *cmd = buf;

	cmd->queue_id = fx.queue ? fx.queue : 77;
	cmd->cq_phase = 1;
	return fx.queue ? 0 : -ENOENT;
}

static int good_doorbell_export(void *buf)
{
	struct homi_doorbell_export *cmd = buf;

	cmd->queue_id = fx.queue ? fx.queue : 77;
	cmd->part = HOMI_DOORBELL_REGISTERS;
	return fx.queue ? 0 : -ENOENT;
}

/* Without a file system at hand: the descriptor is looked at last. */
static int good_extent_resolve(void *buf)
{
	((struct homi_extent_resolve *)buf)->fd = -1;
	return -EBADF;
}

static int good_extent_ack(void *buf)
{
	((struct homi_extent_ack *)buf)->extent_id = fx.mem;
	return -ENOENT;
}

/* As it is */
static int good_reserve(void *buf)
{
	((struct homi_reserve *)buf)->count = ctrl_info(fx.fd).out_queues_reserved;
	return 0;
}

static int good_holders(void *buf)
{
	struct homi_holders *cmd = buf;

	cmd->count = ARRAY_SIZE(fx.holders);
	cmd->holders = (uintptr_t)fx.holders;
	return 0;
}

/* Of a file that is not there, which is no error of the call */
static int good_resolve_set(void *buf)
{
	static const char name[] = "not there";
	struct homi_resolve_set *cmd = buf;
	static int root = -1;

	if (root < 0)
		root = open("/", O_PATH | O_CLOEXEC);
	cmd->dirfd = root;
	cmd->count = 1;
	cmd->names = (uintptr_t)name;
	cmd->names_length = sizeof(name);
	return 0;
}

static int good_io_stats(void *buf)
{
	(void)buf;
	return 0;
}

static int good_file_register(void *buf)
{
	((struct homi_file_register *)buf)->fd = -1;
	return -EBADF;
}

static int good_destroy(void *buf)
{
	((struct homi_destroy *)buf)->id = 12345;
	return -ENOENT;
}

#define NONE	0
struct row {
	const char *name;
	unsigned long cmd;
	uint32_t size;
	uint32_t known_flags;
	uint32_t reserved;	/* offset of a reserved u32 that must be 0, or NONE */
	uint32_t id;		/* offset of the id of an object that is made, or NONE */
	uint32_t first;		/* bytes of its first version; the rest came later, NONE for all */
	int (*good)(void *buf);
};

#define GROWN_ROW(NAME, name, flags, reserved, id, first)	\
	{ #NAME, HOMI_##NAME, sizeof(struct homi_##name), flags, reserved, id, first, good_##name }
#define ROW(NAME, name, flags, reserved, id)	GROWN_ROW(NAME, name, flags, reserved, id, NONE)

static const struct row rows[] = {
	ROW(CTRL_INFO, ctrl_info, 0, NONE, NONE),
	ROW(NS_INFO, ns_info, HOMI_NS_NEXT, offsetof(struct homi_ns_info, __reserved), NONE),
	GROWN_ROW(MEM_REGISTER, mem_register, HOMI_MEM_WRITE | HOMI_MEM_PAGES,
		  offsetof(struct homi_mem_register, fd),
		  offsetof(struct homi_mem_register, out_mem_id),
		  offsetof(struct homi_mem_register, out_placement)),
	ROW(MEM_SEGMENTS, mem_segments, 0, NONE, NONE),
	ROW(MEM_INFO, mem_info, 0, NONE, NONE),
	GROWN_ROW(QUEUE_CREATE, queue_create, HOMI_QUEUE_INTERRUPT, offsetof(struct homi_queue_create, __reserved),
		  offsetof(struct homi_queue_create, out_queue_id),
		  offsetof(struct homi_queue_create, sq_mem_id)),
	ROW(QUEUE_RECREATE, queue_recreate, 0, NONE, NONE),
	GROWN_ROW(QUEUE_INFO, queue_info, 0, NONE, NONE, offsetof(struct homi_queue_info, out_wait)),
	ROW(QUEUE_ARM, queue_arm, 0, offsetof(struct homi_queue_arm, __reserved), NONE),
	ROW(EXTENT_RESOLVE, extent_resolve, HOMI_RESOLVE_WRITE,
	    offsetof(struct homi_extent_resolve, __reserved),
	    offsetof(struct homi_extent_resolve, out_extent_id)),
	ROW(EXTENT_ACK, extent_ack, 0, offsetof(struct homi_extent_ack, __reserved), NONE),
	ROW(EVENT_BIND, event_bind, HOMI_EVENT_COMPLETIONS, NONE, NONE),
	ROW(DOORBELL_EXPORT, doorbell_export, 0, offsetof(struct homi_doorbell_export, __reserved),
	    NONE),
	ROW(RESERVE, reserve, 0, offsetof(struct homi_reserve, __reserved), NONE),
	ROW(HOLDERS, holders, HOMI_HOLDERS_REVOKE, offsetof(struct homi_holders, __reserved),
	    NONE),
	ROW(RESOLVE_SET, resolve_set, 0, NONE, offsetof(struct homi_resolve_set, out_set_id)),
	ROW(FILE_REGISTER, file_register, 0, offsetof(struct homi_file_register, __reserved),
	    offsetof(struct homi_file_register, out_file_id)),
	GROWN_ROW(IO_STATS, io_stats, HOMI_STATS_CTRL, NONE, NONE, 72),
	ROW(DESTROY, destroy, 0, offsetof(struct homi_destroy, __reserved), NONE),
};

static void fx_open(bool with_queue)
{
	struct homi_queue_create q = { .size = sizeof(q), .depth = 2 };

	fx.fd = homi_open();
	fx.page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(fx.page != MAP_FAILED);
	ASSERT_EQ(0, mem_register(fx.fd, fx.page, PAGE, HOMI_MEM_WRITE, &fx.mem, NULL));
	if (!with_queue || ctrl_info(fx.fd).out_queues_spare < 2)
		return;
	ASSERT_EQ(0, homi_call(fx.fd, HOMI_QUEUE_CREATE, &q));
	fx.queue = q.out_queue_id;
}

static uint32_t word_at(const void *buf, uint32_t offset)
{
	return *(const uint32_t *)((const char *)buf + offset);
}

/* A good call in @buf; returns what it should give. */
static int prepare(const struct row *row, void *buf, uint32_t size)
{
	struct homi_destroy *head = buf;

	memset(buf, 0, size);
	head->size = size;
	return row->good(buf);
}

static void expect(const struct row *row, const char *what, int want, void *buf)
{
	int got = homi_call(fx.fd, row->cmd, buf), err;

	if (got != want)
		FAIL("%s, %s: %d, not %d", row->name, what, got, want);
	if (!got && row->cmd == HOMI_DOORBELL_EXPORT)
		ASSERT(!close(((struct homi_doorbell_export *)buf)->out_fd));
	if (!got && row->id) {
		ASSERT(word_at(buf, row->id) != 0);
		err = destroy(fx.fd, word_at(buf, row->id));
		/* A queue that lives might target the new MEM. */
		ASSERT_EQ(fx.queue && row->cmd == HOMI_MEM_REGISTER ? -EBUSY : 0, err);
	}
}

TEST(sizes)
{
	char buf[2 * PAGE] __attribute__((aligned(8)));
	char what[64];
	uint32_t i, size;

	fx_open(true);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		int good;

		for (size = 0; size < row->size; size++) {
			snprintf(what, sizeof(what), "size %u", size);
			good = prepare(row, buf, row->size);
			((struct homi_destroy *)buf)->size = size;
			/* What it has no room for is neither read nor written. */
			if (row->first && size >= row->first) {
				memset(buf + size, 0xff, row->size - size);
				expect(row, what, good, buf);
				ASSERT(is_filled(buf + size, 0xff, row->size - size));
			} else {
				expect(row, what, -EINVAL, buf);
			}
		}
		good = prepare(row, buf, row->size);
		expect(row, "exact size", good, buf);
		good = prepare(row, buf, row->size + 8);
		expect(row, "longer by zeroes", good, buf);
		ASSERT_EQ(row->size + 8, ((struct homi_destroy *)buf)->size);
		good = prepare(row, buf, PAGE);
		expect(row, "a page", good, buf);
		for (size = row->size + 1; size <= row->size + 8; size++) {
			prepare(row, buf, size);
			buf[size - 1] = 1;
			expect(row, "longer by a one", -E2BIG, buf);
		}
		prepare(row, buf, sizeof(buf));
		buf[sizeof(buf) - 1] = 1;
		expect(row, "two pages", -E2BIG, buf);
	}
}

/* Out fields are not looked at. */
TEST(flags_and_reserved)
{
	char buf[256] __attribute__((aligned(8)));
	struct homi_destroy *head = (void *)buf;
	uint32_t i, bit;

	fx_open(true);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		for (bit = 0; bit < 32; bit++) {
			if (row->known_flags & (1u << bit))
				continue;
			prepare(row, buf, row->size);
			head->flags = 1u << bit;
			expect(row, "unknown flag", -EINVAL, buf);
		}
		for (bit = 0; row->reserved && bit < 32; bit++) {
			prepare(row, buf, row->size);
			*(uint32_t *)(buf + row->reserved) = 1u << bit;
			expect(row, "reserved field", -EINVAL, buf);
		}
		if (row->id) {
			int good = prepare(row, buf, row->size);

			memset(buf + row->id, 0xff,
			       (row->first ? row->first : row->size) - row->id);
			expect(row, "dirty out fields", good, buf);
		}
	}
}

#define OUT(type, from, to)	offsetof(struct type, from), offsetof(struct type, to)
#define OUT_TAIL(type, from)	offsetof(struct type, from), sizeof(struct type)

/* What a command answers, from and to */
static const struct {
	unsigned long cmd;
	uint32_t from, to;
} outs[] = {
	{ HOMI_CTRL_INFO, OUT_TAIL(homi_ctrl_info, out_state) },
	{ HOMI_NS_INFO, OUT(homi_ns_info, out_nsid, __reserved) },
	{ HOMI_MEM_REGISTER, OUT_TAIL(homi_mem_register, out_mem_id) },
	{ HOMI_MEM_INFO, OUT_TAIL(homi_mem_info, out_type) },
	{ HOMI_QUEUE_CREATE, OUT(homi_queue_create, out_queue_id, sq_mem_id) },
	{ HOMI_QUEUE_INFO, OUT_TAIL(homi_queue_info, out_state) },
	{ HOMI_RESERVE, OUT_TAIL(homi_reserve, out_queues_granted) },
	{ HOMI_HOLDERS, OUT_TAIL(homi_holders, out_revoked) },
	{ HOMI_RESOLVE_SET, OUT_TAIL(homi_resolve_set, out_set_id) },
	{ HOMI_IO_STATS, OUT_TAIL(homi_io_stats, out_fs_reads) },
};

/* Each out field is written, whatever the caller had there. */
TEST(out_fields)
{
	char clean[256] __attribute__((aligned(8)));
	char dirty[sizeof(clean)] __attribute__((aligned(8)));
	const struct row *row;
	unsigned int i, at;

	fx_open(true);
	for (i = 0; i < ARRAY_SIZE(outs); i++) {
		for (row = rows; row->cmd != outs[i].cmd; row++)
			;
		if (prepare(row, clean, row->size))
			continue;	/* no queue to be had */
		memcpy(dirty, clean, row->size);
		memset(dirty + outs[i].from, 0xff, outs[i].to - outs[i].from);
		expect(row, "clean", 0, clean);
		expect(row, "dirty", 0, dirty);
		/* A MEM may be left from before, and the next one has another id. */
		if (row->id)
			memcpy(dirty + row->id, clean + row->id, 4);
		for (at = outs[i].from; at < outs[i].to; at++)
			if (clean[at] != dirty[at])
				FAIL("%s: byte %u depends on what was there", row->name, at);
	}
}

/*
 * Structures that cannot be read, end in nothing, or cannot be written: nothing may stay
 * behind, which check_clean() sees for queues.
 */
TEST(bad_addresses)
{
	char *map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0);
	uint32_t i, before;

	ASSERT(map != MAP_FAILED);
	ASSERT(!mprotect(map + PAGE, PAGE, PROT_NONE));
	fx_open(true);
	before = ctrl_info(fx.fd).out_queues_lent;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		char *end = map + PAGE - row->size;
		int good;

		expect(row, "NULL", -EFAULT, NULL);
		expect(row, "no address", -EFAULT, (void *)-8l);
		expect(row, "nothing mapped", -EFAULT, map + PAGE);
		good = prepare(row, end, row->size);
		expect(row, "at the end of a page", good, end);
		prepare(row, end, row->size);
		((struct homi_destroy *)end)->size = row->size + 8;
		expect(row, "over the end", -EFAULT, end);
		good = prepare(row, map, row->size);
		ASSERT(!mprotect(map, PAGE, PROT_READ));
		/* Errors that answer nothing need not write. */
		expect(row, "read-only", good ? good : -EFAULT, map);
		ASSERT(!mprotect(map, PAGE, PROT_READ | PROT_WRITE));
	}
	ASSERT_EQ(before, ctrl_info(fx.fd).out_queues_lent);
}

TEST(unknown_commands)
{
	char buf[256] __attribute__((aligned(8))) = { 16 };
	unsigned int nr, i;

	fx_open(false);
	for (nr = 0; nr < 256; nr++) {
		for (i = 0; i < ARRAY_SIZE(rows); i++)
			if (rows[i].cmd == _IO(HOMI_TYPE, nr))
				break;
		if (i == ARRAY_SIZE(rows))
			ASSERT_EQ(-ENOTTY, homi_call(fx.fd, _IO(HOMI_TYPE, nr), buf));
	}
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		nr = _IOC_NR(rows[i].cmd);
		prepare(&rows[i], buf, rows[i].size);
		ASSERT_EQ(-ENOTTY, homi_call(fx.fd, _IO(HOMI_TYPE + 1, nr), buf));
		ASSERT_EQ(-ENOTTY, homi_call(fx.fd, _IOWR(HOMI_TYPE, nr, struct homi_destroy), buf));
	}
	/* What every file knows must not be mistaken for ours. */
	ASSERT(ioctl(fx.fd, TCGETS, buf) == -1 && errno == ENOTTY);
}

static void expect_no_id(int fd, uint32_t id, bool queue, bool mem)
{
	struct homi_queue_info info = { .size = sizeof(info), .queue_id = id };
	uint32_t count = 8;

	if (queue)
		ASSERT_EQ(-ENOENT, homi_call(fd, HOMI_QUEUE_INFO, &info));
	if (mem)
		ASSERT_EQ(-ENOENT, mem_segments(fd, id, fx.segments, &count));
}

TEST(ids)
{
	static const uint32_t never[] = { 0, ~0u, 0x7fffffff, 0x80000000, 4000, 1u << 20 };
	int other;
	uint32_t i, mem;

	fx_open(true);
	other = homi_open();
	for (i = 0; i < ARRAY_SIZE(never); i++) {
		expect_no_id(fx.fd, never[i], true, true);
		ASSERT_EQ(-ENOENT, destroy(fx.fd, never[i]));
	}
	/* the wrong kind */
	expect_no_id(fx.fd, fx.mem, true, false);
	if (fx.queue)
		expect_no_id(fx.fd, fx.queue, false, true);
	/* of another open file */
	expect_no_id(other, fx.mem, true, true);
	ASSERT_EQ(-ENOENT, destroy(other, fx.mem));
	if (fx.queue) {
		expect_no_id(other, fx.queue, true, true);
		ASSERT_EQ(-ENOENT, destroy(other, fx.queue));
		ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(fx.fd, fx.queue).out_state);
		ASSERT_EQ(0, destroy(fx.fd, fx.queue));
		expect_no_id(fx.fd, fx.queue, true, true);
		ASSERT_EQ(-ENOENT, destroy(fx.fd, fx.queue));
	}
	/* many, none twice, and each dies once */
	ASSERT_EQ(0, mem_register(other, fx.page, PAGE, 0, &mem, NULL));
	ASSERT_EQ(0, destroy(other, mem));
	ASSERT_EQ(-ENOENT, destroy(other, mem));
	ASSERT_EQ(0, destroy(fx.fd, fx.mem));
	ASSERT_EQ(-ENOENT, destroy(fx.fd, fx.mem));
}

TEST(many_ids)
{
	uint32_t ids[300], i, k;

	fx_open(false);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		ASSERT_EQ(0, mem_register(fx.fd, fx.page, PAGE, 0, &ids[i], NULL));
		ASSERT(ids[i] && ids[i] != fx.mem);
		for (k = 0; k < i; k++)
			ASSERT(ids[k] != ids[i]);
	}
	for (i = 0; i < ARRAY_SIZE(ids); i += 2)
		ASSERT_EQ(0, destroy(fx.fd, ids[i]));
	/* the rest dies with the file */
}

/* As nobody, with a descriptor that root opened */
static void nobody_calls(int file)
{
	char buf[256] __attribute__((aligned(8)));
	struct homi_extent_resolve r;
	uint32_t i;

	become_nobody();
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		int good = prepare(&rows[i], buf, rows[i].size);

		switch (rows[i].cmd) {
		case HOMI_QUEUE_CREATE:
		case HOMI_DOORBELL_EXPORT:
		case HOMI_RESERVE:
		case HOMI_HOLDERS:
			good = -EPERM;
		}
		expect(&rows[i], "as nobody", good, buf);
	}
	/* Nonsense is told from lack of privilege the same way for all. */
	for (i = 0; rows[i].cmd != HOMI_QUEUE_CREATE; i++)
		;
	prepare(&rows[i], buf, rows[i].size);
	((struct homi_destroy *)buf)->flags = rows[i].known_flags + 1;
	expect(&rows[i], "as nobody, unknown flag", -EINVAL, buf);
	if (file >= 0)
		ASSERT_EQ(-EPERM, extent_resolve(fx.fd, file, 0, 0, &r));
	/* What it was given it may use and destroy. */
	if (fx.queue)
		ASSERT_EQ(0, destroy(fx.fd, fx.queue));
}

TEST(privileges)
{
	const char *dir = getenv("HOMI_EXT4");
	struct file file = { .fd = -1 };
	pid_t pid;

	fx_open(true);
	if (dir && *dir)
		file_create(&file, dir, "of-root", PAGE, 1);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		nobody_calls(file.fd);
		_exit(0);
	}
	ASSERT_EQ(0, child_status(pid));
	if (file.fd >= 0)
		file_remove(&file);
	if (fx.queue)
		expect_no_id(fx.fd, fx.queue, true, true);
}

/* The owner needs no privilege. */
FS_TEST(extent_of_own_file)
{
	struct file file;
	pid_t pid;

	file_create(&file, dir, "of-nobody", 4 * PAGE, 2);
	ASSERT(!chown(file.path, NOBODY, NOBODY));
	fx_open(false);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct table table;

		become_nobody();
		table_open(&table, fx.fd, file.fd, 0, 0);
		table_check(&table, 0, 4 * PAGE);
		ASSERT_EQ(0, table_close(&table));
		_exit(0);
	}
	ASSERT_EQ(0, child_status(pid));
	file_remove(&file);
}

/* Nothing but the commands and mmap: no data comes out of the device file. */
TEST(no_read_write)
{
	char byte = 0;

	fx_open(false);
	ASSERT(read(fx.fd, &byte, 1) < 0);
	ASSERT(write(fx.fd, &byte, 1) < 0);
	ASSERT(lseek(fx.fd, 0, SEEK_SET) < 0 && errno == ESPIPE);
	ASSERT(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fx.fd, 0) == MAP_FAILED);
}
