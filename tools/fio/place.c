// SPDX-License-Identifier: MIT
/*
 * On which controller a file or a partition is, and where there; and the job's memory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/dma-heap.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "engine.h"

#define HOMI_DIR	"/dev/homi"
#define SECTOR		512ull
#define UDMABUF		"/dev/udmabuf"
#define NAP_MS		20u
#define RESET_MS	90000u	/* for the controller to come back */

static int read_text(const char *path, char *text, size_t len)
{
	FILE *f = fopen(path, "re");
	int good = f && fgets(text, (int)len, f);

	if (f)
		fclose(f);
	return good ? 0 : -ENODEV;
}

static int read_number(unsigned int major, unsigned int minor, const char *name, uint64_t *n)
{
	char path[96], text[32];
	int ret;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major, minor, name);
	ret = read_text(path, text, sizeof(text));
	if (!ret)
		*n = strtoull(text, NULL, 10);
	return ret;
}

/* The disk that @dev is or is a partition of, and where in it */
static int find_disk(dev_t dev, unsigned int *major, unsigned int *minor, uint64_t *start,
		     uint64_t *length)
{
	char path[96], text[32];
	uint64_t number;
	int ret;

	*major = major(dev);
	*minor = minor(dev);
	*start = 0;
	ret = read_number(*major, *minor, "size", length);
	*length *= SECTOR;
	if (ret || read_number(*major, *minor, "partition", &number))
		return ret;
	ret = read_number(*major, *minor, "start", start);
	*start *= SECTOR;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", *major, *minor);
	if (!ret)
		ret = read_text(path, text, sizeof(text));
	if (!ret && sscanf(text, "%u:%u", major, minor) != 2)
		ret = -ENODEV;
	return ret;
}

static int walk_ns(const struct homi_dev *dev, unsigned int major, unsigned int minor,
		   struct homi_ns_info *ns)
{
	uint32_t nsid = 1;
	int ret;

	while (!(ret = homi_get_ns_info(dev, nsid, HOMI_NS_NEXT, ns))) {
		if (ns->out_major == major && ns->out_minor == minor)
			return 0;
		if (ns->out_nsid == UINT32_MAX)
			return -ENOENT;
		nsid = ns->out_nsid + 1;
	}
	return ret;
}

/* A controller that resets is waited for. */
static int find_ns(const struct homi_dev *dev, unsigned int major, unsigned int minor,
		   struct homi_ns_info *ns)
{
	unsigned int left = RESET_MS / NAP_MS;
	int ret;

	while ((ret = walk_ns(dev, major, minor, ns)) == -EAGAIN && left--)
		usleep(NAP_MS * 1000);
	return ret;
}

static int open_named(struct thread_data *td, struct engine *e, const char *name)
{
	int ret = homi_open(&e->dev, name);

	if (ret)
		return engine_fails(td, ret, "controller %s: %s%s", name, strerror(-ret),
				    ret == -EACCES ? "; members of the group homi may open it" :
				    ret == -ENOENT ? "; \"homi list\" tells which there are" : "");
	e->has_dev = true;
	return 0;
}

/* The device of a file, or, if it is still to be made, of the directory where that will be */
static int device_of(const char *path, dev_t *dev)
{
	char copy[PATH_MAX];
	struct stat st;

	if (stat(path, &st)) {
		snprintf(copy, sizeof(copy), "%s", path);
		if (errno != ENOENT || stat(dirname(copy), &st))
			return -errno;
	}
	*dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	return 0;
}

/* Asks each controller that may be opened. */
static int open_any(struct thread_data *td, struct engine *e, const char *path,
		    unsigned int major, unsigned int minor)
{
	DIR *d = opendir(HOMI_DIR);
	struct homi_ns_info ns;
	struct dirent *entry;
	int ret, wrong = 0;

	if (!d)
		return engine_fails(td, -ENODEV,
				    "no controller: load the module, modprobe homi");
	while (!e->has_dev && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		ret = homi_open(&e->dev, entry->d_name);
		if (!ret) {
			ret = find_ns(&e->dev, major, minor, &ns);
			e->has_dev = !ret;
			if (ret)
				homi_close(&e->dev);
		}
		if (ret && ret != -ENOENT)
			wrong = ret;
	}
	closedir(d);
	if (e->has_dev)
		return 0;
	if (wrong == -EACCES)
		return engine_fails(td, wrong, "%s: on no controller that you may open; members of the group homi may open " HOMI_DIR "/*",
				    path);
	if (wrong)
		return engine_fails(td, wrong, "%s: which controller has it can't be told: %s", path,
				    strerror(-wrong));
	return engine_fails(td, -EOPNOTSUPP, "%s: on no NVMe namespace that homi has, nor on a partition of one",
			    path);
}

