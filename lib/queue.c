// SPDX-License-Identifier: MIT
/*
 * Queue pairs: made, mapped, made anew.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

static void unmap_shadow(struct homi_queue *queue)
{
	homi_unmap_region(queue->shadow, homi_page_size());
	homi_unmap_region(queue->event, homi_page_size());
	queue->shadow = NULL;
	queue->event = NULL;
}

static void unmap_regions(struct homi_queue *queue)
{
	const struct homi_queue_create *c = &queue->create;

	if (!c->sq_mem_id) {
		homi_unmap_region(queue->sq, c->out_sq_mmap_length);
		queue->sq = NULL;
	}
	if (!c->cq_mem_id) {
		homi_unmap_region(queue->cq, c->out_cq_mmap_length);
		queue->cq = NULL;
	}
	homi_unmap_region(queue->db, homi_page_size());
	queue->db = NULL;
	unmap_shadow(queue);
}

int homi_queue_map(const struct homi_dev *dev, struct homi_queue *queue)
{
	const struct homi_queue_create *c = &queue->create;
	int prot = PROT_READ | PROT_WRITE;
	size_t page = homi_page_size();
	int ret = 0;

	queue->db = NULL;
	queue->shadow = NULL;
	queue->event = NULL;
	/* Of who made it, if this is a copy */
	if (!c->sq_mem_id)
		queue->sq = NULL;
	if (!c->cq_mem_id)
		queue->cq = NULL;
	if (!c->sq_mem_id)
		ret = homi_map_region(dev, c->out_sq_mmap_offset, c->out_sq_mmap_length, prot,
				      &queue->sq);
	if (!ret && !c->cq_mem_id)
		ret = homi_map_region(dev, c->out_cq_mmap_offset, c->out_cq_mmap_length, prot,
				      &queue->cq);
	if (!ret)
		ret = homi_map_region(dev, c->out_db_mmap_offset, page, prot, &queue->db);
	if (!ret && c->out_shadow_mmap_offset)
		ret = homi_map_region(dev, c->out_shadow_mmap_offset, page, prot, &queue->shadow);
	if (!ret && c->out_shadow_mmap_offset)
		ret = homi_map_region(dev, c->out_event_mmap_offset, page, prot, &queue->event);
	if (ret)
		unmap_regions(queue);
	return ret;
}

static volatile uint32_t *word_at(void *page, uint32_t offset)
{
	return page ? (volatile uint32_t *)((char *)page + offset) : NULL;
}

void homi_queue_get_config(const struct homi_queue *queue, struct homi_ring_config *config)
{
	const struct homi_queue_create *c = &queue->create;

	memset(config, 0, sizeof(*config));
	config->sq = queue->sq;
	config->cq = queue->cq;
	config->sq_doorbell = word_at(queue->db, c->out_sq_db_offset);
	config->cq_doorbell = word_at(queue->db, c->out_cq_db_offset);
	config->sq_shadow = word_at(queue->shadow, c->out_sq_shadow_offset);
	config->sq_event = word_at(queue->event, c->out_sq_shadow_offset);
	config->cq_shadow = word_at(queue->shadow, c->out_cq_shadow_offset);
	config->cq_event = word_at(queue->event, c->out_cq_shadow_offset);
	config->depth = c->depth;
}

static int init_ring(struct homi_queue *queue)
{
	struct homi_ring_config config;

	/* The device's affair */
	if (!queue->sq || !queue->cq)
		return 0;
	homi_queue_get_config(queue, &config);
	config.users = queue->book;
	config.free_cids = (uint16_t *)(config.users + queue->create.depth - 1);
	return homi_ring_init(&queue->ring, &config) ? -EINVAL : 0;
}

/* Whether the completion ring is the caller's, to be zeroed here: the kernel does not. */
static int clears_cq(const struct homi_queue *queue)
{
	return queue->create.cq_mem_id && queue->cq;
}

static void clear_cq(struct homi_queue *queue)
{
	memset(queue->cq, 0, (size_t)queue->create.depth * 16);
}

/* Not that of a queue that is live */
static int clear_lost_cq(const struct homi_dev *dev, struct homi_queue *queue)
{
	struct homi_queue_info info;
	int ret = homi_get_queue_info(dev, queue->create.out_queue_id, &info);

	if (!ret && info.out_state == HOMI_QUEUE_LIVE)
		ret = -EBUSY;
	if (!ret)
		clear_cq(queue);
	return ret;
}

static int place_ring(const struct homi_ring_place *place, uint64_t length, uint32_t *mem_id,
		      __u64 *offset, void **addr)
{
	if (!place)
		return 0;
	if (place->offset > place->mem->length || length > place->mem->length - place->offset)
		return -EINVAL;
	*mem_id = place->mem->id;
	*offset = place->offset;
	if (place->mem->addr)
		*addr = (char *)place->mem->addr + place->offset;
	return 0;
}

static int open_queue(const struct homi_dev *dev, uint32_t depth, uint32_t flags,
		      const struct homi_ring_place *sq, const struct homi_ring_place *cq,
		      struct homi_queue *queue)
{
	struct homi_queue_create *c = &queue->create;
	int ret;

