/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_TAP_H
#define HOMI_TEST_TAP_H

#include <stdarg.h>
#include <stdio.h>

static int tap_count;
static int tap_failed;

__attribute__((format(printf, 2, 3), unused))
static int tap_ok(int good, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("%sok %d - ", good ? "" : "not ", ++tap_count);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	fflush(stdout);
	tap_failed += !good;
	return good;
}

/* Prints the plan; what main() returns. */
__attribute__((unused)) static int tap_end(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed || !tap_count;
}

/* For a function that returns NULL or what went wrong. */
#define TAP_MUST(cond) \
	do { \
		if (!(cond)) \
			return "line " TAP_LINE(__LINE__) ": " #cond; \
	} while (0)
#define TAP_LINE(n) TAP_STRING(n)
#define TAP_STRING(n) #n

__attribute__((unused)) static void tap_try(const char *wrong, const char *name)
{
	if (!tap_ok(!wrong, "%s", name))
		printf("# %s\n", wrong);
}

#endif /* HOMI_TEST_TAP_H */
