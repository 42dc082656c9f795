// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the contract says of each command, for the fuzzer: size, flags, and which errors it may
 * end with; and what the fuzzer has counted.
 */
#include "fuzz.h"

/* Any command may meet these: a bad structure, no memory, no controller. */
#define ANY	E2BIG, EINVAL, EFAULT, ENOMEM, ENODEV

static const int of_any[] = { ANY, 0 };
static const int of_id[] = { ANY, ENOENT, 0 };
static const int of_ns_info[] = { ANY, ENOENT, EAGAIN, 0 };
static const int of_mem_register[] = {
	ANY, EBADF, EPERM, ESTALE, EDQUOT, EOPNOTSUPP, EAGAIN, 0
};
static const int of_mem_segments[] = { ANY, ENOENT, ESTALE, EMSGSIZE, 0 };
static const int of_queue_create[] = {
	ANY, EPERM, ENOSPC, EDQUOT, ENOENT, ESTALE, EAGAIN, EOPNOTSUPP, EIO, 0
};
static const int of_queue_recreate[] = { ANY, ENOENT, EAGAIN, EBUSY, ESTALE, ENOSPC, EIO, 0 };
static const int of_queue_arm[] = { ANY, ENOENT, ESTALE, EOPNOTSUPP, 0 };
static const int of_extent_resolve[] = { ANY, EBADF, EPERM, EDQUOT, EAGAIN, EOPNOTSUPP, EIO, 0 };
static const int of_extent_ack[] = { ANY, ENOENT, ESTALE, 0 };
static const int of_event_bind[] = { ANY, ENOENT, EBADF, EOPNOTSUPP, 0 };
static const int of_doorbell_export[] = { ANY, EPERM, ENOENT, EOPNOTSUPP, EMFILE, 0 };
static const int of_reserve[] = { ANY, EPERM, ENOSPC, EBUSY, EAGAIN, EOPNOTSUPP, 0 };
static const int of_destroy[] = { ANY, ENOENT, EBUSY, 0 };
static const int of_holders[] = { ANY, EPERM, EMSGSIZE, 0 };
static const int of_resolve_set[] = { ANY, EBADF, ENOTDIR, 0 };
static const int of_file_register[] = { ANY, EBADF, EOPNOTSUPP, EDQUOT, 0 };
static const int of_read[] = {
	ANY, EBADF, ENOENT, EDQUOT, EOPNOTSUPP, ESTALE, EAGAIN, EIO, 0
};
/* And what pwrite() has for a full file system or a file that gets too large */
static const int of_write[] = {
	ANY, EBADF, ENOENT, EOPNOTSUPP, ESTALE, EAGAIN, EIO, ENOSPC, EFBIG, 0
};
static const int of_unknown[] = { ENOTTY, 0 };

