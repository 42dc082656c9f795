// SPDX-License-Identifier: GPL-2.0-only
/*
 * Somebody else who wants to redirect a function, as a live patch does: there
 * can be one only (FTRACE_OPS_FL_IPMODIFY). Loading fails if somebody is there.
 */
#include <linux/ftrace.h>
#include <linux/module.h>

static char *symbol = "nvme_start_ctrl";
module_param(symbol, charp, 0444);
MODULE_PARM_DESC(symbol, "the function");

static unsigned long hits;
module_param(hits, ulong, 0444);
MODULE_PARM_DESC(hits, "how often it was called");

static void notrace rival_redirect(unsigned long ip, unsigned long parent_ip,
				   struct ftrace_ops *ops,
				   struct ftrace_regs *fregs)
{
	WRITE_ONCE(hits, hits + 1);
}

static struct ftrace_ops rival_ops = {
	.func = rival_redirect,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY,
};

static int __init rival_init(void)
{
	int ret;

	ret = ftrace_set_filter(&rival_ops, symbol, strlen(symbol), 1);
	if (ret)
		return ret;
	ret = register_ftrace_function(&rival_ops);
	if (ret)
		ftrace_free_filter(&rival_ops);
	return ret;
}

static void __exit rival_exit(void)
{
	unregister_ftrace_function(&rival_ops);
	ftrace_free_filter(&rival_ops);
}

module_init(rival_init);
module_exit(rival_exit);
MODULE_DESCRIPTION("redirects one function, to be in homi's way (test)");
MODULE_LICENSE("GPL");
