// SPDX-License-Identifier: GPL-2.0-only
/*
 * The BTF parser of the module, in user space. TAP on standard output.
 *
 *   cc -O1 -g -Wall -Wextra -Wno-sign-compare -fsanitize=address,undefined \
 *      -fno-sanitize-recover=all -o btf_test btf_test.c
 *   ./btf_test
 *   ./btf_test VMLINUX_BTF MODULE_BTF STRUCT.MEMBER...	(prints offset and size)
 *
 * Blobs are those of /sys/kernel/btf, or .BTF sections of modules.
 */
#include <errno.h>
#include <limits.h>
#include <linux/btf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define U32_MAX		UINT32_MAX
#define S32_MAX		INT32_MAX
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define IS_ALIGNED(x, a)	(((x) & ((a) - 1)) == 0)

/* As in nvme_glue.h, which needs kernel headers. */
struct homi_btf_query {
	const char *type;
	const char *member;
	int offset;
	u32 size;
};

#include "../btf.c"

#define BTF_STRIDE	1

static int tests, failures;

static void ok(bool good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	failures += !good;
}

static void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("# ");
	vprintf(format, args);
	putchar('\n');
	va_end(args);
}

static void *take(size_t len)
{
	void *data = malloc(len);	/* glibc gives memory of length 0 too */

	if (!data)
		exit(2);
	return data;
}

static void drop(void *data)
{
	free(data);
}

#include "btf_cases.h"

static void *slurp(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	size_t room = 1 << 16, got;
	u8 *data = malloc(room);

	for (*len = 0; f && data; *len += got) {
		if (*len == room)
			data = realloc(data, room *= 2);
		got = data ? fread(data + *len, 1, room - *len, f) : 0;
		if (!got)
			break;
	}
	if (f)
		fclose(f);
	if (!f || !data || !*len) {
		free(data);
		return NULL;
	}
	return data;
}

/* Offsets that are part of the kernel's fixed layout or seen by sizeof(). */
static void test_running(void)
{
	struct homi_btf_query q[] = {
		{ "list_head", "prev", 0, 0 }, { "btf_header", "str_len", 0, 0 },
		{ "btf_type", "size", 0, 0 }, { "task_struct", "comm", 0, 0 },
	};
	size_t len;
	void *data = slurp("/sys/kernel/btf/vmlinux", &len);
	int ret;

	if (!data) {
		printf("ok %d # SKIP no /sys/kernel/btf/vmlinux\n", ++tests);
		return;
	}
	ret = homi_btf_search(data, len, NULL, 0, q, 4);
	ok(!ret && q[0].offset == sizeof(void *) &&
	   q[0].size == sizeof(void *) &&
	   q[1].offset == offsetof(struct btf_header, str_len) &&
	   q[2].offset == offsetof(struct btf_type, size) &&
	   q[3].offset > 0 && q[3].size == 16, "the running kernel's BTF");
	free(data);
}

static int print_offsets(int argc, char **argv)
{
	size_t base_len, split_len = 0;
	void *base = slurp(argv[1], &base_len);
	void *split = strcmp(argv[2], "-") ? slurp(argv[2], &split_len) : NULL;
	int i, ret = 0;

	if (!base || (strcmp(argv[2], "-") && !split)) {
		fprintf(stderr, "cannot read %s or %s\n", argv[1], argv[2]);
		return 1;
	}
	for (i = 3; i < argc && !ret; i++) {
		char *dot = strchr(argv[i], '.');
		struct homi_btf_query q = { argv[i], dot ? dot + 1 : "", 0, 0 };

		if (dot)
			*dot = 0;
		ret = homi_btf_search(base, base_len, split, split_len, &q, 1);
		printf("%s.%s %d %u\n", q.type, q.member, q.offset, q.size);
	}
	if (ret)
		fprintf(stderr, "error %d\n", ret);
	free(base);
	free(split);
	return ret ? 1 : 0;
}

int main(int argc, char **argv)
{
	size_t base_len, split_len;
	void *base, *split;

	if (argc > 3)
		return print_offsets(argc, argv);
	make_pair(&base, &base_len, &split, &split_len);
	printf("TAP version 13\n");
	test_queries(base, base_len, split, split_len);
	test_truncated(base, base_len, split, split_len);
	test_flipped(base, base_len, split, split_len);
	test_words(base, base_len);
	test_refused();
	test_header();
	test_running();
	free(base);
	free(split);
	printf("1..%d\n", tests);
	return failures ? 1 : 0;
}
