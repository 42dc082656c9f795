// SPDX-License-Identifier: MIT
/*
 * PRP entries against the specification, by a walker and a judge that know
 * nothing of how prp.h works: the walker turns PRP1, PRP2 and the lists back
 * into addresses; the judge says, dword by dword, whether the buffer can be
 * described at all.
 */
#include <stdlib.h>
#include <string.h>

#include <homi/prp.h>

#include "model.h"
#include "tap.h"

#define LIST_DMA	0x5000000000ull
#define MAX_SEGS	64
#define LIST_COUNT	(4 * 65536 / 8)

struct geometry {
	struct homi_seg segs[MAX_SEGS];
	uint32_t count;
	uint32_t page_size;
	uint64_t offset;
	uint64_t length;
	struct homi_prp_list list;
};

/* Address of a dword of the MEM, found from the front; 0 if there is none. */
static uint64_t address(const struct geometry *g, uint64_t offset)
{
	uint32_t i;

	for (i = 0; i < g->count; i++) {
		if (offset < g->segs[i].length)
			return g->segs[i].dma_addr + offset;
		offset -= g->segs[i].length;
	}
	return 0;
}

static int judge(const struct geometry *g)
{
	uint64_t first = address(g, g->offset), last = first, step = 4, at;

	if (!first)
		return HOMI_PRP_RANGE;
	if (first & 3)
		return HOMI_PRP_ALIGN;
	for (at = 4; at < g->length; at += step) {
		uint64_t now = address(g, g->offset + at);

		if (!now)
			return HOMI_PRP_RANGE;
		/* A new entry starts a page; within an entry addresses go on. */
		if ((first + at) % g->page_size == 0 ? now % g->page_size != 0 : now != last + step)
			return HOMI_PRP_ALIGN;
		last = now;
		/* Far from a boundary of a segment all dwords are alike. */
		step = 4;
		if ((first + at) % 4096 == 4 && address(g, g->offset + at + 4084) == now + 4084)
			step = 4084;
	}
	return HOMI_PRP_OK;
}

/* Checks one entry: that it names the right place. */
static const char *entry_is(const struct geometry *g, uint64_t entry, uint64_t at, uint64_t bytes)
{
	TAP_MUST(entry == address(g, g->offset + at));
	TAP_MUST(entry + bytes - 4 == address(g, g->offset + at + bytes - 4));
	return NULL;
}

static const char *walk(const struct geometry *g, uint64_t prp1, uint64_t prp2)
{
	uint64_t page = g->page_size;
	uint64_t at = page - prp1 % page;
	uint64_t list = prp2;
	const char *wrong;

	if (at > g->length)
		at = g->length;
	wrong = entry_is(g, prp1, 0, at);
	if (wrong)
		return wrong;
	if (at == g->length) {
		TAP_MUST(prp2 == 0);
		return NULL;
	}
	if (g->length - at <= page) {
		TAP_MUST(prp2 % page == 0);
		return entry_is(g, prp2, at, g->length - at);
	}
	while (at < g->length) {
		uint64_t bytes = g->length - at < page ? g->length - at : page;
		uint64_t entry;

		TAP_MUST(list >= LIST_DMA && (list - LIST_DMA) / 8 < LIST_COUNT && list % 8 == 0);
		entry = homi_le64_to_cpu(g->list.entries[(list - g->list.dma_addr) / 8]);
		if ((list + 8) % page == 0 && g->length - at > page) {
			TAP_MUST(entry % page == 0);
			list = entry;
			continue;
		}
		TAP_MUST(entry % page == 0);
		wrong = entry_is(g, entry, at, bytes);
		if (wrong)
			return wrong;
		at += bytes;
		list += 8;
	}
	return NULL;
}

