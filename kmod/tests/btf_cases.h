/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Cases for the BTF parser, for user space (btf_test.c) and for the kernel
 * (btf_kunit.c). Whoever includes this has ../btf.c in sight and gives ok(),
 * note(), take() and drop() for memory of exactly so many bytes, and BTF_STRIDE:
 * one of so many bits and words is damaged.
 */

/* --- blobs --- */

struct blob {
	u8 types[4096];
	u32 types_len;
	char strs[4096];
	u32 strs_len;
	u32 strs_start;
};

static u32 add_str(struct blob *b, const char *s)
{
	u32 off = b->strs_len, len = strlen(s) + 1;

	memcpy(b->strs + off, s, len);
	b->strs_len += len;
	return b->strs_start + off;
}

static void add_words(struct blob *b, const u32 *words, u32 count)
{
	memcpy(b->types + b->types_len, words, count * sizeof(u32));
	b->types_len += count * sizeof(u32);
}

#define ADD(b, ...) do { \
	u32 words_[] = { __VA_ARGS__ }; \
	add_words(b, words_, ARRAY_SIZE(words_)); \
} while (0)

#define INFO(kind, vlen, kflag) \
	((u32)(kflag) << 31 | (u32)(kind) << 24 | (vlen))

/* The header that all have, whatever this machine's <linux/btf.h> adds */
#define HDR_LEN	24

/* Exactly as long as needed, so that each byte read beyond is seen. */
static void *make_long(const struct blob *b, u32 hdr_len, size_t *len)
{
	struct btf_header hdr = {
		.magic = BTF_MAGIC, .version = BTF_VERSION,
		.hdr_len = hdr_len, .type_len = b->types_len,
		.str_off = b->types_len, .str_len = b->strs_len,
	};
	u8 *data;

	*len = hdr_len + b->types_len + b->strs_len;
	data = take(*len);
	memset(data, 0xff, hdr_len);
	memcpy(data, &hdr, hdr_len < HDR_LEN ? hdr_len : HDR_LEN);
	memcpy(data + hdr_len, b->types, b->types_len);
	memcpy(data + hdr_len + b->types_len, b->strs, b->strs_len);
	return data;
}

static void *make(const struct blob *b, size_t *len)
{
	return make_long(b, HDR_LEN, len);
}

enum {	/* type ids of the base blob */
	T_INT = 1, T_U8, T_PTR, T_U32, T_CONST, T_ARRAY, T_ARRAY2, T_ANON,
	T_ENUM, T_ENUM64, T_INNER, T_OUTER, T_LOOP, T_OLDBITS, T_OLD, T_HUGE,
	T_HUGE2, T_BIG, T_TWIN1, T_TWIN2, T_SAME1, T_SAME2, T_SELF, T_TAIL,
};

static void fill_kinds(struct blob *b)
{
	u32 x = add_str(b, "x");

	ADD(b, x, INFO(BTF_KIND_FWD, 0, 0), 0);
	ADD(b, 0, INFO(BTF_KIND_VOLATILE, 0, 0), T_INT);
	ADD(b, 0, INFO(BTF_KIND_RESTRICT, 0, 0), T_PTR);
	ADD(b, 0, INFO(BTF_KIND_FUNC_PROTO, 2, 0), T_INT, x, T_INT, 0, 0);
	ADD(b, x, INFO(BTF_KIND_FUNC, 1, 0), T_TAIL + 3);
	ADD(b, x, INFO(BTF_KIND_VAR, 0, 0), T_INT, 1);
	ADD(b, x, INFO(BTF_KIND_DATASEC, 1, 0), 4, T_TAIL + 5, 0, 4);
	ADD(b, x, INFO(BTF_KIND_FLOAT, 0, 0), 8);
	ADD(b, x, INFO(BTF_KIND_DECL_TAG, 0, 0), T_OUTER, -1u);
	ADD(b, x, INFO(BTF_KIND_TYPE_TAG, 0, 0), T_INT);
	/* found only by who knows the length of all that stands before */
	ADD(b, add_str(b, "last"), INFO(BTF_KIND_STRUCT, 1, 1), 8,
	    add_str(b, "l"), T_TAIL + 9, 32);
}

