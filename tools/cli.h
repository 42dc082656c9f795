/* SPDX-License-Identifier: MIT */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <json-c/json.h>

#include <homi/reader.h>

/* Documented in homi(1). */
enum {
	EXIT_OK = 0,
	EXIT_DIFFERS = 1,	/* verify: data differ; check: this machine can't */
	EXIT_USAGE = 2,
	EXIT_REFUSED = 3,	/* not possible here, or not allowed */
	EXIT_IO = 4,		/* an I/O failed or timed out */
	EXIT_LOST = 5,		/* the queue or the extents were lost meanwhile: try again */
};

struct options {
	const char *device;	/* -d, or NULL */
	const char *to;		/* -O, or NULL */
	const char *from;	/* -I, or NULL */
	bool json;
	bool dry_run;
	uint32_t recalls;	/* -c, or 0 */
	uint32_t interval_ms;	/* -i, or 0 */
	uint32_t refreshes;	/* -n with a number, or 0 */
	int progress;		/* 1 yes, 0 no, -1 if stderr is a terminal */
	struct homi_reader_options reader;
	int count;		/* operands */
	char **operands;
};

struct command {
	const char *name;
	const char *operands;
	const char *options;	/* letters that it takes besides o and h */
	const char *help;
	int min, max;		/* operands; max -1: any number */
	int (*run)(const struct options *opt);
};

int cmd_list(const struct options *opt);
int cmd_info(const struct options *opt);
int cmd_check(const struct options *opt);
int cmd_extents(const struct options *opt);
int cmd_read(const struct options *opt);
int cmd_write(const struct options *opt);
int cmd_prepare(const struct options *opt);
int cmd_verify(const struct options *opt);
int cmd_reserve(const struct options *opt);
int cmd_revoke(const struct options *opt);
int cmd_watch(const struct options *opt);
int cmd_stats(const struct options *opt);
int cmd_top(const struct options *opt);

/* --- out.c --- */

