/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_TRACER_H
#define HOMI_SELFTESTS_TRACER_H

#include "common.h"

/* What it is in, and what bpftrace has said there */
#define TRACER		"/tmp/homi.tracer"
#define TRACER_OUT	TRACER "/out"

/*
 * bpftrace with these arguments, in the background: true when its probes are there, false when it has
 * ended before, or was ended because it did not get so far within @ms.
 */
bool tracer_start(const char *arguments, unsigned int ms);
/* Waits for its end, at which it says what it has counted. */
void tracer_end(void);
/* What it has said, as a comment */
void tracer_show(void);
/* Nothing is left of it. */
void tracer_remove(void);

#endif