static void fill_odd(struct blob *b, u32 a)
{
	u32 twin = add_str(b, "twin"), same = add_str(b, "same");

	ADD(b, add_str(b, "loop"), INFO(BTF_KIND_TYPEDEF, 0, 0), T_LOOP);
	ADD(b, add_str(b, "oldbits"), INFO(BTF_KIND_INT, 0, 0), 4, 5);
	ADD(b, add_str(b, "old"), INFO(BTF_KIND_STRUCT, 3, 0), 12,
	    a, T_INT, 32, add_str(b, "bits"), T_OLDBITS, 64,
	    add_str(b, "loops"), T_LOOP, 64);
	ADD(b, 0, INFO(BTF_KIND_ARRAY, 0, 0), 0, T_INT, T_INT, 0x80000000);
	ADD(b, 0, INFO(BTF_KIND_ARRAY, 0, 0), 0, T_HUGE, T_INT, 0x80000000);
	ADD(b, add_str(b, "big"), INFO(BTF_KIND_STRUCT, 2, 0), 4,
	    a, T_HUGE, 0, add_str(b, "b"), T_HUGE2, 0);
	ADD(b, twin, INFO(BTF_KIND_STRUCT, 1, 0), 4, a, T_INT, 0);
	ADD(b, twin, INFO(BTF_KIND_STRUCT, 1, 0), 8, a, T_INT, 32);
	ADD(b, same, INFO(BTF_KIND_STRUCT, 1, 0), 8, a, T_INT, 32);
	ADD(b, same, INFO(BTF_KIND_STRUCT, 1, 0), 12, a, T_INT, 32);
	ADD(b, add_str(b, "self"), INFO(BTF_KIND_STRUCT, 3, 0), 4,
	    0, T_SELF, 0, 0, T_SELF, 0, a, T_INT, 64);
}

static void fill_base(struct blob *b)
{
	u32 a, x;

	memset(b, 0, sizeof(*b));
	add_str(b, "");
	a = add_str(b, "a");
	x = add_str(b, "x");
	ADD(b, add_str(b, "int"), INFO(BTF_KIND_INT, 0, 0), 4, 32);
	ADD(b, add_str(b, "u8"), INFO(BTF_KIND_INT, 0, 0), 1, 8);
	ADD(b, 0, INFO(BTF_KIND_PTR, 0, 0), 0);
	ADD(b, add_str(b, "u32"), INFO(BTF_KIND_TYPEDEF, 0, 0), T_INT);
	ADD(b, 0, INFO(BTF_KIND_CONST, 0, 0), T_U32);
	ADD(b, 0, INFO(BTF_KIND_ARRAY, 0, 0), 0, T_CONST, T_INT, 3);
	ADD(b, 0, INFO(BTF_KIND_ARRAY, 0, 0), 0, T_ARRAY, T_INT, 2);
	ADD(b, 0, INFO(BTF_KIND_UNION, 2, 1), 8,
	    add_str(b, "u"), T_PTR, 0, add_str(b, "v"), T_U8, 8);
	ADD(b, add_str(b, "e"), INFO(BTF_KIND_ENUM, 1, 0), 4, x, 1);
	ADD(b, add_str(b, "e64"), INFO(BTF_KIND_ENUM64, 1, 0), 8, x, 1, 0);
	ADD(b, add_str(b, "inner"), INFO(BTF_KIND_STRUCT, 1, 1), 4,
	    add_str(b, "deep"), T_INT, 0);
	ADD(b, add_str(b, "outer"), INFO(BTF_KIND_STRUCT, 9, 1), 80,
	    a, T_CONST, 0,
	    add_str(b, "ptr"), T_PTR, 64,
	    add_str(b, "arr"), T_ARRAY2, 128,
	    0, T_ANON, 320,
	    add_str(b, "en"), T_ENUM, 384,
	    add_str(b, "en64"), T_ENUM64, 448,
	    add_str(b, "in"), T_INNER, 512,
	    add_str(b, "bit"), T_INT, 3u << 24 | 544,
	    add_str(b, "odd"), T_INT, 549);
	fill_odd(b, a);
	fill_kinds(b);
}

static void fill_split(struct blob *b, const struct blob *base)
{
	memset(b, 0, sizeof(*b));
	b->strs_start = base->strs_len;
	ADD(b, add_str(b, "alias"), INFO(BTF_KIND_TYPEDEF, 0, 0), T_OUTER);
	ADD(b, add_str(b, "mod"), INFO(BTF_KIND_STRUCT, 2, 1), 88,
	    add_str(b, "m"), T_PTR, 0,
	    1 /* "a", a string of the base */, T_TAIL + 11, 64);
}

