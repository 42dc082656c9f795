/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_MOCK_H
#define _HOMI_MOCK_H

#include <kunit/test.h>

#include "homi.h"

#define HOMI_MOCK_QUEUES	64	/* queue ids above are not to be had */
#define HOMI_MOCK_LOG		32

struct homi_mock;

/**
 * struct homi_mock_fault - what befalls the next admin commands of one kind
 * @opcode: which
 * @count: how many
 * @executed: the controller carries them out all the same
 * @event: happens while they are out, after that; or NULL
 * @ret: the answer, which for @executed and 0 is the controller's
 */
struct homi_mock_fault {
	u8 opcode;
	u32 count;
	bool executed;
	void (*event)(struct homi_mock *mock);
	int ret;
};

/**
 * struct homi_mock - a controller behind the glue's operations
 * @ctrl: what homi has of it; stock's structure is this one
 * @pdev: its function: on no bus, and good enough for DMA memory
 * @lock: guards the fields below, but for those of the shadow pages
 * @live: stock would let a command through
 * @granted: answer of Get Features
 * @grant_ret: its status
 * @grant_event: happens while it is out; or NULL
 * @detached: how often homi let go of what stock has
 * @kernel_queues: what stock could take
 * @cq_depth: entries of each completion queue that exists, else 0
 * @sq_depth: likewise submission queues
 * @sq_cq: the completion queue of each of these
 * @sq_prp: where its ring is
 * @log: opcodes that arrived, the first ones
 * @commands: how many arrived
 * @fault: see above
 * @resets: how often homi asked for a reset
 * @resets_itself: a reset that is asked for happens, by @reset_work
 * @reset_work: does it
 * @dbs: shadow doorbells, or NULL
 * @eis: event indices
 * @shadow_len: bytes of each
 * @shadow_ret: answer to who asks for them
 * @released: told when nothing refers to @ctrl any more; this structure is
 *	free then
 */
struct homi_mock {
	struct homi_ctrl ctrl;
	struct pci_dev pdev;
	struct mutex lock;	/* see above */
	bool live;
	u32 granted;
	int grant_ret;
	void (*grant_event)(struct homi_mock *mock);
	u32 detached;
	u32 kernel_queues;
	u32 cq_depth[HOMI_MOCK_QUEUES + 1];
	u32 sq_depth[HOMI_MOCK_QUEUES + 1];
	u16 sq_cq[HOMI_MOCK_QUEUES + 1];
	u64 sq_prp[HOMI_MOCK_QUEUES + 1];
	u8 log[HOMI_MOCK_LOG];
	u32 commands;
	struct homi_mock_fault fault;
	u32 resets;
	bool resets_itself;
	struct work_struct reset_work;
	void *dbs;
	void *eis;
	size_t shadow_len;
	int shadow_ret;
	struct completion *released;
};

/* A live controller in test->priv: 8 queue pairs granted, 2 of them stock's. */
int homi_mock_init(struct kunit *test);
/* Fails the test if anything still refers to the controller. */
void homi_mock_exit(struct kunit *test);

/* The steps of a reset as stock takes them, and all of them */
void homi_mock_quiesce(struct homi_mock *mock);
void homi_mock_reenable(struct homi_mock *mock);
void homi_mock_live(struct homi_mock *mock);
void homi_mock_reset(struct homi_mock *mock);
/* Removal, as far as it concerns the queues */
void homi_mock_die(struct homi_mock *mock);

/* How many queues of both kinds the controller has */
unsigned int homi_mock_queues(struct homi_mock *mock);
void homi_mock_forget_log(struct homi_mock *mock);

/* By the tests in ctrl.c and reset.c: what is private there */
void homi_mock_setup_ctrl(struct homi_ctrl *ctrl);
void homi_mock_list_ctrl(struct homi_ctrl *ctrl);
void homi_mock_unlist_ctrl(struct homi_ctrl *ctrl);
void homi_mock_release_dma(struct homi_ctrl *ctrl);
void homi_mock_drop_stock(struct homi_ctrl *ctrl);
extern const struct homi_nvme_events *const homi_mock_events;

#endif /* _HOMI_MOCK_H */
