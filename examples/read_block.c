// SPDX-License-Identifier: MIT
/*
 * Reads the first block of a namespace through a queue pair of its own, beside
 * the kernel, and prints it. As root:
 *
 *	make -C lib examples && build/lib/read_block nvme0
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <homi/homi.h>

#define TIMEOUT_S	10

static int fail(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	return 1;
}

static int expired(void *arg)
{
	return time(NULL) > *(const time_t *)arg;
}

/* One command: post it, ring the doorbell, wait for the completion. */
static int read_block(struct homi_queue *queue, const struct homi_mem *mem,
		      const struct homi_ns_info *ns)
{
	time_t deadline = time(NULL) + TIMEOUT_S;
	struct homi_completion done;
	struct homi_sqe sqe;

	homi_sqe_rw(&sqe, HOMI_OP_READ, ns->out_nsid, 0, 1, 0, mem->segs[0].dma_addr, 0);
	homi_ring_post(&queue->ring, &sqe, 1);
	homi_ring_ring(&queue->ring);
	switch (homi_ring_wait_until(&queue->ring, &done, expired, &deadline)) {
	case HOMI_RING_OK:
		homi_ring_release(&queue->ring);
		return 0;
	case HOMI_RING_STATUS:
		fprintf(stderr, "NVMe status %#x\n", done.status);
		return 1;
	default:
		fprintf(stderr, "no completion within %d s\n", TIMEOUT_S);
		return 1;
	}
}

static void print(const unsigned char *data, unsigned int length)
{
	unsigned int i;

	for (i = 0; i < length; i++)
		printf("%02x%c", data[i], i % 32 == 31 ? '\n' : ' ');
}

int main(int argc, char **argv)
{
	struct homi_queue queue;
	struct homi_ns_info ns;
	struct homi_dev dev;
	struct homi_mem mem;
	int ret;

	ret = homi_open(&dev, argc > 1 ? argv[1] : "nvme0");
	if (ret)
		return fail("open", ret);
	ret = homi_get_ns_info(&dev, 1, HOMI_NS_NEXT, &ns);
	if (ret)
		return fail("namespace", ret);
	if (ns.out_block_size > 4096)
		return fail("a block that needs more than one page", -EOPNOTSUPP);
	/* One page: aligned, so it is contiguous, and one PRP names it. */
	ret = homi_mem_alloc(&dev, 4096, HOMI_MEM_WRITE, &mem);
	if (ret)
		return fail("memory", ret);
	ret = homi_queue_open(&dev, 16, &queue);
	if (ret)
		return fail("queue", ret);
	ret = read_block(&queue, &mem, &ns);
	if (!ret)
		print(mem.addr, ns.out_block_size);
	/* The queue first: then nothing can write to the memory any more. */
	if (homi_queue_close(&dev, &queue) || homi_mem_release(&dev, &mem))
		ret = 1;
	homi_close(&dev);
	return ret;
}