/* --- tests --- */

struct expect {
	const char *type, *member, *what;
	int offset;
	u32 size;
};

static const struct expect expects[] = {
	{ "outer", "a", "qualified typedef of int", 0, 4 },
	{ "outer", "ptr", "pointer", 8, sizeof(void *) },
	{ "outer", "arr", "array of arrays", 16, 24 },
	{ "outer", "u", "in an anonymous union", 40, sizeof(void *) },
	{ "outer", "v", "in an anonymous union, not at its start", 41, 1 },
	{ "outer", "en", "enum", 48, 4 },
	{ "outer", "en64", "64-bit enum", 56, 8 },
	{ "outer", "in", "struct", 64, 4 },
	{ "outer", "deep", "a named struct is not entered", -1, 0 },
	{ "outer", "bit", "bitfield", -1, 0 },
	{ "outer", "odd", "not at a byte", -1, 0 },
	{ "outer", "none", "no such member", -1, 0 },
	{ "none", "a", "no such struct", -1, 0 },
	{ "", "a", "no name", -1, 0 },
	{ "old", "a", "no kind flag", 4, 4 },
	{ "old", "bits", "bitfield without kind flag", -1, 0 },
	{ "old", "loops", "endless typedef: size not known", 8, 0 },
	{ "big", "a", "8 GiB array: size not known", 0, 0 },
	{ "big", "b", "2^62 elements: size not known", 0, 0 },
	{ "twin", "a", "two structs of one name, different offsets", -1, 0 },
	{ "same", "a", "two structs of one name, same offset", 4, 4 },
	{ "self", "a", "struct within itself ends", 8, 4 },
	{ "last", "l", "all kinds have their length", 4, 4 },
	{ "mod", "m", "struct of the module", 0, sizeof(void *) },
	{ "mod", "a", "name and type of the base", 8, 80 },
};

#define NR_EXPECTS ARRAY_SIZE(expects)

static void test_queries(const void *base, size_t base_len, const void *split,
			 size_t split_len)
{
	struct homi_btf_query q[NR_EXPECTS] = { 0 };
	size_t i;
	int ret;

	for (i = 0; i < NR_EXPECTS; i++)
		q[i] = (struct homi_btf_query){ expects[i].type,
						expects[i].member, 7, 7 };
	ret = homi_btf_search(base, base_len, split, split_len, q, NR_EXPECTS);
	ok(!ret, "a module's BTF is read");
	for (i = 0; i < NR_EXPECTS; i++) {
		if (q[i].offset != expects[i].offset ||
		    q[i].size != expects[i].size)
			note("%s.%s: offset %d size %u", q[i].type,
			     q[i].member, q[i].offset, q[i].size);
		ok(q[i].offset == expects[i].offset &&
		   q[i].size == expects[i].size, expects[i].what);
	}
	ret = homi_btf_search(base, base_len, NULL, 0, q, NR_EXPECTS);
	ok(!ret && q[0].offset == 0 && q[NR_EXPECTS - 1].offset == -1,
	   "without a module only the kernel's structs are found");
}

/* Ask for everything in a damaged pair; ASan, or KASAN, is the judge of reads. */
static int ask(const void *base, size_t base_len, const void *split,
	       size_t split_len)
{
	struct homi_btf_query q[NR_EXPECTS] = { 0 };
	size_t i;

	for (i = 0; i < NR_EXPECTS; i++)
		q[i] = (struct homi_btf_query){ expects[i].type,
						expects[i].member, 0, 0 };
	return homi_btf_search(base, base_len, split, split_len, q, NR_EXPECTS);
}

static void *clip(const void *data, size_t len)
{
	void *copy = take(len);

	memcpy(copy, data, len);
	return copy;
}

static void test_truncated(const void *base, size_t base_len,
			   const void *split, size_t split_len)
{
	size_t len, refused = 0;

	for (len = 0; len < base_len; len++) {
		void *copy = clip(base, len);

		refused += ask(copy, len, split, split_len) == -EINVAL;
		drop(copy);
	}
	ok(refused == base_len, "every truncation of the kernel's is refused");
	for (len = refused = 0; len < split_len; len++) {
		void *copy = clip(split, len);

		refused += ask(base, base_len, copy, len) == -EINVAL;
		drop(copy);
	}
	ok(refused == split_len, "every truncation of a module's is refused");
}

