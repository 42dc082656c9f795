// SPDX-License-Identifier: GPL-2.0-only
/*
 * The stock driver is unbound with homi in use: every holder gets ENODEV, the node goes, and
 * comes back. On the second controller, whose file systems nobody needs.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "harness.h"
#include "importer.h"
#include "removal.h"
#include "uring.h"

static struct victim victim;
static char victim_file[256];
/* How many READs of the child's were good; shared with it */
static atomic_uint *reads;

TEST(idle)
{
	int fd;

	victim_need(&victim);
	fd = homi_open_at(victim.dev);
	victim_unbind(&victim);
	wait_no_node(victim.dev);
	check_gone(fd);
	close(fd);
	victim_bind(&victim);
	/* Nobody held the old one: the name is the old one, too. */
	ASSERT(!strcmp(victim.dev, getenv("HOMI_DEV2")));
	fd = homi_open_at(victim.dev);
	ASSERT_EQ(HOMI_CTRL_LIVE, ctrl_info(fd).out_state);
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
}

static struct sqe read_lba_0(const struct dma *dma, uint32_t nsid)
{
	struct sqe sqe = { .opcode = NVME_READ, .nsid = nsid, .prp1 = dma_addr(dma, 0) };

	return sqe;
}

static void post_reads(struct ring *ring, const struct dma *dma, uint32_t nsid)
{
	struct sqe sqe = read_lba_0(dma, nsid);

	while (!ring_full(ring))
		ring_post(ring, &sqe);
	ring_doorbell(ring);
}

TEST(with_queues)
{
	struct ring ring;
	struct dma dma;
	int fd;

	victim_need(&victim);
	fd = homi_open_at(victim.dev);
	need_queues(fd, 1);
	ring_open(&ring, fd, 64);
	dma_new(&dma, fd, 4 * PAGE);
	post_reads(&ring, &dma, first_nsid(fd));
	victim_unbind(&victim);
	wait_no_node(victim.dev);
	ASSERT_EQ(HOMI_QUEUE_GONE, queue_info(fd, ring.q.out_queue_id).out_state);
	check_gone(fd);
	/* A store to a doorbell goes nowhere or raises SIGBUS; it never reaches the device. */
	ASSERT(fault_of(ring.db, true) != SIGSEGV);
	if (ring.shadow)
		ASSERT(fault_of(ring.shadow, true) != SIGSEGV);
	memset(dma.va, 0x2e, 4 * PAGE);
	nap_ms(50);
	ASSERT(is_filled(dma.va, 0x2e, 4 * PAGE));
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, dma_destroy(&dma));
	ring_unmap(&ring);
	close(fd);
	victim_bind(&victim);
	fd = homi_open_at(victim.dev);
	ring_open(&ring, fd, 16);
	dma_new(&dma, fd, PAGE);
	{
		struct sqe sqe = read_lba_0(&dma, first_nsid(fd));

		ASSERT_EQ(0, ring_do(&ring, &sqe));
	}
}

/* The old open file stays dead when the controller is back, and does not hinder the new one. */
TEST(held_over_rebind)
{
	struct ring ring, fresh;
	struct dma dma;
	int old, fd;

	victim_need(&victim);
	old = homi_open_at(victim.dev);
	need_queues(old, 1);
	ring_open(&ring, old, 8);
	dma_new(&dma, old, PAGE);
	victim_unbind(&victim);
	victim_bind(&victim);
	fd = homi_open_at(victim.dev);
	check_gone(old);
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
	ASSERT_EQ(0, ring_create(&fresh, fd, 8));
	ASSERT_EQ(HOMI_QUEUE_GONE, queue_info(old, ring.q.out_queue_id).out_state);
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	close(old);
	ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(fd, fresh.q.out_queue_id).out_state);
	ASSERT_EQ(0, ring_destroy(&fresh));
	close(fd);
	/* once more, so that the name is free and is taken again */
	victim_unbind(&victim);
	victim_bind(&victim);
	ASSERT(!strcmp(victim.dev, getenv("HOMI_DEV2")));
}

/* Only mappings are left when it goes. */
TEST(mappings_only)
{
	struct ring ring;
	int fd;

	victim_need(&victim);
	fd = homi_open_at(victim.dev);
	need_queues(fd, 1);
	ring_open(&ring, fd, 64);
	close(fd);
	victim_unbind(&victim);
	ASSERT(fault_of(ring.db, true) != SIGSEGV);
	ASSERT(fault_of(ring.sq, true) != SIGSEGV);
	ring_unmap(&ring);
	victim_bind(&victim);
	ASSERT(!strcmp(victim.dev, getenv("HOMI_DEV2")));
}

/* Devices that have doorbells are told to let go. Some do not; the unbind does not hang for it. */
static void check_exported(uint32_t flags)
{
	struct importer_info info;
	struct ringer ringer;
	struct ring ring;
	int fd, importer = importer_open();

	victim_need(&victim);
	fd = homi_open_at(victim.dev);
	need_queues(fd, 1);
	ring_open(&ring, fd, 64);
	ringer_open(&ringer, &ring, flags);
	set_delete_ms(1000);
	victim_unbind(&victim);
	info = importer_info(ringer.registers);
	ASSERT_EQ(1, info.out_notices);
	ASSERT_EQ(flags & IMPORTER_DEAF ? 1 : 0, info.out_mapped);
	ASSERT_EQ(flags & IMPORTER_DEAF ? 0 : -EIO, importer_write(ringer.registers, 0, 0));
	ASSERT_EQ(-ENODEV, importer_attach(importer, ringer.registers_dmabuf, 0));
	if (ringer.shadow >= 0) {
		info = importer_info(ringer.shadow);
		ASSERT_EQ(1, info.out_notices);
		ASSERT_EQ(flags & IMPORTER_DEAF ? 1 : 0, info.out_mapped);
		/* Stock has freed that page; it is nobody else's yet. */
		ASSERT_EQ(flags & IMPORTER_DEAF ? 0 : -EIO,
			  importer_write(ringer.shadow, ring.q.out_sq_shadow_offset, 7));
	}
	{
		int dmabuf;

		ASSERT_EQ(-ENODEV, doorbell_export(fd, ring.q.out_queue_id,
						   HOMI_DOORBELL_REGISTERS, &dmabuf));
	}
	ringer_close(&ringer);
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	close(fd);
	victim_bind(&victim);
	ASSERT(!strcmp(victim.dev, getenv("HOMI_DEV2")));
}

