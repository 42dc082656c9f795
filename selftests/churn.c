// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "churn.h"
#include "witness.h"

struct churn *ch;

static size_t some_offset(void)
{
	return seed_next(&ch->seed, MAX_SIZE);
}

static size_t some_length(size_t offset)
{
	return 1 + seed_next(&ch->seed, MAX_SIZE - offset) % (16 * PAGE);
}

static void model_resize(size_t size)
{
	if (size < ch->size)
		memset(ch->model + size, 0, ch->size - size);
	ch->size = size;
}

void model_write(size_t offset, const void *data, size_t length)
{
	memcpy(ch->model + offset, data, length);
	if (offset + length > ch->size)
		ch->size = offset + length;
}

int churn_open(int flags)
{
	int file = open(ch->path, flags | O_CLOEXEC, 0644);

	ASSERT(file >= 0);
	return file;
}

const char *churn_data(void)
{
	static char data[MAX_SIZE] __attribute__((aligned(4096)));

	fill_random(data, MAX_SIZE, ++ch->seed);
	return data;
}

static void do_write(int file)
{
	size_t offset = some_offset(), length = some_length(offset);
	const char *data = churn_data();

	ASSERT_EQ(length, pwrite(file, data, length, offset));
	model_write(offset, data, length);
}

static void do_write_direct(int file)
{
	size_t offset = some_offset() / PAGE * PAGE;
	const char *data = churn_data();
	int direct = churn_open(O_WRONLY | O_DIRECT);

	(void)file;
	ASSERT_EQ(PAGE, pwrite(direct, data, PAGE, offset));
	model_write(offset, data, PAGE);
	close(direct);
}

static void do_map(int file)
{
	size_t length = ch->size, offset = length ? seed_next(&ch->seed, length) : 0;
	const char *data = churn_data();
	char *map;

	if (!length)
		return;
	map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT(map != MAP_FAILED);
	memcpy(map + offset, data, length - offset);
	munmap(map, length);
	model_write(offset, data, length - offset);
}

static void do_ftruncate(int file)
{
	size_t size = some_offset();

	ASSERT(!ftruncate(file, size));
	model_resize(size);
}

static void do_punch(int file)
{
	size_t offset = some_offset(), length = some_length(offset);

	ASSERT(!fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length));
	memset(ch->model + offset, 0, length);
}

static void do_zero(int file)
{
	size_t offset = some_offset(), length = some_length(offset);

	ASSERT(!fallocate(file, FALLOC_FL_ZERO_RANGE, offset, length));
	memset(ch->model + offset, 0, length);
	if (offset + length > ch->size)
		ch->size = offset + length;
}

static void do_allocate(int file)
{
	size_t offset = some_offset(), length = some_length(offset);

	if (offset % 2) {
		ASSERT(!fallocate(file, FALLOC_FL_KEEP_SIZE, offset, length));
		return;
	}
	ASSERT(!fallocate(file, 0, offset, length));
	if (offset + length > ch->size)
		ch->size = offset + length;
}

static void do_collapse(int file)
{
	size_t offset = some_offset() / PAGE * PAGE, length = 2 * PAGE;

	if (offset + length >= ch->size)
		return;
	ASSERT(!fallocate(file, FALLOC_FL_COLLAPSE_RANGE, offset, length));
	memmove(ch->model + offset, ch->model + offset + length, ch->size - offset - length);
	model_resize(ch->size - length);
}

static void do_insert(int file)
{
	size_t offset = some_offset() / PAGE * PAGE, length = 2 * PAGE;

	if (offset >= ch->size || ch->size + length > MAX_SIZE)
		return;
	ASSERT(!fallocate(file, FALLOC_FL_INSERT_RANGE, offset, length));
	memmove(ch->model + offset + length, ch->model + offset, ch->size - offset);
	memset(ch->model + offset, 0, length);
	ch->size += length;
}

/* XFS shares the blocks of the other one then. */
static void do_clone(int file)
{
	size_t offset = some_offset() / PAGE * PAGE;
	struct file_clone_range range = {
		.src_fd = open(ch->other_path, O_RDONLY | O_CLOEXEC), .src_offset = offset,
		.src_length = MAX_SIZE - offset < 8 * PAGE ? MAX_SIZE - offset : 8 * PAGE,
		.dest_offset = offset,
	};
	int ret = ioctl(file, FICLONERANGE, &range);

	close(range.src_fd);
	if (ret)
		ASSERT_EQ(EOPNOTSUPP, errno);
	else
		model_write(offset, ch->other + offset, range.src_length);
}

static void do_copy(int file)
{
	int from = open(ch->other_path, O_RDONLY | O_CLOEXEC);
	size_t offset = some_offset(), length = some_length(offset);
	off_t in = offset, out = offset;
	ssize_t done = copy_file_range(from, &in, file, &out, length, 0);

	ASSERT(done > 0);
	model_write(offset, ch->other + offset, done);
	close(from);
}

static void (*const by_descriptor[])(int file) = {
	do_write, do_write, do_write_direct, do_map, do_ftruncate, do_punch, do_zero, do_allocate,
	do_collapse, do_insert, do_clone, do_copy,
};

static void do_truncate_path(void)
{
	size_t size = some_offset();

	ASSERT(!truncate(ch->path, size));
	model_resize(size);
}

/* Another file gets this one's name, and its blocks after that. */
void churn_replace(void)
{
	const char *data = churn_data();
	size_t size = 1 + some_offset();
	char path[300];
	int file;

	snprintf(path, sizeof(path), "%s.new", ch->path);
	file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ASSERT(file >= 0);
	ASSERT_EQ(size, write(file, data, size));
	close(file);
	ASSERT(!rename(path, ch->path));
	model_resize(0);
	model_write(0, data, size);
}

static void do_rewrite(void)
{
	close(churn_open(O_WRONLY | O_TRUNC));
	model_resize(0);
}

void churn_by_descriptor(int file)
{
	by_descriptor[seed_next(&ch->seed, ARRAY_SIZE(by_descriptor))](file);
}

static void do_some(void)
{
	unsigned int n = 1 + seed_next(&ch->seed, 4);
	int file = churn_open(O_RDWR);

	while (n--)
		churn_by_descriptor(file);
	close(file);
}

void churn_change(void)
{
	atomic_fetch_add(&ch->change, 1);
	switch (seed_next(&ch->seed, 10)) {
	case 0:
		do_truncate_path();
		break;
	case 1:
		churn_replace();
		break;
	case 2:
		do_rewrite();
		do_some();
		break;
	default:
		do_some();
	}
	atomic_fetch_add(&ch->change, 1);
}

static void make_file(const char *path, char *content, uint64_t seed)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ASSERT(file >= 0);
	fill_random(content, MAX_SIZE, seed);
	ASSERT_EQ(MAX_SIZE, write(file, content, MAX_SIZE));
	close(file);
}

void churn_begin(const char *dir)
{
	ch = mmap(NULL, sizeof(*ch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(ch != MAP_FAILED);
	ch->seed = seed_begin();
	snprintf(ch->path, sizeof(ch->path), "%s/churn.%d", dir, getpid());
	snprintf(ch->other_path, sizeof(ch->other_path), "%s.other", ch->path);
	make_file(ch->path, ch->model, ch->seed);
	make_file(ch->other_path, ch->other, ch->seed + 1);
	ch->size = MAX_SIZE;
}

void churn_end(void)
{
	unlink(ch->path);
	unlink(ch->other_path);
	munmap(ch, sizeof(*ch));
}
