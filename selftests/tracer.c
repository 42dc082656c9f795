// SPDX-License-Identifier: GPL-2.0-only
#include "tracer.h"

#define PID	TRACER "/pid"
#define RUNS	"[ -d /proc/$(cat " PID ") ]"

/*
 * It runs for as long as its child does, which starts when the probes are there: a SIGINT that comes
 * between two of its waits, bpftrace 0.17 doesn't see (it looks for EINTR only).
 */
bool tracer_start(const char *arguments, unsigned int ms)
{
	uint64_t end = now_ms() + ms;

	ASSERT(!shell("rm -rf " TRACER " && mkdir " TRACER));
	ASSERT(!shell("echo '>" TRACER "/ready; while [ ! -e " TRACER "/over ]; do sleep 0.1; done' >" TRACER "/child"));
	ASSERT(!shell("exec bpftrace -c '/bin/sh " TRACER "/child' %s >" TRACER_OUT " 2>&1 & echo $! >" PID, arguments));
	while (access(TRACER "/ready", F_OK)) {
		if (shell(RUNS))
			return false;
		if (now_ms() > end) {
			shell("kill -9 $(cat " PID ")");
			return false;
		}
		nap_ms(100);
	}
	return true;
}

void tracer_end(void)
{
	ASSERT(!shell(">" TRACER "/over; while " RUNS "; do sleep 0.1; done"));
}

void tracer_show(void)
{
	shell("sed 's/^/# /' " TRACER_OUT);
}

void tracer_remove(void)
{
	shell("rm -rf " TRACER);
}
