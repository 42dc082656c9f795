// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define PROGRESS_NS	200000000ull

int complain(int code, const char *format, ...)
{
	va_list args;

	fputs("homi: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

void print_json(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_SPACED |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

/* How many bytes one character of UTF-8 has there (RFC 3629), or 0 if it is none. */
static size_t utf8_length(const unsigned char *s)
{
	size_t length = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;
	size_t i;

	for (i = 1; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong, of a surrogate pair, above the last */
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) ||
	    (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))
		return 0;
	return length;
}

/* JSON is UTF-8, and names of files are any bytes: one that is nothing becomes U+FFFD. */
void add_string(struct json_object *object, const char *key, const char *value)
{
	static const char replacement[] = "\xef\xbf\xbd";
	struct json_object *string = NULL;
	char *text = NULL, *to;

	if (value)
		text = malloc(strlen(value) * (sizeof(replacement) - 1) + 1);
	if (text) {
		for (to = text; *value;) {
			size_t length = utf8_length((const unsigned char *)value);
			size_t out = length ? length : sizeof(replacement) - 1;

			memcpy(to, length ? value : replacement, out);
			to += out;
			value += length ? length : 1;
		}
		*to = '\0';
		string = json_object_new_string(text);
		free(text);
	}
	json_object_object_add(object, key, string);
}

void add_number(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

void add_bool(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

const char *size_text(uint64_t bytes, char *buf, size_t len)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	unsigned int i = 0;

	while (value >= 1024 && i < 6) {
		value /= 1024;
		i++;
	}
	snprintf(buf, len, i ? "%.1f %s" : "%.0f %s", value, unit[i]);
	return buf;
}

int parse_number(const char *text, bool bytes, uint64_t least, uint64_t most, uint32_t *value)
{
	unsigned long long n;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	n = strtoull(text, &end, 10);
	if (bytes && (*end == 'k' || *end == 'K')) {
		n = n > most ? n : n * 1024;
		end++;
	} else if (bytes && (*end == 'm' || *end == 'M')) {
		n = n > most ? n : n * 1024 * 1024;
		end++;
	}
	if (*end)
		return -EINVAL;
	if (n < least || n > most)
		return -ERANGE;
	*value = (uint32_t)n;
	return 0;
}

uint64_t clock_now_ns(int clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void progress_begin(struct progress *p, const struct options *opt, const char *what,
		    uint64_t total)
{
	p->what = what;
	p->total = total;
	p->begin_ns = clock_now_ns(CLOCK_MONOTONIC);
	p->shown_ns = p->begin_ns;
	p->on = opt->progress < 0 ? isatty(STDERR_FILENO) : opt->progress;
}

void progress_to(struct progress *p, uint64_t done)
{
	char size[32], rate[32];
	uint64_t now;

	if (!p->on)
		return;
	now = clock_now_ns(CLOCK_MONOTONIC);
	if (now - p->shown_ns < PROGRESS_NS)
		return;
	p->shown_ns = now;
	size_text(done, size, sizeof(size));
	size_text((uint64_t)((double)done * 1e9 / (double)(now - p->begin_ns)), rate,
		  sizeof(rate));
	fprintf(stderr, "\r\033[K%s: %u%% %s, %s/s", p->what,
		p->total ? (unsigned int)(done * 100.0 / (double)p->total) : 0, size, rate);
}

void progress_end(struct progress *p)
{
	if (p->on && p->shown_ns != p->begin_ns)
		fputs("\r\033[K", stderr);
}

void command_name(uint32_t pid, char *buf, size_t len)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/comm", pid);
	if (!pid || !read_line(path, buf, len))
		snprintf(buf, len, "?");
	/* A process may call itself what a terminal takes for something else. */
	for (; *buf; buf++)
		if (*buf < ' ' || *buf > '~')
			*buf = '?';
}