/* Mostly what can be described: whole pages, odd only at the ends. */
static void invent(struct geometry *g, uint64_t *seed)
{
	uint64_t total = 0, dma = 0x100000000ull;
	uint64_t longest = model_random(seed) % 4 ? 40 : 300;
	uint32_t i;
	uint64_t head = model_random(seed) % 3 ? 0 : model_random(seed) % g->page_size & ~3ull;

	g->count = 1 + (uint32_t)(model_random(seed) % MAX_SEGS);
	for (i = 0; i < g->count; i++) {
		uint64_t pages = 1 + model_random(seed) % (model_random(seed) % 4 ? 4 : longest);

		g->segs[i].offset = total;
		g->segs[i].dma_addr = dma + (i ? 0 : head);
		g->segs[i].length = pages * g->page_size - (i ? 0 : head);
		if (model_random(seed) % 200 == 0)
			g->segs[i].length -= 4 * (1 + model_random(seed) % 16);
		if (model_random(seed) % 200 == 0)
			g->segs[i].dma_addr += 512;
		total += g->segs[i].length;
		dma = g->segs[i].dma_addr + g->segs[i].length;
		if (model_random(seed) % 3)
			dma = (dma + (1 + model_random(seed) % 64) * g->page_size) &
			      ~(uint64_t)(g->page_size - 1);
	}
	g->offset = model_random(seed) % total & ~3ull;
	if (model_random(seed) % 2)
		g->offset = g->offset / 512 * 512;
	g->length = 4 + (model_random(seed) % (total - g->offset) & ~3ull);
	if (model_random(seed) % 4 == 0)
		g->length = total - g->offset;
	if (model_random(seed) % 100 == 0)
		g->length += 4096;
	if (model_random(seed) % 100 == 0)
		g->offset |= 2;
}

static const char *random_cases(uint32_t page_size, unsigned int cases, uint64_t seed)
{
	static uint64_t memory[LIST_COUNT + 1];
	unsigned int good = 0, lists = 0, chains = 0, refused = 0, i;
	struct geometry g;

	for (i = 0; i < cases; i++) {
		/* Lists may start anywhere in a page. */
		uint64_t skip = model_random(&seed) % 2 ? 0 : model_random(&seed) % (page_size / 8);
		uint64_t prp1 = 0x3333, prp2 = 0x4444;
		const char *wrong;
		int want, ret;

		g.page_size = page_size;
		invent(&g, &seed);
		g.list.entries = memory + skip;
		g.list.dma_addr = LIST_DMA + skip * 8;
		g.list.count = (uint32_t)(LIST_COUNT - skip);
		memset(memory, 0x99, sizeof(memory));
		want = judge(&g);
		ret = homi_prp_build(g.segs, g.count, g.offset, g.length, page_size, &g.list,
				     &prp1, &prp2);
		/* Both may be wrong with a range; which is found first is not promised. */
		TAP_MUST(!ret == !want);
		TAP_MUST(memory[LIST_COUNT] == 0x9999999999999999ull);
		if (ret) {
			TAP_MUST(ret == HOMI_PRP_RANGE || ret == HOMI_PRP_ALIGN);
			refused++;
			continue;
		}
		wrong = walk(&g, prp1, prp2);
		if (wrong)
			return wrong;
		good++;
		lists += prp2 >= LIST_DMA;
		chains += prp2 >= LIST_DMA && g.length / page_size > page_size / 8;
	}
	printf("# page size %u: %u built, %u with a list, %u longer than a list page, %u refused\n",
	       page_size, good, lists, chains, refused);
	TAP_MUST(good > cases / 2 && lists > cases / 10 && refused > 0);
	TAP_MUST(page_size > 4096 || chains > cases / 100);
	return NULL;
}

/* Transfers of exactly so many pages, where lists fill, chain and end. */
static const char *edges(uint32_t page_size)
{
	static uint64_t memory[LIST_COUNT];
	uint64_t per_page = page_size / 8;
	uint64_t pages;

	for (pages = 1; pages <= 2 * per_page + 4; pages++) {
		struct geometry g = { .count = 1, .page_size = page_size };
		uint64_t prp1, prp2, need;
		const char *wrong;
		int first;

		if (pages > 5 && pages < per_page - 3)
			pages = per_page - 3;
		if (pages > per_page + 5 && pages < 2 * per_page - 4)
			pages = 2 * per_page - 4;
		need = homi_prp_list_entries(pages * page_size, page_size);
		for (first = 0; first < 2; first++) {
			g.segs[0].dma_addr = 0x700000000ull + (first ? 512 : 0);
			g.segs[0].length = pages * page_size;
			g.length = pages * page_size;
			g.list.entries = memory;
			g.list.dma_addr = LIST_DMA;
			g.list.count = (uint32_t)need;
			/* What homi_prp_list_entries() promises is enough. */
			TAP_MUST(!homi_prp_build(g.segs, 1, 0, g.length, page_size, &g.list, &prp1,
						 &prp2));
			wrong = walk(&g, prp1, prp2);
			if (wrong)
				return wrong;
		}
	}
	return NULL;
}

