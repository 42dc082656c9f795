/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM homi

#if !defined(_HOMI_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _HOMI_TRACE_H

#include <linux/tracepoint.h>

#include "mem.h"
#include "rw.h"

/*
 * Each event has the controller's name in "ctrl", to be filtered by. An array, since
 * the way to a string of any length is not the same in all kernels, and zeroed behind
 * it, so that it can be a key; and looked up only where an event is recorded, from
 * what the caller has at hand anyway.
 */
#ifndef HOMI_TRACE_NAME
#define HOMI_TRACE_NAME	16

/* Numbers for who reads the formats in user space */
enum homi_mem_step {
	HOMI_MEM_STEP_REGISTER,
	HOMI_MEM_STEP_REVOKE,
	HOMI_MEM_STEP_RELEASE,
};

enum homi_reset_phase {
	HOMI_PHASE_QUIESCE,
	HOMI_PHASE_REENABLED,
	HOMI_PHASE_LIVE,
	HOMI_PHASE_DEAD,
};
#endif

TRACE_DEFINE_ENUM(HOMI_MEM_STEP_REGISTER);
TRACE_DEFINE_ENUM(HOMI_MEM_STEP_REVOKE);
TRACE_DEFINE_ENUM(HOMI_MEM_STEP_RELEASE);
TRACE_DEFINE_ENUM(HOMI_PHASE_QUIESCE);
TRACE_DEFINE_ENUM(HOMI_PHASE_REENABLED);
TRACE_DEFINE_ENUM(HOMI_PHASE_LIVE);
TRACE_DEFINE_ENUM(HOMI_PHASE_DEAD);
TRACE_DEFINE_ENUM(HOMI_EXTENT_RECALLED);
TRACE_DEFINE_ENUM(HOMI_EXTENT_ACKED);
TRACE_DEFINE_ENUM(HOMI_EXTENT_REVOKED);
TRACE_DEFINE_ENUM(HOMI_MEM_USER);
TRACE_DEFINE_ENUM(HOMI_MEM_DMABUF);
TRACE_DEFINE_ENUM(HOMI_PLACEMENT_HOST);
TRACE_DEFINE_ENUM(HOMI_PLACEMENT_BAR);
TRACE_DEFINE_ENUM(HOMI_PLACEMENT_OTHER);
TRACE_DEFINE_ENUM(HOMI_BY_FS);
TRACE_DEFINE_ENUM(HOMI_BY_EXTENTS);

TRACE_EVENT(homi_queue_state,
	TP_PROTO(const struct homi_ctrl *ctrl, unsigned int qid, u32 from, u32 to),
	TP_ARGS(ctrl, qid, from, to),
	TP_STRUCT__entry(
		__array(char, ctrl, HOMI_TRACE_NAME)
		__field(unsigned int, qid)
		__field(u32, from)
		__field(u32, to)
	),
	TP_fast_assign(
		strscpy_pad(__entry->ctrl, homi_ctrl_name(ctrl), HOMI_TRACE_NAME);
		__entry->qid = qid;
		__entry->from = from;
		__entry->to = to;
	),
	TP_printk("ctrl=%s qid=%u state=%u->%u", __entry->ctrl, __entry->qid,
		  __entry->from, __entry->to)
);

/* A queue id leaves the controller's spare ones, or comes back to them. */
TRACE_EVENT(homi_qid,
	TP_PROTO(const struct homi_ctrl *ctrl, unsigned int qid, bool lent),
	TP_ARGS(ctrl, qid, lent),
	TP_STRUCT__entry(
		__array(char, ctrl, HOMI_TRACE_NAME)
		__field(unsigned int, qid)
		__field(bool, lent)
	),
	TP_fast_assign(
		strscpy_pad(__entry->ctrl, homi_ctrl_name(ctrl), HOMI_TRACE_NAME);
		__entry->qid = qid;
		__entry->lent = lent;
	),
	TP_printk("ctrl=%s qid=%u %s", __entry->ctrl, __entry->qid,
		  __entry->lent ? "lent" : "returned")
);

/* Registered; wanted back by its exporter; its owner's no longer */
TRACE_EVENT(homi_mem,
	TP_PROTO(const struct homi_mem *mem, enum homi_mem_step step),
	TP_ARGS(mem, step),
	TP_STRUCT__entry(
		__array(char, ctrl, HOMI_TRACE_NAME)
		__field(u32, step)
		__field(u32, id)
		__field(u32, type)
		__field(u32, placement)
		__field(u64, bytes)
	),
	TP_fast_assign(
		strscpy_pad(__entry->ctrl, homi_ctrl_name(mem->obj.ctx->ctrl),
			    HOMI_TRACE_NAME);
		__entry->step = step;
		__entry->id = mem->obj.id;
		__entry->type = mem->type;
		__entry->placement = mem->where.placement;
		__entry->bytes = mem->length;
	),
	TP_printk("ctrl=%s %s id=%u type=%s bytes=%llu placement=%s",
		  __entry->ctrl,
		  __print_symbolic(__entry->step,
				   { HOMI_MEM_STEP_REGISTER, "register" },
				   { HOMI_MEM_STEP_REVOKE, "revoke" },
				   { HOMI_MEM_STEP_RELEASE, "release" }),
		  __entry->id,
		  __print_symbolic(__entry->type,
				   { HOMI_MEM_USER, "user" },
				   { HOMI_MEM_DMABUF, "dmabuf" }),
		  __entry->bytes,
		  __print_symbolic(__entry->placement,
				   { HOMI_PLACEMENT_HOST, "host" },
				   { HOMI_PLACEMENT_BAR, "bar" },
				   { HOMI_PLACEMENT_OTHER, "other" }))
);