/* "homi: ..." on stderr; returns @code */
int complain(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints and frees @object. */
void print_json(struct json_object *object);
void add_string(struct json_object *object, const char *key, const char *value);
void add_number(struct json_object *object, const char *key, uint64_t value);
void add_bool(struct json_object *object, const char *key, bool value);
const char *size_text(uint64_t bytes, char *buf, size_t len);
/* @bytes: k or m may be behind it; -EINVAL: no number; -ERANGE: not from @least to @most */
int parse_number(const char *text, bool bytes, uint64_t least, uint64_t most, uint32_t *value);

struct progress {
	const char *what;
	uint64_t total;
	uint64_t begin_ns;
	uint64_t shown_ns;
	bool on;
};

void progress_begin(struct progress *p, const struct options *opt, const char *what,
		    uint64_t total);
void progress_to(struct progress *p, uint64_t done);
void progress_end(struct progress *p);

uint64_t clock_now_ns(int clock);
/* Of a process, or "?" */
void command_name(uint32_t pid, char *buf, size_t len);

/* --- trouble.c: what went wrong, and what to do about it --- */

enum stage {
	STAGE_OPEN,		/* the controller's device */
	STAGE_QUEUE,		/* a reader: its memory and queue */
	STAGE_RESOLVE,		/* extents of a file */
	STAGE_RESOLVE_WRITE,	/* extents of a file that is written to */
	STAGE_READ,		/* reading or writing through the queue */
	STAGE_FILE,		/* the file itself, by the kernel's own calls */
	STAGE_PREPARE,		/* making it what can be written in place */
	STAGE_RESERVE,		/* taking queues from the nvme driver */
	STAGE_REVOKE,		/* taking queues from their holders */
};

/**
 * struct trouble - an error as it is told to people and to programs
 * @exit: exit status
 * @err: negative errno
 * @reason: enum homi_reason, or 0
 * @text: what happened
 * @advice: what to do, or ""
 */
struct trouble {
	int exit;
	int err;
	uint32_t reason;
	char text[384];
	char advice[512];
};

/* @subject: controller or path. Returns @t->exit */
int diagnose(struct trouble *t, enum stage stage, int err, uint32_t reason, const char *subject);
/* A trouble that no table knows. */
int trouble_set(struct trouble *t, int code, int err, const char *advice, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void trouble_print(const struct trouble *t);
struct json_object *trouble_json(const struct trouble *t);
/* In the way that @opt wants; returns the exit status. */
int trouble_report(const struct trouble *t, const struct options *opt);
/* Both at once */
int report(const struct options *opt, int code, int err, const char *advice, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
const char *no_spare_advice(const struct homi_ctrl_info *info, char *buf, size_t len);

/* --- topology.c --- */

#define NAME_LEN	64

struct controller {
	char name[NAME_LEN];
	char address[NAME_LEN];
	char transport[16];
	char model[64];
	char serial[32];
	char firmware[16];
	char state[24];
	char subsystem[256];
	unsigned int namespaces;
};

/* All controllers of this machine, sorted; the caller frees @list. Negative errno. */
int find_controllers(struct controller **list, unsigned int *count);

/* One line of a file, without the newline; false if it can't be read. */
bool read_line(const char *path, char *buf, size_t len);

/**
 * find_controller_of - on which controller does a file lie?
 * @st: of the file
 * @name: written, "nvme0"
 * @t: says why it can't be told
 *
 * Returns 0 or an exit status.
 */
int find_controller_of(const struct stat *st, const char *path, char name[NAME_LEN],
		       struct trouble *t);

/* --- peers.c --- */

void show_peers(const struct controller *cs, unsigned int nr_cs, struct json_object *top);

/* --- quota.c --- */

/* Limits, and who holds what, below the list; nothing where there is none of it */
void show_quotas(const struct controller *list, unsigned int count);
/* NULL: homi is not attached */
struct json_object *quota_json(const char *controller);

/* --- session.c: an open controller with a reader, kept for the next file --- */

struct session {
	char name[NAME_LEN];
	struct homi_dev dev;
	struct homi_reader *reader;
};

/* As open(); waits for who has to give a lease back, and not for the other end of a FIFO. */
int open_named(const char *path, int flags);
/* Takes the name of a file away that this command has made, if it is still that file's. */
void unmake(const char *path, int fd);

/* A file that is open and resolved; @extents.table is NULL if it is empty. */
struct target {
	const char *path;
	int fd;
	uint64_t size;
	struct homi_extents extents;
};

/* 0 or an exit status with @t set; @with_reader: make a queue too. */
int session_for(struct session *s, const struct options *opt, const char *path, int fd,
		bool with_reader, struct trouble *t);
void session_close(struct session *s);
int target_open(struct target *target, struct session *s, const struct options *opt,
		const char *path, bool with_reader, struct trouble *t);
/* A file that only this command has, to write to; @extents.table is never NULL. */
int target_open_to_write(struct target *target, struct session *s, const struct options *opt,
			 const char *path, struct trouble *t);
void target_close(struct target *target, struct session *s);
/* 0, or EXIT_LOST with @t set if its blocks were given back; an empty file has none. */
int target_still_held(const struct target *target, struct trouble *t);
/* Whole blocks; 0 or an exit status with @t set. @fetch's errors are STAGE_FILE's. */
int target_write(struct target *target, struct session *s, uint64_t offset, uint64_t length,
		 homi_fetch_fn fetch, void *arg, struct homi_pump_stats *stats,
		 struct trouble *t);
/* Reads all of it; 0 or an exit status with @t set. @deliver's errors are STAGE_FILE's. */
int target_read(struct target *target, struct session *s, unsigned int flags,
		homi_deliver_fn deliver, void *arg, struct homi_pump_stats *stats,
		struct trouble *t);

/* --- tree.c --- */

/* "homi extents" of a directory, which is @dir; the exit status */
int show_tree(const struct options *opt, int dir);

#endif /* CLI_H */
