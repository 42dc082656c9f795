// SPDX-License-Identifier: MIT
/*
 * A file into the memory of a GPU, started by the CPU: the drive writes to the GPU's
 * BAR, and nothing of the file goes through the host's memory. As root, with CUDA or
 * with HIP:
 *
 *	make -C lib gpu-examples
 *	build/lib/cuda_file [-d CONTROLLER] FILE
 */
#include <vector>

#include "gpu.h"

#define DEPTH		64u
#define STEP		(128u << 10)	/* bytes of a command, at most */
#define LIST_ENTRIES	(STEP / GPU_PAGE + 1)
#define LIST_BYTES	512ull		/* no list crosses a page */
#define POLLS		(1ull << 32)	/* before a command is given up */

/* What is on its way */
struct pump {
	const struct source *source;
	const struct gpu_memory *gpu;
	struct homi_queue queue;
	struct homi_mem lists;
	uint32_t max_blocks;
	uint64_t commands;
	std::vector<uint64_t> free_slots;
};

static void pump_open(struct pump *p, const struct source *source, const struct gpu_memory *gpu)
{
	uint32_t block_size = source->extents.table->block_size, i;
	uint64_t most = source->dev.info.out_max_transfer;

	p->source = source;
	p->gpu = gpu;
	p->max_blocks = (uint32_t)((most && most < STEP ? most : STEP) / block_size);
	p->commands = 0;
	must(homi_queue_open(&source->dev, DEPTH, &p->queue), "a queue");
	must(homi_mem_alloc(&source->dev, DEPTH * LIST_BYTES, 0, &p->lists), "memory for PRP lists");
	for (i = 0; i < DEPTH - 1; i++)
		p->free_slots.push_back(i);
}

static void pump_close(struct pump *p)
{
	must(homi_queue_close(&p->source->dev, &p->queue), "closing the queue");
	must(homi_mem_release(&p->source->dev, &p->lists), "memory for PRP lists");
}

static void post(struct pump *p, uint64_t offset, const struct homi_run *run)
{
	const struct homi_extent_table *table = p->source->extents.table;
	uint64_t slot = p->free_slots.back(), at = slot * LIST_BYTES, prp1, prp2;
	const struct homi_seg *seg = &p->lists.segs[homi_seg_find(p->lists.segs, p->lists.seg_count, at)];
	struct homi_prp_list list = { (uint64_t *)((uint8_t *)p->lists.addr + at),
				      seg->dma_addr + (at - seg->offset), LIST_ENTRIES };
	struct homi_rw rw;

	if (homi_prp_build(p->gpu->mem.segs, p->gpu->mem.seg_count, offset,
			   run->blocks * table->block_size, p->source->dev.info.out_page_size, &list,
			   &prp1, &prp2))
		die("the GPU's memory", "is in pieces that no command can name");
	homi_rw_init(&rw, HOMI_OP_READ, table->nsid, (uint32_t)run->blocks, 0);
	/* As many slots as commands can be outstanding */
	homi_ring_post_rw(&p->queue.ring, &rw, run->slba, prp1, prp2, slot);
	p->free_slots.pop_back();
	p->commands++;
}

static void reap(struct pump *p)
{
	struct homi_completion done;
	int ret = homi_ring_wait(&p->queue.ring, &done, POLLS);

	if (ret == HOMI_RING_STATUS) {
		fprintf(stderr, "the drive answers with status %#x\n", done.status);
		exit(1);
	}
	if (ret)
		die("a command", homi_queue_check(&p->source->dev, &p->queue) ?
		    "the queue is lost" : "no completion");
	p->free_slots.push_back(done.user);
	homi_ring_release(&p->queue.ring);
}

/* Whole blocks: the last one's rest is read too. The memory was zeroed, so holes are there. */
static void pump_read(struct pump *p)
{
	const struct homi_extent_table *table = p->source->extents.table;
	uint64_t offset = 0, i;

	while (offset < p->source->size || homi_ring_outstanding(&p->queue.ring)) {
		while (offset < p->source->size && !p->free_slots.empty()) {
			struct homi_run run;

			i = homi_extent_find(table->records, table->count, table->block_size, offset);
			if (i == table->count)
				die("the file", "has no such block");
			homi_extent_run(&table->records[i], table->block_size, offset,
					table->records[i].flags & HOMI_EXTENT_HOLE ?
					UINT64_MAX : p->max_blocks, &run);
			if (!run.hole)
				post(p, offset, &run);
			offset += run.blocks * table->block_size;
		}
		homi_ring_ring(&p->queue.ring);
		if (homi_ring_outstanding(&p->queue.ring))
			reap(p);
	}
}

static void compare(const struct source *source, const struct gpu_memory *gpu)
{
	std::vector<uint8_t> host(1 << 20), device(1 << 20);
	uint64_t at;
	ssize_t got;

	for (at = 0; at < source->size; at += (uint64_t)got) {
		got = pread(source->file, host.data(), host.size(), (off_t)at);
		if (got <= 0)
			die("the file", got ? strerror(errno) : "got shorter");
		MUST(GPU(Memcpy)(device.data(), gpu->base + at, (size_t)got, GPU(MemcpyDeviceToHost)));
		if (memcmp(host.data(), device.data(), (size_t)got))
			die("the GPU's memory", "is not what is in the file");
	}
}

int main(int argc, char **argv)
{
	const char *controller = "nvme0";
	struct gpu_memory gpu;
	struct source source;
	struct pump pump;
	int option;

	while ((option = getopt(argc, argv, "d:")) != -1) {
		if (option != 'd')
			return 2;
		controller = optarg;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: %s [-d CONTROLLER] FILE\n", argv[0]);
		return 2;
	}
	source_open(&source, controller, argv[optind]);
	gpu_memory_open(&gpu, &source.dev, source.size + GPU_PAGE);
	pump_open(&pump, &source, &gpu);
	pump_read(&pump);
	source_check(&source);
	compare(&source, &gpu);
	printf("%llu bytes by %llu commands into the GPU's memory: as pread gives them\n",
	       (unsigned long long)source.size, (unsigned long long)pump.commands);
	pump_close(&pump);
	gpu_memory_close(&gpu, &source.dev);
	source_close(&source);
	return 0;
}
