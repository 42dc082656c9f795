// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's calls: good ones after its model, and what is bent in them. Here is also what must
 * not be asked, for the sake of what else runs on the machine.
 */
#include "exporter.h"
#include "fuzz.h"
#include "witness.h"

#define RESERVE_SOME	3u

static uint32_t rnd(struct fuzz *f, uint32_t below)
{
	return seed_next(&f->seed, below);
}

void fuzz_hash(struct fuzz *f, const void *data, size_t size)
{
	const uint8_t *byte = data;

	while (size--)
		f->hash = (f->hash ^ *byte++) * 0x100000001b3ull;
}

uint32_t fuzz_any_id(struct fuzz *f, const struct fuzz_ctx *ctx, enum fuzz_kind kind)
{
	if (!ctx->count[kind])
		return ctx->stale ? ctx->stale : 7;
	return ctx->ids[kind][rnd(f, ctx->count[kind])];
}

/* --- good calls --- */

/* A chunk that nothing on its way is read to; of a MEM's own it stays. */
static bool take_chunk(struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	unsigned int tries;

	for (tries = 0; tries < FUZZ_CHUNKS; tries++) {
		unsigned int i = ctx->next_chunk++ % FUZZ_CHUNKS;

		if (ctx->busy[i])
			continue;
		ctx->busy[i] = true;
		c->chunk = i;
		return true;
	}
	ctx->worn = true;
	return false;
}

/* Each is imported once: the device would have its pages twice otherwise. */
static int new_dmabuf(struct fuzz *f)
{
	int fd = f->dry ? 77 : udmabuf_new(4 * PAGE);

	return fd < 0 ? f->fds[FUZZ_FD_CLOSED] : fd;
}

static void good_mem_register(struct fuzz *f, struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	struct homi_mem_register *cmd = (void *)c->bytes;

	cmd->flags = rnd(f, 8) ? HOMI_MEM_WRITE : 0;
	cmd->type = HOMI_MEM_USER;
	if (!rnd(f, 10)) {
		cmd->type = HOMI_MEM_DMABUF;
		cmd->fd = new_dmabuf(f);
		c->owned = cmd->fd;
		cmd->length = 4 * PAGE;
	} else if (!ctx->mapped) {
		cmd->flags |= HOMI_MEM_PAGES;
		cmd->addr = (uintptr_t)ctx->arena;
		cmd->length = rnd(f, 8) ? FUZZ_ARENA : (1 + rnd(f, 32)) * PAGE;
	} else if (take_chunk(ctx, c)) {
		cmd->addr = (uintptr_t)ctx->arena + c->chunk * FUZZ_CHUNK;
		cmd->length = FUZZ_CHUNK;
	}
}

static void good_queue_create(struct fuzz *f, struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	struct homi_queue_create *cmd = (void *)c->bytes;

	cmd->depth = ctx->depth;
	if (!rnd(f, 3))
		cmd->flags = HOMI_QUEUE_INTERRUPT;
	if (!rnd(f, 4))
		cmd->sq_mem_id = fuzz_any_id(f, ctx, FUZZ_MEM);
	if (!rnd(f, 6))
		cmd->cq_mem_id = fuzz_any_id(f, ctx, FUZZ_MEM);
}

static void good_extent_resolve(struct fuzz *f, struct fuzz_call *c)
{
	struct homi_extent_resolve *cmd = (void *)c->bytes;

	cmd->fd = f->fds[FUZZ_FD_STILL];
	if (!rnd(f, 3)) {
		cmd->flags = HOMI_RESOLVE_WRITE;
		cmd->fd = f->fds[FUZZ_FD_INPLACE];
	}
	if (rnd(f, 2)) {
		cmd->offset = rnd(f, 8) * PAGE;
		cmd->length = (1 + rnd(f, 8)) * PAGE;
	}
	if (!rnd(f, 12))
		cmd->fd = f->fds[rnd(f, FUZZ_FDS)];
}

