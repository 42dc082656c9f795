// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may, and how much: one predicate per door.
 */
#include <linux/capability.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#include "homi.h"

static char *only;
module_param(only, charp, 0444);
MODULE_PARM_DESC(only, "PCI addresses (domain:bus:device.function, comma separated) to attach to; default: all");

static char *except;
module_param(except, charp, 0444);
MODULE_PARM_DESC(except, "PCI addresses never to attach to");

unsigned int homi_delete_ms = 5000;
module_param_named(delete_ms, homi_delete_ms, uint, 0644);
MODULE_PARM_DESC(delete_ms, "how long a queue deletion may take before the controller is reset, milliseconds");

unsigned int homi_recall_ms = 5000;
module_param_named(recall_ms, homi_recall_ms, uint, 0644);
MODULE_PARM_DESC(recall_ms, "how long a holder of file extents may hold up others before its queues are deleted, milliseconds");

/**
 * homi_may_queue - may the caller make a raw queue?
 *
 * A raw queue is equivalent to root: see Documentation/safety.md.
 */
bool homi_may_queue(void)
{
	return capable(CAP_SYS_RAWIO);
}

/**
 * homi_may_administer - may the caller take queues from the stock driver, or
 *	from other holders?
 */
bool homi_may_administer(void)
{
	return capable(CAP_SYS_ADMIN);
}

static bool homi_listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	while (list && *list) {
		if (!strncasecmp(list, name, len) &&
		    (!list[len] || list[len] == ','))
			return true;
		list = strchr(list, ',');
		if (list)
			list++;
	}
	return false;
}

/**
 * homi_may_attach - do the parameters only= and except= allow this function?
 * @pdev: an NVMe function
 */
bool homi_may_attach(struct pci_dev *pdev)
{
	const char *name = pci_name(pdev);

	if (only && *only && !homi_listed(only, name))
		return false;
	return !homi_listed(except, name);
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/policy_test.c"
#endif
