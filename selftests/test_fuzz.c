// SPDX-License-Identifier: GPL-2.0-only
/*
 * All commands at random, through both doors, by several processes, some without privilege, while
 * controllers are reset and one goes and comes. What a call asks for is mostly good, and then bent.
 * It ends when each command has succeeded often enough and each error was seen, and no error may
 * come that the contract does not have. HOMI_SEED repeats what is chosen, as far as the answers are
 * the same. No NVMe command is posted to a queue; files are the test's own.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "files.h"
#include "fuzz.h"
#include "harness.h"
#include "witness.h"

#define FILE_SIZE	(1u << 20)
#define LIFE		400u
/* Ten times what was enough, for each success that is wanted: to end a run that gets nowhere */
#define STEPS_MOST	2000u

enum role { ROOT_EXT4, ROOT_XFS, NOBODY_EXT4, LIMITED_XFS, SECOND, ROLES };

static struct {
	struct fuzz_counts *counts;
	struct fuzz_paths paths[ROLES];
	struct file files[ROLES][3];
	pid_t pids[ROLES];
	char pci[2][32];
	bool second;
	uint64_t seed;
	unsigned long goal;
	struct homi_ctrl_info before;
	struct stock_queues stock;
	long long pinned;
} fx;

/* --- the same seed, the same calls --- */

static uint64_t dry_hash(uint64_t seed)
{
	static struct fuzz_counts counts;
	static struct fuzz f;
	struct fuzz places = f;
	unsigned int i;

	f = (struct fuzz){
		.seed = seed,
		.answers = 1,
		.dry = true,
		.counts = &counts,
		.scratch = places.scratch,
		.names = places.names,
		.good = places.good,
		.edge = places.edge,
		.readonly = places.readonly,
		.readonly_rw = places.readonly_rw,
	};
	memset(&counts, 0, sizeof(counts));
	fuzz_begin(&f);
	for (i = 0; i < 5000; i++)
		fuzz_step(&f);
	/* Each command is asked for. */
	for (i = 0; i <= FUZZ_CMDS; i++)
		ASSERT(atomic_load(&counts.calls[i]) > 0);
	return f.hash;
}

TEST(same_seed_same_calls)
{
	uint64_t seed = seed_begin(), hash = dry_hash(seed);

	ASSERT_EQ(hash, dry_hash(seed));
	ASSERT(hash != dry_hash(seed + 1));
	ASSERT(dry_hash(1) != dry_hash(2));
	ASSERT_EQ(hash, dry_hash(seed));
}

/* --- processes --- */

static enum role starting;

static void limit(int what, rlim_t value)
{
	struct rlimit r = { value, value };

	ASSERT(!setrlimit(what, &r));
}

static void take_role(enum role role, struct fuzz *f)
{
	switch (role) {
	case NOBODY_EXT4:
		f->nobody = true;
		ASSERT(!setresuid(NOBODY, NOBODY, 0));
		break;
	case LIMITED_XFS:
		/* Whose account it is says the real user; what he may, the other. */
		ASSERT(!setresuid(NOBODY, 0, 0));
		set_cap(CAP_SYS_RESOURCE, false);
		set_cap(CAP_IPC_LOCK, false);
		limit(RLIMIT_MEMLOCK, FUZZ_ARENA / 2);
		limit(RLIMIT_NOFILE, 200);
		break;
	default:
		break;
	}
}

static void fuzz_main(void)
{
	static struct fuzz f;
	enum role role = starting;
	unsigned int steps;

	f = (struct fuzz){
		.seed = fx.seed,
		.counts = fx.counts,
		.pci = fx.pci[role == SECOND],
		.paths = &fx.paths[role == SECOND ? ROOT_EXT4 : role],
		.foreign = role == SECOND,
	};
	steps = LIFE / 4 + seed_next(&f.seed, LIFE);
	take_role(role, &f);
	fuzz_begin(&f);
	while (steps-- && !atomic_load(&fx.counts->stop))
		fuzz_step(&f);
	fuzz_end(&f, seed_next(&f.seed, 2));
}

static void start(enum role role)
{
	fx.seed += 0x1000003;
	starting = role;
	atomic_fetch_add(&fx.counts->lives, 1);
	fx.pids[role] = child_start(fuzz_main);
}

static unsigned int roles(void)
{
	return fx.second ? ROLES : SECOND;
}

/* Who has ended lives again; who found something has said so. */
static void look_after(void)
{
	unsigned int i;
	int status;

	for (i = 0; i < roles(); i++) {
		if (waitpid(fx.pids[i], &status, WNOHANG) != fx.pids[i])
			continue;
		if (status)
			FAIL("process %u ended with status %#x", i, status);
		start(i);
	}
}