static void good_set(struct fuzz *f, struct fuzz_call *c)
{
	struct homi_resolve_set *cmd = (void *)c->bytes;
	size_t at = 0;

	cmd->dirfd = f->fds[FUZZ_FD_DIR];
	cmd->count = 1 + rnd(f, 3);
	cmd->names = (uintptr_t)f->names;
	if (!f->dry)
		at = sprintf(f->names, "%s", base_name(f->paths->still)) + 1;
	if (!f->dry && cmd->count > 1)
		at += sprintf(f->names + at, "not there") + 1;
	if (!f->dry && cmd->count > 2)
		at += sprintf(f->names + at, "%s", base_name(f->paths->data)) + 1;
	cmd->names_length = f->dry ? 16 : at;
}

static void good_holders(struct fuzz *f, struct fuzz_call *c)
{
	struct homi_holders *cmd = (void *)c->bytes;

	cmd->count = rnd(f, 6) ? 64 : rnd(f, 2);
	cmd->holders = (uintptr_t)f->scratch;
	cmd->flags = rnd(f, 16) ? 0 : HOMI_HOLDERS_REVOKE;
}

static void good_rw(struct fuzz *f, struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	struct homi_uring_rw *rw = (void *)c->bytes;
	bool write = c->row == FUZZ_ROW(HOMI_CMD_WRITE);

	rw->flags = ctx->mapped ? HOMI_RW_BY_EXTENTS : rnd(f, 2) ? HOMI_RW_BY_FS : 0;
	rw->file = fuzz_any_id(f, ctx, FUZZ_FILE);
	if (!rnd(f, 3) || !ctx->count[FUZZ_FILE]) {
		rw->flags |= HOMI_RW_FD;
		rw->file = f->fds[write || rnd(f, 2) ? FUZZ_FD_DATA : FUZZ_FD_STILL];
	}
	if (ctx->mapped)
		rw->file = rnd(f, 3) && rw->flags & HOMI_RW_FD ? f->fds[FUZZ_FD_STILL] : rw->file;
	if (write && !rnd(f, 4))
		rw->flags |= HOMI_RW_DSYNC;
	rw->file_offset = rnd(f, 64) * PAGE;
	rw->mem_id = fuzz_any_id(f, ctx, FUZZ_MEM);
	rw->length = (1 + rnd(f, FUZZ_CHUNK / PAGE)) * PAGE;
	if (!write && !ctx->mapped && take_chunk(ctx, c))
		rw->mem_offset = c->chunk * FUZZ_CHUNK;
	else if (!write && !ctx->mapped)
		rw->length = 0;
}

static void good_destroy(struct fuzz *f, struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	struct homi_destroy *cmd = (void *)c->bytes;
	unsigned int kind, most = 0;

	/* Of what there is most, so that nothing runs over; sometimes of another kind */
	for (kind = 0; kind < FUZZ_KINDS; kind++)
		if (ctx->count[kind] > ctx->count[most])
			most = kind;
	cmd->id = fuzz_any_id(f, ctx, rnd(f, 3) ? most : rnd(f, FUZZ_KINDS));
}

static void good_event_bind(struct fuzz *f, struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	struct homi_event_bind *cmd = (void *)c->bytes;

	cmd->eventfd = rnd(f, 3) ? f->fds[FUZZ_FD_EVENT] : -1;
	if (rnd(f, 2))
		cmd->id = fuzz_any_id(f, ctx, rnd(f, FUZZ_KINDS));
	else if (!rnd(f, 3)) {
		cmd->flags = HOMI_EVENT_COMPLETIONS;
		cmd->id = fuzz_any_id(f, ctx, FUZZ_QUEUE);
	}
}

