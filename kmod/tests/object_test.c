// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ids, references and cookies of objects: included by object.c.
 */
#include "mock.h"

/* An object that tells what was done to it */
struct homi_test_object {
	struct homi_object obj;
	bool busy;
	u32 revoked;
	u32 released;
	u32 freed;
};

static struct homi_test_object *to_test_object(struct homi_object *obj)
{
	return container_of(obj, struct homi_test_object, obj);
}

static bool homi_test_is_busy(struct homi_object *obj)
{
	lockdep_assert_held(&obj->ctx->lock);
	return to_test_object(obj)->busy;
}

static void homi_test_revoke(struct homi_object *obj)
{
	to_test_object(obj)->revoked++;
}

static void homi_test_release_dma(struct homi_object *obj)
{
	lockdep_assert_held(&obj->ctx->ctrl->dma_lock);
	to_test_object(obj)->released++;
}

/* The test looks at it afterwards, and KUnit frees it. */
static void homi_test_free(struct homi_object *obj)
{
	to_test_object(obj)->freed++;
}

static size_t homi_test_region_size(struct homi_object *obj,
				    enum homi_region region)
{
	switch (region) {
	case HOMI_REGION_DB:
		return PAGE_SIZE;
	case HOMI_REGION_TABLE:
		return 3 * PAGE_SIZE - 100;
	default:
		return 0;
	}
}

static const struct homi_object_ops homi_test_ops = {
	.is_busy = homi_test_is_busy,
	.revoke = homi_test_revoke,
	.release_dma = homi_test_release_dma,
	.free = homi_test_free,
	.region_size = homi_test_region_size,
};

static struct homi_ctx *homi_test_open(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	struct homi_ctx *ctx = homi_ctx_alloc(&mock->ctrl);

	KUNIT_ASSERT_FALSE(test, IS_ERR(ctx));
	return ctx;
}

static struct homi_test_object *homi_test_reserve(struct kunit *test,
						  struct homi_ctx *ctx,
						  enum homi_object_type type)
{
	struct homi_test_object *o = kunit_kzalloc(test, sizeof(*o),
						   GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, o);
	KUNIT_ASSERT_EQ(test, homi_object_reserve(ctx, &o->obj, type,
						  &homi_test_ops), 0);
	return o;
}

static void homi_test_ended(struct kunit *test, struct homi_test_object *o,
			    u32 released)
{
	KUNIT_EXPECT_EQ(test, o->revoked, 1);
	KUNIT_EXPECT_EQ(test, o->released, released);
	KUNIT_EXPECT_EQ(test, o->freed, 1);
	KUNIT_EXPECT_TRUE(test, o->obj.dead);
}

/* Seen by nobody before it is published, and by its kind or any after. */
static void homi_test_publish(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_test_object *o = homi_test_reserve(test, ctx, HOMI_OBJ_MEM);
	u32 id = o->obj.id;

	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, id, HOMI_OBJ_ANY), NULL);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, id, HOMI_OBJ_MEM), NULL);
	KUNIT_EXPECT_EQ(test, homi_object_destroy(ctx, id), -ENOENT);
	homi_object_publish(&o->obj);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, id, HOMI_OBJ_MEM),
			    &o->obj);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, id, HOMI_OBJ_ANY),
			    &o->obj);
	KUNIT_EXPECT_EQ(test, kref_read(&o->obj.ref), 3);
	homi_object_put(&o->obj);
	homi_object_put(&o->obj);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, id, HOMI_OBJ_QUEUE),
			    NULL);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, id, HOMI_OBJ_EXTENT),
			    NULL);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, id + 1, HOMI_OBJ_ANY),
			    NULL);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, 0, HOMI_OBJ_ANY), NULL);
	KUNIT_EXPECT_EQ(test, homi_object_destroy(ctx, id), 0);
	homi_test_ended(test, o, 1);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, id, HOMI_OBJ_MEM), NULL);
	KUNIT_EXPECT_EQ(test, homi_object_destroy(ctx, id), -ENOENT);
	homi_ctx_close(ctx);
	homi_test_ended(test, o, 1);
}

static void homi_test_abort(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_test_object *o = homi_test_reserve(test, ctx, HOMI_OBJ_MEM);

	/* Busy or not: nobody knows of it. */
	o->busy = true;
	homi_object_abort(&o->obj);
	homi_test_ended(test, o, 1);
	o = homi_test_reserve(test, ctx, HOMI_OBJ_EXTENT);
	homi_object_abort(&o->obj);
	homi_test_ended(test, o, 0);
	homi_ctx_close(ctx);
}