TEST(exported_doorbells)
{
	check_exported(0);
}

TEST(exported_doorbells_are_kept)
{
	check_exported(IMPORTER_DEAF);
}

/* Somebody creates, registers, does I/O and destroys all the time while it goes. */
static void be_busy(atomic_uint *begun)
{
	int fd = homi_open_at(victim.dev);

	for (atomic_fetch_add(begun, 1);;) {
		char *va = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0);
		struct ring ring;
		uint32_t mem;
		int err = ring_create(&ring, fd, 16);

		if (err == -ENODEV)
			_exit(0);
		if (err != -EAGAIN && err != -ENOSPC)
			ASSERT_EQ(0, err);
		if (mem_register(fd, va, PAGE, HOMI_MEM_WRITE, &mem, NULL) == -ENODEV)
			_exit(0);
		if (!err)
			ASSERT_EQ(0, ring_destroy(&ring));
		ASSERT_EQ(0, destroy(fd, mem));
		munmap(va, PAGE);
	}
}

TEST_TIMEOUT(under_load, 120)
{
	unsigned int rounds = soak() ? 8 : 3, i, k;
	atomic_uint *begun = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[3];
	int fd;

	ASSERT(begun != MAP_FAILED);
	victim_need(&victim);
	fd = homi_open_at(victim.dev);
	need_queues(fd, 1);
	close(fd);
	for (i = 0; i < rounds; i++) {
		fflush(NULL);
		atomic_store(begun, 0);
		for (k = 0; k < ARRAY_SIZE(pids); k++) {
			pids[k] = fork();
			if (!pids[k])
				be_busy(begun);
		}
		/* Who comes after it finds no node. */
		while (atomic_load(begun) < ARRAY_SIZE(pids))
			nap_ms(1);
		nap_ms(50 + i * 31 % 100);
		victim_unbind(&victim);
		for (k = 0; k < ARRAY_SIZE(pids); k++)
			ASSERT_EQ(0, child_status(pids[k]));
		victim_bind(&victim);
		ASSERT(!strcmp(victim.dev, getenv("HOMI_DEV2")));
	}
}

/* --- READs by extents --- */

#define PIECE	(16 * PAGE)

static void post_reads_of(struct io_uring *ring, const struct rw_target *t)
{
	unsigned int i;

	for (i = 0; i < 32; i++) {
		struct homi_uring_rw rw = rw_make(t, i * PIECE, i * PIECE, PIECE);

		rw_post(ring, t->fd, false, &rw, i);
	}
	ASSERT_EQ(32, io_uring_submit(ring));
}

/* Begun again and again until the controller is gone; a child, which sees the mount too. */
static void read_until_gone(void)
{
	unsigned int i, good = 0, bad = 0;
	struct io_uring ring;
	struct rw_target t;
	void *va = NULL;
	int fd;

	ASSERT_EQ(0, uring_open(&ring, 64, IORING_SETUP_SQE128));
	t = (struct rw_target){ .fd = homi_open_at(victim.dev), .flags = HOMI_RW_BY_EXTENTS };
	ASSERT(!posix_memalign(&va, PAGE, 32 * PIECE));
	memset(va, 0, 32 * PIECE);
	ASSERT_EQ(0, mem_register(t.fd, va, 32 * PIECE, HOMI_MEM_WRITE, &t.mem, NULL));
	fd = open(victim_file, O_RDONLY);
	ASSERT(fd >= 0);
	ASSERT_EQ(0, file_register(t.fd, fd, (uint32_t *)&t.file, NULL));
	while (bad < 64) {
		post_reads_of(&ring, &t);
		for (i = 0; i < 32; i++) {
			int res = uring_reap(&ring, NULL);

			good += res == PIECE;
			bad += res != PIECE;
			atomic_store(reads, good);
			if (res != PIECE)
				ASSERT(res == -ENODEV || res == -EIO || res == -EAGAIN ||
				       (res >= 0 && res % 512 == 0));
		}
	}
	printf("# %u good, %u not\n", good, bad);
	ASSERT(good);
	/* What was read stays where it is, and nothing more comes. */
	memset(va, 0x2e, 32 * PIECE);
	nap_ms(50);
	ASSERT(is_filled(va, 0x2e, 32 * PIECE));
}

TEST_TIMEOUT(with_reads_by_extents, 120)
{
	const char *point;
	uint64_t end;
	pid_t pid;
	int fd;

	victim_need(&victim);
	point = victim_make_file(&victim, "ext4", 32 * PIECE, victim_file);
	reads = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(reads != MAP_FAILED);
	pid = child_start(read_until_gone);
	for (end = now_ms() + 30000; atomic_load(reads) < 100;) {
		ASSERT(now_ms() < end);
		nap_ms(1);
	}
	victim_unbind(&victim);
	ASSERT_EQ(0, child_status(pid));
	wait_no_node(victim.dev);
	umount_soon(point);
	victim_bind(&victim);
	fd = homi_open_at(victim.dev);
	ASSERT_EQ(HOMI_CTRL_LIVE, ctrl_info(fd).out_state);
}
