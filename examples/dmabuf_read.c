// SPDX-License-Identifier: MIT
/*
 * Reads all files of a directory, or a block device, into a dma-buf: memory of a GPU for
 * example, many pieces at a time, and compares the checksum of each with what pread() gives.
 * Files that can't be had are named, the others are read. Whoever may open /dev/homi/nvmeN and
 * read the files may do that:
 *
 *	make -C lib examples
 *	build/lib/dmabuf_read [-d nvme0] [-q DEPTH] [-b FD] [-w homi|kernel] [-p] DIRECTORY|DEVICE
 *
 * -b: a dma-buf that the caller has open as FD; else it is of /dev/dma_heap/system
 * -w: that way or none, see homi_uring_buf_open()
 * -p: shows how far it is, as without where stderr is a terminal
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <homi/uring.h>

#include "read_dir.h"

#define HEAP		"/dev/dma_heap/system"
#define STEP		(128u << 10)
#define DEPTH_MAX	1024u

/* A file, from when it is opened until its last piece is there; a sum over these */
struct source {
	const char *path;
	int fd;
	struct homi_uring_buf buf;
	uint64_t size, sum;
	uint32_t left;		/* pieces on their way */
	int posted;		/* all of it, or all that will be */
	int err;
};

/* One piece of a file on its way to its place in the dma-buf */
struct piece {
	struct source *source;
	uint64_t offset;
	uint32_t length;
};

static struct {
	struct homi_dev dev;
	struct homi_mem mem;
	struct io_uring ring;
	enum homi_uring_way way;
	int dmabuf;
	char *memory;		/* the dma-buf, as the CPU sees it */
	void *copy;		/* of a piece, by pread() */
	uint32_t depth;
	struct piece *pieces;	/* one for each place */
	uint32_t *spare;	/* places that are free */
	uint32_t spares;
	char **paths;
	uint32_t count, bad;
	uint64_t total, done;
	int progress;
} r = { .depth = 32 };

static void die(const char *what, int err)
{
	fprintf(stderr, "dmabuf_read: %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

static void complain(const char *path, const char *why)
{
	if (r.progress)
		fputc('\n', stderr);
	fprintf(stderr, "dmabuf_read: %s: %s\n", path, why);
	r.bad++;
}

static void add(const char *dir, const char *name, uint64_t size)
{
	char *path;

	if (asprintf(&path, "%s%s%s", dir, name ? "/" : "", name ? name : "") < 0)
		die("memory", ENOMEM);
	r.paths = realloc(r.paths, (r.count + 1) * sizeof(*r.paths));
	if (!r.paths)
		die("memory", ENOMEM);
	r.paths[r.count++] = path;
	r.total += size;
}

static void find(const char *from)
{
	struct dirent *entry;
	struct stat st;
	DIR *d;

	if (stat(from, &st))
		die(from, errno);
	if (S_ISBLK(st.st_mode)) {
		add(from, NULL, 0);
		return;
	}
	d = opendir(from);
	if (!d)
		die(from, errno);
	while ((entry = readdir(d)))
		if (!fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode))
			add(from, entry->d_name, (uint64_t)st.st_size);
	closedir(d);
}

static int heap_new(uint64_t length)
{
	struct dma_heap_allocation_data data = { .len = length, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open(HEAP, O_RDONLY | O_CLOEXEC);

	if (heap < 0 || ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data))
		die(HEAP, errno);
	close(heap);
	return (int)data.fd;
}

/* All files share the dma-buf, so homi is shown it once. */
static void set_up_memory(void)
{
	uint64_t length;
	uint32_t reason;
	off_t have;
	int ret;

	if (r.dmabuf < 0)
		r.dmabuf = heap_new((uint64_t)r.depth * STEP);
	have = lseek(r.dmabuf, 0, SEEK_END);
	if (have < (off_t)STEP)
		die("dma-buf", have < 0 ? errno : ENOSPC);
	if ((uint64_t)have / STEP < r.depth)
		r.depth = (uint32_t)(have / STEP);
	length = (uint64_t)r.depth * STEP;
	r.memory = mmap(NULL, length, PROT_READ, MAP_SHARED, r.dmabuf, 0);
	if (r.memory == MAP_FAILED)
		die("mapping the dma-buf", errno);
	if (r.way == HOMI_URING_BY_KERNEL)
		return;
	ret = homi_mem_import(&r.dev, r.dmabuf, 0, length, HOMI_MEM_WRITE, r.memory, &r.mem, &reason);
	if (ret && reason)
		fprintf(stderr, "dmabuf_read: %s\n", homi_strreason(reason));
	if (ret)
		die("importing the dma-buf", ret);
}

static void set_up(const char *ctrl)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SQE128 };
	uint32_t i;
	int ret = homi_open(&r.dev, ctrl);

	if (ret)
		die(ctrl, ret);
	set_up_memory();
	ret = io_uring_queue_init_params(r.depth, &r.ring, &p);
	/* For the kernel's own way, which at most one device goes */
	if (!ret)
		ret = io_uring_register_buffers_sparse(&r.ring, 1);
	if (ret)
		die("io_uring", ret);
	r.pieces = calloc(r.depth, sizeof(*r.pieces));
	r.spare = calloc(r.depth, sizeof(*r.spare));
	/* Direct I/O of a device wants it aligned. */
	ret = posix_memalign(&r.copy, 4096, STEP);
	if (!r.pieces || !r.spare || ret)
		die("memory", ENOMEM);
	for (i = 0; i < r.depth; i++)
		r.spare[r.spares++] = i;
}

