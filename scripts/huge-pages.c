// SPDX-License-Identifier: MIT
/*
 * For LD_PRELOAD: a program's anonymous memory in huge pages, where the machine leaves it to
 * programs whether they have them (transparent_hugepage/enabled is "madvise", Debian's own choice).
 * gcc takes its memory from mmap(2) by 2 MiB and touches nearly all of it.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORTH_IT ((size_t)1 << 20)

void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	/* errno is set by syscall(2) as the C library's mmap() would. */
	void *p = (void *)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);

	if (p != MAP_FAILED && (flags & MAP_ANONYMOUS) && length >= WORTH_IT) {
		/* A hint: who has no huge pages goes on with small ones. */
		madvise(p, length, MADV_HUGEPAGE);
	}
	return p;
}