#define ROW(NAME, name, flags, weight, errnos)		\
	[FUZZ_ROW(HOMI_CMD_##NAME)] = { #NAME, sizeof(struct homi_##name), flags, weight, errnos }

const struct fuzz_row fuzz_rows[FUZZ_CMDS + 1] = {
	ROW(CTRL_INFO, ctrl_info, 0, 3, of_any),
	ROW(NS_INFO, ns_info, HOMI_NS_NEXT, 3, of_ns_info),
	ROW(MEM_REGISTER, mem_register, HOMI_MEM_WRITE | HOMI_MEM_BAR | HOMI_MEM_PAGES, 7,
	    of_mem_register),
	ROW(MEM_SEGMENTS, mem_segments, 0, 4, of_mem_segments),
	ROW(MEM_INFO, mem_info, 0, 4, of_id),
	ROW(QUEUE_CREATE, queue_create, HOMI_QUEUE_INTERRUPT, 4, of_queue_create),
	ROW(QUEUE_RECREATE, queue_recreate, 0, 4, of_queue_recreate),
	ROW(QUEUE_INFO, queue_info, 0, 4, of_id),
	ROW(EXTENT_RESOLVE, extent_resolve, HOMI_RESOLVE_WRITE, 6, of_extent_resolve),
	ROW(EXTENT_ACK, extent_ack, 0, 3, of_extent_ack),
	ROW(EVENT_BIND, event_bind, HOMI_EVENT_COMPLETIONS, 4, of_event_bind),
	ROW(DOORBELL_EXPORT, doorbell_export, 0, 4, of_doorbell_export),
	ROW(RESERVE, reserve, 0, 3, of_reserve),
	ROW(DESTROY, destroy, 0, 10, of_destroy),
	ROW(HOLDERS, holders, HOMI_HOLDERS_REVOKE, 3, of_holders),
	ROW(RESOLVE_SET, resolve_set, 0, 4, of_resolve_set),
	ROW(FILE_REGISTER, file_register, 0, 5, of_file_register),
	/* By io_uring only; as any other number for ioctl() */
	ROW(READ, uring_rw, HOMI_RW_FD | HOMI_RW_BY_FS | HOMI_RW_BY_EXTENTS, 12, of_read),
	ROW(WRITE, uring_rw, HOMI_RW_FD | HOMI_RW_DSYNC | HOMI_RW_BY_FS | HOMI_RW_BY_EXTENTS, 10,
	    of_write),
	ROW(QUEUE_ARM, queue_arm, 0, 4, of_queue_arm),
	ROW(IO_STATS, io_stats, HOMI_STATS_CTRL, 3, of_any),
	[FUZZ_UNKNOWN] = { "(unknown)", 64, 0, 1, of_unknown },
};

bool fuzz_is_documented(unsigned int row, int err)
{
	const int *e;

	for (e = fuzz_rows[row].errnos; *e; e++)
		if (*e == err)
			return true;
	return false;
}

unsigned long fuzz_seen(const struct fuzz_counts *c, int err)
{
	unsigned long n = 0;
	unsigned int row;

	for (row = 0; row <= FUZZ_CMDS; row++)
		n += atomic_load(&c->err[row][err]);
	return n;
}

unsigned long fuzz_sum(const atomic_ulong *counts)
{
	unsigned long n = 0;
	unsigned int row;

	for (row = 0; row <= FUZZ_CMDS; row++)
		n += atomic_load(&counts[row]);
	return n;
}

static void report_errors(const char *what, const atomic_ulong *errors)
{
	char line[512];
	size_t at = 0;
	int err;

	for (err = 1; err < FUZZ_ERRNOS; err++)
		if (errors[err] && at < sizeof(line) - 40)
			at += snprintf(line + at, sizeof(line) - at, " %s %lu",
				       strerrorname_np(err) ?: "?", errors[err]);
	printf("# fuzz: %s:%s\n", what, at ? line : " no errors");
}

void fuzz_report(const struct fuzz_counts *c)
{
	atomic_ulong all[FUZZ_ERRNOS] = { 0 };
	unsigned int row;
	int err;

	for (row = 0; row <= FUZZ_CMDS; row++) {
		printf("# fuzz: %-15s %7lu calls (%lu by io_uring), %7lu successes\n",
		       fuzz_rows[row].name, c->calls[row], c->by_uring[row], c->ok[row]);
		report_errors(fuzz_rows[row].name, c->err[row]);
		for (err = 0; err < FUZZ_ERRNOS; err++)
			all[err] += c->err[row][err];
	}
	report_errors("all", all);
	report_errors("by io_uring itself", c->refused);
	printf("# fuzz: %lu calls, %lu successes, %lu steps, %lu lives, %lu forks, %lu kills, %lu resets, %lu unbinds\n",
	       fuzz_sum(c->calls), fuzz_sum(c->ok), c->steps, c->lives, c->forks, c->kills, c->resets,
	       c->unbinds);
	printf("# fuzz: %lu mappings, %lu recalls, %lu rings (%lu overflows), %lu cancels, %lu words changed meanwhile, %lu times left in flight\n",
	       c->maps, c->recalls, c->rings, c->overflows, c->cancels, c->meddled,
	       c->left_in_flight);
	fflush(stdout);
}
