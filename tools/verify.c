// SPDX-License-Identifier: MIT
/*
 * Each file twice: through the queue, and by pread past the page cache if the
 * file system can. The extents are held all the time, so whoever changes the file in
 * between has had them given back, which is seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "cli.h"

#define PREAD_BYTES	(1u << 20)
#define HEX_LEN		65

struct result {
	const char *path;
	char controller[NAME_LEN];
	uint64_t bytes;
	uint64_t pread_bytes;
	uint64_t extents;
	struct homi_pump_stats stats;
	uint64_t start_ns, end_ns;
	char by_queue[HEX_LEN];
	char by_pread[HEX_LEN];
	bool direct;
	bool match;
	bool located;
	bool read_again;	/* and the same that time */
	uint64_t first_difference;
	int exit;
	struct trouble trouble;
};

struct hasher {
	EVP_MD_CTX *md;
	uint64_t done;
	struct progress *progress;
};

static int hash_begin(struct hasher *h, struct progress *progress)
{
	h->md = EVP_MD_CTX_new();
	h->done = 0;
	h->progress = progress;
	if (h->md && EVP_DigestInit_ex(h->md, EVP_sha256(), NULL))
		return 0;
	EVP_MD_CTX_free(h->md);
	return -ENOMEM;
}

static int hash_more(void *arg, uint64_t offset, const void *data, size_t length)
{
	struct hasher *h = arg;

	(void)offset;
	h->done += length;
	progress_to(h->progress, h->done);
	return EVP_DigestUpdate(h->md, data, length) ? 0 : -EIO;
}

static void hash_end(struct hasher *h, char hex[HEX_LEN])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int i, len = 0;

	EVP_DigestFinal_ex(h->md, sum, &len);
	for (i = 0; i < len && i < 32; i++)
		sprintf(hex + 2 * i, "%02x", sum[i]);
	EVP_MD_CTX_free(h->md);
}

static int by_queue(struct result *r, struct target *target, struct session *s,
		    struct progress *progress)
{
	struct hasher h;
	int ret;

	if (hash_begin(&h, progress))
		return diagnose(&r->trouble, STAGE_FILE, -ENOMEM, 0, r->path);
	ret = target_read(target, s, 0, hash_more, &h, &r->stats, &r->trouble);
	hash_end(&h, r->by_queue);
	if (ret)
		r->by_queue[0] = '\0';
	r->bytes = r->stats.bytes;
	return ret;
}

/* The same file again, whatever its name leads to meanwhile. */
static int open_direct(const struct target *target, bool *direct)
{
	char self[32];
	int fd;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", target->fd);
	fd = open(self, O_RDONLY | O_CLOEXEC | O_DIRECT);
	*direct = fd >= 0;
	return fd >= 0 ? fd : open(self, O_RDONLY | O_CLOEXEC);
}

