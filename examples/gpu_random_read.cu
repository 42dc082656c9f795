// SPDX-License-Identifier: MIT
/*
 * A GPU reads random pages of a file by itself: both rings, the file's extents, the
 * data and all of the book-keeping are in its memory, and its threads write the
 * drive's doorbells. The host has set it up, and reads the same pages to compare. As
 * root, with CUDA or with HIP:
 *
 *	make -C lib gpu-examples
 *	build/lib/cuda_random_read [-d CONTROLLER] [-t THREADS] [-n READS] FILE
 */
#include <vector>

#include "gpu.h"
#include "random_read.h"

#define DEPTH	1024u
#define POLLS	50000000ull	/* of about a microsecond each */
#define BLOCK	128u		/* threads */

__global__ void random_read_kernel(struct random_read r)
{
	random_read_thread(&r, blockIdx.x * blockDim.x + threadIdx.x);
}

/* Where all is in the GPU's memory */
struct image {
	uint64_t sq, cq, shared, sums, errors, segs, records, data, end;
};

static uint64_t take(uint64_t *end, uint64_t bytes)
{
	uint64_t at = *end;

	*end = (at + bytes + GPU_PAGE - 1) / GPU_PAGE * GPU_PAGE;
	return at;
}

/* There may be a segment for each page of it. */
static void lay_out(struct image *image, const struct homi_extent_table *table, uint32_t threads)
{
	uint64_t end = 0, pages;

	image->sq = take(&end, DEPTH * sizeof(struct homi_sqe));
	image->cq = take(&end, DEPTH * sizeof(struct homi_cqe));
	image->shared = take(&end, homi_shared_size(DEPTH));
	image->sums = take(&end, threads * 8ull);
	image->errors = take(&end, threads * 4ull);
	image->records = take(&end, table->count * sizeof(struct homi_extent));
	image->data = take(&end, threads * (uint64_t)RANDOM_READ_PAGE);
	pages = (end + 2 * GPU_UNIT) / GPU_PAGE;
	image->segs = take(&end, pages * (sizeof(struct homi_seg) + 1));
	image->end = end;
}

/* The doorbells are for the host until the GPU has them too. */
static void make_queue(struct homi_queue *queue, struct homi_ring_config *host,
		       struct homi_shared *shared, const struct image *image, struct gpu_memory *gpu,
		       const struct homi_dev *dev)
{
	struct homi_ring_place sq = { &gpu->mem, image->sq }, cq = { &gpu->mem, image->cq };
	struct homi_shared_config config = {};

	/* The completion ring is zeroed already. */
	must(homi_queue_open_in(dev, DEPTH, &sq, &cq, queue), "a queue in the GPU's memory");
	homi_queue_get_config(queue, host);
	config.ring = *host;
	config.ring.sq = gpu->base + image->sq;
	config.ring.cq = gpu->base + image->cq;
	config.ring.sq_doorbell = gpu_doorbell(host->sq_doorbell);
	config.ring.cq_doorbell = gpu_doorbell(host->cq_doorbell);
	config.ring.sq_shadow = gpu_doorbell(host->sq_shadow);
	config.ring.sq_event = gpu_doorbell(host->sq_event);
	config.ring.cq_shadow = gpu_doorbell(host->cq_shadow);
	config.ring.cq_event = gpu_doorbell(host->cq_event);
	config.memory = gpu->base + image->shared;
	if (homi_shared_init(shared, &config))
		die("the queue", "the GPU can't drive one like that");
}

static void close_queue(struct homi_queue *queue, const struct homi_ring_config *host,
			const struct homi_dev *dev)
{
	gpu_doorbell_release(host->sq_doorbell);
	gpu_doorbell_release(host->sq_shadow);
	gpu_doorbell_release(host->sq_event);
	must(homi_queue_close(dev, queue), "closing the queue");
}