static void good_segments(struct fuzz *f, struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	struct homi_mem_segments *cmd = (void *)c->bytes;

	cmd->mem_id = fuzz_any_id(f, ctx, FUZZ_MEM);
	cmd->count = rnd(f, 6) ? 64 : 0;
	cmd->segments = (uintptr_t)f->scratch;
}

/* Those whose first own field is the id of an object, and little else */
static void good_by_id(struct fuzz *f, struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	uint32_t *word = (uint32_t *)c->bytes;

	switch (c->row + HOMI_CMD_BASE) {
	case HOMI_CMD_MEM_INFO:
		word[2] = fuzz_any_id(f, ctx, FUZZ_MEM);
		break;
	case HOMI_CMD_QUEUE_RECREATE:
		((struct homi_queue_recreate *)c->bytes)->depth = ctx->depth;
		word[2] = fuzz_any_id(f, ctx, FUZZ_QUEUE);
		break;
	case HOMI_CMD_QUEUE_INFO:
		word[2] = fuzz_any_id(f, ctx, FUZZ_QUEUE);
		break;
	case HOMI_CMD_QUEUE_ARM:
		((struct homi_queue_arm *)c->bytes)->cq_head = rnd(f, ctx->depth);
		((struct homi_queue_arm *)c->bytes)->cq_phase = rnd(f, 4) > 0;
		word[2] = fuzz_any_id(f, ctx, FUZZ_QUEUE);
		break;
	case HOMI_CMD_EXTENT_ACK:
		((struct homi_extent_ack *)c->bytes)->generation = rnd(f, 8);
		word[2] = fuzz_any_id(f, ctx, FUZZ_EXTENT);
		break;
	case HOMI_CMD_DOORBELL_EXPORT:
		((struct homi_doorbell_export *)c->bytes)->part = rnd(f, 6) ? 1 : 1 + rnd(f, 3);
		word[2] = fuzz_any_id(f, ctx, FUZZ_QUEUE);
		break;
	}
}

static void good_fields(struct fuzz *f, struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	uint32_t *word = (uint32_t *)c->bytes;

	switch (c->row + HOMI_CMD_BASE) {
	case HOMI_CMD_NS_INFO:
		word[1] = rnd(f, 2) ? HOMI_NS_NEXT : 0;
		word[2] = 1;
		break;
	case HOMI_CMD_MEM_REGISTER:
		good_mem_register(f, ctx, c);
		break;
	case HOMI_CMD_MEM_SEGMENTS:
		good_segments(f, ctx, c);
		break;
	case HOMI_CMD_QUEUE_CREATE:
		good_queue_create(f, ctx, c);
		break;
	case HOMI_CMD_EXTENT_RESOLVE:
		good_extent_resolve(f, c);
		break;
	case HOMI_CMD_EVENT_BIND:
		good_event_bind(f, ctx, c);
		break;
	case HOMI_CMD_RESERVE:
		word[2] = rnd(f, RESERVE_SOME + 1);
		break;
	case HOMI_CMD_DESTROY:
		good_destroy(f, ctx, c);
		break;
	case HOMI_CMD_HOLDERS:
		good_holders(f, c);
		break;
	case HOMI_CMD_RESOLVE_SET:
		good_set(f, c);
		break;
	case HOMI_CMD_FILE_REGISTER:
		word[2] = f->fds[rnd(f, 8) ? rnd(f, 2) : rnd(f, FUZZ_FDS)];
		break;
	case HOMI_CMD_IO_STATS:
		word[1] = rnd(f, 2) ? HOMI_STATS_CTRL : 0;
		break;
	default:
		good_by_id(f, ctx, c);
	}
}

