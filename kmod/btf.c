// SPDX-License-Identifier: GPL-2.0-only
/*
 * Offsets by name from the running kernel's BTF. Parses bytes that it does not
 * trust: nothing is read before its length was checked. The parser is plain C,
 * so that tests/btf_test.c can run it in user space.
 */
#ifdef __KERNEL__
#include <linux/btf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "nvme_glue.h"
#endif

#define HOMI_BTF_MAX_LEN	SZ_256M
#define HOMI_BTF_HOPS		32	/* typedefs, qualifiers and arrays in a row */
#define HOMI_BTF_DEPTH		8	/* anonymous structs within each other */
#define HOMI_BTF_VISITS		64	/* anonymous structs of one struct, in all */
/* Kind flag, kind, vlen: as many bits as this kernel's header knows */
#define HOMI_BTF_INFO_BITS	(0x80000000 | BTF_INFO_KIND(~0U) << 24 | \
				 BTF_INFO_VLEN(~0U))
/* The kernel's own header may be longer than that of its BTF: 7.x added fields. */
#define HOMI_BTF_HDR_LEN	(offsetof(struct btf_header, str_len) + sizeof(u32))

/**
 * struct homi_btf - the sections of one BTF blob
 * @base: what a module's BTF continues: type ids and string offsets; or NULL
 * @types: type section, struct btf_type records of different lengths
 * @types_len: its length in bytes
 * @strs: string section, ends with a NUL
 * @strs_len: its length in bytes
 * @first_id: id of the first record
 * @nr_types: number of records
 */
struct homi_btf {
	const struct homi_btf *base;
	const void *types;
	u32 types_len;
	const char *strs;
	u32 strs_len;
	u32 first_id;
	u32 nr_types;
};

/* Bytes behind the struct btf_type at @t that belong to it; -EINVAL. */
static int homi_btf_tail(const struct btf_type *t)
{
	u32 vlen = BTF_INFO_VLEN(t->info);

	if (t->info & ~HOMI_BTF_INFO_BITS)
		return -EINVAL;
	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	case BTF_KIND_INT:
		return sizeof(u32);
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return vlen * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return vlen * sizeof(struct btf_enum);
	case BTF_KIND_FUNC_PROTO:
		return vlen * sizeof(struct btf_param);
	case BTF_KIND_VAR:
		return sizeof(struct btf_var);
	case BTF_KIND_DATASEC:
		return vlen * sizeof(struct btf_var_secinfo);
	case BTF_KIND_DECL_TAG:
		return sizeof(struct btf_decl_tag);
	case BTF_KIND_ENUM64:
		return vlen * sizeof(struct btf_enum64);
	default:
		return -EINVAL;	/* its length is not known: nothing behind it is */
	}
}

/* The record at *@pos, whole within the section; NULL at the end or if bad. */
static const struct btf_type *homi_btf_next(const struct homi_btf *btf,
					    u32 *pos)
{
	u32 left = btf->types_len - *pos;
	const struct btf_type *t = btf->types + *pos;
	int tail;

	if (left < sizeof(*t))
		return NULL;
	tail = homi_btf_tail(t);
	if (tail < 0 || tail > left - sizeof(*t))
		return NULL;
	*pos += sizeof(*t) + tail;
	return t;
}

static u32 homi_btf_end_id(const struct homi_btf *btf)
{
	return btf->first_id + btf->nr_types;
}

/* Where string offsets of this blob begin. */
static u32 homi_btf_strs_start(const struct homi_btf *btf)
{
	return btf->base ? btf->base->strs_len : 0;
}

static int homi_btf_open_sections(struct homi_btf *btf, const void *data,
				  size_t len)
{
	const struct btf_header *hdr = data;
	size_t room;

	if (len < HOMI_BTF_HDR_LEN || hdr->magic != BTF_MAGIC ||
	    hdr->version != BTF_VERSION || hdr->flags)
		return -EINVAL;
	if (hdr->hdr_len < HOMI_BTF_HDR_LEN || hdr->hdr_len > len ||
	    !IS_ALIGNED(hdr->hdr_len | hdr->type_off | hdr->type_len,
			sizeof(u32)))
		return -EINVAL;
	room = len - hdr->hdr_len;
	if (hdr->type_off > room || hdr->type_len > room - hdr->type_off ||
	    hdr->str_off > room || hdr->str_len > room - hdr->str_off)
		return -EINVAL;
	btf->types = data + hdr->hdr_len + hdr->type_off;
	btf->types_len = hdr->type_len;
	btf->strs = data + hdr->hdr_len + hdr->str_off;
	btf->strs_len = hdr->str_len;
	if (btf->strs_len && btf->strs[btf->strs_len - 1])
		return -EINVAL;
	return 0;
}

