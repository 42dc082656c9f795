// SPDX-License-Identifier: GPL-2.0-only
/*
 * Not a test by itself: what scripts/power-cuts runs in a machine whose power is cut, and after it.
 *
 * "cutter write DIR MS": files are written to in place through a queue, and given up, and written
 * to; and others that come and go get the blocks of those that went. It tells after MS milliseconds
 * how far it is, and goes on. "cutter check DIR": each sector of each file is of that file, or zero;
 * and what was flushed before the cut, of which the machine outside keeps a list, is there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inplace.h"

#define SECTOR	512u
#define OTHERS	12u
#define VICTIMS	3u
#define MAGIC	0x686f6d692e637574ull

/* What each sector is full of */
struct tag {
	uint64_t magic, file, sector, version;
};

static const char *dir;
static FILE *flushed;
static atomic_ulong next_file, grants, commands, made;

static void stamp(char *buf, uint64_t file, uint64_t sector, uint64_t version)
{
	struct tag tag = { MAGIC, file, sector, version };
	unsigned int i;

	for (i = 0; i < SECTOR; i += sizeof(tag))
		memcpy(buf + i, &tag, sizeof(tag));
}

static void stamp_page(char *buf, uint64_t file, uint64_t page, uint64_t version)
{
	unsigned int i;

	for (i = 0; i < PAGE / SECTOR; i++)
		stamp(buf + i * SECTOR, file, page * (PAGE / SECTOR) + i, version);
}

static void path_of(char *path, size_t size, uint64_t file)
{
	snprintf(path, size, "%s/%llu", dir, (unsigned long long)file);
}

/* A new one, whose name tells what it has; committed, or left to whoever wants its blocks. */
static uint64_t file_make(char *path, size_t size, char *buf, bool commit)
{
	uint64_t file = atomic_fetch_add(&next_file, 1);
	unsigned int i;
	int fd;

	path_of(path, size, file);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
	ASSERT(fd >= 0);
	for (i = 0; i < PAGES; i++)
		stamp_page(buf + i * PAGE, file, i, 0);
	ASSERT_EQ(SIZE, pwrite(fd, buf, SIZE, 0));
	ASSERT(!commit || !fsync(fd));
	close(fd);
	atomic_fetch_add(&made, 1);
	return file;
}

static void flushed_open(const char *mode)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/flushed-%s", getenv("HOMI_VM_DIR"), base_name(dir));
	flushed = fopen(path, mode);
	ASSERT(flushed || *mode == 'r');
}

/* The first page of @file has at least @version; ~0: the file goes */
static void flushed_tell(uint64_t file, uint64_t version)
{
	fprintf(flushed, "%llu %llu\n", (unsigned long long)file, (unsigned long long)version);
	fflush(flushed);
}

/* --- until the power goes --- */

/* Takes what blocks there are. */
static void *others(void *arg)
{
	char paths[OTHERS][300], *buf;
	unsigned int i;

	(void)arg;
	memset(paths, 0, sizeof(paths));
	ASSERT(!posix_memalign((void **)&buf, PAGE, SIZE));
	for (i = 0;; i++) {
		char *path = paths[i % OTHERS];

		if (path[0])
			ASSERT(!unlink(path));
		/* Each commits what others have done as well; those should do it themselves. */
		file_make(path, sizeof(paths[0]), buf, !(i % 32));
	}
	return NULL;
}

/* Pages in any order, as deep as the ring, for a while; the first one at last, and a Flush */
static void write_some(struct ring *ring, const struct area *area, const struct table *table,
		       const struct dma *dma, uint64_t file, unsigned int rounds)
{
	static _Thread_local uint64_t version;
	struct sqe flush = { .opcode = NVME_FLUSH, .nsid = area->nsid }, first;
	struct cqe cqe;
	unsigned int i, k;

	for (i = 0; i < rounds; i++) {
		for (k = 0; k < 15; k++) {
			unsigned int page = (unsigned int)rand() % PAGES;
			struct sqe sqe = sqe_rw(NVME_WRITE, area, table_lookup(table, page * PAGE),
						PAGE, dma, k * PAGE, NULL);

			stamp_page(dma->va + k * PAGE, file, page, ++version);
			ring_post(ring, &sqe);
		}
		ring_doorbell(ring);
		for (k = 0; k < 15; k++) {
			ASSERT_EQ(0, ring_poll(ring, &cqe, 30000));
			ASSERT_EQ(0, cqe.status >> 1);
		}
		atomic_fetch_add(&commands, 15);
	}
	stamp_page(dma->va, file, 0, ++version);
	first = sqe_rw(NVME_WRITE, area, table_lookup(table, 0), PAGE, dma, 0, NULL);
	ASSERT_EQ(0, ring_do(ring, &first));
	ASSERT_EQ(0, ring_do(ring, &flush));
	flushed_tell(file, version);
}

