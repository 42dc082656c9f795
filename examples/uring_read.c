// SPDX-License-Identifier: MIT
/*
 * Reads all files of a directory by io_uring into memory that homi has registered,
 * many pieces at a time, and compares the checksum of each with what pread() gives.
 * Whoever may open /dev/homi/nvmeN and read the files may do that:
 *
 *	make -C lib examples
 *	build/lib/uring_read [-d nvme0] [-q DEPTH] DIRECTORY
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <homi/uring.h>

#include "read_dir.h"

#define STEP		(128u << 10)
#define DEPTH_MAX	1024u

/* One piece of a file on its way to its place in the memory */
struct piece {
	struct source *source;
	uint64_t offset;
	uint32_t length;
	uint32_t place;
};

/* A file: a sum over its pieces, in any order */
struct source {
	char path[PATH_MAX];
	int fd;
	uint32_t id;
	uint64_t size, sum;
};

static struct {
	struct homi_dev dev;
	struct homi_mem mem;
	struct io_uring ring;
	uint32_t depth;
	struct piece *pieces;	/* one for each place */
	uint32_t *spare;	/* places that are free */
	uint32_t spares;
	struct source *sources;
	uint32_t count;
	uint64_t total, done;
} r;

static void die(const char *what, int err)
{
	fprintf(stderr, "uring_read: %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

static void add_file(DIR *d, const char *dir, const char *name)
{
	struct source *s = &r.sources[r.count];
	struct stat st;
	uint32_t reason;
	int ret;

	if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return;
	if (snprintf(s->path, sizeof(s->path), "%s/%s", dir, name) >= (int)sizeof(s->path))
		die(dir, ENAMETOOLONG);
	s->fd = openat(dirfd(d), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (s->fd < 0 || fstat(s->fd, &st))
		die(s->path, errno);
	ret = homi_file_register(&r.dev, s->fd, &s->id, &reason);
	if (ret) {
		fprintf(stderr, "uring_read: %s: %s\n", s->path,
			reason ? homi_strreason(reason) : strerror(-ret));
		exit(1);
	}
	s->size = st.st_size;
	r.total += s->size;
	r.count++;
}

static void find_files(const char *dir)
{
	struct dirent *entry;
	DIR *d = opendir(dir);
	uint32_t room = 0;

	if (!d)
		die(dir, errno);
	while ((entry = readdir(d))) {
		if (r.count == room) {
			room = room ? 2 * room : 64;
			r.sources = realloc(r.sources, room * sizeof(*r.sources));
			if (!r.sources)
				die("memory", ENOMEM);
		}
		memset(&r.sources[r.count], 0, sizeof(*r.sources));
		add_file(d, dir, entry->d_name);
	}
	closedir(d);
}

static void set_up(const char *ctrl)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SQE128 };
	void *memory;
	uint32_t i;
	int ret = homi_open(&r.dev, ctrl);

	if (ret)
		die(ctrl, ret);
	ret = io_uring_queue_init_params(r.depth, &r.ring, &p);
	if (ret)
		die("io_uring", ret);
	ret = posix_memalign(&memory, sysconf(_SC_PAGESIZE), (size_t)r.depth * STEP);
	if (ret)
		die("memory", ret);
	ret = homi_mem_register(&r.dev, memory, (uint64_t)r.depth * STEP,
				HOMI_MEM_WRITE | HOMI_MEM_PAGES, &r.mem);
	if (ret)
		die("registering memory", ret);
	r.pieces = calloc(r.depth, sizeof(*r.pieces));
	r.spare = calloc(r.depth, sizeof(*r.spare));
	if (!r.pieces || !r.spare)
		die("memory", ENOMEM);
	for (i = 0; i < r.depth; i++)
		r.spare[r.spares++] = i;
}

/* The next piece of a file; direct I/O wants whole blocks, the end of the file cuts it. */
static void post(struct source *s, uint64_t offset)
{
	uint32_t place = r.spare[--r.spares];
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r.ring);
	struct piece *p = &r.pieces[place];

	p->source = s;
	p->offset = offset;
	p->place = place;
	p->length = s->size - offset < STEP ? s->size - offset : STEP;
	homi_uring_prep_read(sqe, &r.dev, s->id, offset, &r.mem, (uint64_t)place * STEP, STEP);
	io_uring_sqe_set_data(sqe, p);
}

static void take(void)
{
	struct io_uring_cqe *cqe;
	struct piece *p;
	int ret;

	ret = submit_and_wait(&r.ring);
	if (ret < 0)
		die("io_uring", ret);
	while (!io_uring_peek_cqe(&r.ring, &cqe)) {
		p = io_uring_cqe_get_data(cqe);
		if (cqe->res != (int)p->length)
			die(p->source->path, cqe->res < 0 ? cqe->res : EIO);
		p->source->sum ^= sum_of((char *)r.mem.addr + (uint64_t)p->place * STEP, p->length,
					 p->offset);
		r.done += p->length;
		r.spare[r.spares++] = p->place;
		io_uring_cqe_seen(&r.ring, cqe);
	}
	if (isatty(2))
		show_progress(r.done, r.total);
}

static uint64_t sum_by_pread(const struct source *s)
{
	uint64_t offset, sum = 0;
	char *data = malloc(STEP);
	uint32_t length, have;
	ssize_t got;

	if (!data)
		die("memory", ENOMEM);
	for (offset = 0; offset < s->size; offset += length) {
		length = s->size - offset < STEP ? s->size - offset : STEP;
		for (have = 0; have < length; have += got) {
			got = pread(s->fd, data + have, length - have, offset + have);
			if (got <= 0)
				die(s->path, got ? errno : EIO);
		}
		sum ^= sum_of(data, length, offset);
	}
	free(data);
	return sum;
}

/* Each file stays open until it is compared. */
static void allow_many_files(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: uring_read [-d nvme0] [-q DEPTH] DIRECTORY\nDEPTH: from 1 to %u\n",
		DEPTH_MAX);
	return 2;
}

int main(int argc, char **argv)
{
	const char *ctrl = "nvme0";
	uint32_t i, wrong = 0;
	uint64_t offset;
	int opt;

	r.depth = 32;
	while ((opt = getopt(argc, argv, "d:q:")) != -1) {
		if (opt == 'd')
			ctrl = optarg;
		else if (opt != 'q' || parse_number(optarg, 1, DEPTH_MAX, &r.depth))
			return usage();
	}
	if (optind != argc - 1)
		return usage();
	allow_many_files();
	set_up(ctrl);
	find_files(argv[optind]);
	for (i = 0; i < r.count; i++)
		for (offset = 0; offset < r.sources[i].size; offset += STEP) {
			while (!r.spares)
				take();
			post(&r.sources[i], offset);
		}
	while (r.spares < r.depth)
		take();
	if (isatty(2))
		fprintf(stderr, "\n");
	for (i = 0; i < r.count; i++)
		if (r.sources[i].sum != sum_by_pread(&r.sources[i])) {
			printf("%s: not what pread() gives\n", r.sources[i].path);
			wrong++;
		}
	printf("%u files, %llu bytes, %u pieces at a time: %s\n", r.count,
	       (unsigned long long)r.total, r.depth, wrong ? "wrong" : "as pread gives them");
	return wrong ? 1 : 0;
}
