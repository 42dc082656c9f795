/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_MODEL_RING_H
#define HOMI_TEST_MODEL_RING_H

#include <homi/ring.h>

#include "model.h"

/* What a ring on this controller is made of; @users and @free_cids are the caller's. */
static inline struct homi_ring_config model_ring_config(struct model *m, uint64_t *users,
							uint16_t *free_cids)
{
	struct homi_ring_config config = {
		.sq = m->sq, .cq = m->cq, .users = users, .free_cids = free_cids,
		.sq_doorbell = &m->sq_doorbell, .cq_doorbell = &m->cq_doorbell,
		.depth = m->config.depth,
	};

	if (m->config.shadow) {
		config.sq_shadow = &m->sq_shadow;
		config.sq_event = &m->sq_event;
		config.cq_shadow = &m->cq_shadow;
		config.cq_event = &m->cq_event;
	}
	return config;
}

#endif /* HOMI_TEST_MODEL_RING_H */
