/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_EXPORTER_H
#define HOMI_EXPORTER_H

/* What the tests ask of /dev/homi_exporter, see homi_exporter.c */

#include <linux/ioctl.h>
#include <linux/types.h>

/* struct exporter_export.flags */
enum {
	EXPORTER_BAR = 1 << 0,		/* memory of the device's BAR, else of the system */
	EXPORTER_NO_PIN = 1 << 1,	/* it has no way to keep it in place */
	EXPORTER_LIES = 1 << 2,		/* of the BAR, but who pins it gets the system's */
	EXPORTER_FAIL_ATTACH = 1 << 3,
	EXPORTER_FAIL_PIN = 1 << 4,
	EXPORTER_FAIL_MAP = 1 << 5,
	EXPORTER_SHORT = 1 << 6,	/* what is mapped is shorter than the buffer */
	EXPORTER_PIECES = 1 << 7,	/* mapped in pieces of a sector */
	EXPORTER_MOVES = 1 << 8,	/* moves it as soon as it is mapped */
	EXPORTER_READ_ONLY = 1 << 10,	/* its descriptor is */
	EXPORTER_PIN_MOVES = 1 << 11,	/* moves it to pin it, as GPU drivers do */
	EXPORTER_SCATTERED = 1 << 9,	/* each second page is elsewhere in the BAR */
};

/* A buffer, which lives as long as it is open somewhere */
struct exporter_export {
	__u64 offset;	/* in the BAR, bytes */
	__u64 length;
	__u32 flags;
	__s32 out_fd;
};

/* struct exporter_take.flags */
enum {
	EXPORTER_SILENT = 1 << 0,	/* wait only, give no notice */
	EXPORTER_HOLD = 1 << 1,		/* wait with the reservation lock held */
	EXPORTER_LEAVE = 1 << 2,	/* and not for the mappings */
};

/* Takes a buffer back from all who have it. */
struct exporter_take {
	__s32 fd;
	__u32 flags;
	__u32 timeout_ms;
	__u32 out_waited_ms;	/* for the fences; ~0: they did not come in time */
	__u32 out_pending;	/* was there one after the notice? */
	__u32 out_mapped;	/* mappings that are left when these have come */
	__u32 out_left;		/* and timeout_ms after that at most */
};

struct exporter_info {
	__s32 fd;
	__u32 out_attached;
	__u32 out_pinned;
	__u32 out_mapped;
	__u64 out_bar_size;	/* 0: there is no device */
	__u32 out_device;	/* domain << 16 | bus << 8 | devfn */
	__u32 __reserved;
};

#define EXPORTER_EXPORT	_IOWR('h', 1, struct exporter_export)
#define EXPORTER_TAKE	_IOWR('h', 2, struct exporter_take)
#define EXPORTER_INFO	_IOWR('h', 3, struct exporter_info)

#endif
