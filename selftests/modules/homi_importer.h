/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_IMPORTER_H
#define HOMI_IMPORTER_H

/* What the tests ask of /dev/homi_importer, see homi_importer.c. One import an open file. */

#include <linux/ioctl.h>
#include <linux/types.h>

/* struct importer_attach.flags */
enum {
	IMPORTER_STATIC = 1 << 0,	/* takes no notice: not dynamic */
	IMPORTER_PAGES = 1 << 1,	/* no peer to peer */
	IMPORTER_PINS = 1 << 2,
	IMPORTER_DEAF = 1 << 3,		/* keeps what it has mapped, whatever it is told */
};

struct importer_attach {
	__s32 fd;
	__u32 flags;
};

/* One access of the device's to a word that it has mapped; EIO: it has it not */
struct importer_access {
	__u32 offset;
	__u32 write;
	__u32 value;
	__u32 __reserved;
};

struct importer_info {
	__u32 out_mapped;
	__u32 out_notices;
	__u64 out_dma_addr;	/* of the last mapping */
	__u64 out_phys;		/* what that leads to */
	__u32 out_ram;		/* memory of the system's */
	__u32 __reserved;
};

#define IMPORTER_ATTACH	_IOW('i', 1, struct importer_attach)
#define IMPORTER_MAP	_IO('i', 2)
#define IMPORTER_ACCESS	_IOWR('i', 3, struct importer_access)
#define IMPORTER_INFO	_IOR('i', 4, struct importer_info)
#define IMPORTER_DETACH	_IO('i', 5)

#endif
