// SPDX-License-Identifier: GPL-2.0-only
/* An owner's deduplication through a read-only descriptor moves blocks: it has to recall. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include "files.h"
#include "harness.h"

static char source[300];

static int act_dedupe(const char *path)
{
	struct file_dedupe_range *r = calloc(1, sizeof(*r) + sizeof(r->info[0]));
	int src = open(source, O_RDONLY), dst = open(path, O_RDONLY);

	r->src_length = 16 * PAGE;
	r->dest_count = 1;
	r->info[0].dest_fd = dst;
	if (ioctl(src, FIDEDUPERANGE, r))
		return errno;
	return r->info[0].status < 0 ? -r->info[0].status : r->info[0].status;
}

TEST(dedupe_recalls)
{
	const char *dir = need_fs("xfs");
	int fd = homi_open();
	struct file a, b;
	struct waiter waiter;
	struct table table;
	struct fiemap *map;
	bool waits;
	int err;

	set_recall_ms(30000);
	file_create(&a, dir, "dd-a", 16 * PAGE, 91);
	file_create(&b, dir, "dd-b", 16 * PAGE, 91);
	snprintf(source, sizeof(source), "%s", b.path);
	table_open(&table, fd, a.fd, 0, 0);
	waiter_start(&waiter, act_dedupe, a.path);
	waits = waiter_waits(&waiter, 1000);
	map = file_fiemap(a.fd);
	printf("# waits %d state %u phys same %d\n", waits, table.t->state,
	       table.t->records[0].slba != 0 &&
	       fiemap_lookup(map, 0) % (1ull << 62) == fiemap_lookup(map, 0));
	ASSERT(waits);
	ASSERT_EQ(HOMI_EXTENT_RECALLED, table.t->state);
	ASSERT_EQ(0, table_close(&table));
	err = waiter_end(&waiter, 5000, NULL);
	printf("# dedupe result %d\n", err);
	ASSERT_EQ(0, err);
	free(map);
	map = file_fiemap(a.fd);
	{
		struct fiemap *mb = file_fiemap(b.fd);
		ASSERT_EQ(fiemap_lookup(map, 0), fiemap_lookup(mb, 0));
	}
	table_open(&table, fd, a.fd, 0, 0);
	ASSERT_EQ(0, table_close(&table));
	file_remove(&a);
	file_remove(&b);
}