/**
 * homi_btf_open - check all record lengths of a blob and count its types
 * @btf: filled in
 * @data: the blob, aligned to 4; must outlive @btf
 * @len: bytes
 * @base: the BTF of vmlinux for that of a module, else NULL
 */
static int homi_btf_open(struct homi_btf *btf, const void *data, size_t len,
			 const struct homi_btf *base)
{
	u32 pos = 0;
	int ret;

	memset(btf, 0, sizeof(*btf));
	ret = homi_btf_open_sections(btf, data, len);
	if (ret)
		return ret;
	btf->base = base;
	btf->first_id = base ? homi_btf_end_id(base) : 1;
	if (base && btf->strs_len > U32_MAX - base->strs_len)
		return -EINVAL;
	while (homi_btf_next(btf, &pos))
		btf->nr_types++;
	return pos == btf->types_len ? 0 : -EINVAL;
}

static const char *homi_btf_name(const struct homi_btf *btf, u32 off)
{
	u32 start = homi_btf_strs_start(btf);

	if (off < start)
		btf = btf->base;
	else
		off -= start;
	return off < btf->strs_len ? btf->strs + off : "";
}

/* A scan: there is no index, and few types are asked for. */
static const struct btf_type *homi_btf_type(const struct homi_btf *btf, u32 id)
{
	const struct btf_type *t = NULL;
	u32 pos = 0;

	if (btf->base && id < btf->first_id)
		btf = btf->base;
	if (id < btf->first_id || id >= homi_btf_end_id(btf))
		return NULL;
	for (id -= btf->first_id; ; id--) {
		t = homi_btf_next(btf, &pos);
		if (!t || !id)
			return t;
	}
}

/*
 * The type behind typedefs, qualifiers and, with @elems, arrays, whose elements
 * are counted there. NULL for void, for nonsense and for chains without end.
 */
static const struct btf_type *homi_btf_resolve(const struct homi_btf *btf,
					       u32 id, u64 *elems)
{
	const struct btf_array *array;
	const struct btf_type *t;
	unsigned int hops;

	for (hops = 0; hops < HOMI_BTF_HOPS; hops++) {
		t = homi_btf_type(btf, id);
		if (!t)
			return NULL;
		switch (BTF_INFO_KIND(t->info)) {
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_CONST:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_TYPE_TAG:
			id = t->type;
			break;
		case BTF_KIND_ARRAY:
			if (!elems)
				return t;
			array = (const void *)(t + 1);
			*elems *= array->nelems;
			if (*elems > U32_MAX)
				return NULL;
			id = array->type;
			break;
		default:
			return t;
		}
	}
	return NULL;
}

static bool homi_btf_is_composite(const struct btf_type *t)
{
	return BTF_INFO_KIND(t->info) == BTF_KIND_STRUCT ||
	       BTF_INFO_KIND(t->info) == BTF_KIND_UNION;
}

static u32 homi_btf_size(const struct homi_btf *btf, u32 id)
{
	const struct btf_type *t;
	u64 size = 0, elems = 1;

	t = homi_btf_resolve(btf, id, &elems);
	if (!t)
		return 0;
	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_PTR:
		size = sizeof(void *);
		break;
	case BTF_KIND_INT:
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
	case BTF_KIND_FLOAT:
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		size = t->size;
		break;
	}
	size *= elems;
	return size > U32_MAX ? 0 : size;
}

/* Compilers before the kind flag gave a bitfield an int type of few bits. */
static bool homi_btf_is_bitfield(const struct homi_btf *btf,
				 const struct btf_type *parent,
				 const struct btf_member *m)
{
	const struct btf_type *t;
	u32 data;

	if (BTF_INFO_KFLAG(parent->info))
		return BTF_MEMBER_BITFIELD_SIZE(m->offset);
	t = homi_btf_resolve(btf, m->type, NULL);
	if (!t || BTF_INFO_KIND(t->info) != BTF_KIND_INT)
		return false;
	data = *(const u32 *)(t + 1);
	return BTF_INT_OFFSET(data) || BTF_INT_BITS(data) != 8ULL * t->size;
}

/*
 * Find the member in @t, or in an anonymous struct or union within; @bits is
 * where @t begins. False if there is none or it does not lie on bytes.
 */
static bool homi_btf_find_member(const struct homi_btf *btf,
				 const struct btf_type *t, u64 bits,
				 struct homi_btf_query *q, unsigned int depth,
				 unsigned int *visits)
{
	const struct btf_member *m = (const void *)(t + 1);
	const struct btf_member *end = m + BTF_INFO_VLEN(t->info);
	const struct btf_type *inner;
	u64 offset;

	for (; m < end; m++) {
		const char *name = homi_btf_name(btf, m->name_off);

		offset = bits + (BTF_INFO_KFLAG(t->info) ?
				 BTF_MEMBER_BIT_OFFSET(m->offset) : m->offset);
		if (!*name) {
			if (!depth || !*visits)
				continue;
			--*visits;
			inner = homi_btf_resolve(btf, m->type, NULL);
			if (inner && homi_btf_is_composite(inner) &&
			    homi_btf_find_member(btf, inner, offset, q,
						 depth - 1, visits))
				return true;
			continue;
		}
		if (strcmp(name, q->member))
			continue;
		if (offset % 8 || offset / 8 > S32_MAX ||
		    homi_btf_is_bitfield(btf, t, m))
			return false;
		q->offset = offset / 8;
		q->size = homi_btf_size(btf, m->type);
		return true;
	}
	return false;
}