/* The kernel's own way is for direct I/O of a device. */
static int open_path(struct source *s)
{
	struct stat st;
	off_t size;

	/* Nobody's pipe is waited for. */
	s->fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (s->fd < 0 || fstat(s->fd, &st))
		return -errno;
	size = lseek(s->fd, 0, SEEK_END);
	if (size < 0)
		return -errno;
	s->size = (uint64_t)size;
	if (!S_ISBLK(st.st_mode))
		return 0;
	r.total = s->size;
	return fcntl(s->fd, F_SETFL, O_DIRECT) ? -errno : 0;
}

/* 0 and @s, or it has been said why not */
static int open_source(struct source *s, const char *path)
{
	struct homi_uring_buf_config config = {
		.dev = &r.dev, .ring = &r.ring, .dmabuf = r.dmabuf, .way = r.way,
	};
	uint32_t reason = 0;
	int ret;

	*s = (struct source){ .path = path };
	ret = open_path(s);
	config.target = s->fd;
	config.mem = r.mem.id ? &r.mem : NULL;
	if (!ret)
		ret = homi_uring_buf_open(&s->buf, &config, &reason);
	if (!ret)
		return 0;
	complain(path, reason ? homi_strreason(reason) : strerror(-ret));
	r.done += s->size;
	if (s->fd >= 0)
		close(s->fd);
	return ret;
}

/* Both ways end at the end of the file. */
static void post(struct piece *p)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r.ring);

	homi_uring_prep_buf_read(sqe, &p->source->buf, p->offset, (uint64_t)(p - r.pieces) * STEP,
				 STEP);
	io_uring_sqe_set_data(sqe, p);
}

static int sum_by_pread(const struct source *s, uint64_t *sum)
{
	uint64_t offset;
	ssize_t got;

	for (offset = 0, *sum = 0; offset < s->size; offset += (uint64_t)got) {
		got = pread(s->fd, r.copy, STEP, (off_t)offset);
		if (got <= 0 || (got < (ssize_t)STEP && offset + (uint64_t)got < s->size))
			return got < 0 ? -errno : -EIO;
		*sum ^= sum_of(r.copy, (uint32_t)got, offset);
	}
	return 0;
}

static void finish(struct source *s)
{
	uint64_t sum = 0;
	int ret = s->err;

	if (!ret)
		ret = sum_by_pread(s, &sum);
	/* Of the kernel's own way it has been tried again, so this is homi's. */
	if (ret == -EAGAIN)
		complain(s->path, homi_strreason(HOMI_REASON_WRITER));
	else if (ret)
		complain(s->path, strerror(-ret));
	else if (sum != s->sum)
		complain(s->path, "not what pread() gives");
	ret = homi_uring_buf_close(&s->buf);
	if (ret)
		die(s->path, ret);
	close(s->fd);
	free(s);
}