void fuzz_good(struct fuzz *f, struct fuzz_call *c, unsigned int row, unsigned int ctx)
{
	*c = (struct fuzz_call){
		.row = row,
		.ctx = ctx,
		.life = f->ctx[ctx].life,
		.nr = _IO(HOMI_TYPE, HOMI_CMD_BASE + row),
		.chunk = -1,
		.owned = -1,
	};
	if (row == FUZZ_ROW(HOMI_CMD_READ) || row == FUZZ_ROW(HOMI_CMD_WRITE)) {
		good_rw(f, &f->ctx[ctx], c);
		return;
	}
	*(uint32_t *)c->bytes = fuzz_rows[row].size;
	if (row != FUZZ_UNKNOWN) {
		good_fields(f, &f->ctx[ctx], c);
		return;
	}
	/* Of a number that is none, or with bits that _IO() does not have */
	c->nr = _IO(HOMI_TYPE, rnd(f, 2) ? HOMI_CMD_BASE + FUZZ_CMDS + rnd(f, 0x80 - FUZZ_CMDS) :
		    rnd(f, HOMI_CMD_BASE));
	if (!rnd(f, 3))
		c->nr = _IO(HOMI_TYPE, HOMI_CMD_BASE + rnd(f, FUZZ_CMDS)) | (1 + rnd(f, 0xfff)) << 16;
}

/* --- and bent ones --- */

static uint32_t odd_word(struct fuzz *f)
{
	static const uint32_t odd[] = {
		0, 1, 2, 3, 17, 255, 4095, PAGE, 65534, 65535, 65536, 0x00ffffff, 0x01000000,
		0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff
	};
	uint32_t pick = rnd(f, ARRAY_SIZE(odd) + 3);

	if (pick < ARRAY_SIZE(odd))
		return odd[pick];
	if (pick == ARRAY_SIZE(odd))
		return f->fds[rnd(f, FUZZ_FDS)];
	return rnd(f, ~0u);
}

static uint64_t odd_long(struct fuzz *f)
{
	const uint64_t odd[] = {
		0, 1, PAGE, PAGE - 1, 512, 1ull << 31, 1ull << 32, 1ull << 40, 1ull << 43,
		1ull << 62, INT64_MAX, 1ull << 63, ~0ull, ~0ull - PAGE + 1,
		(uintptr_t)f->edge, (uintptr_t)f->readonly, (uintptr_t)f->edge + PAGE,
		0xffff888000001000ull, 0x00007ffffffff000ull
	};

	return odd[rnd(f, ARRAY_SIZE(odd))];
}

static void bend_size(struct fuzz *f, struct fuzz_call *c)
{
	uint32_t size = fuzz_rows[c->row].size, *word = (uint32_t *)c->bytes;

	switch (rnd(f, 5)) {
	case 0:
		word[0] = rnd(f, size);
		break;
	case 1:		/* a tail of zeroes, to where the call's memory ends */
		word[0] = size + 8 * (1 + rnd(f, (FUZZ_BYTES - size) / 8));
		break;
	case 2:		/* and of something else */
		word[0] = size + 8;
		word[size / 4 + rnd(f, 2)] = 1 + rnd(f, 1000);
		break;
	case 3:
		word[0] = PAGE + 1 + rnd(f, PAGE);
		break;
	default:
		word[0] = odd_word(f);
	}
}

/* Of an object of another kind, or of another open file, or that was */
static uint32_t odd_id(struct fuzz *f, const struct fuzz_ctx *ctx)
{
	switch (rnd(f, 4)) {
	case 0:
		return fuzz_any_id(f, &f->ctx[rnd(f, FUZZ_CTXS)], rnd(f, FUZZ_KINDS));
	case 1:
		return ctx->stale;
	case 2:
		return fuzz_any_id(f, ctx, rnd(f, FUZZ_KINDS)) ^ 1u << rnd(f, 32);
	default:
		return odd_word(f);
	}
}

