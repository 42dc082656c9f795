/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_HARNESS_H
#define HOMI_SELFTESTS_HARNESS_H

/*
 * A small TAP harness. Each TEST() runs in a process of its own, so that a crash or a hang
 * costs one result. After each test check_clean() of common.c tells whether it left something
 * behind in the kernel. Included by one file per program, the one that has the tests.
 */

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "scratch.h"

#define TEST_MAX	96
#define KLOG_READ_ALL	3
#define TEST_SECONDS	60

struct test {
	const char *name;
	void (*run)(void);
	unsigned int seconds;
};

static struct test tests[TEST_MAX];
static unsigned int test_count;

static void test_add(const char *name, void (*run)(void), unsigned int seconds)
{
	if (test_count == TEST_MAX)
		abort();
	tests[test_count++] = (struct test){ name, run, seconds };
}

#define TEST_TIMEOUT(id, limit)						\
	static void test_##id(void);					\
	__attribute__((constructor)) static void id##_add(void)	\
	{								\
		test_add(#id, test_##id, limit);			\
	}								\
	static void test_##id(void)

#define TEST(id)	TEST_TIMEOUT(id, TEST_SECONDS)

/* Where in the kernel each process is that sleeps there and cannot be killed. */
static void test_show_stuck(void)
{
	char line[512], path[64], state;
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	unsigned int frames;
	FILE *f;

	while (proc && (entry = readdir(proc))) {
		snprintf(path, sizeof(path), "/proc/%.16s/stat", entry->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		state = '?';
		if (fscanf(f, "%*d (%127[^)]) %c", line, &state) == 2 && state == 'D')
			printf("# %s (%s) is stuck:\n", entry->d_name, line);
		fclose(f);
		if (state != 'D')
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/stack", entry->d_name);
		f = fopen(path, "r");
		for (frames = 0; f && frames < 8 && fgets(line, sizeof(line), f); frames++)
			printf("#   %s", line);
		if (f)
			fclose(f);
	}
	if (proc)
		closedir(proc);
}

/* The last that the kernel said about controllers: results may be all that is kept of a run. */
static void test_show_log(void)
{
	static char log[1 << 18];
	const char *last[10], *line;
	unsigned int count = 0, i;
	int len = klogctl(KLOG_READ_ALL, log, sizeof(log) - 1);
	char *rest;

	if (len <= 0)
		return;
	log[len] = '\0';
	for (line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (strstr(line, "homi-test:"))
			count = 0;
		else if (strstr(line, "nvme") || strstr(line, "homi"))
			last[count++ % 10] = line;
	}
	for (i = count > 10 ? count - 10 : 0; i < count; i++)
		printf("# kernel: %s\n", last[i % 10]);
}

/* Waits for the test's process, and kills it with all its children when time is over. */
static int test_wait(pid_t pid, unsigned int seconds, bool *timed_out)
{
	struct timespec nap = { .tv_nsec = 2000000 };
	uint64_t end = now_ms() + seconds * 1000ull;
	int status;

	*timed_out = false;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now_ms() > end && !*timed_out) {
			*timed_out = true;
			kill(-pid, SIGKILL);
			end += 20000;
		} else if (now_ms() > end) {
			test_show_stuck();
			return -1;
		}
		nanosleep(&nap, NULL);
	}
	kill(-pid, SIGKILL);
	return status;
}

static const char *test_verdict(int status, bool timed_out)
{
	static char text[64];

	if (status == -1)
		return "timed out and cannot be killed";
	if (timed_out)
		return "timed out";
	if (WIFSIGNALED(status)) {
		snprintf(text, sizeof(text), "killed by signal %d", WTERMSIG(status));
		return text;
	}
	if (WEXITSTATUS(status) && WEXITSTATUS(status) != TEST_SKIP)
		return "failed";
	return NULL;
}

/* Returns 0 for passed, 1 for failed, TEST_SKIP for skipped. */
static int test_run(const struct test *test, unsigned int number)
{
	uint64_t begin = now_ms();
	const char *wrong, *left;
	bool timed_out;
	int status;
	pid_t pid;

	skip_reason[0] = '\0';
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		printf("not ok %u %s # fork: %s\n", number, test->name, strerror(errno));
		return 1;
	}
	if (!pid) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		test->run();
		fflush(NULL);
		_exit(0);
	}
	setpgid(pid, pid);
	status = test_wait(pid, test->seconds * patience(), &timed_out);
	wrong = test_verdict(status, timed_out);
	left = check_clean();
	if (wrong || left) {
		if (wrong)
			printf("# %s: %s\n", test->name, wrong);
		if (left)
			printf("# %s left behind: %s\n", test->name, left);
		test_show_log();
		printf("not ok %u %s\n", number, test->name);
		return 1;
	}
	if (WEXITSTATUS(status) == TEST_SKIP) {
		printf("ok %u %s # SKIP %s\n", number, test->name, skip_reason);
		return TEST_SKIP;
	}
	printf("ok %u %s\n", number, test->name);
	if (now_ms() - begin > 5000)
		printf("# %s took %.1f s\n", test->name, (now_ms() - begin) / 1000.0);
	return 0;
}

static bool test_wanted(const struct test *test, char **patterns)
{
	if (!*patterns)
		return true;
	for (; *patterns; patterns++)
		if (!fnmatch(*patterns, test->name, 0))
			return true;
	return false;
}

/* 0: tests may run; else what the program returns */
static int test_may_run(void)
{
	const char *refused;
	unsigned int i;

	if (!scratch_ns()) {
		printf("1..0 # SKIP HOMI_TEST_NS names no namespace that may be overwritten\n");
		return TEST_SKIP;
	}
	refused = scratch_refused();
	if (refused) {
		printf("Bail out! %s\n", refused);
		return 1;
	}
	/* Controllers are found after the module's init. */
	for (i = 0; i < 500 && access(dev_path(), F_OK); i++)
		nap_ms(10);
	if (access(dev_path(), F_OK)) {
		printf("Bail out! there is no %s\n", dev_path());
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int i, wanted = 0, number = 0, failed = 0, skipped = 0;
	int status;

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < test_count; i++)
		wanted += test_wanted(&tests[i], argv + 1);
	printf("TAP version 13\n");
	status = test_may_run();
	if (status)
		return status;
	printf("1..%u\n", wanted);
	for (i = 0; i < test_count; i++) {
		if (!test_wanted(&tests[i], argv + 1))
			continue;
		switch (test_run(&tests[i], ++number)) {
		case 0:
			break;
		case TEST_SKIP:
			skipped++;
			break;
		default:
			failed++;
		}
	}
	printf("# %u passed, %u failed, %u skipped\n", wanted - failed - skipped, failed,
	       skipped);
	if (failed)
		return 1;
	return skipped == wanted ? TEST_SKIP : 0;
}

#endif
