// SPDX-License-Identifier: MIT
/* Preloaded: pread gives the byte at $FLIP of each file wrong. */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

ssize_t pread64(int fd, void *buf, size_t len, off64_t offset);

ssize_t pread64(int fd, void *buf, size_t len, off64_t offset)
{
	ssize_t (*real)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pread64");
	ssize_t n = real(fd, buf, len, offset);
	off64_t at = atoll(getenv("FLIP"));

	if (at >= offset && at < offset + n)
		((char *)buf)[at - offset] ^= 1;
	return n;
}