static void bend(struct fuzz *f, struct fuzz_call *c)
{
	uint32_t size = fuzz_rows[c->row].size, *word = (uint32_t *)c->bytes;
	bool rw = c->row == FUZZ_ROW(HOMI_CMD_READ) || c->row == FUZZ_ROW(HOMI_CMD_WRITE);

	switch (rnd(f, 8)) {
	case 0:
		word[1 + rnd(f, size / 4 - 1)] = odd_word(f);
		break;
	case 1:
		c->bytes[1 + rnd(f, size / 8 - 1)] = odd_long(f);
		break;
	case 2:
		word[rw ? 0 : 1] ^= rnd(f, 2) ? 1u << rnd(f, 32) : fuzz_rows[c->row].known_flags;
		break;
	case 3:
		if (!rw)
			bend_size(f, c);
		break;
	case 4:
		if (!rw)
			c->place = 1 + rnd(f, FUZZ_AT_KERNEL);
		break;
	case 5:
		word[rw ? 4 : 2] = odd_id(f, &f->ctx[c->ctx]);
		break;
	case 6:
		c->bytes[rnd(f, size / 8)] ^= 1ull << rnd(f, 64);
		break;
	default:
		c->meddle = true;
	}
}

/* --- what must not be asked --- */

/*
 * An address that the kernel may write to, or hand out: what is in the way must not be the
 * fuzzer's own memory.
 */
static uint64_t tame_address(const struct fuzz *f, uint64_t addr)
{
	bool known = addr == (uintptr_t)f->scratch || addr == (uintptr_t)f->readonly ||
		     addr == (uintptr_t)f->edge || addr == (uintptr_t)f->edge + PAGE;

	if (known || addr < 1ull << 44 || addr >= (1ull << 47) - PAGE)
		return addr;
	return (uintptr_t)f->edge + PAGE - 8;
}

static void tame_register(struct fuzz *f, struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	struct homi_mem_register *cmd = (void *)c->bytes;
	uint64_t arena = (uintptr_t)ctx->arena;

	if (cmd->type != HOMI_MEM_USER)
		return;
	if (!ctx->mapped)
		cmd->flags |= HOMI_MEM_PAGES;
	if (cmd->addr < arena || cmd->addr >= arena + FUZZ_ARENA) {
		cmd->addr = tame_address(f, cmd->addr);
		/* The one page at the edge could be had twice. */
		if (cmd->addr == (uintptr_t)f->edge)
			cmd->length = FUZZ_CHUNK;
		return;
	}
	if ((cmd->addr | cmd->length) % PAGE || cmd->length > FUZZ_ARENA)
		return;
	if (!ctx->mapped) {
		cmd->addr = arena;
	} else if (c->chunk >= 0) {
		cmd->addr = arena + c->chunk * FUZZ_CHUNK;
		cmd->length = cmd->length < FUZZ_CHUNK ? cmd->length : FUZZ_CHUNK;
	} else {
		cmd->length = 0;
	}
}

static void tame_read(struct fuzz_ctx *ctx, struct fuzz_call *c)
{
	struct homi_uring_rw *rw = (void *)c->bytes;
	uint64_t begin = c->chunk < 0 ? 0 : c->chunk * FUZZ_CHUNK;

	if (ctx->mapped) {
		rw->flags |= HOMI_RW_BY_EXTENTS;
		return;
	}
	if (c->chunk >= 0 && rw->mem_offset >= begin && rw->length <= FUZZ_CHUNK &&
	    rw->mem_offset + rw->length <= begin + FUZZ_CHUNK)
		return;
	if (rw->mem_offset < FUZZ_ARENA)
		rw->mem_offset += FUZZ_ARENA;
}

