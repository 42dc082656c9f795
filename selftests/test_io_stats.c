// SPDX-License-Identifier: GPL-2.0-only
/*
 * What READ and WRITE did is counted.
 */
#include "harness.h"
#include "uring_rw.h"

static struct homi_io_stats stats_of(int fd, uint32_t flags)
{
	struct homi_io_stats stats = { .size = sizeof(stats), .flags = flags };

	ASSERT_EQ(0, homi_call(fd, HOMI_IO_STATS, &stats));
	return stats;
}

/* Of this file exactly; of the controller at least, and after it is closed too */
TEST(counted)
{
	struct homi_io_stats before, own, all;
	int other = homi_open(), i;

	begin(need_fs("ext4"), 0);
	before = stats_of(other, HOMI_STATS_CTRL);
	for (i = 0; i < 5; i++)
		ASSERT_EQ(2 * PAGE, rw_do(&ring, &t, false, 0, 0, 2 * PAGE));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(PAGE, rw_do(&ring, &t, true, 0, 0, PAGE));
	/* Of the end of the file one page is there. */
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, SIZE - PAGE, 0, 4 * PAGE));
	/* Refused by homi, and by the file system */
	ASSERT_EQ(-EINVAL, rw_do(&ring, &t, false, 0, SIZE, PAGE));
	ASSERT_EQ(-EFBIG, rw_do(&ring, &t, true, 1ull << 62, 0, PAGE));
	own = stats_of(t.fd, 0);
	ASSERT_EQ(6, own.out_fs_reads);
	ASSERT_EQ(3, own.out_fs_writes);
	ASSERT_EQ(11 * PAGE, own.out_fs_read_bytes);
	ASSERT_EQ(3 * PAGE, own.out_fs_written_bytes);
	ASSERT_EQ(1, own.out_fs_errors);
	ASSERT_EQ(0, stats_of(other, 0).out_fs_reads);
	all = stats_of(other, HOMI_STATS_CTRL);
	ASSERT_EQ(before.out_fs_reads + 6, all.out_fs_reads);
	ASSERT_EQ(before.out_fs_written_bytes + 3 * PAGE, all.out_fs_written_bytes);
	io_uring_queue_exit(&ring);
	close(t.fd);
	nap_ms(200);
	all = stats_of(other, HOMI_STATS_CTRL);
	ASSERT_EQ(before.out_fs_reads + 6, all.out_fs_reads);
	ASSERT_EQ(before.out_fs_errors + 1, all.out_fs_errors);
	file_remove(&file);
}
