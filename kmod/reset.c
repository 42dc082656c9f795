// SPDX-License-Identifier: GPL-2.0-only
/*
 * News of resets, removal and arrival, in the order that stock gives: revoke
 * before it goes on, let go of memory when the controller is disabled, lend
 * again when it is live.
 */
#include <linux/module.h>

#include "homi.h"
#include "trace.h"

/* Before stock is asked once more for what it was too busy for */
#define HOMI_SCAN_AGAIN_MS	5000

static void homi_scan_work_fn(struct work_struct *work)
{
	if (homi_ctrl_scan())
		queue_delayed_work(homi_wq, to_delayed_work(work),
				   msecs_to_jiffies(HOMI_SCAN_AGAIN_MS));
}

static DECLARE_DELAYED_WORK(homi_scan_work, homi_scan_work_fn);

static void homi_scan_now(void)
{
	mod_delayed_work(homi_wq, &homi_scan_work, 0);
}

/* Stock is about to disable the controller: queues are lost, mappings gone. */
static void homi_reset_begin(struct homi_ctrl *ctrl)
{
	spin_lock(&ctrl->lock);
	if (ctrl->state != HOMI_CTRL_GONE) {
		WRITE_ONCE(ctrl->state, HOMI_CTRL_RESETTING);
		WRITE_ONCE(ctrl->nvme.shut, true);
		ctrl->generation++;
		trace_homi_reset(ctrl, HOMI_PHASE_QUIESCE, ctrl->generation);
		homi_ctrl_news(ctrl);
	}
	spin_unlock(&ctrl->lock);
	homi_queues_lost(ctrl, HOMI_QUEUE_LOST);
	/* What was on its way to stock's admin queue is there: it still runs. */
	down_write(&ctrl->nvme.gate);
	up_write(&ctrl->nvme.gate);
}

static void homi_reset_quiesce(void *nvme_ctrl)
{
	struct homi_ctrl *ctrl = homi_ctrl_find(nvme_ctrl);

	homi_fault_hold();
	if (!ctrl)
		return;
	homi_reset_begin(ctrl);
	homi_ctrl_put(ctrl);
}

/* Between this quiesce and now the controller was disabled. */
static void homi_reset_reenabled(void *nvme_ctrl)
{
	struct homi_ctrl *ctrl = homi_ctrl_find(nvme_ctrl);
	u64 generation;

	if (!ctrl)
		return;
	/*
	 * 6.1 disables a controller in a time-out while it is LIVE, and does not
	 * do it again in the reset: homi may have met it in between.
	 */
	if (READ_ONCE(ctrl->state) == HOMI_CTRL_LIVE)
		homi_reset_begin(ctrl);
	spin_lock(&ctrl->lock);
	generation = ctrl->generation;
	ctrl->enabled_generation = generation;
	if (ctrl->state == HOMI_CTRL_RESETTING)
		trace_homi_reset(ctrl, HOMI_PHASE_REENABLED, generation);
	spin_unlock(&ctrl->lock);
	homi_queues_disabled(ctrl, generation);
	homi_ctrl_put(ctrl);
}

static u32 homi_reset_ask(void *nvme_ctrl, u32 asked)
{
	struct homi_ctrl *ctrl = homi_ctrl_find(nvme_ctrl);

	if (!ctrl)
		return asked;
	asked = homi_reserve_ask(ctrl, asked);
	homi_ctrl_put(ctrl);
	return asked;
}

static u32 homi_reset_share(void *nvme_ctrl, u32 asked, u32 got)
{
	struct homi_ctrl *ctrl = homi_ctrl_find(nvme_ctrl);

	if (!ctrl)
		return min(asked, got);
	got = homi_reserve_share(ctrl, asked, got);
	/* One that could not be attached after all may be let go of just now. */
	if (homi_ctrl_enter_stock(ctrl)) {
		ctrl->ops->tell_shadow(&ctrl->nvme);
		homi_ctrl_leave_stock(ctrl);
	}
	homi_ctrl_put(ctrl);
	return got;
}

/*
 * LIVE, and not enabled since the last quiesce, or since homi met it: it was only
 * paused, and the lost queues are still there.
 */