static const char *table(void)
{
	static const struct homi_seg segs[] = {
		{ 0, 0x10000, 8192 }, { 8192, 0x20000, 4096 }, { 12288, 0x31000, 16384 },
	};
	static const struct {
		uint64_t offset, length;
		uint32_t page_size, entries;
		int ret;
		uint64_t prp1, prp2;
	} c[] = {
		{ 0, 512, 4096, 0, 0, 0x10000, 0 },
		{ 0, 4096, 4096, 0, 0, 0x10000, 0 },
		{ 4, 4092, 4096, 0, 0, 0x10004, 0 },
		{ 4, 4096, 4096, 0, 0, 0x10004, 0x11000 },
		{ 4096, 8192, 4096, 0, 0, 0x11000, 0x20000 },
		{ 2048, 4096, 4096, 0, 0, 0x10800, 0x11000 },
		{ 0, 8192, 8192, 0, 0, 0x10000, 0 },
		{ 0, 12288, 8192, 0, 0, 0x10000, 0x20000 },
		{ 0, 12288, 4096, 2, 0, 0x10000, LIST_DMA },
		{ 0, 12288, 4096, 1, HOMI_PRP_LIST, 0, 0 },
		{ 0, 12288, 4096, 0, HOMI_PRP_LIST, 0, 0 },
		{ 0, 0, 4096, 4, HOMI_PRP_INVALID, 0, 0 },
		{ 0, 512, 0, 4, HOMI_PRP_INVALID, 0, 0 },
		{ 0, 512, 512, 4, HOMI_PRP_INVALID, 0, 0 },
		{ 0, 512, 5000, 4, HOMI_PRP_INVALID, 0, 0 },
		{ 2, 512, 4096, 4, HOMI_PRP_ALIGN, 0, 0 },
		{ 8192, 8192, 8192, 4, HOMI_PRP_ALIGN, 0, 0 },
		{ 28672, 4, 4096, 4, HOMI_PRP_RANGE, 0, 0 },
		{ 28668, 8, 4096, 4, HOMI_PRP_RANGE, 0, 0 },
		{ 28668, 4, 4096, 4, 0, 0x34ffc, 0 },
		{ UINT64_MAX - 3, 8, 4096, 4, HOMI_PRP_RANGE, 0, 0 },
		{ 0, UINT64_MAX, 4096, 4, HOMI_PRP_LIST, 0, 0 },
	};
	uint64_t memory[8];
	unsigned int i;

	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct homi_prp_list list = { memory, LIST_DMA, c[i].entries };
		uint64_t prp1 = 0, prp2 = 0;
		int ret = homi_prp_build(segs, 3, c[i].offset, c[i].length, c[i].page_size,
					 c[i].entries ? &list : NULL, &prp1, &prp2);

		if (ret != c[i].ret || (!ret && (prp1 != c[i].prp1 || prp2 != c[i].prp2))) {
			printf("# row %u: %d %#llx %#llx\n", i, ret, (unsigned long long)prp1,
			       (unsigned long long)prp2);
			return "table";
		}
	}
	return NULL;
}

/* Memory for lists that can't be named, or is not there, is not written to. */
static const char *bad_lists(void)
{
	static const struct homi_seg seg = { 0, 0x10000, 16384 };
	uint64_t memory[4] = { 1, 2, 3, 4 }, prp1, prp2;
	struct homi_prp_list list = { memory, LIST_DMA + 4, 4 };

	TAP_MUST(homi_prp_build(&seg, 1, 0, 16384, 4096, &list, &prp1, &prp2) == HOMI_PRP_LIST);
	list.dma_addr = LIST_DMA + 1;
	TAP_MUST(homi_prp_build(&seg, 1, 0, 16384, 4096, &list, &prp1, &prp2) == HOMI_PRP_LIST);
	TAP_MUST(memory[0] == 1 && memory[1] == 2 && memory[2] == 3 && memory[3] == 4);
	list.dma_addr = LIST_DMA;
	list.entries = NULL;
	TAP_MUST(homi_prp_build(&seg, 1, 0, 16384, 4096, &list, &prp1, &prp2) == HOMI_PRP_LIST);
	list.entries = memory;
	TAP_MUST(homi_prp_build(&seg, 1, 0, 16384, 4096, &list, &prp1, &prp2) == HOMI_PRP_OK);
	TAP_MUST(prp1 == 0x10000 && prp2 == LIST_DMA && memory[2] == homi_cpu_to_le64(0x13000));
	TAP_MUST(memory[3] == 4);
	/* Where no list is needed none is looked at. */
	list.dma_addr = LIST_DMA + 1;
	TAP_MUST(homi_prp_build(&seg, 1, 0, 8192, 4096, &list, &prp1, &prp2) == HOMI_PRP_OK);
	return NULL;
}

