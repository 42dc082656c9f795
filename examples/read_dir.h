/* SPDX-License-Identifier: MIT */
#ifndef EXAMPLES_READ_DIR_H
#define EXAMPLES_READ_DIR_H

/* What uring_read and dmabuf_read have in common: a sum over pieces, waiting, and a bar */

#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a over words, the last one filled up by zeroes, begun with where they are */
static inline uint64_t sum_of(const void *data, uint32_t length, uint64_t offset)
{
	uint64_t sum = 0xcbf29ce484222325ull ^ offset, word;
	uint32_t i;

	for (i = 0; i < length; i += sizeof(word)) {
		word = 0;
		memcpy(&word, (const char *)data + i,
		       length - i < sizeof(word) ? length - i : sizeof(word));
		sum = (sum ^ word) * 0x100000001b3ull;
	}
	return sum;
}

/* A number from @least to @most and nothing behind it: 0, or -1 */
static inline int parse_number(const char *text, uint32_t least, uint32_t most, uint32_t *value)
{
	unsigned long n;
	char *end;

	if (*text < '0' || *text > '9')
		return -1;
	n = strtoul(text, &end, 10);
	if (*end || n < least || n > most)
		return -1;
	*value = (uint32_t)n;
	return 0;
}

/* What was prepared is on its way, and at least one is over: 0 or more, or -errno */
static inline int submit_and_wait(struct io_uring *ring)
{
	int ret;

	do {
		ret = io_uring_submit_and_wait(ring, 1);
	} while (ret == -EINTR);
	return ret;
}

/* On stderr, when there is something new to be seen; the caller ends the line. */
static inline void show_progress(uint64_t done, uint64_t total)
{
	static int shown = -1;
	int now = total ? (int)(done * 50 / total) : 50;

	if (now == shown)
		return;
	shown = now;
	fprintf(stderr, "\r[%-50.*s] %3d %%", now,
		"##################################################", 2 * now);
}

#endif /* EXAMPLES_READ_DIR_H */
