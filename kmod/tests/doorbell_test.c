// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where doorbells are and which can be had: included by doorbell.c.
 */
#include "mock.h"

/* @reach: the highest id whose doorbells can be reached, from id 1 upwards */
struct homi_reach_case {
	const char *name;
	u32 stride;
	u64 bar_len;
	u64 msix[4];
	size_t shadow_len;
	u32 reach;
};

static const struct homi_reach_case homi_reach_cases[] = {
	/* The page at 0x1000 has 512 pairs, of ids 0 to 511. */
	{ "one page of doorbells", 4, 0x2000, {}, 0, 511 },
	{ "two pages", 4, 0x3000, {}, 0, 1023 },
	{ "BAR ends behind a pair", 4, 0x1000 + 8 * 10, {}, 0, 9 },
	{ "BAR ends within a pair", 4, 0x1000 + 8 * 10 - 1, {}, 0, 8 },
	{ "BAR ends between the two", 4, 0x1000 + 8 * 10 - 4, {}, 0, 8 },
	{ "no doorbells in the BAR", 4, 0x1000, {}, 0, 0 },
	{ "registers only", 4, 0x38, {}, 0, 0 },
	{ "stride 8", 8, 0x2000, {}, 0, 255 },
	{ "stride of half a page", 2048, 0x4000, {}, 0, 2 },
	{ "stride of a page", 4096, 0x10000, {}, 0, 0 },
	{ "MSI-X behind the doorbells", 4, 0x4000, { 0x2000, 0x2100 }, 0, 511 },
	{ "MSI-X begins in the last word of a page", 4, 0x4000,
	  { 0x2ffc, 0x3000 }, 0, 511 },
	{ "MSI-X in the page of the registers", 4, 0x2000, { 0x800, 0x1000 },
	  0, 511 },
	{ "MSI-X reaches into the first page", 4, 0x2000, { 0x800, 0x1001 }, 0, 0 },
	{ "MSI-X in the first page", 4, 0x4000, { 0x1800, 0x1810 }, 0, 0 },
	{ "pending bits in the second page", 4, 0x4000,
	  { 0x3000, 0x3100, 0x2800, 0x2808 }, 0, 511 },
	{ "shadow entries of ids 0 to 4", 4, 0x3000, {}, 5 * 8, 4 },
	{ "shadow ends within a pair", 4, 0x3000, {}, 5 * 8 + 4, 4 },
	{ "shadow ends before a pair", 4, 0x3000, {}, 5 * 8 - 1, 3 },
	{ "a page of shadow entries", 4, 0x3000, {}, 4096, 511 },
	{ "shadow entries, stride 16", 16, 0x3000, {}, 4096, 127 },
	{ "the BAR is shorter than the shadow", 4, 0x1000 + 8 * 10, {}, 4096, 9 },
};

static void homi_test_reachable(struct kunit *test)
{
	const struct homi_reach_case *c = homi_reach_cases;
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;
	u32 qid, not_a_page;

	for (; c < homi_reach_cases + ARRAY_SIZE(homi_reach_cases); c++) {
		ctrl->stride = c->stride;
		ctrl->bar_len = c->bar_len;
		ctrl->msix[0].start = c->msix[0];
		ctrl->msix[0].end = c->msix[1];
		ctrl->msix[1].start = c->msix[2];
		ctrl->msix[1].end = c->msix[3];
		mock->dbs = c->shadow_len ? &not_a_page : NULL;
		mock->shadow_len = c->shadow_len;
		for (qid = 1; qid < 2048; qid++)
			if (!homi_doorbell_reachable(ctrl, qid))
				break;
		KUNIT_EXPECT_EQ_MSG(test, qid - 1, c->reach, "%s", c->name);
	}
}

/* Ids behind a page of MSI-X can be reached again, though none is lent. */
static void homi_test_behind_msix(struct kunit *test)
{
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;

	ctrl->bar_len = 0x4000;
	ctrl->msix[0].start = 0x2000;
	ctrl->msix[0].end = 0x3000;
	KUNIT_EXPECT_TRUE(test, homi_doorbell_reachable(ctrl, 511));
	KUNIT_EXPECT_FALSE(test, homi_doorbell_reachable(ctrl, 512));
	KUNIT_EXPECT_FALSE(test, homi_doorbell_reachable(ctrl, 1023));
	KUNIT_EXPECT_TRUE(test, homi_doorbell_reachable(ctrl, 1024));
}

