// SPDX-License-Identifier: MIT
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

uint64_t model_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void violation(struct model *m, const char *what)
{
	m->violations++;
	if (!m->violation)
		m->violation = what;
}

static void *alloc_pages(size_t size)
{
	size_t page = 4096;
	void *p = aligned_alloc(page, (size + page - 1) & ~(page - 1));

	if (p)
		memset(p, 0, size);
	return p;
}

int model_init(struct model *m, const struct model_config *config)
{
	memset(m, 0, sizeof(*m));
	m->config = *config;
	if (!m->config.alloc) {
		m->config.alloc = alloc_pages;
		m->config.release = free;
	}
	m->sq = m->config.alloc((size_t)config->depth * 64);
	m->cq = m->config.alloc((size_t)config->depth * 16);
	m->data = m->config.alloc(config->blocks * config->block_size);
	m->pending = calloc(config->depth, sizeof(*m->pending));
	m->busy = calloc(65536, 1);
	if (!m->sq || !m->cq || !m->data || !m->pending || !m->busy) {
		model_destroy(m);
		return -1;
	}
	/* Whatever the host does not write must not look like a command. */
	memset(m->sq, 0xa5, (size_t)config->depth * 64);
	m->sq_doorbell = MODEL_DOORBELL_IDLE;
	m->cq_doorbell = MODEL_DOORBELL_IDLE;
	m->phase = 1;
	return 0;
}

void model_destroy(struct model *m)
{
	if (m->config.release) {
		m->config.release(m->sq);
		m->config.release(m->cq);
		m->config.release(m->data);
	}
	free(m->pending);
	free(m->busy);
}

void model_map(struct model *m, uint64_t dma_addr, void *cpu, uint64_t length)
{
	if (m->dma_count == MODEL_DMA_MAX)
		abort();
	m->dma[m->dma_count].dma_addr = dma_addr;
	m->dma[m->dma_count].length = length;
	m->dma[m->dma_count].cpu = cpu;
	m->dma_count++;
}

static uint8_t *translate(struct model *m, uint64_t addr, uint64_t length)
{
	unsigned int i;

	for (i = 0; i < m->dma_count; i++) {
		uint64_t skip = addr - m->dma[i].dma_addr;

		if (skip < m->dma[i].length && length <= m->dma[i].length - skip)
			return m->dma[i].cpu + skip;
	}
	return NULL;
}

static uint16_t fault(struct model *m)
{
	m->dma_faults++;
	return HOMI_SC_DATA_TRANSFER;
}

/* Reads a list entry; in the last slot of a page, with more to come, it leads on. */
static uint16_t next_entry(struct model *m, uint64_t *list, uint64_t rest, uint64_t *addr)
{
	uint32_t mask = m->config.page_size - 1;
	uint8_t *cpu;

	if (((*list + 8) & mask) == 0 && rest > m->config.page_size) {
		cpu = translate(m, *list, 8);
		if (!cpu)
			return fault(m);
		memcpy(list, cpu, 8);
		if (*list & mask)
			return HOMI_SC_PRP_OFFSET;
	}
	cpu = translate(m, *list, 8);
	if (!cpu)
		return fault(m);
	memcpy(addr, cpu, 8);
	*list += 8;
	return *addr & mask ? HOMI_SC_PRP_OFFSET : 0;
}

static uint16_t copy(struct model *m, uint64_t addr, uint8_t *data, uint64_t bytes, bool to_host)
{
	uint8_t *cpu = translate(m, addr, bytes);

	if (!cpu && m->move && m->move(m->move_arg, addr, data, bytes, to_host))
		return 0;
	if (!cpu)
		return fault(m);
	if (to_host)
		memcpy(cpu, data, bytes);
	else
		memcpy(data, cpu, bytes);
	return 0;
}

static uint16_t transfer(struct model *m, const struct homi_sqe *sqe, uint8_t *data,
			 uint64_t length, bool to_host)
{
	uint64_t page_size = m->config.page_size;
	uint64_t mask = page_size - 1;
	uint64_t bytes = page_size - (sqe->prp1 & mask);
	uint64_t list = sqe->prp2;
	uint16_t status;

	if (sqe->prp1 & 3)
		return HOMI_SC_PRP_OFFSET;
	if (bytes > length)
		bytes = length;
	status = copy(m, sqe->prp1, data, bytes, to_host);
	length -= bytes;
	data += bytes;
	if (status || !length)
		return status;
	if (length <= page_size)
		return sqe->prp2 & mask ? HOMI_SC_PRP_OFFSET :
		       copy(m, sqe->prp2, data, length, to_host);
	if (list & 7)
		return HOMI_SC_PRP_OFFSET;
	while (length) {
		uint64_t addr;

		bytes = length < page_size ? length : page_size;
		status = next_entry(m, &list, length, &addr);
		if (!status)
			status = copy(m, addr, data, bytes, to_host);
		if (status)
			return status;
		length -= bytes;
		data += bytes;
	}
	return 0;
}

