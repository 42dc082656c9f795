// SPDX-License-Identifier: MIT
/*
 * Errors in words. The first row that fits is taken; a row of a stage that names
 * a reason wants that reason.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

struct row {
	enum stage stage;
	int err;
	uint32_t reason;
	int exit;
	const char *text;	/* after "SUBJECT: "; NULL: strerror or the reason */
	const char *advice;
};

static const char no_module[] =
	"load the module: modprobe homi (\"homi check\" tells what is missing)";

static const struct row rows[] = {
	{ STAGE_OPEN, ENOENT, 0, EXIT_REFUSED, "homi has no such controller",
	  "see \"homi list\" for the controllers there are" },
	{ STAGE_OPEN, EACCES, 0, EXIT_REFUSED, "you may not open this controller's device",
	  "run as root, or join the group that owns /dev/homi/*" },
	{ STAGE_OPEN, ENODEV, 0, EXIT_REFUSED, "the controller is gone", "" },
	{ STAGE_OPEN, ENXIO, 0, EXIT_REFUSED, "the controller is gone", "" },
	{ STAGE_OPEN, ENOTTY, 0, EXIT_USAGE, "this is not a homi device",
	  "name a controller such as nvme0, or /dev/homi/nvme0" },

	{ STAGE_QUEUE, EPERM, 0, EXIT_REFUSED, "a raw queue needs CAP_SYS_RAWIO",
	  "run as root: a raw queue is equivalent to root" },
	{ STAGE_QUEUE, ENOMEM, 0, EXIT_REFUSED, "not enough memory, or over RLIMIT_MEMLOCK",
	  "raise \"ulimit -l\", or pin less with --depth and --bs" },
	{ STAGE_QUEUE, EAGAIN, 0, EXIT_LOST, "the controller is still resetting",
	  "try again later; \"dmesg\" may tell why it resets" },
	{ STAGE_QUEUE, EOPNOTSUPP, 0, EXIT_REFUSED, "no queue can be had on this controller",
	  "\"homi info\" and \"homi check\" tell why" },
	{ STAGE_QUEUE, ENODEV, 0, EXIT_LOST, "the controller is gone", "" },
	{ STAGE_QUEUE, EIO, 0, EXIT_IO, "the controller refused to create a queue",
	  "\"dmesg\" may tell more" },

	/* What is not said here is as for reading. */
	{ STAGE_RESOLVE_WRITE, EPERM, 0, EXIT_REFUSED,
	  "only who owns a file, or has CAP_LEASE, and may read and write it can write its blocks",
	  "run as root; a file that can only be appended to can't be written in place" },
	{ STAGE_RESOLVE_WRITE, EAGAIN, HOMI_REASON_OPEN, EXIT_REFUSED, NULL,
	  "see who: fuser -v FILE; close it there and try again" },
	{ STAGE_RESOLVE_WRITE, EAGAIN, HOMI_REASON_LEASE, EXIT_REFUSED, NULL,
	  "who held it was told to give it back: try again; see who: /proc/locks" },
	{ STAGE_RESOLVE_WRITE, EINVAL, 0, EXIT_REFUSED, "the file has no whole block",
	  "make it larger: homi prepare FILE SIZE" },
	{ STAGE_RESOLVE_WRITE, EOPNOTSUPP, HOMI_REASON_HOLE, EXIT_REFUSED, NULL,
	  "homi prepare FILE SIZE" },
	{ STAGE_RESOLVE_WRITE, EOPNOTSUPP, HOMI_REASON_SHARED, EXIT_REFUSED, NULL,
	  "homi prepare FILE SIZE gives it blocks of its own" },
	{ STAGE_RESOLVE_WRITE, EROFS, 0, EXIT_REFUSED, "the file system is mounted read-only", "" },
	{ STAGE_RESOLVE, EPERM, 0, EXIT_REFUSED,
	  "the blocks of a file are told to its owner only, or with CAP_LEASE", "run as root" },
	{ STAGE_RESOLVE, EAGAIN, HOMI_REASON_WRITER, EXIT_REFUSED, NULL,
	  "see who: fuser -v FILE; close it there and try again" },
	{ STAGE_RESOLVE, EAGAIN, HOMI_REASON_LEASE, EXIT_REFUSED, NULL,
	  "see who: /proc/locks; try again when it is gone" },
	{ STAGE_RESOLVE, EAGAIN, 0, EXIT_LOST,
	  "the controller is resetting, or queues are being recalled",
	  "try again" },
	{ STAGE_RESOLVE, EOPNOTSUPP, HOMI_REASON_LEASES_OFF, EXIT_REFUSED, NULL,
	  "sysctl fs.leases-enable=1" },
	{ STAGE_RESOLVE, EOPNOTSUPP, HOMI_REASON_OTHER_DEVICE, EXIT_REFUSED, NULL,
	  "leave out -d, or name the controller that the file is on" },
	{ STAGE_RESOLVE, EOPNOTSUPP, HOMI_REASON_IMMUTABLE, EXIT_REFUSED, NULL, "chattr -i FILE" },
	{ STAGE_RESOLVE, EOPNOTSUPP, HOMI_REASON_SWAPFILE, EXIT_REFUSED, NULL, "swapoff FILE" },
	/* No other call of ours is without sense to the kernel. */
	{ STAGE_RESOLVE, EINVAL, 0, EXIT_REFUSED, "there is nothing in the file",
	  "an empty file has no blocks; write something to it first" },
	{ STAGE_RESOLVE, ENODEV, 0, EXIT_LOST, "the controller is gone", "" },

	{ STAGE_READ, ETIMEDOUT, 0, EXIT_IO,
	  "a command did not complete in time; its queue was deleted",
	  "the controller can be used further; --timeout allows more time" },
	{ STAGE_READ, ENODEV, 0, EXIT_LOST, "the controller was removed", "" },
	{ STAGE_READ, EPROTO, 0, EXIT_IO, "the controller completed a command that was never sent",
	  "please report this, with the controller's model and firmware" },
	{ STAGE_READ, EAGAIN, 0, EXIT_LOST, "the controller is still resetting", "try again later" },
	{ STAGE_READ, ENOSPC, 0, EXIT_LOST, "the queue was lost, and no spare one is left",
	  "try again later" },

	{ STAGE_PREPARE, ENOSPC, 0, EXIT_REFUSED, "the file system has no room for that",
	  "make room, or name a smaller SIZE" },
	{ STAGE_PREPARE, EDQUOT, 0, EXIT_REFUSED, "that is more than the quota allows",
	  "name a smaller SIZE" },
	{ STAGE_PREPARE, EFBIG, 0, EXIT_REFUSED,
	  "that is larger than the file system, or \"ulimit -f\", lets a file be",
	  "name a smaller SIZE" },
	{ STAGE_PREPARE, EOPNOTSUPP, 0, EXIT_REFUSED, "the file system can't do that",
	  "homi knows ext4 and XFS" },

	{ STAGE_RESERVE, EPERM, 0, EXIT_REFUSED,
	  "taking queues from the nvme driver needs CAP_SYS_ADMIN", "run as root" },
	{ STAGE_RESERVE, ENOSPC, 0, EXIT_REFUSED, "the controller does not grant so many queues",
	  "\"homi info\" tells how many there are; the nvme driver keeps one at least" },
	{ STAGE_RESERVE, EBUSY, 0, EXIT_REFUSED,
	  "queues that would be given back are in use",
	  "end who holds them: \"homi revoke --dry-run\" lists them" },
	{ STAGE_RESERVE, EAGAIN, 0, EXIT_LOST, "the controller is resetting",
	  "try again later; \"dmesg\" may tell why it resets" },
	{ STAGE_RESERVE, EOPNOTSUPP, 0, EXIT_REFUSED, "no queue can be had on this controller",
	  "\"homi info\" and \"homi check\" tell why" },
	{ STAGE_RESERVE, ENODEV, 0, EXIT_LOST, "the controller is gone", "" },
	{ STAGE_RESERVE, EINTR, 0, EXIT_LOST, "interrupted", "\"homi info\" tells what came of it" },
	{ STAGE_RESERVE, EINVAL, 0, EXIT_USAGE, "the count is not from 0 to 65534", "" },
	{ STAGE_REVOKE, EPERM, 0, EXIT_REFUSED, "taking queues from others needs CAP_SYS_ADMIN",
	  "run as root" },
};

