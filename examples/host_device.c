// SPDX-License-Identifier: MIT
/*
 * Plays a device: a process that has only the memory of the device (a dma-buf)
 * and the doorbells mapped, no file open, and no system call but read, write and
 * exit, reads a file by itself. Both rings, the PRP lists, the file's extents and
 * the data are in that memory; what the process runs is the text that a GPU runs.
 * The host has set it up, and compares. As root:
 *
 *	make -C lib examples
 *	build/lib/host_device FILE		memory of the system, by /dev/udmabuf
 *	build/lib/host_device -b FD FILE	a dma-buf that the caller has open as FD
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <homi/homi.h>

#define PAGE		4096ull
#define DEPTH		64u
#define STEP		(128u << 10)	/* bytes of a command, at most */
#define LIST_ENTRIES	(STEP / PAGE + 1)
#define LIST_BYTES	512u		/* no list crosses a page */
#define POLLS		(1ull << 32)	/* before a command is given up */

/* The device's memory; the table and the data follow. */
struct image {
	_Alignas(PAGE) uint8_t sq[DEPTH * 64];
	_Alignas(PAGE) uint8_t cq[DEPTH * 16];
	_Alignas(PAGE) uint8_t lists[DEPTH * LIST_BYTES];
	uint64_t users[DEPTH];
	uint16_t free_cids[DEPTH];
	uint32_t slots[DEPTH];
	/* what the device reports */
	volatile uint32_t done;
	volatile uint32_t error;
	volatile uint64_t commands;
};

/* What a kernel would get as its parameters */
struct device {
	struct image *image;
	const struct homi_extent_table *table;
	uint8_t *data;
	uint64_t data_offset;		/* in the MEM, bytes */
	uint64_t size;			/* of the file, whole blocks */
	const struct homi_seg *segs;
	uint32_t seg_count;
	uint32_t page_size;
	uint32_t max_blocks;
	struct homi_ring_config config;
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "host_device: %s: %s\n", what, strerror(-err));
	return 1;
}

/* --- the device --- */

static int device_post(const struct device *d, struct homi_ring *ring, uint32_t slot,
		       uint64_t offset, const struct homi_run *run)
{
	uint8_t *entries = d->image->lists + (uint64_t)slot * LIST_BYTES;
	uint64_t at = (uint64_t)(entries - (uint8_t *)d->image), prp1, prp2;
	uint32_t seg = homi_seg_find(d->segs, d->seg_count, at);
	struct homi_prp_list list = {
		.entries = (uint64_t *)entries,
		.dma_addr = d->segs[seg].dma_addr + (at - d->segs[seg].offset),
		.count = LIST_ENTRIES,
	};
	struct homi_rw rw;
	int ret;

	ret = homi_prp_build(d->segs, d->seg_count, d->data_offset + offset,
			     run->blocks * d->table->block_size, d->page_size, &list, &prp1, &prp2);
	if (ret)
		return ret;
	homi_rw_init(&rw, HOMI_OP_READ, d->table->nsid, (uint32_t)run->blocks, 0);
	return homi_ring_post_rw(ring, &rw, run->slba, prp1, prp2, slot);
}

/* The next piece of the file: its length in bytes, or negative */
static int64_t device_next(const struct device *d, struct homi_ring *ring, uint32_t slot,
			   uint64_t offset, int *posted)
{
	uint32_t block_size = d->table->block_size;
	uint64_t i = homi_extent_find(d->table->records, d->table->count, block_size, offset);
	struct homi_run run;
	uint64_t k;

	if (i == d->table->count)
		return -1;
	homi_extent_run(&d->table->records[i], block_size, offset, d->max_blocks, &run);
	*posted = !run.hole;
	if (run.hole)
		for (k = 0; k < run.blocks * block_size; k++)
			d->data[offset + k] = 0;
	else if (device_post(d, ring, slot, offset, &run) < 0)
		return -1;
	return (int64_t)(run.blocks * block_size);
}