static void test_flipped(const void *base, size_t base_len,
			 const void *split, size_t split_len)
{
	u8 *b = clip(base, base_len), *s = clip(split, split_len);
	size_t bit, odd = 0, refused = 0;
	int ret;

	for (bit = 0; bit < base_len * 8; bit += BTF_STRIDE) {
		b[bit / 8] ^= 1 << bit % 8;
		ret = ask(b, base_len, split, split_len);
		refused += ret == -EINVAL;
		odd += ret && ret != -EINVAL;
		b[bit / 8] ^= 1 << bit % 8;
	}
	for (bit = 0; bit < split_len * 8; bit += BTF_STRIDE) {
		s[bit / 8] ^= 1 << bit % 8;
		ret = ask(base, base_len, s, split_len);
		refused += ret == -EINVAL;
		odd += ret && ret != -EINVAL;
		s[bit / 8] ^= 1 << bit % 8;
	}
	note("%zu flips refused", refused);
	ok(!odd && refused, "flipped bits are refused or harmless");
	ok(!ask(b, base_len, s, split_len), "the same bytes unharmed are read");
	drop(b);
	drop(s);
}

/* Words of the type section replaced by what is worst for lengths and ids. */
static void test_words(const void *base, size_t base_len)
{
	static const u32 worst[] = { 0, 1, 0xffff, 0x7fffffff, 0x80000000,
				     0xffffffff, 0xfffffffc, 0x8400ffff };
	u8 *b = clip(base, base_len);
	size_t pos, i, odd = 0;
	u32 old;
	int ret;

	for (pos = 0; pos + sizeof(u32) <= base_len;
	     pos += BTF_STRIDE * sizeof(u32)) {
		memcpy(&old, b + pos, sizeof(old));
		for (i = 0; i < ARRAY_SIZE(worst); i++) {
			memcpy(b + pos, &worst[i], sizeof(old));
			ret = ask(b, base_len, NULL, 0);
			odd += ret && ret != -EINVAL;
		}
		memcpy(b + pos, &old, sizeof(old));
	}
	ok(!odd, "extreme words are refused or harmless");
	drop(b);
}

static int refused_with(struct blob *b)
{
	size_t len;
	void *data = make(b, &len);
	int ret = ask(data, len, NULL, 0);

	drop(data);
	return ret == -EINVAL;
}

static void test_refused(void)
{
	struct blob *b = take(sizeof(*b));

	fill_base(b);
	ADD(b, 0, INFO(20, 0, 0), 0);
	ok(refused_with(b), "a kind from the future is refused");
	fill_base(b);
	ADD(b, 0, INFO(0, 0, 0), 0);
	ok(refused_with(b), "kind 0 is refused");
	fill_base(b);
	ADD(b, 0, INFO(BTF_KIND_PTR, 0, 0) | 1 << 16, 0);
	/* Linux 7.x has a use for each bit. */
	ok(refused_with(b) || HOMI_BTF_INFO_BITS == ~0U,
	   "unknown bits beside the kind are refused");
	fill_base(b);
	ADD(b, 0, INFO(BTF_KIND_STRUCT, 0xffff, 0), 0);
	ok(refused_with(b), "more members than bytes are refused");
	fill_base(b);
	b->strs[b->strs_len++] = 'x';
	ok(refused_with(b), "an open string is refused");
	drop(b);
}

/* Linux 7.x knows longer headers, and reads the old ones as before. */
static void test_header(void)
{
	struct blob *b = take(sizeof(*b));
	size_t len;
	void *data;

	fill_base(b);
	data = make_long(b, HDR_LEN + 8, &len);
	ok(!ask(data, len, NULL, 0), "a longer header is passed over");
	drop(data);
	data = make_long(b, HDR_LEN - 4, &len);
	ok(ask(data, len, NULL, 0) == -EINVAL, "a shorter header is refused");
	drop(data);
	drop(b);
}

/* The kernel's BTF and a module's, to be given back by drop() */
static void make_pair(void **base, size_t *base_len, void **split,
		      size_t *split_len)
{
	struct blob *b = take(sizeof(*b)), *s = take(sizeof(*s));

	fill_base(b);
	fill_split(s, b);
	*base = make(b, base_len);
	*split = make(s, split_len);
	drop(b);
	drop(s);
}