/* No capability makes a stride that long fit a page, but products are 64 bits. */
static void homi_test_far(struct kunit *test)
{
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;

	ctrl->stride = SZ_64K;
	KUNIT_EXPECT_EQ(test, homi_db_offset(ctrl, 32768),
			SZ_4G + HOMI_DB_START);
	ctrl->stride = 2048;
	ctrl->bar_len = SZ_4G;
	KUNIT_EXPECT_TRUE(test, homi_doorbell_reachable(ctrl, HOMI_MAX_QID));
}

static void homi_test_shadow_unknown(struct kunit *test)
{
	struct homi_mock *mock = test->priv;

	mock->shadow_ret = -EOPNOTSUPP;
	KUNIT_EXPECT_FALSE(test, homi_doorbell_reachable(&mock->ctrl, 1));
}

static int homi_test_db_init(struct homi_ctrl *ctrl, unsigned int qid,
			     struct homi_doorbell *db)
{
	int ret;

	spin_lock(&ctrl->lock);
	ret = homi_doorbell_init(ctrl, qid, db);
	spin_unlock(&ctrl->lock);
	return ret;
}

static void homi_test_offsets(struct kunit *test)
{
	static const struct {
		u32 stride;
		unsigned int qid;
		u32 sq;
		u32 cq;
	} cases[] = {
		{ 4, 1, 8, 12 }, { 4, 511, 0xff8, 0xffc }, { 4, 512, 0, 4 },
		{ 4, 515, 24, 28 }, { 8, 3, 48, 56 }, { 64, 31, 0xf80, 0xfc0 },
		{ 64, 32, 0, 64 }, { 2048, 7, 0, 2048 },
	};
	struct homi_mock *mock = test->priv;
	struct homi_doorbell db;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		mock->ctrl.stride = cases[i].stride;
		memset(&db, 0xff, sizeof(db));
		KUNIT_EXPECT_EQ(test, homi_test_db_init(&mock->ctrl,
							cases[i].qid, &db), 0);
		KUNIT_EXPECT_EQ_MSG(test, db.sq_offset, cases[i].sq, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, db.cq_offset, cases[i].cq, "row %d", i);
		KUNIT_EXPECT_FALSE_MSG(test, db.has_shadow, "row %d", i);
	}
}

/* Bytes of @page that are not @fill are those of [from, from + len), and 0. */
static void homi_test_only_zeroed(struct kunit *test, const u8 *page,
				  size_t page_len, size_t from, size_t len)
{
	size_t i, bad = 0;

	for (i = 0; i < page_len; i++)
		bad += page[i] != (i >= from && i < from + len ? 0 : 0xa5);
	KUNIT_EXPECT_EQ_MSG(test, bad, 0, "entry at %zu", from);
}

static void homi_test_shadow_one(struct kunit *test, unsigned int qid,
				 u32 stride)
{
	struct homi_mock *mock = test->priv;
	size_t len = mock->shadow_len, entry = 2UL * qid * stride;
	struct homi_doorbell db;

	memset(mock->dbs, 0xa5, len);
	memset(mock->eis, 0xa5, len);
	mock->ctrl.stride = stride;
	KUNIT_EXPECT_EQ(test, homi_test_db_init(&mock->ctrl, qid, &db), 0);
	KUNIT_EXPECT_TRUE(test, db.has_shadow);
	KUNIT_EXPECT_EQ(test, db.sq_shadow_offset, entry % PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, db.cq_shadow_offset, entry % PAGE_SIZE + stride);
	if (stride != 4)
		return;
	homi_test_only_zeroed(test, mock->dbs, len, entry, 8);
	homi_test_only_zeroed(test, mock->eis, len, entry, 8);
}

static void homi_test_shadow(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	struct homi_doorbell db;

	mock->shadow_len = 2 * PAGE_SIZE;
	mock->dbs = kunit_kzalloc(test, mock->shadow_len, GFP_KERNEL);
	mock->eis = kunit_kzalloc(test, mock->shadow_len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mock->dbs);
	KUNIT_ASSERT_NOT_NULL(test, mock->eis);
	homi_test_shadow_one(test, 1, 4);
	homi_test_shadow_one(test, 511, 4);
	homi_test_shadow_one(test, 512, 4);
	homi_test_shadow_one(test, 1023, 4);
	homi_test_shadow_one(test, 3, 32);
	/* Beyond the end nothing is written: KASAN watches. */
	mock->ctrl.stride = 4;
	KUNIT_EXPECT_EQ(test, homi_test_db_init(&mock->ctrl, 1024, &db),
			-ENOSPC);
	mock->shadow_len -= 4;
	KUNIT_EXPECT_EQ(test, homi_test_db_init(&mock->ctrl, 1023, &db),
			-ENOSPC);
	KUNIT_EXPECT_EQ(test, homi_test_db_init(&mock->ctrl, 1022, &db), 0);
	mock->shadow_ret = -EOPNOTSUPP;
	KUNIT_EXPECT_EQ(test, homi_test_db_init(&mock->ctrl, 1, &db),
			-EOPNOTSUPP);
}