/* All queue ids there are, for an error that is rare otherwise */
static void take_all(void)
{
	static struct fuzz f;
	struct fuzz_call c;
	unsigned int i;

	f = (struct fuzz){
		.seed = fx.seed, .counts = fx.counts, .pci = fx.pci[0], .paths = &fx.paths[0],
	};
	fuzz_begin(&f);
	for (i = 0; i < 512; i++) {
		fuzz_good(&f, &c, FUZZ_ROW(HOMI_CMD_QUEUE_CREATE), 0);
		/* Nothing that could be refused before */
		((struct homi_queue_create *)c.bytes)->flags = 0;
		((struct homi_queue_create *)c.bytes)->sq_mem_id = 0;
		((struct homi_queue_create *)c.bytes)->cq_mem_id = 0;
		if (fuzz_do(&f, &c))
			break;
	}
	fuzz_end(&f, true);
}

/* --- what happens to them --- */

static void wait_second(void)
{
	uint64_t end = now_ms() + 60000 * patience();
	char node[64];

	while (!node_of(fx.pci[1], node, sizeof(node)) || !wait_live(base_name(node), 0)) {
		ASSERT(now_ms() < end);
		nap_ms(5);
	}
}

static void unbind_and_bind(void)
{
	ASSERT(sysfs_write("/sys/bus/pci/drivers/nvme/unbind", fx.pci[1]));
	ASSERT(sysfs_write("/sys/bus/pci/drivers/nvme/bind", fx.pci[1]));
	wait_second();
	atomic_fetch_add(&fx.counts->unbinds, 1);
}

static void kill_one(void)
{
	unsigned int i = seed_next(&fx.seed, roles());
	int status;

	kill(fx.pids[i], SIGKILL);
	status = child_status(fx.pids[i]);
	if (status && status != 128 + SIGKILL)
		FAIL("process %u ended with status %d", i, status);
	atomic_fetch_add(&fx.counts->kills, status != 0);
	start(i);
}

/* One of the next creations is refused by the controller. */
static void refuse_one(void)
{
	char path[128];

	snprintf(path, sizeof(path), FAULT, ctrl_name());
	ASSERT(sysfs_write(path, seed_next(&fx.seed, 2) ? "5 fail 1" : "1 fail 1"));
}

static void happen(void)
{
	unsigned long round = atomic_load(&fx.counts->steps) / 100;

	switch (seed_next(&fx.seed, 8)) {
	case 0:
	case 1:
		kill_one();
		break;
	case 2:
	case 3:
		refuse_one();
		break;
	case 4:
		/* Not so many that nothing else is done */
		if (fx.counts->resets > round / 8)
			break;
		reset_controller(ctrl_name());
		atomic_fetch_add(&fx.counts->resets, 1);
		break;
	case 5:
		if (fx.second && fx.counts->unbinds <= round / 12)
			unbind_and_bind();
		break;
	case 6:
		if (!fx.counts->err[FUZZ_ROW(HOMI_CMD_QUEUE_CREATE)][ENOSPC])
			ASSERT_EQ(0, child_status(child_start(take_all)));
		break;
	}
}

/* --- what must have been seen --- */

static const char *why_never(int err)
{
	switch (err) {
	case EINTR:
		return "who is waiting is dead when it comes";
	case ENODEV:
		return fx.second ? NULL : "there is no second controller to be unbound";
	}
	return NULL;
}

static const int general[] = {
	ENOTTY, E2BIG, EINVAL, EFAULT, ENOENT, EPERM, EBADF, ENOSPC, EDQUOT, ENOMEM, ENODEV, ESTALE,
	EAGAIN, EBUSY, EMSGSIZE, EOPNOTSUPP, EIO, EINTR
};

/* What is missing yet; NULL: nothing */
static const char *missing(void)
{
	static char text[96];
	unsigned int i;

	for (i = 0; i < FUZZ_CMDS; i++)
		if (fx.counts->ok[i] < fx.goal) {
			snprintf(text, sizeof(text), "%s succeeded %lu times of %lu",
				 fuzz_rows[i].name, fx.counts->ok[i], fx.goal);
			return text;
		}
	for (i = 0; i < ARRAY_SIZE(general); i++)
		if (!why_never(general[i]) && !fuzz_seen(fx.counts, general[i])) {
			snprintf(text, sizeof(text), "%s was not seen", strerrorname_np(general[i]));
			return text;
		}
	if (fx.counts->resets < 2 || !fx.counts->kills || !fx.counts->overflows)
		return "no reset, no kill, or no ring that overflowed";
	if (fx.second && !fx.counts->unbinds)
		return "no controller was unbound";
	return NULL;
}

static void print_never(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(general); i++)
		if (why_never(general[i]))
			printf("# fuzz: %s is not to be had here: %s\n", strerrorname_np(general[i]),
			       why_never(general[i]));
}

/* --- the test --- */

static void make_files(enum role role, const char *dir)
{
	static const char *const names[] = { "fuzz-data", "fuzz-still", "fuzz-inplace" };
	struct fuzz_paths *p = &fx.paths[role];
	char *paths[] = { p->data, p->still, p->inplace };
	unsigned int i;

	snprintf(p->dir, sizeof(p->dir), "%s", dir);
	for (i = 0; i < 3; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%s%u", names[i], role);
		file_create(&fx.files[role][i], dir, name, FILE_SIZE, role);
		snprintf(paths[i], sizeof(p->data), "%s", fx.files[role][i].path);
		if (role == NOBODY_EXT4)
			ASSERT(!fchown(fx.files[role][i].fd, NOBODY, NOBODY));
		close(fx.files[role][i].fd);
		fx.files[role][i].fd = -1;
	}
}

