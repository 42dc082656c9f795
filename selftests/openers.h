/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_OPENERS_H
#define HOMI_SELFTESTS_OPENERS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Who has a disk open without having claimed it, as virtual machines and databases do: the kernel
 * keeps nobody out for them, so every process is looked at.
 */

/* NULL, or why not every process of this machine can be looked at */
const char *openers_hidden(void);
/* @disk ("nvme0n1"), its partitions and its character devices are looked for; @what is said first. */
void openers_watch(const char *disk, const char *what);
/* Does anybody else have one of them open, for longer than a moment? Then @text tells who and which. */
bool openers_found(char *text, size_t size);

#endif