static void homi_test_ids(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test), *other = homi_test_open(test);
	struct homi_test_object *o[8], *theirs;
	int i;

	for (i = 0; i < 8; i++) {
		o[i] = homi_test_reserve(test, ctx, HOMI_OBJ_MEM);
		homi_object_publish(&o[i]->obj);
		KUNIT_EXPECT_EQ(test, o[i]->obj.id, i + 1);
	}
	/* Each open file has its own. */
	theirs = homi_test_reserve(test, other, HOMI_OBJ_MEM);
	homi_object_publish(&theirs->obj);
	KUNIT_EXPECT_EQ(test, theirs->obj.id, 1);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(other, 2, HOMI_OBJ_ANY), NULL);
	KUNIT_EXPECT_EQ(test, homi_object_destroy(other, 2), -ENOENT);
	KUNIT_EXPECT_EQ(test, homi_object_destroy(ctx, 3), 0);
	KUNIT_EXPECT_EQ(test, o[2]->freed, 1);
	KUNIT_EXPECT_EQ(test, o[3]->freed, 0);
	homi_ctx_close(ctx);
	for (i = 0; i < 8; i++)
		homi_test_ended(test, o[i], 1);
	KUNIT_EXPECT_EQ(test, theirs->freed, 0);
	homi_ctx_close(other);
	homi_test_ended(test, theirs, 1);
}

static void homi_test_busy(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_test_object *o = homi_test_reserve(test, ctx, HOMI_OBJ_MEM);

	homi_object_publish(&o->obj);
	o->busy = true;
	KUNIT_EXPECT_EQ(test, homi_object_destroy(ctx, o->obj.id), -EBUSY);
	KUNIT_EXPECT_EQ(test, o->revoked + o->released + o->freed, 0);
	KUNIT_EXPECT_FALSE(test, o->obj.dead);
	KUNIT_EXPECT_EQ(test, kref_read(&o->obj.ref), 1);
	o->busy = false;
	KUNIT_EXPECT_EQ(test, homi_object_destroy(ctx, o->obj.id), 0);
	homi_test_ended(test, o, 1);
	/* A close asks nobody. */
	o = homi_test_reserve(test, ctx, HOMI_OBJ_MEM);
	o->busy = true;
	homi_ctx_close(ctx);
	homi_test_ended(test, o, 1);
}

/* What still has a reference is revoked at once and freed with the last one. */
static void homi_test_last_reference(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_test_object *o = homi_test_reserve(test, ctx, HOMI_OBJ_MEM);
	struct homi_object *obj;

	homi_object_publish(&o->obj);
	obj = homi_object_get(ctx, o->obj.id, HOMI_OBJ_MEM);
	KUNIT_ASSERT_NOT_NULL(test, obj);
	KUNIT_EXPECT_EQ(test, homi_object_destroy(ctx, o->obj.id), 0);
	KUNIT_EXPECT_EQ(test, o->revoked, 1);
	KUNIT_EXPECT_EQ(test, o->released, 1);
	KUNIT_EXPECT_EQ(test, o->freed, 0);
	homi_ctx_close(ctx);
	/* It keeps the open file, and that the controller: see homi_mock_exit() */
	KUNIT_EXPECT_EQ(test, o->freed, 0);
	homi_object_put(obj);
	homi_test_ended(test, o, 1);
}

/* Off the bus: each gives back its memory once; later objects get none. */
static void homi_test_off_the_bus(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_test_object *seen, *hidden;

	seen = homi_test_reserve(test, ctx, HOMI_OBJ_MEM);
	homi_object_publish(&seen->obj);
	hidden = homi_test_reserve(test, ctx, HOMI_OBJ_MEM);
	homi_mock_die(test->priv);
	KUNIT_EXPECT_TRUE(test, ctx->dma_released);
	KUNIT_EXPECT_EQ(test, seen->released, 1);
	KUNIT_EXPECT_EQ(test, hidden->released, 1);
	KUNIT_EXPECT_EQ(test, seen->revoked + seen->freed, 0);
	homi_object_abort(&hidden->obj);
	homi_ctx_close(ctx);
	KUNIT_EXPECT_EQ(test, seen->freed, 1);
	KUNIT_EXPECT_EQ(test, hidden->freed, 1);
}