static void *holder(void *arg)
{
	char path[300], *buf;
	struct area area = { 0 };
	struct table table;
	struct ring ring;
	struct dma dma;
	uint64_t file;
	int fd = homi_open();

	(void)arg;
	ASSERT(!posix_memalign((void **)&buf, PAGE, SIZE));
	dma_new(&dma, fd, 16 * PAGE);
	for (;;) {
		unsigned int i;

		file = file_make(path, sizeof(path), buf, false);
		for (i = 0; i < 3; i++) {
			table_open_to_write(&table, fd, path);
			area.nsid = table.r.out_nsid;
			area.block_size = table.r.out_block_size;
			ring_open(&ring, fd, 16);
			write_some(&ring, &area, &table, &dma, file, 1 + (unsigned int)rand() % 30);
			ASSERT_EQ(0, ring_destroy(&ring));
			ring_unmap(&ring);
			ASSERT_EQ(0, table_close(&table));
			atomic_fetch_add(&grants, 1);
		}
		flushed_tell(file, ~0ull);
		ASSERT(!unlink(path));
	}
	return NULL;
}

static int write_until(unsigned int ms)
{
	pthread_t thread;
	unsigned int i;

	srand(ms);
	flushed_open("w");
	/* Above what an earlier boot made */
	atomic_store(&next_file, (uint64_t)time(NULL) * 1000000);
	for (i = 0; i < VICTIMS; i++)
		ASSERT(!pthread_create(&thread, NULL, holder, NULL));
	ASSERT(!pthread_create(&thread, NULL, others, NULL));
	nap_ms(ms);
	printf("# %s: %lu grants, %lu commands, %lu files made\n", dir, grants,
	       commands, made);
	for (;;)
		pause();
}

/* --- afterwards --- */

static int check_file(const char *name)
{
	uint64_t file = strtoull(name, NULL, 10), sector, foreign = 0, zero = 0, later = 0;
	char path[300], buf[SECTOR], want[SECTOR];
	struct tag tag;
	struct stat st;
	int fd;

	path_of(path, sizeof(path), file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT(fd >= 0 && !fstat(fd, &st));
	for (sector = 0; sector < (uint64_t)st.st_size / SECTOR; sector++) {
		ASSERT_EQ(SECTOR, pread(fd, buf, SECTOR, sector * SECTOR));
		memcpy(&tag, buf, sizeof(tag));
		stamp(want, file, sector, tag.version);
		if (is_filled(buf, 0, SECTOR))
			zero++;
		else if (memcmp(buf, want, SECTOR))
			foreign++;
		else
			later += tag.version > 0;
	}
	close(fd);
	if (foreign)
		printf("# %s: %llu of %llu sectors are not its own\n", path,
		       (unsigned long long)foreign, (unsigned long long)sector);
	printf("# %s: %llu sectors, %llu zero, %llu written in place\n", path,
	       (unsigned long long)sector, (unsigned long long)zero, (unsigned long long)later);
	return foreign != 0;
}

/* The last that was told of a file counts. */
static int check_flushed(unsigned int *count)
{
	unsigned long long file, version, at, later;
	char path[300], buf[SECTOR];
	struct tag tag;
	int bad = 0, fd;
	bool again;
	long line;

	flushed_open("r");
	*count = 0;
	while (flushed && fscanf(flushed, "%llu %llu\n", &file, &version) == 2) {
		line = ftell(flushed);
		for (again = false; fscanf(flushed, "%llu %llu\n", &at, &later) == 2;)
			again |= at == file;
		fseek(flushed, line, SEEK_SET);
		if (again || version == ~0ull)
			continue;
		(*count)++;
		path_of(path, sizeof(path), file);
		memset(&tag, 0, sizeof(tag));
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && pread(fd, buf, SECTOR, 0) == SECTOR)
			memcpy(&tag, buf, sizeof(tag));
		if (fd < 0 || tag.magic != MAGIC || tag.file != file || tag.version < version) {
			bad++;
			printf("# %s: not its own: version %llu was flushed, %llu is there%s\n", path,
			       version, (unsigned long long)tag.version, fd < 0 ? ", no file" : "");
		}
		if (fd >= 0)
			close(fd);
	}
	return bad;
}

static int check_all(void)
{
	unsigned int told;
	unsigned int files = 0, bad = 0;
	struct dirent *entry;
	DIR *d = opendir(dir);

	ASSERT(d);
	while ((entry = readdir(d))) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		files++;
		bad += check_file(entry->d_name);
	}
	closedir(d);
	bad += check_flushed(&told);
	printf("# %s: %u files, %u told to be flushed, %u not as they should be\n", dir, files, told,
	       bad);
	return files && !bad ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	dir = argv[2];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(argv[1], "write") && argc == 4)
		return write_until((unsigned int)atoi(argv[3]));
	return strcmp(argv[1], "check") ? 2 : check_all();
}