	memset(queue, 0, sizeof(*queue));
	c->size = sizeof(*c);
	c->flags = flags;
	c->depth = depth;
	ret = place_ring(sq, (uint64_t)depth * 64, &c->sq_mem_id, &c->sq_offset, &queue->sq);
	if (!ret)
		ret = place_ring(cq, (uint64_t)depth * 16, &c->cq_mem_id, &c->cq_offset,
				 &queue->cq);
	if (ret)
		return ret;
	if (clears_cq(queue))
		clear_cq(queue);
	ret = homi_call(dev, HOMI_QUEUE_CREATE, c);
	if (ret)
		return ret;
	queue->book = calloc(depth - 1, sizeof(uint64_t) + sizeof(uint16_t));
	ret = queue->book ? homi_queue_map(dev, queue) : -ENOMEM;
	if (!ret)
		ret = init_ring(queue);
	if (ret)
		homi_queue_close(dev, queue);
	return ret;
}

int homi_queue_open_in(const struct homi_dev *dev, uint32_t depth,
		       const struct homi_ring_place *sq, const struct homi_ring_place *cq,
		       struct homi_queue *queue)
{
	return open_queue(dev, depth, 0, sq, cq, queue);
}

int homi_queue_open(const struct homi_dev *dev, uint32_t depth, struct homi_queue *queue)
{
	return open_queue(dev, depth, 0, NULL, NULL, queue);
}

int homi_queue_open_interrupt(const struct homi_dev *dev, uint32_t depth,
			      struct homi_queue *queue)
{
	return open_queue(dev, depth, HOMI_QUEUE_INTERRUPT, NULL, NULL, queue);
}

/* Stock may come back from a reset with shadow doorbells, or without. */
static int remap_shadow(const struct homi_dev *dev, struct homi_queue *queue)
{
	const struct homi_queue_create *c = &queue->create;
	int prot = PROT_READ | PROT_WRITE;
	size_t page = homi_page_size();
	int ret;

	if (!c->out_shadow_mmap_offset) {
		unmap_shadow(queue);
		return 0;
	}
	if (queue->shadow)
		return 0;
	ret = homi_map_region(dev, c->out_shadow_mmap_offset, page, prot, &queue->shadow);
	if (!ret)
		ret = homi_map_region(dev, c->out_event_mmap_offset, page, prot, &queue->event);
	if (ret)
		unmap_shadow(queue);
	return ret;
}

int homi_queue_recreate(const struct homi_dev *dev, struct homi_queue *queue)
{
	struct homi_queue_create *c = &queue->create;
	struct homi_queue_recreate cmd = {
		.size = sizeof(cmd), .queue_id = c->out_queue_id, .depth = c->depth,
	};
	int ret = clears_cq(queue) ? clear_lost_cq(dev, queue) : 0;

	if (ret)
		return ret;
	ret = homi_call(dev, HOMI_QUEUE_RECREATE, &cmd);
	if (ret)
		return ret;
	c->out_generation = cmd.out_generation;
	c->out_shadow_mmap_offset = cmd.out_shadow_mmap_offset;
	c->out_event_mmap_offset = cmd.out_event_mmap_offset;
	c->out_sq_shadow_offset = cmd.out_sq_shadow_offset;
	c->out_cq_shadow_offset = cmd.out_cq_shadow_offset;
	ret = remap_shadow(dev, queue);
	return ret ? ret : init_ring(queue);
}

int homi_queue_close(const struct homi_dev *dev, struct homi_queue *queue)
{
	int ret = homi_destroy(dev, queue->create.out_queue_id);

	unmap_regions(queue);
	free(queue->book);
	memset(queue, 0, sizeof(*queue));
	return ret;
}

int homi_get_queue_info(const struct homi_dev *dev, uint32_t queue_id,
			struct homi_queue_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->queue_id = queue_id;
	return homi_call(dev, HOMI_QUEUE_INFO, info);
}

int homi_queue_arm(const struct homi_dev *dev, const struct homi_queue *queue)
{
	struct homi_queue_arm cmd = {
		.size = sizeof(cmd), .queue_id = queue->create.out_queue_id,
		.cq_head = homi_ring_cq_head(&queue->ring),
		.cq_phase = !!queue->ring.cq_phase,
	};
	int ret = homi_call(dev, HOMI_QUEUE_ARM, &cmd);

	return ret ? ret : (int)cmd.out_ready;
}

int homi_queue_bind_completions(const struct homi_dev *dev, const struct homi_queue *queue,
				int eventfd)
{
	struct homi_event_bind cmd = {
		.size = sizeof(cmd), .flags = HOMI_EVENT_COMPLETIONS,
		.id = queue->create.out_queue_id, .eventfd = eventfd,
	};

	return homi_call(dev, HOMI_EVENT_BIND, &cmd);
}

int homi_queue_wait(const struct homi_dev *dev, const struct homi_queue *queue, int timeout_ms)
{
	struct pollfd p = { .fd = dev->fd, .events = POLLIN };
	int ret = homi_queue_arm(dev, queue);

	if (ret)
		return ret;
	ret = poll(&p, 1, timeout_ms);
	if (ret < 0)
		return -errno;
	return p.revents & (POLLERR | POLLHUP) ? -ENODEV : ret;
}

int homi_doorbell_export(const struct homi_dev *dev, uint32_t queue_id, uint32_t part)
{
	struct homi_doorbell_export cmd = {
		.size = sizeof(cmd), .queue_id = queue_id, .part = part,
	};
	int ret = homi_call(dev, HOMI_DOORBELL_EXPORT, &cmd);

	return ret ? ret : cmd.out_fd;
}

int homi_queue_check(const struct homi_dev *dev, const struct homi_queue *queue)
{
	struct homi_queue_info info;
	int ret = homi_get_queue_info(dev, queue->create.out_queue_id, &info);

	if (ret)
		return ret;
	switch (info.out_state) {
	case HOMI_QUEUE_LIVE:
		return 0;
	case HOMI_QUEUE_GONE:
		return -ENODEV;
	default:
		return -ESTALE;
	}
}
