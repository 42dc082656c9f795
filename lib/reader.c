// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <homi/reader.h>

#include "internal.h"

#define RETRY_NS	20000000
/* Resets that an ordered read sits out one after the other without a byte read */
#define RESUMES		5

struct homi_reader {
	const struct homi_dev *dev;
	struct homi_pump_config config;
	struct homi_queue queue;
	struct homi_mem mem;
	struct homi_pump *pump;	/* NULL unless there are a queue and memory */
	int has_queue;
	int lost;		/* has_queue, to be made anew */
	struct homi_pump_stats stats;
	const struct homi_extents *extents;
	struct homi_file *files;	/* that are open */
};

static int check(void *arg, int idle)
{
	struct homi_reader *reader = arg;
	uint32_t state = homi_extent_get_state(reader->extents->table);
	int ret;

	if (state > HOMI_EXTENT_RECALLED)
		return -ESTALE;
	ret = idle ? homi_queue_check(reader->dev, &reader->queue) : 0;
	if (ret)
		return ret;
	homi_files_give_way(reader->files, 0);
	/* Who is asked for the blocks has time to end what is in flight. */
	return state == HOMI_EXTENT_RECALLED ? ESTALE : 0;
}

static int close_queue(struct homi_reader *reader)
{
	homi_pump_free(reader->pump);
	reader->pump = NULL;
	if (!reader->has_queue)
		return 0;
	reader->has_queue = 0;
	reader->lost = 0;
	return homi_queue_close(reader->dev, &reader->queue);
}

/* What is in flight ends with the queue; one that a reset took has ended. */
static void lose_queue(struct homi_reader *reader)
{
	if (homi_queue_check(reader->dev, &reader->queue) != -ESTALE) {
		close_queue(reader);
		return;
	}
	homi_pump_free(reader->pump);
	reader->pump = NULL;
	reader->lost = 1;
}

static int try_queue(struct homi_reader *reader)
{
	int ret;

	if (!reader->has_queue)
		return homi_queue_open(reader->dev, reader->config.depth + 1, &reader->queue);
	ret = homi_queue_recreate(reader->dev, &reader->queue);
	/* Taken back by an administrator: another one would be against his will. */
	if (ret == -ESTALE)
		return ret;
	if (ret && ret != -EAGAIN) {
		close_queue(reader);
		ret = -EAGAIN;
	}
	return ret;
}

/* A controller that resets, or a recall that is under way, is waited for. */
static int open_queue(struct homi_reader *reader)
{
	static const struct timespec nap = { .tv_nsec = RETRY_NS };
	uint64_t left = reader->config.timeout_ms * 1000000ull;
	int ret;

	if (reader->has_queue && !reader->lost)
		return 0;
	for (;;) {
		ret = try_queue(reader);
		if (ret != -EAGAIN || left < RETRY_NS)
			break;
		nanosleep(&nap, NULL);
		left -= RETRY_NS;
	}
	if (!ret) {
		reader->has_queue = 1;
		reader->lost = 0;
	}
	return ret;
}

static int open_pump(struct homi_reader *reader)
{
	int ret;

	if (reader->pump)
		return 0;
	ret = open_queue(reader);
	if (ret)
		return ret;
	reader->config.ring = &reader->queue.ring;
	return homi_pump_new(&reader->pump, &reader->config);
}

static int alloc_memory(struct homi_reader *reader)
{
	struct homi_pump_config *c = &reader->config;
	int ret;

	ret = homi_mem_alloc(reader->dev, homi_pump_memory(c), HOMI_MEM_WRITE, &reader->mem);
	if (ret)
		return ret;
	c->mem = reader->mem.addr;
	c->mem_length = reader->mem.length;
	c->segs = reader->mem.segs;
	c->seg_count = reader->mem.seg_count;
	return 0;
}

static int release_memory(struct homi_reader *reader)
{
	int ret;

	if (!reader->mem.addr)
		return 0;
	ret = homi_mem_release(reader->dev, &reader->mem);
	if (!ret)
		return 0;
	/* The kernel keeps the pages until the open file ends. */
	free(reader->mem.segs);
	munmap(reader->mem.addr, reader->mem.length);
	return ret;
}

static void set_config(struct homi_reader *reader, const struct homi_reader_options *options)
{
	struct homi_pump_config *c = &reader->config;
	const struct homi_ctrl_info *info = &reader->dev->info;

	if (options) {
		c->depth = options->depth;
		c->chunk = options->chunk;
		c->timeout_ms = options->timeout_ms;
	}
	if (!c->depth)
		c->depth = HOMI_PUMP_DEPTH;
	if (c->depth > info->out_max_depth - 1)
		c->depth = info->out_max_depth - 1;
	if (!c->timeout_ms)
		c->timeout_ms = HOMI_PUMP_TIMEOUT_MS;
	c->page_size = info->out_page_size;
	c->max_transfer = info->out_max_transfer;
	c->check = check;
	c->check_arg = reader;
}