/* Nobody has it mounted. */
static void find_second(void)
{
	const char *dev = getenv("HOMI_DEV2"), *raw = getenv("HOMI_RAW2");
	int fd;

	if (!dev || !*dev || !raw || !*raw)
		return;
	fd = open(raw, O_RDWR | O_EXCL | O_CLOEXEC);
	ASSERT(fd >= 0);
	close(fd);
	pci_of(base_name(dev), fx.pci[1], sizeof(fx.pci[1]));
	fx.second = true;
}

static void set_up(void)
{
	const char *ext4 = need_fs("ext4"), *xfs = need_fs("xfs");
	int fd = homi_open();

	need_debugfs();
	need_queues(fd, 8);
	fx.before = ctrl_info(fd);
	close(fd);
	fx.seed = seed_begin();
	/* What a soak promises is for each kernel, the slow one too. */
	fx.goal = soak() ? 1000 : times(1000, 100);
	pci_of(ctrl_name(), fx.pci[0], sizeof(fx.pci[0]));
	find_second();
	stock_queues_learn(&fx.stock, ctrl_name());
	fx.counts = mmap(NULL, sizeof(*fx.counts), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(fx.counts != MAP_FAILED);
	make_files(ROOT_EXT4, ext4);
	make_files(ROOT_XFS, xfs);
	make_files(NOBODY_EXT4, ext4);
	make_files(LIMITED_XFS, xfs);
	wait_nothing_left(ctrl_name());
	fx.pinned = pinned_pages();
	set_recall_ms(300);
	set_quotas(8, 6);
}

/* RESERVE as it was: what may have it busy is gone. */
static void reserve_again(const char *path, uint32_t count)
{
	struct homi_reserve cmd = { .size = sizeof(cmd), .count = count };
	int fd = homi_open_at(path), err, tries;

	for (tries = 0; tries < 100; tries++) {
		err = homi_call(fd, HOMI_RESERVE, &cmd);
		if (err != -EAGAIN && err != -EBUSY)
			break;
		nap_ms(50);
	}
	ASSERT_EQ(0, err);
	close(fd);
}

/* Everything is closed, and the controller is as it was. */
static void check_end(void)
{
	struct homi_ctrl_info now;
	unsigned int i;
	int fd;

	ASSERT(wait_live(ctrl_name(), 30000 * patience()));
	wait_nothing_left(ctrl_name());
	reserve_again(dev_path(), fx.before.out_queues_reserved);
	ASSERT(wait_live(ctrl_name(), 30000 * patience()));
	stock_queues_check(&fx.stock);
	if (fx.second) {
		/* Nobody holds an old one: the name is the old one again. */
		unbind_and_bind();
		ASSERT(!access(getenv("HOMI_DEV2"), F_OK));
		wait_nothing_left(base_name(getenv("HOMI_DEV2")));
	}
	fd = homi_open();
	now = ctrl_info(fd);
	close(fd);
	ASSERT_EQ(0, now.out_queues_lent);
	ASSERT_EQ(fx.before.out_queues_spare, now.out_queues_spare);
	ASSERT_EQ(fx.before.out_queues_granted, now.out_queues_granted);
	ASSERT_EQ(fx.before.out_queues_kernel, now.out_queues_kernel);
	ASSERT_EQ(fx.before.out_queues_reserved, now.out_queues_reserved);
	wait_nothing_left(ctrl_name());
	/* No user's account is kept when he has no file open. */
	ASSERT(shell("grep -q '^user ' /sys/kernel/debug/homi/%s/state", ctrl_name()));
	wait_unpinned(fx.pinned);
	for (i = 0; i < SECOND * 3; i++)
		file_remove(&fx.files[i / 3][i % 3]);
}

static void wait_steps(unsigned int more)
{
	unsigned long until = fx.counts->steps + more;
	uint64_t end = now_ms() + 120000 * patience();

	while (fx.counts->steps < until) {
		look_after();
		if (now_ms() > end)
			FAIL("nothing goes on");
		nap_ms(2);
	}
}

TEST_TIMEOUT(everything, 280)
{
	unsigned long calls, ok;
	const char *lack;
	unsigned int i;

	set_up();
	for (i = 0; i < roles(); i++)
		start(i);
	while ((lack = missing()) && fx.counts->steps < STEPS_MOST * (fx.goal < 100 ? 100 : fx.goal)) {
		wait_steps(10 + seed_next(&fx.seed, 100));
		happen();
	}
	atomic_store(&fx.counts->stop, true);
	for (i = 0; i < roles(); i++)
		ASSERT_EQ(0, child_status(fx.pids[i]));
	fuzz_report(fx.counts);
	print_never();
	check_end();
	if (lack)
		FAIL("after %lu steps: %s", fx.counts->steps, lack);
	calls = fuzz_sum(fx.counts->calls);
	ok = fuzz_sum(fx.counts->ok);
	ASSERT(ok * 3 >= calls);
	ASSERT_EQ(0, fx.counts->undocumented);
}
