/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_INFLIGHT_H
#define _HOMI_INFLIGHT_H

#include <linux/atomic.h>
#include <linux/wait.h>

/**
 * struct homi_inflight - I/O that uses something which has to end some time
 * @count: how much, and from when it is closed on HOMI_INFLIGHT_CLOSED more than that
 *
 * In any context, but for homi_inflight_stop().
 */
struct homi_inflight {
	atomic_t count;
};

#define HOMI_INFLIGHT_CLOSED	INT_MIN

static inline bool homi_inflight_enter(struct homi_inflight *flying)
{
	return atomic_inc_unless_negative(&flying->count);
}

/* @wait is where homi_inflight_stop() waits. */
static inline void homi_inflight_leave(struct homi_inflight *flying,
				       wait_queue_head_t *wait)
{
	if (atomic_dec_return(&flying->count) == HOMI_INFLIGHT_CLOSED)
		wake_up_all(wait);
}

static inline void homi_inflight_close(struct homi_inflight *flying)
{
	int count = atomic_read(&flying->count);

	while (count >= 0 &&
	       !atomic_try_cmpxchg(&flying->count, &count,
				   count + HOMI_INFLIGHT_CLOSED))
		;
}

static inline bool homi_inflight_closed(struct homi_inflight *flying)
{
	return atomic_read(&flying->count) < 0;
}

static inline bool homi_inflight_gone(struct homi_inflight *flying)
{
	return atomic_read(&flying->count) == HOMI_INFLIGHT_CLOSED;
}

/* Nobody uses it when this returns, and nobody will. */
static inline void homi_inflight_stop(struct homi_inflight *flying,
				      wait_queue_head_t *wait)
{
	homi_inflight_close(flying);
	wait_event_idle(*wait, homi_inflight_gone(flying));
}

/* Close it if there are none, or say no. */
static inline bool homi_inflight_close_unused(struct homi_inflight *flying)
{
	return homi_inflight_gone(flying) ||
	       !atomic_cmpxchg(&flying->count, 0, HOMI_INFLIGHT_CLOSED);
}

#endif /* _HOMI_INFLIGHT_H */