/*
 * What stock has of a controller is let go of by the last file that is open when
 * stock leaves it, and not by the last reference, when stock's module may be gone.
 */
static void homi_test_stock_left(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test), *other = homi_test_open(test);
	struct homi_mock *mock = test->priv;

	homi_ctx_close(other);
	KUNIT_EXPECT_EQ(test, mock->detached, 0);
	other = homi_test_open(test);
	homi_mock_die(mock);
	homi_mock_drop_stock(&mock->ctrl);
	KUNIT_EXPECT_EQ(test, mock->detached, 0);
	homi_ctx_close(other);
	KUNIT_EXPECT_EQ(test, mock->detached, 0);
	KUNIT_EXPECT_TRUE(test, IS_ERR(homi_ctx_alloc(&mock->ctrl)));
	KUNIT_EXPECT_EQ(test, mock->detached, 0);
	homi_ctx_close(ctx);
	KUNIT_EXPECT_EQ(test, mock->detached, 1);
	/* Nobody gets in any more. */
	KUNIT_EXPECT_FALSE(test, homi_ctrl_enter_stock(&mock->ctrl));
	KUNIT_EXPECT_EQ(test, mock->detached, 1);
}

/* With none open */
static void homi_test_stock_unused(struct kunit *test)
{
	struct homi_mock *mock = test->priv;

	homi_ctx_close(homi_test_open(test));
	homi_mock_die(mock);
	KUNIT_EXPECT_EQ(test, mock->detached, 0);
	homi_mock_drop_stock(&mock->ctrl);
	KUNIT_EXPECT_EQ(test, mock->detached, 1);
}

/* Cookies tell regions and ids apart, and their pages do not overlap. */
static void homi_test_cookies(struct kunit *test)
{
	static const u32 ids[] = { 1, 2, 3, 255, 256, 65536, HOMI_MAX_ID - 1,
				   HOMI_MAX_ID };
	const u64 room = BIT_ULL(HOMI_COOKIE_PAGE_BITS + PAGE_SHIFT);
	struct homi_object obj = {};
	u64 cookie, last = 0;
	u32 region, i;

	for (region = HOMI_REGION_SQ; region <= HOMI_REGION_TABLE; region++) {
		for (i = 0; i < ARRAY_SIZE(ids); i++) {
			obj.id = ids[i];
			cookie = homi_cookie(&obj, region);
			KUNIT_EXPECT_TRUE(test, IS_ALIGNED(cookie, room));
			/* Regions come one after the other, in them ids. */
			KUNIT_EXPECT_GE(test, cookie, last + room);
			last = cookie;
			cookie >>= PAGE_SHIFT;
			KUNIT_EXPECT_EQ(test, cookie >>
					HOMI_COOKIE_REGION_SHIFT, region);
			KUNIT_EXPECT_EQ(test, cookie >> HOMI_COOKIE_PAGE_BITS &
					HOMI_MAX_ID, ids[i]);
		}
	}
	/* mmap() takes an off_t. */
	KUNIT_EXPECT_LE(test, last + room, S64_MAX);
}

/* @pgoff is added to that of the cookie of @region. */
struct homi_mmap_case {
	const char *name;
	enum homi_region region;
	u64 pgoff;
	u32 pages;
	vm_flags_t flags;
	int ret;
};

static const struct homi_mmap_case homi_mmap_cases[] = {
	{ "private", HOMI_REGION_DB, 0, 1, VM_READ, -EINVAL },
	{ "executable", HOMI_REGION_DB, 0, 1, VM_SHARED | VM_EXEC, -EINVAL },
	{ "not from the start", HOMI_REGION_DB, 1, 1, VM_SHARED, -EINVAL },
	{ "longer", HOMI_REGION_DB, 0, 2, VM_SHARED, -EINVAL },
	{ "shorter", HOMI_REGION_TABLE, 0, 2, VM_SHARED, -EINVAL },
	{ "a table to write to", HOMI_REGION_TABLE, 0, 3, VM_SHARED | VM_WRITE,
	  -EINVAL },
	{ "a region that it has not", HOMI_REGION_SQ, 0, 1, VM_SHARED, -EINVAL },
	{ "no region", HOMI_REGION_NONE, 0, 1, VM_SHARED, -EINVAL },
	{ "region 15", 15, 0, 1, VM_SHARED, -EINVAL },
	{ "the next object", HOMI_REGION_DB, BIT(HOMI_COOKIE_PAGE_BITS), 1,
	  VM_SHARED, -ENOENT },
};