static bool fits(const struct row *row, enum stage stage, int err, uint32_t reason)
{
	return (row->stage == stage ||
		(stage == STAGE_RESOLVE_WRITE && row->stage == STAGE_RESOLVE)) &&
	       row->err == -err && (!row->reason || row->reason == reason);
}

const char *no_spare_advice(const struct homi_ctrl_info *info, char *buf, size_t len)
{
	if (info->out_queues_lent)
		snprintf(buf, len, "%u of %u granted queues are lent to others: end one of these",
			 info->out_queues_lent, info->out_queues_granted);
	else if (info->out_queues_granted < 2)
		snprintf(buf, len, "the controller grants %u queue pair, which the kernel needs",
			 info->out_queues_granted);
	else
		snprintf(buf, len, "the kernel may use all %u granted queues (one for each possible CPU, and nvme.write_queues, nvme.poll_queues): have it leave some by \"homi reserve CONTROLLER COUNT\", which resets the controller once",
			 info->out_queues_granted);
	return buf;
}

static const char *module_advice(const char *advice)
{
	return access("/sys/module/homi", F_OK) ? no_module : advice;
}

int diagnose(struct trouble *t, enum stage stage, int err, uint32_t reason, const char *subject)
{
	const char *text = reason ? homi_strreason(reason) : strerror(-err);
	const char *advice = "";
	size_t i;

	t->exit = EXIT_REFUSED;
	if (stage == STAGE_READ || stage == STAGE_FILE || stage == STAGE_PREPARE)
		t->exit = EXIT_IO;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!fits(&rows[i], stage, err, reason))
			continue;
		t->exit = rows[i].exit;
		if (rows[i].text && !reason)
			text = rows[i].text;
		advice = rows[i].advice;
		break;
	}
	if (stage == STAGE_OPEN && err == -ENOENT)
		advice = module_advice(advice);
	t->err = err;
	t->reason = reason;
	snprintf(t->text, sizeof(t->text), "%s: %s", subject, text);
	snprintf(t->advice, sizeof(t->advice), "%s", advice);
	return t->exit;
}

