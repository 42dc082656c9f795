/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_NVME_GLUE_H
#define _HOMI_NVME_GLUE_H

#include <linux/blkdev.h>
#include <linux/nvme.h>
#include <linux/pci.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>

/**
 * struct homi_nvme - a controller of the stock driver, from outside
 * @pdev: its PCI function; holds a reference
 * @class_dev: its class device ("nvme0"); holds a reference until it is detached
 * @ctrl: the stock driver's struct nvme_ctrl, opaque; there as long
 * @dev: the stock driver's struct nvme_dev, opaque; NULL without BTF; likewise
 * @admin_q: its admin queue; holds a reference as @class_dev does
 * @owner: the PCI driver's module; NULL if built in. There while @users is not 0.
 * @users: who may use the above: one while stock is bound to the function, and one
 *	for each who has a reference to @owner for that; made by the caller
 * @doorbell_stride: bytes from one doorbell to the next; set by the caller
 * @gate: held for reading while a command is handed to stock; the caller makes
 *	it, and waits for it when it has set @shut
 * @shut: no command is handed to stock; set by the caller
 */
struct homi_nvme {
	struct pci_dev *pdev;
	struct device *class_dev;
	void *ctrl;
	void *dev;
	struct request_queue *admin_q;
	struct module *owner;
	refcount_t users;
	u32 doorbell_stride;
	struct rw_semaphore gate;
	bool shut;
};

/**
 * struct homi_nvme_ns - one namespace as the block layer shows it
 * @nsid: namespace id
 * @block_size: logical block size, bytes
 * @metadata_size: metadata bytes per block
 * @blocks: logical blocks
 * @dev: device number of the disk; of the multipath head where there is one
 * @read_only: write protected
 * @zoned: a zoned namespace
 * @multipath: @dev is a multipath head
 */
struct homi_nvme_ns {
	u32 nsid;
	u32 block_size;
	u32 metadata_size;
	u64 blocks;
	dev_t dev;
	bool read_only;
	bool zoned;
	bool multipath;
};

/**
 * struct homi_nvme_io - one I/O command on a queue of stock's
 * @cmd: carries its own PRPs or SGL
 * @sgl: an SGL, which only homi_nvme_takes_sgl() allows
 * @block_size: bytes; of what @cmd counts in
 * @metadata_size: bytes that go with each, as far as @cmd knows
 * @ready: it is going to be sent now: put the addresses in, or say no by an error. Must
 *	not sleep.
 * @done: after that, the command is over, with an NVMe status. Called once, in any
 *	context; it may free this.
 */
struct homi_nvme_io {
	struct nvme_command cmd;
	bool sgl;
	u32 block_size;
	u32 metadata_size;
	int (*ready)(struct homi_nvme_io *io);
	void (*done)(struct homi_nvme_io *io, u16 status);
};

/**
 * struct homi_nvme_ops - what homi asks of the stock driver
 * @detach: let go of all but @pdev; the last put runs code of the stock driver
 * @admin: send an admin command that carries its own PRPs and no data. It is
 *	made to fail with -EAGAIN unless the controller is LIVE when it would be
 *	dispatched. 0, a positive NVMe status, or -errno; -EBUSY if it could not
 *	be sent within @timeout_ms, -ETIMEDOUT if it was sent and not answered
 *	within that time, the command then still being out.
 * @identify: Identify into @buf (NVME_IDENTIFY_DATA_SIZE bytes, kmalloc memory)
 * @grant: I/O queue pairs granted (Get Features, Number of Queues), 1-based
 * @kernel_queues: most I/O queues that stock could ever take; -errno
 * @shadow: the shadow doorbell and event index buffers as they are now, and
 *	their length in bytes; both NULL when off. -errno if that can't be told.
 * @tell_shadow: stock has enabled the controller and not made its queues: have
 *	it know the shadow doorbells, where stock would be late with that
 * @reset: schedule a controller reset
 * @find_ns: the namespace @nsid, or with @next the first one >= @nsid
 * @find_ns_by_bdev: the namespace of this controller that @bdev's disk is, or
 *	is the multipath head of. -ENODEV if there is none.
 * @find_ns_on: the namespace @nsid, if that is what @bdev's disk still is, or is
 *	the multipath head of; else -ENODEV. Needs no path that works now.
 * @io_queue: the block layer's queue, by this function, of the namespace @nsid, if
 *	that is what @bdev's disk is, or is the multipath head of; with a
 *	reference, which does not keep the namespace
 * @io: hand a command to such a queue; as READs of its own, stock holds it back
 *	while the controller resets, and repeats it after that. 0 or -errno, and
 *	then it is not done; -EAGAIN if it would have had to wait, -ENODEV if the
 *	namespace is gone or was formatted.
 */