static int device_read(const struct device *d)
{
	struct image *image = d->image;
	uint32_t *slots = image->slots, free_slots = DEPTH - 1, i;
	struct homi_completion done;
	struct homi_ring ring;
	uint64_t offset = 0;

	if (homi_ring_init(&ring, &d->config))
		return -1;
	for (i = 0; i < free_slots; i++)
		slots[i] = i;
	while (offset < d->size || homi_ring_outstanding(&ring)) {
		while (offset < d->size && free_slots) {
			int posted;
			int64_t length = device_next(d, &ring, slots[free_slots - 1], offset,
						     &posted);

			if (length < 0)
				return -2;
			offset += (uint64_t)length;
			free_slots -= (uint32_t)posted;
			image->commands += (uint64_t)posted;
		}
		homi_ring_ring(&ring);
		if (!homi_ring_outstanding(&ring))
			continue;
		if (homi_ring_wait(&ring, &done, POLLS))
			return -3;
		homi_ring_release(&ring);
		slots[free_slots++] = (uint32_t)done.user;
	}
	return 0;
}

/*
 * In a process of its own. A mapping of doorbells is not inherited, so it makes its own; after
 * that nothing is left by which it could get at more.
 */
static void device_process(struct device *d, const struct homi_dev *dev, struct homi_queue *queue,
			   pid_t parent)
{
	if (homi_queue_map(dev, queue))
		_exit(1);
	homi_queue_get_config(queue, &d->config);
	d->config.users = d->image->users;
	d->config.free_cids = d->image->free_cids;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent || syscall(SYS_close_range, 0, ~0u, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		_exit(1);
	d->image->error = (uint32_t)-device_read(d);
	/* the report before the word that says it is there */
	homi_fence_release_system();
	d->image->done = 1;
	syscall(SYS_exit, 0);
}

/* --- the host --- */

static int compare(int file, const uint8_t *data, uint64_t size)
{
	static uint8_t host[1 << 16], device[1 << 16];
	uint64_t at;
	ssize_t got;

	for (at = 0; at < size; at += (uint64_t)got) {
		got = pread(file, host, sizeof(host), (off_t)at);
		if (got <= 0)
			return got ? -errno : -EIO;
		memcpy(device, data + at, (size_t)got);
		if (memcmp(host, device, (size_t)got))
			return -EILSEQ;
	}
	return 0;
}

static void describe(const struct homi_dev *dev, const struct homi_mem *mem)
{
	struct homi_mem_info info;
	unsigned int device;

	if (homi_get_mem_info(dev, mem, &info))
		return;
	device = (unsigned int)info.out_device;
	if (info.out_placement == HOMI_PLACEMENT_BAR)
		printf("memory: BAR %u of %04x:%02x:%02x.%x, %u bridges away, from %s\n", info.out_bar,
		       (unsigned int)(info.out_device >> 16), device >> 8 & 0xff, device >> 3 & 0x1f,
		       device & 7, info.out_distance, (const char *)info.out_exporter);
	else
		printf("memory: the system's, from %s\n", (const char *)info.out_exporter);
}

static int run_device(struct device *d, const struct homi_dev *dev, struct homi_queue *queue)
{
	pid_t pid, parent = getpid();
	int status;

	fflush(NULL);
	pid = fork();
	if (!pid)
		device_process(d, dev, queue, parent);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	if (status || !d->image->done) {
		fprintf(stderr, "host_device: the device's process ended with %#x\n", status);
		return -ECHILD;
	}
	if (d->image->error) {
		fprintf(stderr, "host_device: the device reports %u\n", d->image->error);
		return -EIO;
	}
	return 0;
}

/* With the file's extents, and memory for all of it */
static int read_file(const struct homi_dev *dev, int file, uint64_t size, int dmabuf,
		     const struct homi_extents *extents)
{
	uint64_t table_at = sizeof(struct image), data_at, length;
	uint32_t block_size = extents->table->block_size, reason;
	struct homi_ring_place sq = { 0 }, cq = { 0 };
	struct device d = { 0 };
	struct homi_queue queue;
	struct homi_mem mem;
	uint8_t *base;
	int ret;

	d.size = (size + block_size - 1) / block_size * block_size;
	data_at = (table_at + extents->length + PAGE - 1) / PAGE * PAGE;
	length = (data_at + d.size + 2 * PAGE - 1) / (2 * PAGE) * (2 * PAGE);
	if (dmabuf < 0)
		dmabuf = homi_udmabuf(length);
	if (dmabuf < 0)
		return fail("/dev/udmabuf", dmabuf);
	base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	if (base == MAP_FAILED)
		return fail("mapping the dma-buf, which may be too small", -errno);
	ret = homi_mem_import(dev, dmabuf, 0, length, HOMI_MEM_WRITE, base, &mem, &reason);
	if (ret) {
		fprintf(stderr, "host_device: %s\n", homi_strreason(reason));
		return fail("registering the dma-buf", ret);
	}
	memset(base, 0, sizeof(struct image));
	memcpy(base + table_at, extents->table, extents->length);
	sq.mem = &mem;
	sq.offset = offsetof(struct image, sq);
	cq.mem = &mem;
	cq.offset = offsetof(struct image, cq);
	ret = homi_queue_open_in(dev, DEPTH, &sq, &cq, &queue);
	if (ret)
		return fail("queue", ret);
	d.image = (struct image *)base;
	d.table = (const struct homi_extent_table *)(base + table_at);
	d.data = base + data_at;
	d.data_offset = data_at;
	d.segs = mem.segs;
	d.seg_count = mem.seg_count;
	d.page_size = dev->info.out_page_size;
	d.max_blocks = STEP / block_size;
	if (dev->info.out_max_transfer && dev->info.out_max_transfer < STEP)
		d.max_blocks = (uint32_t)dev->info.out_max_transfer / block_size;
	ret = run_device(&d, dev, &queue);
	if (!ret && homi_extent_get_state(extents->table) != HOMI_EXTENT_VALID)
		ret = fail("somebody wanted the file meanwhile", -EAGAIN);
	if (!ret)
		ret = compare(file, d.data, size);
	if (ret == -EILSEQ)
		fprintf(stderr, "host_device: what was read is not what is in the file\n");
	describe(dev, &mem);
	printf("%llu bytes by %llu commands of a process with no system call: %s\n",
	       (unsigned long long)size, (unsigned long long)d.image->commands,
	       ret ? "wrong" : "as pread gives them");
	if (homi_queue_close(dev, &queue) || homi_mem_release(dev, &mem))
		ret = 1;
	return ret ? 1 : 0;
}

int main(int argc, char **argv)
{
	const char *name = "nvme0";
	struct homi_extents extents;
	int dmabuf = -1, file, option, ret;
	struct homi_dev dev;
	uint32_t reason;
	struct stat st;

	while ((option = getopt(argc, argv, "d:b:")) != -1) {
		if (option == 'd')
			name = optarg;
		else if (option == 'b')
			dmabuf = atoi(optarg);
		else
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: %s [-d CONTROLLER] [-b FD] FILE\n", argv[0]);
		return 2;
	}
	ret = homi_open(&dev, name);
	if (ret)
		return fail(name, ret);
	file = open(argv[optind], O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &st))
		return fail(argv[optind], -errno);
	ret = homi_extents_open(&dev, file, 0, 0, &extents, &reason);
	if (ret) {
		fprintf(stderr, "host_device: %s\n", homi_strreason(reason));
		return fail(argv[optind], ret);
	}
	ret = read_file(&dev, file, (uint64_t)st.st_size, dmabuf, &extents);
	homi_extents_close(&dev, &extents);
	homi_close(&dev);
	return ret;
}
