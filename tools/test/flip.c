// SPDX-License-Identifier: MIT
/*
 * Preloaded: pread gives the byte at $FLIP of each file wrong; with $ROOM each file system has room
 * for all; with $STOP who allocates gets that signal.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

ssize_t pread64(int fd, void *buf, size_t len, off64_t offset);
int fstatvfs64(int fd, struct statvfs64 *fs);
int fallocate64(int fd, int mode, off64_t offset, off64_t len);

ssize_t pread64(int fd, void *buf, size_t len, off64_t offset)
{
	ssize_t (*real)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pread64");
	ssize_t n = real(fd, buf, len, offset);
	const char *flip = getenv("FLIP");
	off64_t at = flip ? atoll(flip) : -1;

	if (at >= offset && at < offset + n)
		((char *)buf)[at - offset] ^= 1;
	return n;
}

int fstatvfs64(int fd, struct statvfs64 *fs)
{
	int (*real)(int, struct statvfs64 *) = dlsym(RTLD_NEXT, "fstatvfs64");
	int ret = real(fd, fs);

	if (!ret && getenv("ROOM"))
		fs->f_bavail = 1ull << 40;
	return ret;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
	int (*real)(int, int, off64_t, off64_t) = dlsym(RTLD_NEXT, "fallocate64");
	int ret = real(fd, mode, offset, len);

	if (getenv("STOP"))
		raise(atoi(getenv("STOP")));
	return ret;
}