static bool blocks_ok(struct model *m, uint64_t slba, uint64_t blocks)
{
	return slba < m->config.blocks && blocks <= m->config.blocks - slba;
}

static uint16_t do_rw(struct model *m, const struct homi_sqe *sqe)
{
	uint64_t slba = sqe->cdw10 | (uint64_t)sqe->cdw11 << 32;
	uint64_t blocks = (sqe->cdw12 & 0xffff) + 1;
	uint64_t bytes = blocks * m->config.block_size;
	uint8_t *data;

	if (sqe->opcode != HOMI_OP_WRITE_ZEROES && m->config.max_transfer &&
	    bytes > m->config.max_transfer)
		return HOMI_SC_INVALID_FIELD;
	if (!blocks_ok(m, slba, blocks))
		return HOMI_SC_LBA_RANGE;
	data = m->data + slba * m->config.block_size;
	if (sqe->opcode == HOMI_OP_WRITE_ZEROES) {
		memset(data, 0, bytes);
		return 0;
	}
	return transfer(m, sqe, data, bytes, sqe->opcode == HOMI_OP_READ);
}

static uint16_t do_dsm(struct model *m, const struct homi_sqe *sqe)
{
	struct homi_dsm_range ranges[HOMI_DSM_MAX_RANGES];
	uint32_t count = (sqe->cdw10 & 0xff) + 1;
	uint16_t status = transfer(m, sqe, (uint8_t *)ranges, count * sizeof(ranges[0]), false);
	uint32_t i;

	if (status)
		return status;
	for (i = 0; i < count; i++)
		if (ranges[i].nlb && !blocks_ok(m, ranges[i].slba, ranges[i].nlb))
			return HOMI_SC_LBA_RANGE;
	for (i = 0; i < count && (sqe->cdw11 & HOMI_DSM_AD); i++)
		memset(m->data + ranges[i].slba * m->config.block_size, 0,
		       (size_t)ranges[i].nlb * m->config.block_size);
	return 0;
}

static uint16_t execute(struct model *m, const struct homi_sqe *sqe)
{
	switch (sqe->opcode) {
	case HOMI_OP_FLUSH:
	case HOMI_OP_WRITE:
	case HOMI_OP_READ:
	case HOMI_OP_WRITE_ZEROES:
	case HOMI_OP_DSM:
		break;
	default:
		return HOMI_SC_INVALID_OPCODE;
	}
	if (sqe->nsid != MODEL_NSID &&
	    !(sqe->opcode == HOMI_OP_FLUSH && sqe->nsid == 0xffffffffu))
		return HOMI_SC_INVALID_NS;
	if (sqe->flags)
		return HOMI_SC_INVALID_FIELD;
	/* Reserved, or metadata, which this namespace lacks. */
	if (sqe->cdw2 || sqe->cdw3 || sqe->mptr)
		return HOMI_SC_INVALID_FIELD;
	if (sqe->opcode == HOMI_OP_FLUSH)
		return 0;
	return sqe->opcode == HOMI_OP_DSM ? do_dsm(m, sqe) : do_rw(m, sqe);
}

/* Executes one command; its completion waits in @pending. */
static void fetch(struct model *m)
{
	struct homi_sqe sqe = m->sq[m->sq_head];
	struct homi_cqe *cqe;
	uint16_t status = MODEL_EXECUTE;

	m->sq_head = m->sq_head + 1 == m->config.depth ? 0 : m->sq_head + 1;
	if (m->hook)
		status = m->hook(m->hook_arg, &sqe);
	if (m->busy[sqe.cid]) {
		violation(m, "a cid is used twice");
		status = HOMI_SC_CID_CONFLICT;
	}
	m->busy[sqe.cid] = 1;
	m->executed++;
	if (status == MODEL_DROP)
		return;
	if (status == MODEL_EXECUTE) {
		status = execute(m, &sqe);
		if (status)
			status |= MODEL_DNR;
	}
	if (m->pending_count == m->config.depth) {
		violation(m, "more commands than entries");
		return;
	}
	cqe = &m->pending[m->pending_count++];
	cqe->result = (uint32_t)sqe.cid * 3 + 1;
	cqe->dw1 = 0;
	cqe->sq_id = 1;
	cqe->cid = sqe.cid;
	cqe->status = (uint16_t)(status << 1);
}

static uint32_t index_of(struct model *m, uint32_t value, const char *what)
{
	if (value < m->config.depth)
		return value;
	violation(m, what);
	return 0;
}

/* Takes a write to a doorbell register, if there was one. */
static bool take(volatile uint32_t *doorbell, uint32_t *value)
{
	*value = __atomic_exchange_n(doorbell, MODEL_DOORBELL_IDLE, __ATOMIC_SEQ_CST);
	return *value != MODEL_DOORBELL_IDLE;
}