/* The same pages, by pread */
static void compare(const struct source *source, const struct random_read *r, uint32_t threads)
{
	std::vector<uint64_t> sums(threads), page(RANDOM_READ_PAGE / 8);
	std::vector<int32_t> errors(threads);
	uint32_t thread, n;

	MUST(GPU(Memcpy)(sums.data(), r->sums, threads * 8ull, GPU(MemcpyDeviceToHost)));
	MUST(GPU(Memcpy)(errors.data(), r->errors, threads * 4ull, GPU(MemcpyDeviceToHost)));
	for (thread = 0; thread < threads; thread++) {
		uint64_t sum = 0;

		if (errors[thread]) {
			fprintf(stderr, "thread %u: error %d\n", thread, errors[thread]);
			exit(1);
		}
		for (n = 0; n < r->reads; n++) {
			uint64_t which = random_read_page(r->pages, thread, n);

			if (pread(source->file, page.data(), RANDOM_READ_PAGE,
				  (off_t)(which * RANDOM_READ_PAGE)) != RANDOM_READ_PAGE)
				die("the file", "got shorter");
			sum = random_read_sum(sum, page.data());
		}
		if (sum != sums[thread]) {
			fprintf(stderr, "thread %u read something else than pread\n", thread);
			exit(1);
		}
	}
}

static void run(struct source *source, uint32_t threads, uint32_t reads)
{
	const struct homi_extent_table *table = source->extents.table;
	struct homi_ring_config host;
	struct random_read r = {};
	struct homi_queue queue;
	struct gpu_memory gpu;
	GPU(Event_t) begin, end;
	struct image image;
	float ms = 0;

	lay_out(&image, table, threads);
	gpu_memory_open(&gpu, &source->dev, image.end);
	if (gpu.mem.seg_count * sizeof(struct homi_seg) > image.end - image.segs)
		die("the GPU's memory", "in too many pieces");
	make_queue(&queue, &host, &r.queue, &image, &gpu, &source->dev);
	MUST(GPU(Memcpy)(gpu.base + image.records, table->records, table->count * sizeof(struct homi_extent),
			 GPU(MemcpyHostToDevice)));
	MUST(GPU(Memcpy)(gpu.base + image.segs, gpu.mem.segs, gpu.mem.seg_count * sizeof(struct homi_seg),
			 GPU(MemcpyHostToDevice)));
	r.records = (const struct homi_extent *)(gpu.base + image.records);
	r.count = table->count;
	r.segs = (const struct homi_seg *)(gpu.base + image.segs);
	r.seg_count = gpu.mem.seg_count;
	r.page_size = source->dev.info.out_page_size;
	r.nsid = table->nsid;
	r.block_size = table->block_size;
	r.data = gpu.base + image.data;
	r.data_offset = image.data;
	r.pages = source->size / RANDOM_READ_PAGE;
	r.reads = reads;
	r.polls = POLLS;
	r.sums = (uint64_t *)(gpu.base + image.sums);
	r.errors = (int32_t *)(gpu.base + image.errors);
	MUST(GPU(EventCreate)(&begin));
	MUST(GPU(EventCreate)(&end));
	MUST(GPU(EventRecord)(begin));
	random_read_kernel<<<threads / BLOCK, BLOCK>>>(r);
	MUST(GPU(GetLastError)());
	MUST(GPU(EventRecord)(end));
	MUST(GPU(DeviceSynchronize)());
	MUST(GPU(EventElapsedTime)(&ms, begin, end));
	source_check(source);
	compare(source, &r, threads);
	printf("%u reads of %u bytes by each of %u threads of the GPU, as pread gives them: %.0f a second\n",
	       reads, RANDOM_READ_PAGE, threads, 1000.0 * reads * threads / ms);
	MUST(GPU(EventDestroy)(begin));
	MUST(GPU(EventDestroy)(end));
	close_queue(&queue, &host, &source->dev);
	gpu_memory_close(&gpu, &source->dev);
}

int main(int argc, char **argv)
{
	uint32_t threads = 4096, reads = 64;
	const char *controller = "nvme0";
	struct source source;
	int option;

	while ((option = getopt(argc, argv, "d:t:n:")) != -1) {
		if (option == 'd')
			controller = optarg;
		else if (option == 't')
			threads = (uint32_t)strtoul(optarg, NULL, 0);
		else if (option == 'n')
			reads = (uint32_t)strtoul(optarg, NULL, 0);
		else
			return 2;
	}
	if (optind + 1 != argc || !threads || threads % BLOCK || !reads) {
		fprintf(stderr, "usage: %s [-d CONTROLLER] [-t THREADS] [-n READS] FILE\n"
			"THREADS is a multiple of %u.\n", argv[0], BLOCK);
		return 2;
	}
	source_open(&source, controller, argv[optind]);
	if (source.size < RANDOM_READ_PAGE)
		die(argv[optind], "is shorter than a page");
	run(&source, threads, reads);
	source_close(&source);
	return 0;
}