int homi_reader_open(struct homi_reader **out, const struct homi_dev *dev,
		     const struct homi_reader_options *options)
{
	struct homi_reader *reader = calloc(1, sizeof(*reader));
	int ret;

	if (!reader)
		return -ENOMEM;
	reader->dev = dev;
	set_config(reader, options);
	/* The queue first: that it is refused says more than that memory is short. */
	ret = open_queue(reader);
	if (!ret)
		ret = alloc_memory(reader);
	if (!ret)
		ret = open_pump(reader);
	if (ret)
		homi_reader_close(reader);
	else
		*out = reader;
	return ret;
}

static void add_stats(struct homi_reader *reader)
{
	struct homi_pump_stats *sum = &reader->stats, stats;

	homi_pump_get_stats(reader->pump, &stats);
	stats.ios += sum->ios;
	stats.bytes += sum->bytes;
	stats.hole_bytes += sum->hole_bytes;
	*sum = stats;
	if (homi_pump_is_broken(reader->pump))
		lose_queue(reader);
}

/*
 * A controller may complete what was in flight when the queue was deleted under
 * it, by a fence or an administrator: that is no error of the drive's.
 */
static int judge(struct homi_reader *reader, int ret)
{
	if (ret != -EIO || !reader->pump ||
	    homi_queue_check(reader->dev, &reader->queue) != -ESTALE)
		return ret;
	lose_queue(reader);
	return -ESTALE;
}

static int read_once(struct homi_reader *reader, const struct homi_pump_source *source,
		     uint64_t offset, uint64_t length, unsigned int flags,
		     homi_deliver_fn deliver, void *arg)
{
	int ret = open_pump(reader);

	if (ret)
		return ret;
	ret = homi_pump_read(reader->pump, source, offset, length, flags, deliver, arg);
	add_stats(reader);
	return judge(reader, ret);
}

static struct homi_pump_source source_of(const struct homi_extent_table *table)
{
	return (struct homi_pump_source){
		.records = table->records, .count = table->count, .nsid = table->nsid,
		.block_size = table->block_size, .file_size = table->file_size,
	};
}

int homi_reader_read(struct homi_reader *reader, const struct homi_extents *extents,
		     uint64_t offset, uint64_t length, unsigned int flags,
		     homi_deliver_fn deliver, void *arg)
{
	const struct homi_extent_table *table = extents->table;
	struct homi_pump_source source = source_of(table);
	unsigned int tries = RESUMES;
	uint64_t done = 0;
	int ret;

	memset(&reader->stats, 0, sizeof(reader->stats));
	reader->extents = extents;
	for (;;) {
		ret = read_once(reader, &source, offset + done, length - done, flags, deliver, arg);
		/* Only what comes in order can be gone on with. */
		if (ret != -ESTALE || !reader->lost || (flags & HOMI_PUMP_ANY_ORDER) ||
		    homi_extent_get_state(table) != HOMI_EXTENT_VALID)
			break;
		tries = reader->stats.bytes > done ? RESUMES : tries - 1;
		done = reader->stats.bytes;
		if (!tries)
			break;
	}
	/* Data that were read before the blocks were given away may be mixed. */
	if (!ret && homi_extent_get_state(table) > HOMI_EXTENT_RECALLED)
		ret = -ESTALE;
	return ret;
}

int homi_reader_write(struct homi_reader *reader, const struct homi_extents *extents,
		      uint64_t offset, uint64_t length, homi_fetch_fn fetch, void *arg)
{
	struct homi_pump_source target = source_of(extents->table);
	int ret;

	memset(&reader->stats, 0, sizeof(reader->stats));
	reader->extents = extents;
	ret = open_pump(reader);
	if (ret)
		return ret;
	ret = homi_pump_write(reader->pump, &target, offset, length, fetch, arg);
	add_stats(reader);
	ret = judge(reader, ret);
	/* Who took the blocks may have done so before the last command. */
	if (!ret && homi_extent_get_state(extents->table) > HOMI_EXTENT_RECALLED)
		ret = -ESTALE;
	return ret;
}

void homi_reader_get_stats(const struct homi_reader *reader, struct homi_pump_stats *stats)
{
	*stats = reader->stats;
}

struct homi_file **homi_reader_files(struct homi_reader *reader)
{
	return &reader->files;
}

int homi_reader_rest(struct homi_reader *reader)
{
	return close_queue(reader);
}

int homi_reader_close(struct homi_reader *reader)
{
	int queue, mem;

	if (!reader)
		return 0;
	queue = close_queue(reader);
	mem = release_memory(reader);
	free(reader);
	return queue ? queue : mem;
}