static int pread_all(struct result *r, int fd, void *buf, struct hasher *h)
{
	ssize_t n;

	for (;;) {
		n = pread(fd, buf, PREAD_BYTES, (off_t)r->pread_bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		r->pread_bytes += (uint64_t)n;
		n = hash_more(h, 0, buf, (size_t)n);
		if (n)
			return (int)n;
	}
}

static int by_pread(struct result *r, const struct target *target, struct progress *progress)
{
	void *buf = aligned_alloc(4096, PREAD_BYTES);
	int fd = open_direct(target, &r->direct);
	int ret = fd < 0 ? -errno : 0;
	struct hasher h = { 0 };

	if (!ret && (!buf || hash_begin(&h, progress)))
		ret = -ENOMEM;
	if (!ret) {
		ret = pread_all(r, fd, buf, &h);
		hash_end(&h, r->by_pread);
		if (ret)
			r->by_pread[0] = '\0';
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	return ret ? diagnose(&r->trouble, STAGE_FILE, ret, 0, r->path) : 0;
}

/* --- where do they differ? --- */

struct comparison {
	struct result *r;
	int fd;
	char *buf;
};

static int compare(void *arg, uint64_t offset, const void *data, size_t length)
{
	struct comparison *c = arg;
	const char *ours = data;
	size_t got = 0, i;

	while (got < length) {
		ssize_t n = pread(c->fd, c->buf + got, length - got, (off_t)(offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	for (i = 0; i < got && ours[i] == c->buf[i]; i++)
		;
	if (i == length)
		return 0;
	c->r->located = true;
	c->r->first_difference = offset + i;
	return -ECANCELED;
}

/* Through the page cache: a chunk need not be aligned for direct I/O. */
static void locate(struct result *r, struct target *target, struct session *s)
{
	struct comparison c = { .r = r, .fd = target->fd, .buf = malloc(PREAD_BYTES) };
	struct homi_pump_stats stats;
	struct trouble t;

	if (!c.buf)
		return;
	r->read_again = !target_read(target, s, 0, compare, &c, &stats, &t);
	free(c.buf);
}

/* Did somebody change it between the two reads? Then they need not be the same. */
static int changed(const struct target *target, struct trouble *t)
{
	struct stat st;

	if (target->extents.table)
		return target_still_held(target, t);
	/* Empty, it was held by nothing. */
	if (fstat(target->fd, &st) || st.st_size)
		return trouble_set(t, EXIT_LOST, -ESTALE, "run again when the other side is done",
				   "%s: somebody writes to it", target->path);
	return 0;
}

/* --- results --- */

static void verify_one(struct result *r, struct session *s, const struct options *opt)
{
	struct progress progress;
	struct target target;

	r->exit = target_open(&target, s, opt, r->path, true, &r->trouble);
	if (r->exit)
		return;
	snprintf(r->controller, sizeof(r->controller), "%s", s->name);
	r->extents = target.extents.table ? target.extents.table->count : 0;
	progress_begin(&progress, opt, r->path, target.size);
	r->start_ns = clock_now_ns(CLOCK_REALTIME);
	r->exit = by_queue(r, &target, s, &progress);
	progress_end(&progress);
	progress_begin(&progress, opt, "pread", target.size);
	if (!r->exit)
		r->exit = by_pread(r, &target, &progress);
	r->end_ns = clock_now_ns(CLOCK_REALTIME);
	progress_end(&progress);
	if (!r->exit) {
		r->match = r->bytes == r->pread_bytes && !strcmp(r->by_queue, r->by_pread);
		if (!r->match)
			r->exit = changed(&target, &r->trouble);
		if (!r->match && !r->exit) {
			r->exit = EXIT_DIFFERS;
			locate(r, &target, s);
		}
	}
	target_close(&target, s);
}

static struct json_object *result_json(const struct result *r)
{
	struct json_object *o = json_object_new_object();

	add_string(o, "path", r->path);
	add_string(o, "controller", r->controller[0] ? r->controller : NULL);
	add_number(o, "bytes", r->bytes);
	add_number(o, "ios", r->stats.ios);
	add_number(o, "extents", r->extents);
	add_number(o, "hole_bytes", r->stats.hole_bytes);
	add_number(o, "start_ns", r->start_ns);
	add_number(o, "end_ns", r->end_ns);
	add_string(o, "sha256_queue", r->by_queue[0] ? r->by_queue : NULL);
	add_string(o, "sha256_pread", r->by_pread[0] ? r->by_pread : NULL);
	add_bool(o, "pread_direct", r->direct);
	add_bool(o, "match", r->match);
	add_bool(o, "verified", r->match);
	if (r->located)
		add_number(o, "first_difference", r->first_difference);
	if (r->exit && r->exit != EXIT_DIFFERS)
		json_object_object_add(o, "error", trouble_json(&r->trouble));
	return o;
}

static void result_text(const struct result *r, int width)
{
	const char *verdict = r->match ? "yes" : r->exit == EXIT_DIFFERS ? "DIFFERS" : "failed";

	printf("%-*s %14llu %8llu %s\n", width, r->path, (unsigned long long)r->bytes,
	       (unsigned long long)r->stats.ios, verdict);
	fflush(stdout);
	if (r->located)
		complain(0, "%s: the first difference is at byte %llu", r->path,
			 (unsigned long long)r->first_difference);
	else if (r->exit == EXIT_DIFFERS && r->read_again)
		complain(0, "%s: the checksums differ, but read again the data do not", r->path);
	else if (r->exit == EXIT_DIFFERS)
		complain(0, "%s: the checksums differ, and it could not be read again to say where",
			 r->path);
}

static int widest(const struct options *opt)
{
	int i, width = 4;

	for (i = 0; i < opt->count; i++)
		if ((int)strlen(opt->operands[i]) > width)
			width = (int)strlen(opt->operands[i]);
	return width;
}

/* The exit status is that of the first file that has one; a difference goes before all. */
int cmd_verify(const struct options *opt)
{
	struct json_object *top = json_object_new_object(), *all = json_object_new_array();
	int i, width = widest(opt), code = EXIT_OK;
	struct session s = { 0 };

	if (!opt->json)
		printf("%-*s %14s %8s %s\n", width, "path", "bytes", "I/Os", "verified");
	for (i = 0; i < opt->count; i++) {
		struct result r = { .path = opt->operands[i] };

		verify_one(&r, &s, opt);
		if (r.exit && r.exit != EXIT_DIFFERS)
			trouble_print(&r.trouble);
		if (opt->json)
			json_object_array_add(all, result_json(&r));
		else
			result_text(&r, width);
		if (r.exit == EXIT_DIFFERS || !code)
			code = r.exit;
	}
	session_close(&s);
	json_object_object_add(top, "files", all);
	add_bool(top, "verified", code == EXIT_OK);
	if (opt->json)
		print_json(top);
	else
		json_object_put(top);
	return code;
}
