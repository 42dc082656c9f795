/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_PROBE_H
#define HOMI_TEST_PROBE_H

/* What a GPU can be asked without a queue. */

/* NULL, or what went wrong: a search in the table of a file's blocks */
const char *probe_extents(void);
/* Prints what the driver says to exporting its memory. */
void probe_export(void);

#endif /* HOMI_TEST_PROBE_H */
