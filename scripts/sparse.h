/* SPDX-License-Identifier: MIT */
/*
 * Included before all else when sparse reads the module: what kernel headers since 6.16 use
 * and sparse 0.6.4, which is Debian's, does not know. The compiler checks the assertions.
 */
#define __typeof_unqual__ __typeof__
#define _Static_assert(...)
