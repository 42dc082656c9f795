// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the fuzzer knows of the objects that it has, and what it makes of an answer.
 */
#include <fcntl.h>

#include "fuzz.h"

static void learn_id(struct fuzz_ctx *ctx, enum fuzz_kind kind, uint32_t id)
{
	if (ctx->count[kind] < FUZZ_IDS) {
		ctx->ids[kind][ctx->count[kind]++] = id;
		return;
	}
	/* One that is not known any more, and ends with the open file */
	ctx->stale = ctx->ids[kind][0];
	ctx->ids[kind][0] = id;
}

static void forget_id(struct fuzz_ctx *ctx, uint32_t id)
{
	unsigned int kind, i;

	for (kind = 0; kind < FUZZ_KINDS; kind++)
		for (i = 0; i < ctx->count[kind]; i++)
			if (ctx->ids[kind][i] == id) {
				ctx->ids[kind][i] = ctx->ids[kind][--ctx->count[kind]];
				ctx->stale = id;
				return;
			}
}

/* Dma-bufs of doorbells keep queue ids from others; a few are enough. */
static void learn_export(struct fuzz *f, int fd)
{
	int *place = &f->exports[f->next_export++ % FUZZ_EXPORTS];

	if (f->dry)
		return;
	if (*place >= 0)
		close(*place);
	*place = fd;
}

static void learn_answer(struct fuzz *f, struct fuzz_ctx *ctx, const struct fuzz_call *c)
{
	const void *cmd = c->bytes;

	switch (c->row + HOMI_CMD_BASE) {
	case HOMI_CMD_MEM_REGISTER:
		learn_id(ctx, FUZZ_MEM, ((const struct homi_mem_register *)cmd)->out_mem_id);
		break;
	case HOMI_CMD_QUEUE_CREATE:
		ctx->queue = *(const struct homi_queue_create *)cmd;
		learn_id(ctx, FUZZ_QUEUE, ctx->queue.out_queue_id);
		break;
	case HOMI_CMD_EXTENT_RESOLVE:
		ctx->extent = *(const struct homi_extent_resolve *)cmd;
		learn_id(ctx, FUZZ_EXTENT, ctx->extent.out_extent_id);
		break;
	case HOMI_CMD_RESOLVE_SET:
		learn_id(ctx, FUZZ_SET, ((const struct homi_resolve_set *)cmd)->out_set_id);
		break;
	case HOMI_CMD_FILE_REGISTER:
		learn_id(ctx, FUZZ_FILE, ((const struct homi_file_register *)cmd)->out_file_id);
		break;
	case HOMI_CMD_DOORBELL_EXPORT:
		learn_export(f, ((const struct homi_doorbell_export *)cmd)->out_fd);
		break;
	case HOMI_CMD_DESTROY:
		forget_id(ctx, ((const struct homi_destroy *)cmd)->id);
		break;
	}
}

void fuzz_learn(struct fuzz *f, const struct fuzz_call *c, int err)
{
	struct fuzz_ctx *ctx = &f->ctx[c->ctx];
	bool is_read = c->row == FUZZ_ROW(HOMI_CMD_READ);

	if (c->owned >= 0 && !f->dry && c->owned != f->fds[FUZZ_FD_CLOSED])
		close(c->owned);
	if (c->life != ctx->life)
		return;
	/* What a MEM has it has for good. */
	if (is_read && c->chunk >= 0)
		ctx->busy[c->chunk] = false;
	/* An answer that somebody may have written over is none. */
	if (c->meddle || c->place || c->sqe_bent)
		return;
	if (!err)
		learn_answer(f, ctx, c);
	else if (err == ENOENT && c->row == FUZZ_ROW(HOMI_CMD_DESTROY))
		forget_id(ctx, ((const struct homi_destroy *)c->bytes)->id);
}

static void show_call(const struct fuzz_call *c, int err, bool uring)
{
	const uint32_t *word = (const uint32_t *)c->bytes;
	unsigned int i;

	printf("# %s (%#x) by %s ends with %s (%d), which the contract does not have for it\n",
	       fuzz_rows[c->row].name, c->nr, uring ? "io_uring" : "ioctl",
	       strerrorname_np(err) ?: "?", err);
	printf("# open file %u, structure at place %u:", c->ctx, c->place);
	for (i = 0; i < FUZZ_BYTES / 4 && i < fuzz_rows[c->row].size / 4 + 2; i++)
		printf(" %08x", word[i]);
	printf("\n");
	fflush(stdout);
}

void fuzz_count(struct fuzz *f, const struct fuzz_call *c, int err, bool uring)
{
	struct fuzz_counts *counts = f->counts;
	unsigned long before = 0;

	atomic_fetch_add(&counts->calls[c->row], 1);
	if (uring)
		atomic_fetch_add(&counts->by_uring[c->row], 1);
	if (!err) {
		atomic_fetch_add(&counts->ok[c->row], 1);
		return;
	}
	if (err > 0 && err < FUZZ_ERRNOS)
		before = atomic_fetch_add(&counts->err[c->row][err], 1);
	if (f->dry || fuzz_is_documented(c->row, err))
		return;
	atomic_fetch_add(&counts->undocumented, 1);
	if (!before)
		show_call(c, err, uring);
}