/* What fits: powers of two, and entries for a list that starts with a page */
static const char *sizes(void)
{
	static const struct {
		uint64_t length, want;
	} c[] = {
		{ 1, 2 }, { 4096, 2 }, { 4097, 3 }, { 510 * 4096, 511 }, { 511 * 4096, 513 },
		{ 512 * 4096, 514 }, { 1022 * 4096, 1025 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		TAP_MUST(homi_prp_list_entries(c[i].length, 4096) == c[i].want);
	for (i = 0; i < 32; i++)
		TAP_MUST(!homi_prp_page_size_ok(1u << i) == (i < 12));
	TAP_MUST(!homi_prp_page_size_ok(0) && !homi_prp_page_size_ok(4097) &&
		 !homi_prp_page_size_ok(12288) && !homi_prp_page_size_ok(UINT32_MAX));
	return NULL;
}

static const char *single(void)
{
	struct homi_seg seg = { 4096, 0x40000200, 3 * 4096 };
	uint64_t offset, length, prp1, again, prp2;

	for (offset = 4096; offset < 4096 + 3 * 4096; offset += 4)
		for (length = 512; length <= 4096; length += 512) {
			int ret = homi_prp_single(&seg, offset, (uint32_t)length, 4096, &prp1);
			int full = homi_prp_build(&seg, 1, offset, length, 4096, NULL, &again, &prp2);

			TAP_MUST((ret == 0) == (full == 0 && prp2 == 0));
			TAP_MUST(ret || prp1 == again);
		}
	TAP_MUST(homi_prp_single(&seg, 4092, 4, 4096, &prp1) == HOMI_PRP_RANGE);
	TAP_MUST(homi_prp_single(&seg, 4 * 4096, 4, 4096, &prp1) == HOMI_PRP_RANGE);
	TAP_MUST(homi_prp_single(&seg, 4 * 4096 - 4, 8, 4096, &prp1) == HOMI_PRP_RANGE);
	TAP_MUST(homi_prp_single(&seg, 4098, 4, 4096, &prp1) == HOMI_PRP_ALIGN);
	TAP_MUST(homi_prp_single(&seg, 4096, UINT32_MAX, 4096, &prp1) == HOMI_PRP_RANGE);
	return NULL;
}

static const char *search(void)
{
	struct homi_seg segs[33];
	uint64_t total = 0, offset;
	uint32_t count, i, at;

	for (count = 0; count <= 33; count++) {
		for (i = 0, total = 0; i < count; i++) {
			segs[i].offset = total;
			segs[i].length = 1 + i % 5;
			segs[i].dma_addr = 0;
			total += segs[i].length;
		}
		for (offset = 0; offset < total + 3; offset++) {
			for (at = 0; at < count; at++)
				if (offset >= segs[at].offset &&
				    offset < segs[at].offset + segs[at].length)
					break;
			TAP_MUST(homi_seg_find(segs, count, offset) == at);
		}
	}
	return NULL;
}

int main(void)
{
	tap_try(table(), "PRP table");
	tap_try(bad_lists(), "lists that can't be used");
	tap_try(sizes(), "page sizes and lengths of lists");
	tap_try(single(), "single page, against the full build");
	tap_try(search(), "binary search, against a linear one");
	tap_try(edges(4096), "lists that fill, chain and end, 4 KiB pages");
	tap_try(edges(8192), "lists that fill, chain and end, 8 KiB pages");
	tap_try(random_cases(4096, 1500, 1), "random geometry, 4 KiB pages");
	tap_try(random_cases(8192, 800, 2), "random geometry, 8 KiB pages");
	tap_try(random_cases(65536, 150, 3), "random geometry, 64 KiB pages");
	return tap_end();
}