__attribute__((format(printf, 5, 0)))
static int trouble_vset(struct trouble *t, int code, int err, const char *advice,
			const char *format, va_list args)
{
	t->exit = code;
	t->err = err;
	t->reason = 0;
	vsnprintf(t->text, sizeof(t->text), format, args);
	snprintf(t->advice, sizeof(t->advice), "%s", advice);
	return code;
}

int trouble_set(struct trouble *t, int code, int err, const char *advice, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	trouble_vset(t, code, err, advice, format, args);
	va_end(args);
	return code;
}

void trouble_print(const struct trouble *t)
{
	complain(0, "%s", t->text);
	if (t->advice[0])
		fprintf(stderr, "      %s\n", t->advice);
}

struct json_object *trouble_json(const struct trouble *t)
{
	struct json_object *o = json_object_new_object();

	add_string(o, "text", t->text);
	add_string(o, "advice", t->advice[0] ? t->advice : NULL);
	add_string(o, "errno", t->err ? strerrorname_np(-t->err) : NULL);
	add_number(o, "reason", t->reason);
	return o;
}

int trouble_report(const struct trouble *t, const struct options *opt)
{
	struct json_object *o;

	trouble_print(t);
	if (opt->json) {
		o = json_object_new_object();
		json_object_object_add(o, "error", trouble_json(t));
		print_json(o);
	}
	return t->exit;
}

int report(const struct options *opt, int code, int err, const char *advice, const char *format, ...)
{
	struct trouble t;
	va_list args;

	va_start(args, format);
	trouble_vset(&t, code, err, advice, format, args);
	va_end(args);
	return trouble_report(&t, opt);
}
