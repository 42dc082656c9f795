// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs a program that takes a dma-buf as an open descriptor: one of the accelerator's memory,
 * whose number stands in for {} among its arguments.
 *
 *	bar_exec OFFSET LENGTH COMMAND ARGUMENT...
 *
 * Status 4: there is no accelerator here.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "exporter.h"

int main(int argc, char **argv)
{
	struct exporter_export export = { .flags = EXPORTER_BAR };
	int dev = open("/dev/homi_exporter", O_RDWR | O_CLOEXEC), i;
	char number[16];

	if (argc < 4)
		return 2;
	export.offset = strtoull(argv[1], NULL, 0);
	export.length = strtoull(argv[2], NULL, 0);
	if (dev < 0 || ioctl(dev, EXPORTER_EXPORT, &export))
		return TEST_SKIP;
	fcntl(export.out_fd, F_SETFD, 0);
	snprintf(number, sizeof(number), "%d", export.out_fd);
	for (i = 3; i < argc; i++)
		if (!strcmp(argv[i], "{}"))
			argv[i] = number;
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 1;
}