struct homi_nvme_ops {
	void (*detach)(struct homi_nvme *nvme);
	int (*admin)(struct homi_nvme *nvme, struct nvme_command *cmd,
		     unsigned int timeout_ms);
	int (*identify)(struct homi_nvme *nvme, u8 cns, u32 nsid, void *buf);
	int (*grant)(struct homi_nvme *nvme, u32 *pairs);
	int (*kernel_queues)(struct homi_nvme *nvme, u32 *queues);
	int (*shadow)(struct homi_nvme *nvme, void **dbs, void **eis,
		      size_t *len);
	void (*tell_shadow)(struct homi_nvme *nvme);
	int (*reset)(struct homi_nvme *nvme);
	int (*find_ns)(struct homi_nvme *nvme, u32 nsid, bool next,
		       struct homi_nvme_ns *ns);
	int (*find_ns_by_bdev)(struct homi_nvme *nvme, struct block_device *bdev,
			       struct homi_nvme_ns *ns);
	int (*find_ns_on)(struct homi_nvme *nvme, u32 nsid,
			  struct block_device *bdev, struct homi_nvme_ns *ns);
	int (*io_queue)(struct homi_nvme *nvme, u32 nsid,
			struct block_device *bdev, struct request_queue **q);
	int (*io)(struct request_queue *q, struct homi_nvme_io *io,
		  bool may_wait);
};

extern const struct homi_nvme_ops homi_nvme_stock_ops;

/**
 * struct homi_nvme_events - news from the interposition; all may sleep
 * @quiesce: stock is about to disable @ctrl (or to find it dead)
 * @reenabled: @ctrl was disabled and enabled again: no old queue exists
 * @ask: stock wants to ask for @asked queue pairs; answers how many to ask for
 * @share: of these @got were granted; answers how many stock may have of them,
 *	at least 1 and at most @asked
 * @resumed: @ctrl became LIVE; not necessarily by a reset: after the activation
 *	of a firmware it is quiesced and resumed without being disabled
 * @live: @ctrl is up after a reset; its namespaces are being scanned
 * @dead: stock gave @ctrl up after disabling it
 */
struct homi_nvme_events {
	void (*quiesce)(void *ctrl);
	void (*reenabled)(void *ctrl);
	u32 (*ask)(void *ctrl, u32 asked);
	u32 (*share)(void *ctrl, u32 asked, u32 got);
	void (*resumed)(void *ctrl);
	void (*live)(void *ctrl);
	void (*dead)(void *ctrl);
};

int homi_nvme_hook(const struct homi_nvme_events *events);
void homi_nvme_unhook(void);
void homi_nvme_drain(void);
bool homi_nvme_hooked(void);

bool homi_nvme_bound(struct pci_dev *pdev);
bool homi_nvme_is_live(struct homi_nvme *nvme);
int homi_nvme_attach(struct homi_nvme *nvme, struct pci_dev *pdev);
int homi_nvme_load_layout(void);
bool homi_nvme_takes_sgl(void);

/* Exported by nvme-core, declared in a header that is not installed. */
struct nvme_ctrl;
struct nvme_ns;
int nvme_submit_sync_cmd(struct request_queue *q, struct nvme_command *cmd,
			 void *buf, unsigned int len);
void nvme_init_request(struct request *req, struct nvme_command *cmd);
int nvme_get_features(struct nvme_ctrl *ctrl, unsigned int fid,
		      unsigned int dw11, void *buf, size_t len, void *result);
int nvme_reset_ctrl(struct nvme_ctrl *ctrl);
struct nvme_ns *nvme_find_get_ns(struct nvme_ctrl *ctrl, unsigned int nsid);
void nvme_put_ns(struct nvme_ns *ns);
void nvme_quiesce_io_queues(struct nvme_ctrl *ctrl);
bool nvme_change_ctrl_state(struct nvme_ctrl *ctrl, int state);
int nvme_set_queue_count(struct nvme_ctrl *ctrl, int *count);
void nvme_start_ctrl(struct nvme_ctrl *ctrl);

/* btf.c */

/**
 * struct homi_btf_query - one member whose offset is wanted
 * @type: name of a struct
 * @member: name of a direct member of it
 * @offset: out: bytes from the start of the struct, -1 if not found
 * @size: out: bytes of the member (pointer 8, array in all), 0 if not known
 */
struct homi_btf_query {
	const char *type;
	const char *member;
	int offset;
	u32 size;
};

int homi_btf_lookup(const char *module, struct homi_btf_query *queries,
		    unsigned int nr);

#endif /* _HOMI_NVME_GLUE_H */