int place_open(struct thread_data *td, struct engine *e, const char *path)
{
	unsigned int major, minor;
	uint64_t start, length;
	dev_t dev;
	int ret;

	if (e->options->ctrl)
		return open_named(td, e, e->options->ctrl);
	ret = device_of(path, &dev);
	if (ret)
		return engine_fails(td, ret, "%s: %s", path, strerror(-ret));
	if (find_disk(dev, &major, &minor, &start, &length))
		return engine_fails(td, -EOPNOTSUPP, "%s: on no block device (overlay, btrfs, tmpfs, network)",
				    path);
	return open_any(td, e, path, major, minor);
}

int place_find_blocks(struct thread_data *td, struct engine *e, const struct fio_file *f,
		      struct target *t)
{
	unsigned int major, minor;
	struct stat st;
	int ret;

	if (fstat(f->fd, &st) || !S_ISBLK(st.st_mode))
		return engine_fails(td, -ENOTBLK, "%s: homi_mode=raw wants a namespace or a partition; files want homi_mode=uring",
				    f->file_name);
	ret = find_disk(st.st_rdev, &major, &minor, &t->start, &t->length);
	if (ret)
		return engine_fails(td, ret, "%s: not in sysfs: %s", f->file_name, strerror(-ret));
	ret = find_ns(&e->dev, major, minor, &t->ns);
	if (ret)
		return engine_fails(td, ret, "%s: no namespace of this job's controller, nor a partition of one: %s",
				    f->file_name, strerror(-ret));
	if (t->ns.out_metadata_size || (t->ns.out_features & HOMI_NS_ZONED))
		return engine_fails(td, -EOPNOTSUPP, "%s: zoned, or with metadata", f->file_name);
	if (t->start % t->ns.out_block_size || t->length % t->ns.out_block_size ||
	    (t->start + t->length) / t->ns.out_block_size > t->ns.out_blocks)
		return engine_fails(td, -EINVAL, "%s: not whole blocks within the namespace",
				    f->file_name);
	return 0;
}

/* --- memory --- */

static int open_dmabuf(const char *path, uint64_t length)
{
	struct dma_heap_allocation_data data = {
		.len = length, .fd_flags = O_RDWR | O_CLOEXEC,
	};
	int heap, ret;

	if (!strcmp(path, UDMABUF))
		return homi_udmabuf(length);
	heap = open(path, O_RDONLY | O_CLOEXEC);
	if (heap < 0)
		return -errno;
	ret = ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) ? -errno : (int)data.fd;
	close(heap);
	return ret;
}

static int alloc_dmabuf(struct thread_data *td, struct engine *e, uint64_t length)
{
	const char *path = e->options->dmabuf;
	int fd = open_dmabuf(path, length), ret;
	uint32_t reason = 0;
	void *addr;

	if (fd < 0)
		return engine_fails(td, fd, "homi_dmabuf=%s: %s%s", path, strerror(-fd),
				    fd == -ENOENT ? "; a heap below /dev/dma_heap, or " UDMABUF :
				    fd == -ENOTTY ? "; it is no heap" :
				    fd == -EINVAL ? "; udmabuf has a limit, size_limit_mb" : "");
	addr = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (addr == MAP_FAILED) {
		ret = -errno;
		close(fd);
		return engine_fails(td, ret, "%s: mapping it: %s", path, strerror(-ret));
	}
	ret = homi_mem_import(&e->dev, fd, 0, length, HOMI_MEM_WRITE, addr, &e->mem, &reason);
	close(fd);
	if (!ret)
		return 0;
	munmap(addr, length);
	return engine_fails(td, ret, "%s: %s", path,
			    reason ? homi_strreason(reason) : strerror(-ret));
}

int place_alloc(struct thread_data *td, struct engine *e, uint64_t length)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint32_t flags = HOMI_MEM_WRITE;
	int ret;

	if (e->options->dmabuf)
		return alloc_dmabuf(td, e, (length + page - 1) / page * page);
	/* Only where homi makes commands of its own does the controller have to reach them. */
	if (e->options->mode == MODE_URING && e->options->way != WAY_BY_EXTENTS)
		flags |= HOMI_MEM_PAGES;
	ret = homi_mem_alloc(&e->dev, length, flags, &e->mem);
	if (!ret)
		return 0;
	return engine_fails(td, ret, "%llu bytes of memory: %s%s", (unsigned long long)length,
			    strerror(-ret), ret == -ENOMEM ?
			    "; raise \"ulimit -l\", or take a smaller iodepth or bs" : "");
}

void place_free(struct engine *e)
{
	uint64_t length = e->mem.length;
	void *addr = e->mem.addr;
	bool owned = e->mem.owned;

	if (!length)
		return;
	/* What is still under way has it until the descriptor is closed. */
	if (homi_mem_release(&e->dev, &e->mem))
		free(e->mem.segs);
	else if (owned)
		addr = NULL;
	if (addr)
		munmap(addr, length);
	memset(&e->mem, 0, sizeof(e->mem));
}
