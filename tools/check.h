/* SPDX-License-Identifier: MIT */
#ifndef CHECK_H
#define CHECK_H

/* What the questions of "homi check" have in common, see check.c. */

#include "cli.h"

enum verdict {
	OK,
	WARN,	/* it works, but */
	NO,
};

/**
 * struct answer - to one question
 * @text: how it is
 * @advice: what to do; not "" where it is a WARN or a NO
 */
struct answer {
	enum verdict verdict;
	char text[256];
	char advice[512];
};

__attribute__((format(printf, 4, 5)))
void answer_set(struct answer *a, enum verdict verdict, const char *advice, const char *format, ...);

bool exists(const char *path);
/* Is homi loaded? */
bool loaded(void);
/* A line of /lib/modules/RELEASE/@list that has @what in it, up to a colon; false: there is none. */
bool in_modules(const char *list, const char *what, char *line, size_t len);

/* check_trust.c: will the kernel take the module, and who may open the devices? */
void ask_secure_boot(struct answer *a);
void ask_lockdown(struct answer *a);
void ask_signatures(struct answer *a);
void ask_node(struct answer *a, const struct controller *c, const struct homi_dev *dev, int err);

#endif /* CHECK_H */