static void homi_test_mmap_refused(struct kunit *test)
{
	const struct homi_mmap_case *c = homi_mmap_cases;
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_test_object *o = homi_test_reserve(test, ctx, HOMI_OBJ_MEM);

	for (; c < homi_mmap_cases + ARRAY_SIZE(homi_mmap_cases); c++) {
		struct vm_area_struct vma = {
			.vm_start = 0x100000,
			.vm_end = 0x100000 + c->pages * PAGE_SIZE,
			.vm_flags = c->flags,
			.vm_pgoff = (homi_cookie(&o->obj, c->region) >>
				     PAGE_SHIFT) + c->pgoff,
		};

		o->obj.published = false;
		KUNIT_EXPECT_NE_MSG(test, homi_mmap(ctx, &vma), 0, "%s",
				    c->name);
		o->obj.published = true;
		KUNIT_EXPECT_EQ_MSG(test, homi_mmap(ctx, &vma), c->ret, "%s",
				    c->name);
		KUNIT_EXPECT_EQ_MSG(test, kref_read(&o->obj.ref), 1, "%s",
				    c->name);
		KUNIT_EXPECT_PTR_EQ_MSG(test, vma.vm_ops, NULL, "%s", c->name);
	}
	homi_ctx_close(ctx);
}

/* Whichever was looked up last, one is found by its id as long as it is there. */
static void homi_test_near(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_test_object *o[3 * ARRAY_SIZE(ctx->near)], *next;
	u32 n = ARRAY_SIZE(ctx->near), i, id;

	for (i = 0; i < ARRAY_SIZE(o); i++) {
		o[i] = homi_test_reserve(test, ctx, HOMI_OBJ_MEM);
		homi_object_publish(&o[i]->obj);
	}
	for (i = 0; i < 2 * ARRAY_SIZE(o); i++) {
		struct homi_object *obj = &o[i * 7 * n % ARRAY_SIZE(o)]->obj;

		KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, obj->id,
							  HOMI_OBJ_MEM), obj);
		homi_object_put(obj);
		obj = &o[i % ARRAY_SIZE(o)]->obj;
		KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, obj->id,
							  HOMI_OBJ_ANY), obj);
		homi_object_put(obj);
	}
	/* The one that was looked up last, and one that was not */
	id = o[n]->obj.id;
	homi_object_put(homi_object_get(ctx, id, HOMI_OBJ_ANY));
	KUNIT_EXPECT_EQ(test, homi_object_destroy(ctx, id), 0);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, id, HOMI_OBJ_ANY), NULL);
	homi_object_put(homi_object_get(ctx, o[0]->obj.id, HOMI_OBJ_ANY));
	KUNIT_EXPECT_EQ(test, homi_object_destroy(ctx, o[2 * n]->obj.id), 0);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, o[0]->obj.id,
						  HOMI_OBJ_ANY), &o[0]->obj);
	homi_object_put(&o[0]->obj);
	/* An id that is given once more */
	next = homi_test_reserve(test, ctx, HOMI_OBJ_QUEUE);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, next->obj.id,
						  HOMI_OBJ_ANY), NULL);
	homi_object_publish(&next->obj);
	KUNIT_EXPECT_PTR_EQ(test, homi_object_get(ctx, next->obj.id,
						  HOMI_OBJ_QUEUE), &next->obj);
	homi_object_put(&next->obj);
	homi_ctx_close(ctx);
}

static struct kunit_case homi_object_cases[] = {
	KUNIT_CASE(homi_test_near),
	KUNIT_CASE(homi_test_publish),
	KUNIT_CASE(homi_test_abort),
	KUNIT_CASE(homi_test_ids),
	KUNIT_CASE(homi_test_busy),
	KUNIT_CASE(homi_test_last_reference),
	KUNIT_CASE(homi_test_off_the_bus),
	KUNIT_CASE(homi_test_stock_left),
	KUNIT_CASE(homi_test_stock_unused),
	KUNIT_CASE(homi_test_cookies),
	KUNIT_CASE(homi_test_mmap_refused),
	{}
};

static struct kunit_suite homi_object_suite = {
	.name = "homi_object",
	.init = homi_mock_init,
	.exit = homi_mock_exit,
	.test_cases = homi_object_cases,
};

kunit_test_suite(homi_object_suite);
