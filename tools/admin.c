// SPDX-License-Identifier: MIT
/*
 * What an administrator decides: how many queues the nvme driver leaves, and
 * who has to give his back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int open_controller(struct homi_dev *dev, const char *name, struct trouble *t)
{
	int ret = homi_open(dev, name);

	return ret ? diagnose(t, STAGE_OPEN, ret, 0, name) : 0;
}

static int parse_count(const struct options *opt, const char *text, uint32_t *count)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n > 65534)
		return report(opt, EXIT_USAGE, -EINVAL, "", "COUNT: \"%s\" is not from 0 to 65534",
			      text);
	*count = (uint32_t)n;
	return 0;
}

static void reserve_show(const struct options *opt, const char *name, uint64_t generation,
			 const struct homi_reserve *r)
{
	struct json_object *o;

	if (opt->json) {
		o = json_object_new_object();
		add_string(o, "controller", name);
		add_number(o, "queues_reserved", r->out_reserved);
		add_number(o, "queues_granted", r->out_queues_granted);
		add_number(o, "queues_kernel", r->out_queues_kernel);
		add_number(o, "queues_spare", r->out_queues_spare);
		add_bool(o, "reset", r->out_generation != generation);
		print_json(o);
		return;
	}
	printf("%s: %u of %u queues reserved, %u spare; the kernel may take %u%s\n", name,
	       r->out_reserved, r->out_queues_granted, r->out_queues_spare, r->out_queues_kernel,
	       r->out_generation != generation ? " (the controller was reset)" : "");
}

int cmd_reserve(const struct options *opt)
{
	const char *name = opt->operands[0];
	struct homi_reserve answer;
	struct homi_dev dev;
	struct trouble t;
	uint32_t count = 0;
	int ret;

	ret = parse_count(opt, opt->operands[1], &count);
	if (ret)
		return ret;
	if (open_controller(&dev, name, &t))
		return trouble_report(&t, opt);
	ret = homi_reserve(&dev, count, &answer);
	if (!ret)
		reserve_show(opt, name, dev.info.out_generation, &answer);
	homi_close(&dev);
	if (!ret)
		return EXIT_OK;
	diagnose(&t, STAGE_RESERVE, ret, 0, name);
	return trouble_report(&t, opt);
}

/* --- revoke --- */

static void holders_text(const struct homi_holder *holders, const struct homi_holders *answer)
{
	char name[32];
	uint32_t i;

	printf("%-8s %-16s %7s %14s %9s\n", "PID", "COMMAND", "QUEUES", "AT CONTROLLER", "QUEUE IDS");
	for (i = 0; i < answer->count; i++) {
		command_name(holders[i].pid, name, sizeof(name));
		printf("%-8u %-16s %7u %14u %9u\n", holders[i].pid, name, holders[i].queues,
		       holders[i].at_controller, holders[i].qids);
	}
}

static void holders_json(const char *controller, const struct homi_holder *holders,
			 const struct homi_holders *answer)
{
	struct json_object *top = json_object_new_object(), *all = json_object_new_array();
	char name[32];
	uint32_t i;

	for (i = 0; i < answer->count; i++) {
		struct json_object *o = json_object_new_object();

		command_name(holders[i].pid, name, sizeof(name));
		add_number(o, "pid", holders[i].pid);
		add_string(o, "command", name);
		add_number(o, "queues", holders[i].queues);
		add_number(o, "at_controller", holders[i].at_controller);
		add_number(o, "qids", holders[i].qids);
		json_object_array_add(all, o);
	}
	add_string(top, "controller", controller);
	json_object_object_add(top, "holders", all);
	add_number(top, "revoked", answer->out_revoked);
	add_number(top, "busy", answer->out_busy);
	print_json(top);
}

int cmd_revoke(const struct options *opt)
{
	const char *name = opt->operands[0];
	struct homi_holder *holders;
	struct homi_holders answer;
	struct homi_dev dev;
	struct trouble t;
	int ret;

	if (open_controller(&dev, name, &t))
		return trouble_report(&t, opt);
	ret = homi_holders(&dev, opt->dry_run ? 0 : HOMI_HOLDERS_REVOKE, &holders, &answer);
	homi_close(&dev);
	if (ret) {
		diagnose(&t, STAGE_REVOKE, ret, 0, name);
		return trouble_report(&t, opt);
	}
	if (opt->json) {
		holders_json(name, holders, &answer);
	} else {
		holders_text(holders, &answer);
		if (!opt->dry_run)
			printf("%u queues taken back\n", answer.out_revoked);
	}
	free(holders);
	if (!opt->dry_run && answer.out_busy)
		return complain(EXIT_IO, "%s: the controller has not let go of %u queues; it is being reset",
				name, answer.out_busy);
	return EXIT_OK;
}
