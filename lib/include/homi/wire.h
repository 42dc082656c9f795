/* SPDX-License-Identifier: MIT */
#ifndef HOMI_WIRE_H
#define HOMI_WIRE_H

/*
 * What goes over the wire: queue entries, opcodes and status codes of the NVMe
 * base and NVM command set specifications. All fields are little endian.
 */

#include "port.h"

/** struct homi_sqe - submission queue entry */
struct homi_sqe {
	uint8_t opcode;
	uint8_t flags;		/* FUSE and PSDT; 0: not fused, PRPs */
	uint16_t cid;
	uint32_t nsid;
	uint32_t cdw2;
	uint32_t cdw3;
	uint64_t mptr;
	uint64_t prp1;
	uint64_t prp2;
	uint32_t cdw10;		/* with cdw11: slba */
	uint32_t cdw11;
	uint32_t cdw12;		/* number of blocks - 1, HOMI_RW_* */
	uint32_t cdw13;
	uint32_t cdw14;
	uint32_t cdw15;
};

/** struct homi_cqe - completion queue entry */
struct homi_cqe {
	uint32_t result;	/* dword 0, command specific */
	uint32_t dw1;
	uint16_t sq_head;
	uint16_t sq_id;
	uint16_t cid;
	uint16_t status;	/* bit 0 is the phase tag */
};

/** struct homi_dsm_range - one range of a Dataset Management command */
struct homi_dsm_range {
	uint32_t cattr;
	uint32_t nlb;		/* number of blocks, not minus 1 */
	uint64_t slba;
};

HOMI_STATIC_ASSERT(sizeof(struct homi_sqe) == 64, "SQE");
HOMI_STATIC_ASSERT(sizeof(struct homi_cqe) == 16, "CQE");
HOMI_STATIC_ASSERT(sizeof(struct homi_dsm_range) == 16, "DSM range");

enum homi_opcode {
	HOMI_OP_FLUSH = 0x00,
	HOMI_OP_WRITE = 0x01,
	HOMI_OP_READ = 0x02,
	HOMI_OP_WRITE_ZEROES = 0x08,
	HOMI_OP_DSM = 0x09,
};

/* Bits of cdw12 of Read, Write and Write Zeroes. */
#define HOMI_RW_DEAC	(1u << 25)	/* Write Zeroes: deallocate */
#define HOMI_RW_FUA	(1u << 30)
#define HOMI_RW_LR	(1u << 31)	/* limited retry */

#define HOMI_RW_MAX_BLOCKS	0x10000u

/* Bits of cdw11 of Dataset Management. */
#define HOMI_DSM_AD	(1u << 2)	/* deallocate */

#define HOMI_DSM_MAX_RANGES	256u

/*
 * Status as homi hands it out: the upper 15 bits of the CQE's status field, so
 * without the phase tag. 0 is success.
 */
#define HOMI_STATUS_SC(status)		((status) & 0xffu)
#define HOMI_STATUS_SCT(status)		(((status) >> 8) & 0x7u)
#define HOMI_STATUS_CRD(status)		(((status) >> 11) & 0x3u)
#define HOMI_STATUS_MORE(status)	(((status) >> 13) & 0x1u)
#define HOMI_STATUS_DNR(status)		(((status) >> 14) & 0x1u)
/* SCT and SC together, to be compared with enum homi_status. */
#define HOMI_STATUS_CODE(status)	((status) & 0x7ffu)

enum homi_status_type {
	HOMI_SCT_GENERIC = 0,
	HOMI_SCT_COMMAND = 1,
	HOMI_SCT_MEDIA = 2,
	HOMI_SCT_PATH = 3,
	HOMI_SCT_VENDOR = 7,
};