/*
 * Somebody wants the file of an EXTENT, or its blocks; its holder has answered; or
 * the EXTENT was taken from it. With the time since the first of these, 0 where there
 * was none. What homi has for READs of its own it answers for.
 */
TRACE_EVENT(homi_recall,
	TP_PROTO(const struct homi_ctrl *ctrl, u32 id, u32 state, u64 us),
	TP_ARGS(ctrl, id, state, us),
	TP_STRUCT__entry(
		__array(char, ctrl, HOMI_TRACE_NAME)
		__field(u32, id)
		__field(u32, state)
		__field(u64, us)
	),
	TP_fast_assign(
		strscpy_pad(__entry->ctrl, homi_ctrl_name(ctrl), HOMI_TRACE_NAME);
		__entry->id = id;
		__entry->state = state;
		__entry->us = us;
	),
	TP_printk("ctrl=%s extent=%u %s us=%llu", __entry->ctrl, __entry->id,
		  __print_symbolic(__entry->state,
				   { HOMI_EXTENT_RECALLED, "recalled" },
				   { HOMI_EXTENT_ACKED, "acked" },
				   { HOMI_EXTENT_REVOKED, "revoked" }),
		  __entry->us)
);

/* All queues lost; no old one at the controller; lent from again; or gone for good */
TRACE_EVENT(homi_reset,
	TP_PROTO(const struct homi_ctrl *ctrl, enum homi_reset_phase phase,
		 u64 generation),
	TP_ARGS(ctrl, phase, generation),
	TP_STRUCT__entry(
		__array(char, ctrl, HOMI_TRACE_NAME)
		__field(u32, phase)
		__field(u64, generation)
	),
	TP_fast_assign(
		strscpy_pad(__entry->ctrl, homi_ctrl_name(ctrl), HOMI_TRACE_NAME);
		__entry->phase = phase;
		__entry->generation = generation;
	),
	TP_printk("ctrl=%s %s generation=%llu", __entry->ctrl,
		  __print_symbolic(__entry->phase,
				   { HOMI_PHASE_QUIESCE, "quiesce" },
				   { HOMI_PHASE_REENABLED, "reenabled" },
				   { HOMI_PHASE_LIVE, "live" },
				   { HOMI_PHASE_DEAD, "dead" }),
		  __entry->generation)
);

/* A command that ends by what is not possible, or not allowed: see homi_refused() */
TRACE_EVENT(homi_refuse,
	TP_PROTO(const struct homi_ctrl *ctrl, unsigned int nr, int error,
		 u32 reason),
	TP_ARGS(ctrl, nr, error, reason),
	TP_STRUCT__entry(
		__array(char, ctrl, HOMI_TRACE_NAME)
		__field(unsigned int, nr)
		__field(int, error)
		__field(u32, reason)
	),
	TP_fast_assign(
		strscpy_pad(__entry->ctrl, homi_ctrl_name(ctrl), HOMI_TRACE_NAME);
		__entry->nr = nr;
		__entry->error = error;
		__entry->reason = reason;
	),
	TP_printk("ctrl=%s command=0x%02x error=%d reason=%u", __entry->ctrl,
		  __entry->nr, __entry->error, __entry->reason)
);

DECLARE_EVENT_CLASS(homi_rw,
	TP_PROTO(const struct homi_named *named, const void *io,
		 enum homi_way by, bool write, u64 offset, u32 length, long res),
	TP_ARGS(named, io, by, write, offset, length, res),
	TP_STRUCT__entry(
		__array(char, ctrl, HOMI_TRACE_NAME)
		__field(const void *, io)
		__field(u32, by)
		__field(bool, write)
		__field(u64, offset)
		__field(u32, length)
		__field(long, res)
	),
	TP_fast_assign(
		strscpy_pad(__entry->ctrl,
			    homi_ctrl_name(named->mem->obj.ctx->ctrl),
			    HOMI_TRACE_NAME);
		__entry->io = io;
		__entry->by = by;
		__entry->write = write;
		__entry->offset = offset;
		__entry->length = length;
		__entry->res = res;
	),
	TP_printk("ctrl=%s io=%p %s %s offset=%llu length=%u res=%ld",
		  __entry->ctrl, __entry->io,
		  __print_symbolic(__entry->by,
				   { HOMI_BY_FS, "fs" },
				   { HOMI_BY_EXTENTS, "extents" }),
		  __entry->write ? "write" : "read", __entry->offset,
		  __entry->length, __entry->res)
);

DEFINE_EVENT(homi_rw, homi_rw_submit,
	TP_PROTO(const struct homi_named *named, const void *io,
		 enum homi_way by, bool write, u64 offset, u32 length, long res),
	TP_ARGS(named, io, by, write, offset, length, res));

DEFINE_EVENT(homi_rw, homi_rw_complete,
	TP_PROTO(const struct homi_named *named, const void *io,
		 enum homi_way by, bool write, u64 offset, u32 length, long res),
	TP_ARGS(named, io, by, write, offset, length, res));

#endif /* _HOMI_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
