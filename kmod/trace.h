/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM homi

#if !defined(_HOMI_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _HOMI_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(homi_queue_state,
	TP_PROTO(unsigned int qid, u32 from, u32 to),
	TP_ARGS(qid, from, to),
	TP_STRUCT__entry(
		__field(unsigned int, qid)
		__field(u32, from)
		__field(u32, to)
	),
	TP_fast_assign(
		__entry->qid = qid;
		__entry->from = from;
		__entry->to = to;
	),
	TP_printk("qid=%u state=%u->%u", __entry->qid, __entry->from,
		  __entry->to)
);

DECLARE_EVENT_CLASS(homi_rw,
	TP_PROTO(const void *io, bool write, u64 offset, u32 length, long res),
	TP_ARGS(io, write, offset, length, res),
	TP_STRUCT__entry(
		__field(const void *, io)
		__field(bool, write)
		__field(u64, offset)
		__field(u32, length)
		__field(long, res)
	),
	TP_fast_assign(
		__entry->io = io;
		__entry->write = write;
		__entry->offset = offset;
		__entry->length = length;
		__entry->res = res;
	),
	TP_printk("io=%p %s offset=%llu length=%u res=%ld", __entry->io,
		  __entry->write ? "write" : "read", __entry->offset,
		  __entry->length, __entry->res)
);

DEFINE_EVENT(homi_rw, homi_rw_submit,
	TP_PROTO(const void *io, bool write, u64 offset, u32 length, long res),
	TP_ARGS(io, write, offset, length, res));

DEFINE_EVENT(homi_rw, homi_rw_complete,
	TP_PROTO(const void *io, bool write, u64 offset, u32 length, long res),
	TP_ARGS(io, write, offset, length, res));

#endif /* _HOMI_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