enum homi_status {
	HOMI_SC_SUCCESS = 0x000,
	HOMI_SC_INVALID_OPCODE = 0x001,
	HOMI_SC_INVALID_FIELD = 0x002,
	HOMI_SC_CID_CONFLICT = 0x003,
	HOMI_SC_DATA_TRANSFER = 0x004,
	HOMI_SC_INTERNAL = 0x006,
	HOMI_SC_ABORTED_SQ_DELETION = 0x008,
	HOMI_SC_INVALID_NS = 0x00b,
	HOMI_SC_PRP_OFFSET = 0x013,
	HOMI_SC_LBA_RANGE = 0x080,
	HOMI_SC_NS_NOT_READY = 0x082,
	HOMI_SC_WRITE_FAULT = 0x280,
	HOMI_SC_UNRECOVERED_READ = 0x281,
	HOMI_SC_UNWRITTEN_BLOCK = 0x287,
};

/*
 * Builders. They write every field; the cid is filled in when the entry is
 * posted to a ring.
 */

HOMI_FN void homi_sqe_clear(struct homi_sqe *sqe, uint8_t opcode, uint32_t nsid)
{
	sqe->opcode = opcode;
	sqe->flags = 0;
	sqe->cid = 0;
	sqe->nsid = homi_cpu_to_le32(nsid);
	sqe->cdw2 = 0;
	sqe->cdw3 = 0;
	sqe->mptr = 0;
	sqe->prp1 = 0;
	sqe->prp2 = 0;
	sqe->cdw10 = 0;
	sqe->cdw11 = 0;
	sqe->cdw12 = 0;
	sqe->cdw13 = 0;
	sqe->cdw14 = 0;
	sqe->cdw15 = 0;
}

/**
 * homi_sqe_rw - builds a Read or a Write
 * @sqe: written
 * @opcode: HOMI_OP_READ or HOMI_OP_WRITE
 * @nsid: namespace
 * @slba: first logical block
 * @blocks: number of logical blocks, 1 to HOMI_RW_MAX_BLOCKS
 * @control: HOMI_RW_* bits, or 0
 * @prp1: see prp.h
 * @prp2: see prp.h
 */
HOMI_FN void homi_sqe_rw(struct homi_sqe *sqe, uint8_t opcode, uint32_t nsid, uint64_t slba,
			 uint32_t blocks, uint32_t control, uint64_t prp1, uint64_t prp2)
{
	homi_sqe_clear(sqe, opcode, nsid);
	sqe->prp1 = homi_cpu_to_le64(prp1);
	sqe->prp2 = homi_cpu_to_le64(prp2);
	sqe->cdw10 = homi_cpu_to_le32((uint32_t)slba);
	sqe->cdw11 = homi_cpu_to_le32((uint32_t)(slba >> 32));
	sqe->cdw12 = homi_cpu_to_le32(((blocks - 1) & 0xffff) | control);
}

/** homi_sqe_write_zeroes - see homi_sqe_rw(); HOMI_RW_DEAC in @control deallocates */
HOMI_FN void homi_sqe_write_zeroes(struct homi_sqe *sqe, uint32_t nsid, uint64_t slba,
				   uint32_t blocks, uint32_t control)
{
	homi_sqe_rw(sqe, HOMI_OP_WRITE_ZEROES, nsid, slba, blocks, control, 0, 0);
}

HOMI_FN void homi_sqe_flush(struct homi_sqe *sqe, uint32_t nsid)
{
	homi_sqe_clear(sqe, HOMI_OP_FLUSH, nsid);
}

/**
 * homi_sqe_dsm - builds a Dataset Management
 * @sqe: written
 * @nsid: namespace
 * @ranges: number of struct homi_dsm_range in the buffer, 1 to HOMI_DSM_MAX_RANGES
 * @attributes: HOMI_DSM_AD, or 0
 * @prp1: the buffer; see prp.h
 * @prp2: see prp.h
 */
HOMI_FN void homi_sqe_dsm(struct homi_sqe *sqe, uint32_t nsid, uint32_t ranges,
			  uint32_t attributes, uint64_t prp1, uint64_t prp2)
{
	homi_sqe_clear(sqe, HOMI_OP_DSM, nsid);
	sqe->prp1 = homi_cpu_to_le64(prp1);
	sqe->prp2 = homi_cpu_to_le64(prp2);
	sqe->cdw10 = homi_cpu_to_le32((ranges - 1) & 0xff);
	sqe->cdw11 = homi_cpu_to_le32(attributes);
}

#endif /* HOMI_WIRE_H */
