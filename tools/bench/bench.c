// SPDX-License-Identifier: MIT
/*
 * homi-bench: options, and what came of it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../cli.h"
#include "bench.h"

static const char *const whats[] = {
	[BENCH_SQ] = "sq", [BENCH_CQ] = "cq", [BENCH_LISTS] = "lists", [BENCH_DATA] = "data",
};

static const char *const initiators[] = {
	[BENCH_CPU] = "cpu", [BENCH_MODEL] = "device-model", [BENCH_CUDA] = "cuda",
};

void bench_die(int status, const char *format, ...)
{
	va_list args;

	fputs("homi-bench: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(status);
}

double bench_now(void)
{
	return (double)clock_now_ns(CLOCK_MONOTONIC) / 1e9;
}

void *bench_shared_memory(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bench_die(EXIT_REFUSED, "%llu bytes of memory: %s", (unsigned long long)bytes,
			  strerror(errno));
	return p;
}

/* --- options --- */

enum {
	OPT_BS = 256,
	OPT_UDMABUF,
	OPT_WHAT,	/* and above: enum bench_what */
};

static const struct option options[] = {
	{ "device", required_argument, NULL, 'd' },
	{ "initiator", required_argument, NULL, 'i' },
	{ "threads", required_argument, NULL, 't' },
	{ "queues", required_argument, NULL, 'q' },
	{ "depth", required_argument, NULL, 'D' },
	{ "bs", required_argument, NULL, OPT_BS },
	{ "seconds", required_argument, NULL, 's' },
	{ "sq", required_argument, NULL, OPT_WHAT + BENCH_SQ },
	{ "cq", required_argument, NULL, OPT_WHAT + BENCH_CQ },
	{ "lists", required_argument, NULL, OPT_WHAT + BENCH_LISTS },
	{ "data", required_argument, NULL, OPT_WHAT + BENCH_DATA },
	{ "dmabuf", required_argument, NULL, 'b' },
	{ "udmabuf", no_argument, NULL, OPT_UDMABUF },
	{ "output", required_argument, NULL, 'o' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const char usage_text[] =
	"usage: homi-bench [OPTION]... FILE\n"
	"Reads blocks of FILE at random, through queue pairs of its own, and says how many a second.\n\n"
	"  -i, --initiator=WHO   cpu (default): threads, each with a queue pair of its own;\n"
	"                        device-model: a process that plays a device, whose threads share\n"
	"                        queue pairs; cuda: threads of a GPU, likewise\n"
	"  -t, --threads=N       of the device; default 4, of a GPU 4096\n"
	"  -q, --queues=N        queue pairs, default 1\n"
	"  -D, --depth=N         entries of each, default 128; a power of two if they are shared\n"
	"      --bs=N[k]         bytes in one command, a multiple of a block, default 4k\n"
	"  -s, --seconds=N       default 5\n"
	"      --sq=SIDE         where submission queues lie: host or device; default host, of a GPU\n"
	"                        device\n"
	"      --cq=SIDE, --lists=SIDE, --data=SIDE\n"
	"                        likewise completion queues, PRP lists, data\n"
	"  -b, --dmabuf=FD       the device's memory, but for a GPU: an open dma-buf\n"
	"      --udmabuf         or one that is made of the system's memory\n"
	"  -d, --device=NAME     the controller, nvme0 say; default: the one that the file is on\n"
	"  -o, --output=FORMAT   text or json\n";

static uint32_t number(const char *what, const char *text, bool bytes, uint32_t least,
		       uint32_t most)
{
	uint32_t value;
	int ret = parse_number(text, bytes, least, most, &value);

	if (ret == -EINVAL)
		bench_die(EXIT_USAGE, "%s: \"%s\" is not a number", what, text);
	if (ret)
		bench_die(EXIT_USAGE, "%s: \"%s\" is not from %u to %u", what, text, least, most);
	return value;
}

static bool is_device(const char *what, const char *text)
{
	if (strcmp(text, "host") && strcmp(text, "device"))
		bench_die(EXIT_USAGE, "--%s: \"%s\" is neither host nor device", what, text);
	return !strcmp(text, "device");
}

static enum bench_initiator initiator_of(const char *text)
{
	unsigned int i;

	for (i = 0; i <= BENCH_CUDA; i++)
		if (!strcmp(text, initiators[i]))
			return i;
	bench_die(EXIT_USAGE, "--initiator: \"%s\" is not cpu, device-model or cuda", text);
}

/* -1: it was not said where @placed. */
static void parse_one(struct bench *b, int letter, int placed[BENCH_WHATS])
{
	switch (letter) {
	case 'd':
		b->controller = optarg;
		break;
	case 'i':
		b->initiator = initiator_of(optarg);
		break;
	case 't':
		b->threads = number("--threads", optarg, false, 1, 1u << 20);
		break;
	case 'q':
		b->queues = number("--queues", optarg, false, 1, BENCH_QUEUES);
		break;
	case 'D':
		b->depth = number("--depth", optarg, false, 2, 65536);
		break;
	case OPT_BS:
		b->bytes = number("--bs", optarg, true, 512, WORK_MAX_BYTES / 4096 * 4096);
		break;
	case 's':
		b->seconds = number("--seconds", optarg, false, 1, 3600);
		break;
	case 'b':
		b->dmabuf = (int)number("--dmabuf", optarg, false, 0, 1u << 20);
		break;
	case OPT_UDMABUF:
		b->udmabuf = true;
		break;
	case 'o':
		b->json = !strcmp(optarg, "json");
		if (!b->json && strcmp(optarg, "text"))
			bench_die(EXIT_USAGE, "--output: \"%s\" is neither text nor json", optarg);
		break;
	case 'h':
		fputs(usage_text, stdout);
		exit(EXIT_OK);
	default:
		if (letter < OPT_WHAT)
			bench_die(EXIT_USAGE, "\"homi-bench --help\" tells what there is");
		placed[letter - OPT_WHAT] = is_device(whats[letter - OPT_WHAT], optarg);
	}
}

static void parse(struct bench *b, int argc, char **argv)
{
	int placed[BENCH_WHATS] = { -1, -1, -1, -1 }, letter;
	bool has_device;
	unsigned int i;

	while ((letter = getopt_long(argc, argv, "d:i:t:q:D:s:b:o:h", options, NULL)) != -1)
		parse_one(b, letter, placed);
	if (optind + 1 != argc)
		bench_die(EXIT_USAGE, "one file; \"homi-bench --help\" tells the rest");
	b->path = argv[optind];
	has_device = b->udmabuf || b->dmabuf >= 0;
	if (b->initiator == BENCH_CUDA && has_device)
		bench_die(EXIT_USAGE, "a GPU's memory is its own: neither --dmabuf nor --udmabuf");
	if (b->udmabuf && b->dmabuf >= 0)
		bench_die(EXIT_USAGE, "--dmabuf or --udmabuf, not both");
	for (i = 0; i < BENCH_WHATS; i++) {
		b->on_device[i] = placed[i] < 0 ? b->initiator == BENCH_CUDA : placed[i];
		if (b->on_device[i] && b->initiator != BENCH_CUDA && !has_device)
			bench_die(EXIT_USAGE, "--%s=device wants --dmabuf or --udmabuf", whats[i]);
	}
	if (b->initiator == BENCH_CPU && b->threads)
		bench_die(EXIT_USAGE, "of a CPU there is a thread for each queue pair: --queues");
	if (b->initiator == BENCH_CPU)
		b->threads = b->queues;
	else if (!b->threads)
		b->threads = b->initiator == BENCH_CUDA ? 4096 : 4;
	if (b->initiator == BENCH_CUDA && b->threads % BENCH_GPU_THREADS)
		bench_die(EXIT_USAGE, "--threads of a GPU is a multiple of %u", BENCH_GPU_THREADS);
	if (b->initiator != BENCH_CPU && b->depth & (b->depth - 1))
		bench_die(EXIT_USAGE, "--depth of a queue pair that threads share is a power of two");
}

/* --- what it takes --- */

static void load_gpu(struct bench *b)
{
	void *library = dlopen(BENCH_GPU_LIBRARY, RTLD_NOW);
	const char *wrong;

	if (!library)
		bench_die(EXIT_REFUSED, "%s; \"make -C tools cuda\" makes it where nvcc is", dlerror());
	b->gpu = dlsym(library, "bench_gpu");
	if (!b->gpu)
		bench_die(EXIT_REFUSED, "%s", dlerror());
	wrong = b->gpu->open(b->gpu_name, sizeof(b->gpu_name));
	if (wrong)
		bench_die(EXIT_REFUSED, "no GPU: %s", wrong);
}

static void open_file(struct bench *b)
{
	char name[NAME_LEN];
	struct trouble t;
	uint32_t reason;
	struct stat st;
	int ret;

	b->file = open(b->path, O_RDONLY | O_CLOEXEC);
	if (b->file < 0 || fstat(b->file, &st))
		bench_die(EXIT_REFUSED, "%s: %s", b->path, strerror(errno));
	b->size = (uint64_t)st.st_size;
	if (!b->controller) {
		ret = find_controller_of(&st, b->path, name, &t);
		if (ret)
			bench_die(ret, "%s", t.text);
		b->controller = strdup(name);
	}
	ret = homi_open(&b->dev, b->controller);
	if (ret) {
		diagnose(&t, STAGE_OPEN, ret, 0, b->controller);
		bench_die(EXIT_REFUSED, "%s\n%s", t.text, t.advice);
	}
	ret = homi_extents_open(&b->dev, b->file, 0, 0, &b->extents, &reason);
	if (ret) {
		ret = diagnose(&t, STAGE_RESOLVE, ret, reason, b->path);
		bench_die(ret, "%s\n%s", t.text, t.advice);
	}
}

static void check_sizes(const struct bench *b)
{
	uint32_t block = b->extents.table->block_size;
	uint64_t most = b->dev.info.out_max_transfer;

	if (b->bytes % block)
		bench_die(EXIT_USAGE, "--bs: %u is no multiple of the namespace's blocks of %u bytes",
			  b->bytes, block);
	if (most && b->bytes > most)
		bench_die(EXIT_USAGE, "--bs: the controller takes %llu bytes at most",
			  (unsigned long long)most);
	if (b->size < b->bytes)
		bench_die(EXIT_USAGE, "%s is shorter than one command", b->path);
	if (b->depth > b->dev.info.out_max_depth)
		bench_die(EXIT_USAGE, "--depth: the controller takes %u at most",
			  b->dev.info.out_max_depth);
}

/* --- what came of it --- */

static const char *failure_text(int failed)
{
	switch (failed) {
	case HOMI_RING_STATUS:
		return "a command failed";
	case HOMI_RING_TIMEOUT:
	case HOMI_RING_BROKEN:
		return "a command did not complete: the queue is lost, or the drive is stuck";
	case HOMI_RING_FULL:
		return "no command could be posted";
	case WORK_BAD:
		return "a place that is not in the file, or memory in pieces that no command can name";
	case WORK_NOT_ENDED:
		return "it did not come to an end";
	}
	return "a completion of no command";
}

/* Who was the first to see that something is wrong is not known; the others know nothing. */
static void check_failures(const struct bench *b)
{
	const struct work_count *c, *worst = NULL;
	uint32_t i;

	for (i = 0; i < b->threads; i++) {
		c = &b->counts[i];
		if (c->failed && (!worst || worst->failed == HOMI_RING_BROKEN))
			worst = c;
	}
	if (worst)
		bench_die(EXIT_IO, "thread %u: %s (%d, status %#x)", (uint32_t)(worst - b->counts),
			  failure_text(worst->failed), worst->failed, worst->status);
}

static struct work_count add_up(const struct bench *b)
{
	struct work_count all = { 0 };
	uint32_t i;

	for (i = 0; i < b->threads; i++) {
		all.reads += b->counts[i].reads;
		all.bytes += b->counts[i].bytes;
		all.holes += b->counts[i].holes;
	}
	return all;
}

/* If so, what was read counts for nothing. */
static void check_file(const struct bench *b)
{
	if (homi_extent_get_state(b->extents.table) != HOMI_EXTENT_VALID)
		bench_die(EXIT_LOST, "%s: somebody wanted to change it meanwhile", b->path);
}

/* What the last read into a slot has brought, up to where the file goes on elsewhere */
static void compare_slot(const struct bench *b, uint64_t slot, char *want, char *got)
{
	const struct homi_extent_table *table = b->extents.table;
	uint64_t offset = b->last[slot], i;
	uint8_t *at = b->work.data.base + b->work.data.offset + slot * b->bytes;
	struct homi_run run;
	size_t bytes;

	i = homi_extent_find(table->records, table->count, table->block_size, offset);
	homi_extent_run(&table->records[i], table->block_size, offset, b->bytes / table->block_size, &run);
	bytes = run.blocks * table->block_size;
	if (pread(b->file, want, bytes, (off_t)offset) != (ssize_t)bytes)
		bench_die(EXIT_IO, "%s: reading it: %s", b->path, strerror(errno));
	/* A GPU's driver copies to and from both sides. */
	if (b->gpu && b->gpu->get(got, at, bytes))
		bench_die(EXIT_IO, "%s gives no copy", b->gpu_name);
	if (!b->gpu)
		memcpy(got, at, bytes);
	if (!memcmp(want, got, bytes))
		return;
	check_file(b);
	bench_die(EXIT_DIFFERS, "%s: what was read at %llu is not what is there", b->path,
		  (unsigned long long)offset);
}

static uint64_t compare(const struct bench *b)
{
	char *want = malloc(b->bytes), *got = malloc(b->bytes);
	uint64_t slot, n = 0;

	if (!want || !got)
		bench_die(EXIT_REFUSED, "out of memory");
	for (slot = 0; slot < b->slots; slot++) {
		if (b->last[slot] == WORK_NOTHING)
			continue;
		compare_slot(b, slot, want, got);
		n++;
	}
	free(want);
	free(got);
	return n;
}

/* In ns: below that were @part of all */
static uint64_t percentile(const struct bench *b, double part)
{
	uint64_t all = 0, seen = 0;
	unsigned int i;

	for (i = 0; i < BENCH_LATENCIES; i++)
		all += b->latency[i];
	for (i = 0; i < BENCH_LATENCIES - 1; i++) {
		seen += b->latency[i];
		if ((double)seen >= part * (double)all)
			break;
	}
	i++;
	return i < 24 ? i : (8ull + i % 8) << (i / 8 - 3);
}

static void show_json(const struct bench *b, const struct work_count *all, uint64_t compared)
{
	struct json_object *o = json_object_new_object(), *places = json_object_new_object();
	unsigned int i;

	add_string(o, "controller", b->controller);
	add_string(o, "file", b->path);
	add_string(o, "initiator", initiators[b->initiator]);
	add_string(o, "gpu", b->gpu ? b->gpu_name : NULL);
	add_number(o, "threads", b->threads);
	add_number(o, "queues", b->queues);
	add_number(o, "depth", b->depth);
	add_number(o, "bs", b->bytes);
	for (i = 0; i < BENCH_WHATS; i++)
		add_string(places, whats[i], b->on_device[i] ? "device" : "host");
	json_object_object_add(o, "places", places);
	json_object_object_add(o, "seconds", json_object_new_double(b->took));
	add_number(o, "reads", all->reads);
	add_number(o, "bytes", all->bytes);
	json_object_object_add(o, "reads_per_second", json_object_new_double((double)all->reads / b->took));
	add_number(o, "compared", compared);
	if (b->initiator == BENCH_CPU) {
		add_number(o, "latency_p50_ns", percentile(b, 0.5));
		add_number(o, "latency_p99_ns", percentile(b, 0.99));
		add_number(o, "latency_p999_ns", percentile(b, 0.999));
	}
	print_json(o);
}

static void show(const struct bench *b, const struct work_count *all, uint64_t compared)
{
	char bs[32], rate[32];
	unsigned int i;

	printf("%s%s%s: %u thread%s, %u queue pair%s of depth %u, reads of %s of %s\n",
	       initiators[b->initiator], b->gpu ? " " : "", b->gpu_name, b->threads,
	       b->threads == 1 ? "" : "s", b->queues, b->queues == 1 ? "" : "s", b->depth,
	       size_text(b->bytes, bs, sizeof(bs)), b->path);
	for (i = 0; i < BENCH_WHATS; i++)
		printf("%s%s in %s memory", i ? ", " : "", whats[i], b->on_device[i] ? "device" : "host");
	printf("\n%.0f reads a second, %s/s\n", (double)all->reads / b->took,
	       size_text((uint64_t)((double)all->bytes / b->took), rate, sizeof(rate)));
	if (b->initiator == BENCH_CPU)
		printf("latency: half of them below %.1f us, 99 %% %.1f, 99.9 %% %.1f\n",
		       (double)percentile(b, 0.5) / 1e3, (double)percentile(b, 0.99) / 1e3,
		       (double)percentile(b, 0.999) / 1e3);
	printf("the last read into each of %llu buffers is as pread gives it\n",
	       (unsigned long long)compared);
}

int main(int argc, char **argv)
{
	struct bench b = { .queues = 1, .depth = 128, .bytes = 4096, .seconds = 5, .dmabuf = -1 };
	struct work_count all;
	uint64_t compared;

	parse(&b, argc, argv);
	if (b.initiator == BENCH_CUDA)
		load_gpu(&b);
	open_file(&b);
	check_sizes(&b);
	bench_place(&b);
	bench_run(&b);
	check_file(&b);
	check_failures(&b);
	all = add_up(&b);
	if (!all.reads)
		bench_die(EXIT_IO, "%s: nothing was read (%llu holes met)", b.path,
			  (unsigned long long)all.holes);
	compared = compare(&b);
	if (b.json)
		show_json(&b, &all, compared);
	else
		show(&b, &all, compared);
	fflush(stdout);
	bench_unplace(&b);
	homi_extents_close(&b.dev, &b.extents);
	homi_close(&b.dev);
	return EXIT_OK;
}