static void homi_reset_resumed(void *nvme_ctrl)
{
	struct homi_ctrl *ctrl = homi_ctrl_find(nvme_ctrl);
	bool paused;

	if (!ctrl) {
		homi_scan_now();
		return;
	}
	spin_lock(&ctrl->lock);
	paused = ctrl->state == HOMI_CTRL_RESETTING &&
		 (ctrl->enabled_generation != ctrl->generation ||
		  !ctrl->hook_generation);
	if (paused) {
		ctrl->enabled_generation = ctrl->generation;
		ctrl->hook_generation = ctrl->generation;
		homi_ctrl_open_gate(ctrl);
	}
	spin_unlock(&ctrl->lock);
	if (paused)
		homi_ctrl_went_live(ctrl);
	homi_ctrl_put(ctrl);
}

/* May also be a controller that homi has not met yet. */
static void homi_reset_live(void *nvme_ctrl)
{
	struct homi_ctrl *ctrl = homi_ctrl_find(nvme_ctrl);

	homi_scan_now();
	if (!ctrl)
		return;
	spin_lock(&ctrl->lock);
	ctrl->hook_generation = ctrl->enabled_generation;
	homi_ctrl_open_gate(ctrl);
	spin_unlock(&ctrl->lock);
	homi_ctrl_went_live(ctrl);
	homi_ctrl_put(ctrl);
}

/*
 * Stock gave up, after disabling the function: it will not act any more. In a
 * removal it says so before; there the unbind has been seen already.
 */
static void homi_reset_dead(void *nvme_ctrl)
{
	struct homi_ctrl *ctrl = homi_ctrl_find(nvme_ctrl);

	if (!ctrl)
		return;
	if (!homi_ctrl_is_gone(ctrl)) {
		homi_ctrl_dead(ctrl, HOMI_REASON_DEAD);
		homi_queues_disabled(ctrl, U64_MAX);
		homi_ctrl_each_ctx(ctrl, homi_extents_gone, NULL);
	}
	homi_ctrl_put(ctrl);
}

static const struct homi_nvme_events homi_reset_events = {
	.quiesce = homi_reset_quiesce,
	.reenabled = homi_reset_reenabled,
	.ask = homi_reset_ask,
	.share = homi_reset_share,
	.resumed = homi_reset_resumed,
	.live = homi_reset_live,
	.dead = homi_reset_dead,
};

static int homi_bus_notify(struct notifier_block *nb, unsigned long action,
			   void *data)
{
	struct pci_dev *pdev = to_pci_dev(data);

	switch (action) {
	case BUS_NOTIFY_UNBIND_DRIVER:
		homi_ctrl_unbind(pdev);
		break;
	case BUS_NOTIFY_UNBOUND_DRIVER:
		homi_ctrl_unbound(pdev);
		break;
	}
	return NOTIFY_OK;
}

/* Before dma-debug, which looks for leftovers in the same event at 0. */
static struct notifier_block homi_bus_nb = {
	.notifier_call = homi_bus_notify,
	.priority = 10,
};

/* No hook, so no new work; then no controller. */
static void homi_reset_leave(void)
{
	homi_nvme_unhook();
	cancel_delayed_work_sync(&homi_scan_work);
	homi_ctrl_detach_all();
}

/*
 * The notifier first, since by the hooks a controller may be met, on failure too,
 * and stock may go away under one that is attached.
 */
int homi_reset_init(void)
{
	int ret;

	ret = bus_register_notifier(&pci_bus_type, &homi_bus_nb);
	if (ret)
		return ret;
	ret = homi_nvme_hook(&homi_reset_events);
	if (ret) {
		pr_err("homi: the nvme driver's functions can't be hooked (%d): in use by a live patch or a tracer?\n",
		       ret);
		homi_reset_exit();
		return ret;
	}
	homi_scan_now();
	flush_delayed_work(&homi_scan_work);
	return 0;
}

/* The notifier last: see homi_reset_init(). */
void homi_reset_exit(void)
{
	homi_reset_leave();
	bus_unregister_notifier(&pci_bus_type, &homi_bus_nb);
	flush_workqueue(homi_wq);
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/reset_test.c"
#endif
