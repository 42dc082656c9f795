// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <sys/ioctl.h>

#include "importer.h"

#define IMPORTER	"/dev/homi_importer"

int doorbell_export(int fd, uint32_t queue, uint32_t part, int *dmabuf)
{
	struct homi_doorbell_export cmd = {
		.size = sizeof(cmd),
		.queue_id = queue,
		.part = part,
		.out_fd = -1,
	};
	int err = homi_call(fd, HOMI_DOORBELL_EXPORT, &cmd);

	*dmabuf = cmd.out_fd;
	return err;
}

int importer_open(void)
{
	int fd = open(IMPORTER, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENODEV)
		SKIP("no ivshmem device for homi_importer");
	if (fd < 0)
		SKIP("no " IMPORTER " (selftests/modules/homi_importer.ko is not loaded)");
	return fd;
}

static int importer_call(int importer, unsigned long cmd, void *arg)
{
	return ioctl(importer, cmd, arg) ? -errno : 0;
}

int importer_attach(int importer, int dmabuf, uint32_t flags)
{
	struct importer_attach cmd = { .fd = dmabuf, .flags = flags };

	return importer_call(importer, IMPORTER_ATTACH, &cmd);
}

int importer_map(int importer)
{
	return importer_call(importer, IMPORTER_MAP, NULL);
}

int importer_write(int importer, uint32_t offset, uint32_t value)
{
	struct importer_access cmd = { .offset = offset, .write = 1, .value = value };

	return importer_call(importer, IMPORTER_ACCESS, &cmd);
}

int importer_read(int importer, uint32_t offset, uint32_t *value)
{
	struct importer_access cmd = { .offset = offset };
	int err = importer_call(importer, IMPORTER_ACCESS, &cmd);

	*value = cmd.value;
	return err;
}

struct importer_info importer_info(int importer)
{
	struct importer_info cmd;

	ASSERT_EQ(0, importer_call(importer, IMPORTER_INFO, &cmd));
	return cmd;
}

void importer_detach(int importer)
{
	ASSERT_EQ(0, importer_call(importer, IMPORTER_DETACH, NULL));
}

void ringer_open(struct ringer *ringer, struct ring *ring, uint32_t flags)
{
	uint32_t id = ring->q.out_queue_id;

	*ringer = (struct ringer){ .ring = ring, .shadow = -1, .shadow_dmabuf = -1 };
	ringer->registers = importer_open();
	ASSERT_EQ(0, doorbell_export(ring->fd, id, HOMI_DOORBELL_REGISTERS,
				     &ringer->registers_dmabuf));
	ASSERT_EQ(0, importer_attach(ringer->registers, ringer->registers_dmabuf, flags));
	if (!ring->shadow)
		return;
	ringer->shadow = importer_open();
	ASSERT_EQ(0, doorbell_export(ring->fd, id, HOMI_DOORBELL_SHADOW,
				     &ringer->shadow_dmabuf));
	ASSERT_EQ(0, importer_attach(ringer->shadow, ringer->shadow_dmabuf, flags));
}

static int ringer_ring(const struct ringer *ringer, uint32_t db, uint32_t shadow, uint16_t value)
{
	int err = 0;

	if (ringer->shadow >= 0)
		err = importer_write(ringer->shadow, shadow, value);
	return err ? err : importer_write(ringer->registers, db, value);
}

int ringer_sq(const struct ringer *ringer)
{
	const struct homi_queue_create *q = &ringer->ring->q;

	return ringer_ring(ringer, q->out_sq_db_offset, q->out_sq_shadow_offset,
			   ringer->ring->sq_tail);
}

int ringer_cq(const struct ringer *ringer)
{
	const struct homi_queue_create *q = &ringer->ring->q;

	return ringer_ring(ringer, q->out_cq_db_offset, q->out_cq_shadow_offset,
			   ringer->ring->cq_head);
}

int ringer_do(const struct ringer *ringer, const struct sqe *sqe)
{
	uint64_t end = now_ms() + 10000 * patience();
	struct cqe cqe;
	int err;

	ring_post(ringer->ring, sqe);
	err = ringer_sq(ringer);
	if (err)
		return err;
	while (!ring_take(ringer->ring, &cqe)) {
		if (now_ms() > end)
			return RING_TIMEOUT;
		usleep(50);
	}
	err = ringer_cq(ringer);
	return err ? err : cqe.status >> 1;
}

void ringer_close(struct ringer *ringer)
{
	close(ringer->registers);
	close(ringer->registers_dmabuf);
	if (ringer->shadow < 0)
		return;
	close(ringer->shadow);
	close(ringer->shadow_dmabuf);
}