/*
 * Look in all structs of this name: two with different answers are no answer.
 * Returns true if @q needs no other place to be searched.
 */
static bool homi_btf_query(const struct homi_btf *btf, struct homi_btf_query *q)
{
	struct homi_btf_query hit = *q;
	const struct btf_type *t;
	unsigned int visits;
	bool found = false;
	u32 pos = 0;

	while ((t = homi_btf_next(btf, &pos))) {
		if (BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT ||
		    strcmp(homi_btf_name(btf, t->name_off), q->type))
			continue;
		visits = HOMI_BTF_VISITS;
		if (!homi_btf_find_member(btf, t, 0, &hit, HOMI_BTF_DEPTH,
					  &visits))
			continue;
		if (found && (hit.offset != q->offset || hit.size != q->size)) {
			q->offset = -1;
			q->size = 0;
			return true;
		}
		*q = hit;
		found = true;
	}
	return found;
}

/**
 * homi_btf_search - homi_btf_lookup() in blobs that are in memory
 * @vmlinux: BTF of the kernel
 * @vmlinux_len: bytes
 * @module: BTF of the module; NULL if it has none
 * @module_len: bytes
 * @queries: in and out
 * @nr: number of queries
 */
static int homi_btf_search(const void *vmlinux, size_t vmlinux_len,
			   const void *module, size_t module_len,
			   struct homi_btf_query *queries, unsigned int nr)
{
	struct homi_btf base, split;
	unsigned int i;
	int ret;

	ret = homi_btf_open(&base, vmlinux, vmlinux_len, NULL);
	if (ret)
		return ret;
	if (module) {
		ret = homi_btf_open(&split, module, module_len, &base);
		if (ret)
			return ret;
	}
	for (i = 0; i < nr; i++) {
		queries[i].offset = -1;
		queries[i].size = 0;
		/* A module's BTF does not repeat the types that vmlinux has. */
		if (!module || !homi_btf_query(&split, &queries[i]))
			homi_btf_query(&base, &queries[i]);
	}
	return 0;
}

#ifdef __KERNEL__

/*
 * Called by a worker, so in the first mount namespace. kernel_read_file() is
 * for what security policies name (IPE warns of anything else); this is not
 * code or policy, and it is parsed as what nobody vouches for.
 */
static int homi_btf_read(const char *name, void **data, size_t *len)
{
	struct file *file = NULL;
	char path[64];
	loff_t pos = 0;
	ssize_t ret;

	*data = NULL;
	if (snprintf(path, sizeof(path), "/sys/kernel/btf/%s", name) >=
	    sizeof(path))
		return -ENAMETOOLONG;
	scoped_with_init_fs()
		file = filp_open(path, O_RDONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	*len = i_size_read(file_inode(file));
	ret = -EFBIG;
	if (!*len || *len > HOMI_BTF_MAX_LEN)
		goto out;
	ret = -ENOMEM;
	*data = vmalloc(*len);
	if (!*data)
		goto out;
	while (pos < *len) {
		ret = kernel_read(file, *data + pos, *len - pos, &pos);
		if (ret <= 0)
			break;
	}
	ret = pos == *len ? 0 : -EIO;
	if (ret) {
		vfree(*data);
		*data = NULL;	/* the caller frees it on all its ways out */
	}
out:
	fput(file);
	return ret;
}

/**
 * homi_btf_lookup - find offsets of struct members by name
 * @module: name of a module as sysfs spells it; if it has no BTF of its own it
 *	is taken to be built in
 * @queries: in and out; the offset of what is not found is -1
 * @nr: number of queries
 *
 * Returns 0 if the BTF could be read, whatever was found in it.
 */
int homi_btf_lookup(const char *module, struct homi_btf_query *queries,
		    unsigned int nr)
{
	void *base, *split;
	size_t base_len, split_len = 0;
	int ret;

	ret = homi_btf_read(module, &split, &split_len);
	if (ret && ret != -ENOENT)
		return ret;
	ret = homi_btf_read("vmlinux", &base, &base_len);
	if (!ret)
		ret = homi_btf_search(base, base_len, split, split_len,
				      queries, nr);
	vfree(base);
	vfree(split);
	return ret;
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/btf_kunit.c"
#endif

#endif /* __KERNEL__ */