/* --- MSI-X --- */

/* Configuration space whose MSI-X capability is at 0x40 */
static struct {
	u16 control;
	u32 table;
	u32 pba;
} homi_test_msix;

static int homi_test_config_read(struct pci_bus *bus, unsigned int devfn,
				 int where, int size, u32 *value)
{
	switch (where) {
	case 0x40 + PCI_MSIX_FLAGS:
		*value = homi_test_msix.control;
		return PCIBIOS_SUCCESSFUL;
	case 0x40 + PCI_MSIX_TABLE:
		*value = homi_test_msix.table;
		return PCIBIOS_SUCCESSFUL;
	case 0x40 + PCI_MSIX_PBA:
		*value = homi_test_msix.pba;
		return PCIBIOS_SUCCESSFUL;
	default:
		*value = U32_MAX;
		return PCIBIOS_BAD_REGISTER_NUMBER;
	}
}

static struct pci_ops homi_test_pci_ops = { .read = homi_test_config_read };

static void homi_test_msix_ranges(struct kunit *test)
{
	static const struct {
		u16 control;
		u32 table;
		u32 pba;
		u64 range[4];
	} cases[] = {
		/* 1 vector; both in BAR 0 */
		{ 0x0000, 0x2000, 0x3000, { 0x2000, 0x2010, 0x3000, 0x3008 } },
		{ 0x8000, 0x2000, 0x3000, { 0x2000, 0x2010, 0x3000, 0x3008 } },
		/* 64 vectors take one word of pending bits, 65 take two. */
		{ 0x803f, 0x2000, 0x3000, { 0x2000, 0x2400, 0x3000, 0x3008 } },
		{ 0x8040, 0x2000, 0x3000, { 0x2000, 0x2410, 0x3000, 0x3010 } },
		/* 2048, the most */
		{ 0x87ff, 0x2000, 0x10000, { 0x2000, 0xa000, 0x10000, 0x10100 } },
		/* Other BARs are no concern. */
		{ 0x8003, 0x2004, 0x3000, { 0, 0, 0x3000, 0x3008 } },
		{ 0x8003, 0x2000, 0x3002, { 0x2000, 0x2040, 0, 0 } },
		{ 0x8003, 0x0004, 0x1005, { 0, 0, 0, 0 } },
	};
	struct pci_bus *bus = kunit_kzalloc(test, sizeof(*bus), GFP_KERNEL);
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, bus);
	bus->ops = &homi_test_pci_ops;
	mock->pdev.bus = bus;
	homi_doorbell_probe(ctrl);
	KUNIT_EXPECT_EQ_MSG(test, ctrl->msix[0].end, 0, "no MSI-X");
	mock->pdev.msix_cap = 0x40;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(ctrl->msix, 0, sizeof(ctrl->msix));
		homi_test_msix.control = cases[i].control;
		homi_test_msix.table = cases[i].table;
		homi_test_msix.pba = cases[i].pba;
		homi_doorbell_probe(ctrl);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->msix[0].start,
				    cases[i].range[0], "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->msix[0].end,
				    cases[i].range[1], "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->msix[1].start,
				    cases[i].range[2], "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->msix[1].end,
				    cases[i].range[3], "row %d", i);
	}
}

static struct kunit_case homi_doorbell_cases[] = {
	KUNIT_CASE(homi_test_reachable),
	KUNIT_CASE(homi_test_behind_msix),
	KUNIT_CASE(homi_test_far),
	KUNIT_CASE(homi_test_shadow_unknown),
	KUNIT_CASE(homi_test_offsets),
	KUNIT_CASE(homi_test_shadow),
	KUNIT_CASE(homi_test_msix_ranges),
	{}
};

static struct kunit_suite homi_doorbell_suite = {
	.name = "homi_doorbell",
	.init = homi_mock_init,
	.exit = homi_mock_exit,
	.test_cases = homi_doorbell_cases,
};

kunit_test_suite(homi_doorbell_suite);