/* With shadow doorbells, registers only wake; the entries count. */
static void look(struct model *m)
{
	uint32_t value;

	if (take(&m->sq_doorbell, &value)) {
		m->sq_writes++;
		m->sq_awake = true;
		value = index_of(m, value, "SQ tail beyond the queue");
		if (!m->config.shadow && value == m->sq_tail)
			violation(m, "SQ tail written twice");
		if (!m->config.shadow)
			m->sq_tail = value;
	}
	if (take(&m->cq_doorbell, &value)) {
		m->cq_writes++;
		m->cq_awake = true;
		value = index_of(m, value, "CQ head beyond the queue");
		if (!m->config.shadow && value == m->cq_head)
			violation(m, "CQ head written twice");
		if (!m->config.shadow)
			m->cq_head = value;
	}
}

static uint32_t shadow(struct model *m, volatile uint32_t *entry)
{
	return index_of(m, __atomic_load_n(entry, __ATOMIC_ACQUIRE), "shadow beyond the queue");
}

/*
 * Going to sleep: the event index says from where on a register write is
 * wanted, then the entry is read again.
 */
static bool moved(struct model *m, volatile uint32_t *entry, volatile uint32_t *event,
		  uint32_t *index)
{
	uint32_t now;

	__atomic_store_n(event, *index, __ATOMIC_SEQ_CST);
	now = __atomic_load_n(entry, __ATOMIC_SEQ_CST);
	if (now == *index)
		return false;
	*index = index_of(m, now, "shadow beyond the queue");
	return true;
}

static void fetch_all(struct model *m)
{
	if (!m->config.shadow) {
		while (m->sq_head != m->sq_tail)
			fetch(m);
		return;
	}
	if (!m->sq_awake)
		return;
	m->sq_tail = shadow(m, &m->sq_shadow);
	/* As long as it is awake the event index is old, and nobody writes registers. */
	if (m->sq_head == m->sq_tail && m->idle++ < m->config.linger)
		return;
	m->idle = 0;
	if (m->config.linger && m->sq_head != m->sq_tail) {
		while (m->sq_head != m->sq_tail)
			fetch(m);
		return;
	}
	do {
		while (m->sq_head != m->sq_tail)
			fetch(m);
	} while (moved(m, &m->sq_shadow, &m->sq_event, &m->sq_tail));
	m->sq_awake = false;
}

static bool cq_is_full(struct model *m)
{
	uint32_t next = m->cq_tail + 1 == m->config.depth ? 0 : m->cq_tail + 1;

	if (next != m->cq_head)
		return false;
	if (m->config.shadow && (m->cq_awake || !m->cq_asleep)) {
		m->cq_awake = false;
		m->cq_asleep = false;
		m->cq_head = shadow(m, &m->cq_shadow);
		if (next != m->cq_head || moved(m, &m->cq_shadow, &m->cq_event, &m->cq_head))
			return false;
		m->cq_asleep = true;
	}
	m->cq_full++;
	return true;
}

static void post(struct model *m, uint32_t which)
{
	struct homi_cqe cqe = m->pending[which];
	struct homi_cqe *entry = &m->cq[m->cq_tail];
	uint32_t last;

	memmove(&m->pending[which], &m->pending[which + 1],
		(--m->pending_count - which) * sizeof(cqe));
	cqe.sq_head = (uint16_t)m->sq_head;
	cqe.status |= m->phase;
	m->busy[cqe.cid] = 0;
	memcpy(entry, &cqe, 12);
	memcpy(&last, (const uint8_t *)&cqe + 12, 4);
	__atomic_store_n((uint32_t *)entry + 3, last, __ATOMIC_RELEASE);
	if (++m->cq_tail == m->config.depth) {
		m->cq_tail = 0;
		m->phase ^= 1;
	}
}

unsigned int model_step(struct model *m)
{
	unsigned int posted = 0;

	if (m->stall) {
		m->stall--;
		return 0;
	}
	look(m);
	fetch_all(m);
	if (m->settle && m->pending_count)
		m->settle(m->move_arg);
	while (m->pending_count && (!m->max_post || posted < m->max_post) && !cq_is_full(m)) {
		post(m, m->config.reorder ?
		     (uint32_t)(model_random(&m->config.reorder) % m->pending_count) : 0);
		posted++;
	}
	return posted;
}

static void *run(void *arg)
{
	struct model *m = arg;

	while (!__atomic_load_n(&m->stop, __ATOMIC_ACQUIRE))
		if (!model_step(m))
			sched_yield();
	return NULL;
}

int model_start(struct model *m)
{
	m->stop = 0;
	return pthread_create(&m->thread, NULL, run, m);
}

void model_stop(struct model *m)
{
	__atomic_store_n(&m->stop, 1, __ATOMIC_RELEASE);
	pthread_join(m->thread, NULL);
}