/* A reset for each that there are not enough for is too many; so is each taken back. */
static void tame(struct fuzz *f, struct fuzz_call *c)
{
	uint32_t *word = (uint32_t *)c->bytes;

	switch (c->row + HOMI_CMD_BASE) {
	case HOMI_CMD_MEM_REGISTER:
		tame_register(f, &f->ctx[c->ctx], c);
		break;
	case HOMI_CMD_READ:
		tame_read(&f->ctx[c->ctx], c);
		break;
	case HOMI_CMD_RESERVE:
		if (word[2] > RESERVE_SOME && word[2] < 65535 && rnd(f, 100))
			word[2] &= RESERVE_SOME;
		break;
	case HOMI_CMD_HOLDERS:
		if (rnd(f, 4))
			word[1] &= ~HOMI_HOLDERS_REVOKE;
		c->bytes[2] = tame_address(f, c->bytes[2]);
		break;
	case HOMI_CMD_MEM_SEGMENTS:
		c->bytes[2] = tame_address(f, c->bytes[2]);
		break;
	default:
		return;
	}
	/* What has just been seen to stays so. */
	c->meddle = false;
}

static unsigned int any_row(struct fuzz *f, bool uring)
{
	unsigned int row, sum = 0, pick;

	for (row = 0; row <= FUZZ_CMDS; row++)
		sum += fuzz_rows[row].weight;
	do {
		pick = rnd(f, sum);
		for (row = 0; pick >= fuzz_rows[row].weight; row++)
			pick -= fuzz_rows[row].weight;
	} while (!uring && (row == FUZZ_ROW(HOMI_CMD_READ) || row == FUZZ_ROW(HOMI_CMD_WRITE)));
	return row;
}

/*
 * Queues in the first open file, so that the MEMs of the others can be destroyed, and the file
 * system's READs and WRITEs in the second.
 */
static unsigned int any_ctx(struct fuzz *f, unsigned int row)
{
	if (!rnd(f, 6))
		return rnd(f, FUZZ_CTXS);
	switch (row + HOMI_CMD_BASE) {
	case HOMI_CMD_QUEUE_CREATE:
	case HOMI_CMD_QUEUE_RECREATE:
	case HOMI_CMD_QUEUE_INFO:
	case HOMI_CMD_QUEUE_ARM:
	case HOMI_CMD_DOORBELL_EXPORT:
		return 0;
	case HOMI_CMD_READ:
		return 1 + !rnd(f, 3);
	case HOMI_CMD_WRITE:
		return 1;
	case HOMI_CMD_MEM_REGISTER:
	case HOMI_CMD_EXTENT_RESOLVE:
	case HOMI_CMD_FILE_REGISTER:
		return rnd(f, 8) ? 1 + rnd(f, 2) : 0;
	}
	return rnd(f, FUZZ_CTXS);
}

/* What would be one too many is given back instead. */
static unsigned int room_for(struct fuzz *f, unsigned int row, unsigned int ctx)
{
	static const int kinds[FUZZ_CMDS + 1] = {
		[FUZZ_ROW(HOMI_CMD_QUEUE_CREATE)] = 1 + FUZZ_QUEUE,
		[FUZZ_ROW(HOMI_CMD_MEM_REGISTER)] = 1 + FUZZ_MEM,
		[FUZZ_ROW(HOMI_CMD_EXTENT_RESOLVE)] = 1 + FUZZ_EXTENT,
		[FUZZ_ROW(HOMI_CMD_RESOLVE_SET)] = 1 + FUZZ_SET,
		[FUZZ_ROW(HOMI_CMD_FILE_REGISTER)] = 1 + FUZZ_FILE,
	};
	unsigned int most = kinds[row] == 1 + FUZZ_QUEUE ? 4 : FUZZ_IDS;

	if (kinds[row] && f->ctx[ctx].count[kinds[row] - 1] >= most)
		return FUZZ_ROW(HOMI_CMD_DESTROY);
	return row;
}

void fuzz_make(struct fuzz *f, struct fuzz_call *c, bool uring)
{
	unsigned int row = any_row(f, uring), ctx = any_ctx(f, row);

	fuzz_good(f, c, room_for(f, row, ctx), ctx);
	if (c->row != FUZZ_UNKNOWN && !rnd(f, 4)) {
		bend(f, c);
		if (!rnd(f, 4))
			bend(f, c);
	}
	if (c->row != FUZZ_UNKNOWN)
		tame(f, c);
}