/* The CPU's look at what the controller wrote */
static uint64_t sum_in_place(const struct piece *p)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ };
	uint64_t sum;

	if (ioctl(r.dmabuf, DMA_BUF_IOCTL_SYNC, &sync))
		die("dma-buf", errno);
	sum = sum_of(r.memory + (uint64_t)(p - r.pieces) * STEP, p->length, p->offset);
	sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ;
	if (ioctl(r.dmabuf, DMA_BUF_IOCTL_SYNC, &sync))
		die("dma-buf", errno);
	return sum;
}

static void complete(struct piece *p, int res)
{
	struct source *s = p->source;

	/* The exporter was moving it just then. */
	if (res == -EAGAIN && s->buf.way == HOMI_URING_BY_KERNEL) {
		post(p);
		return;
	}
	if (res != (int)p->length)
		s->err = s->err ? s->err : res < 0 ? res : -EIO;
	else
		s->sum ^= sum_in_place(p);
	r.done += p->length;
	r.spare[r.spares++] = (uint32_t)(p - r.pieces);
	if (!--s->left && s->posted)
		finish(s);
}

static void take(void)
{
	struct io_uring_cqe *cqe;
	struct piece *p;
	int ret, res;

	ret = submit_and_wait(&r.ring);
	if (ret < 0)
		die("io_uring", ret);
	while (!io_uring_peek_cqe(&r.ring, &cqe)) {
		p = io_uring_cqe_get_data(cqe);
		res = cqe->res;
		io_uring_cqe_seen(&r.ring, cqe);
		complete(p, res);
	}
	if (r.progress)
		show_progress(r.done, r.total);
}

static void read_source(const char *path)
{
	struct source *s = malloc(sizeof(*s));
	struct piece *p;
	uint64_t offset;

	if (!s)
		die("memory", ENOMEM);
	if (open_source(s, path)) {
		free(s);
		return;
	}
	for (offset = 0; offset < s->size && !s->err; offset += STEP) {
		while (!r.spares)
			take();
		p = &r.pieces[r.spare[--r.spares]];
		*p = (struct piece){ .source = s, .offset = offset, .length = STEP };
		if (s->size - offset < STEP)
			p->length = (uint32_t)(s->size - offset);
		s->left++;
		post(p);
	}
	if (offset < s->size)
		r.done += s->size - offset;
	s->posted = 1;
	if (!s->left)
		finish(s);
}

static int usage(void)
{
	fprintf(stderr, "usage: dmabuf_read [-d nvme0] [-q DEPTH] [-b FD] [-w homi|kernel] [-p] DIRECTORY|DEVICE\nDEPTH: from 1 to %u\n",
		DEPTH_MAX);
	return 2;
}

int main(int argc, char **argv)
{
	const char *ctrl = "nvme0";
	uint32_t i, fd;
	int opt;

	r.dmabuf = -1;
	r.progress = isatty(2);
	while ((opt = getopt(argc, argv, "d:q:b:w:p")) != -1) {
		if (opt == 'd')
			ctrl = optarg;
		else if (opt == 'q' && !parse_number(optarg, 1, DEPTH_MAX, &r.depth))
			;
		else if (opt == 'b' && !parse_number(optarg, 0, INT_MAX, &fd))
			r.dmabuf = (int)fd;
		else if (opt == 'w' && !strcmp(optarg, "homi"))
			r.way = HOMI_URING_BY_HOMI;
		else if (opt == 'w' && !strcmp(optarg, "kernel"))
			r.way = HOMI_URING_BY_KERNEL;
		else if (opt == 'p')
			r.progress = 1;
		else
			return usage();
	}
	if (optind != argc - 1)
		return usage();
	find(argv[optind]);
	set_up(ctrl);
	for (i = 0; i < r.count; i++)
		read_source(r.paths[i]);
	while (r.spares < r.depth)
		take();
	if (r.progress)
		fputc('\n', stderr);
	printf("%u files, %llu bytes, %u pieces at a time: ", r.count, (unsigned long long)r.total,
	       r.depth);
	if (r.bad)
		printf("%u not read, or wrong\n", r.bad);
	else
		printf("as pread gives them\n");
	return r.bad ? 1 : 0;
}
