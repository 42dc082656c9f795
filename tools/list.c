// SPDX-License-Identifier: MIT
#include <endian.h>
#include <errno.h>
#include <libnvme.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "cli.h"

static const char *state_text(uint32_t state)
{
	static const char *const text[] = {
		[HOMI_CTRL_LIVE] = "live",
		[HOMI_CTRL_RESETTING] = "resetting",
		[HOMI_CTRL_GONE] = "gone",
	};

	return state < sizeof(text) / sizeof(text[0]) && text[state] ? text[state] : "unknown";
}

static const char *iommu_text(uint32_t iommu)
{
	static const char *const text[] = {
		[HOMI_IOMMU_NONE] = "none",
		[HOMI_IOMMU_PASSTHROUGH] = "passthrough",
		[HOMI_IOMMU_TRANSLATING] = "translating",
	};

	return iommu < sizeof(text) / sizeof(text[0]) ? text[iommu] : "unknown";
}

static struct json_object *controller_json(const struct controller *c)
{
	struct json_object *o = json_object_new_object();

	add_string(o, "name", c->name);
	add_string(o, "address", c->address);
	add_string(o, "transport", c->transport);
	add_string(o, "model", c->model);
	add_string(o, "serial", c->serial);
	add_string(o, "firmware", c->firmware);
	add_string(o, "state", c->state);
	add_string(o, "subsystem", c->subsystem);
	add_number(o, "namespaces", c->namespaces);
	return o;
}

static struct json_object *homi_json(const struct homi_ctrl_info *info)
{
	struct json_object *o = json_object_new_object();

	add_string(o, "state", state_text(info->out_state));
	add_number(o, "generation", info->out_generation);
	add_number(o, "queues_granted", info->out_queues_granted);
	add_number(o, "queues_kernel", info->out_queues_kernel);
	add_number(o, "queues_lent", info->out_queues_lent);
	add_number(o, "queues_spare", info->out_queues_spare);
	add_number(o, "queues_reserved", info->out_queues_reserved);
	add_number(o, "max_depth", info->out_max_depth);
	add_number(o, "doorbell_stride", info->out_doorbell_stride);
	add_number(o, "page_size", info->out_page_size);
	add_number(o, "max_transfer", info->out_max_transfer);
	add_string(o, "iommu", iommu_text(info->out_iommu));
	add_bool(o, "shadow_doorbells", info->out_features & HOMI_CTRL_SHADOW_DOORBELLS);
	add_bool(o, "virtual_function", info->out_features & HOMI_CTRL_VIRTUAL_FUNCTION);
	add_number(o, "reason", info->out_reason);
	add_string(o, "reason_text", info->out_reason ? homi_strreason(info->out_reason) : NULL);
	return o;
}

/* What homi says of a controller, in one column. */
static void one_line(const struct controller *c, char *buf, size_t len)
{
	struct homi_dev dev;
	int ret;

	ret = homi_open(&dev, c->name);
	if (ret) {
		snprintf(buf, len, "%s", ret == -ENOENT ? "not attached" : strerror(-ret));
		return;
	}
	if (dev.info.out_queues_spare)
		snprintf(buf, len, "%u of %u queues spare", dev.info.out_queues_spare,
			 dev.info.out_queues_granted);
	else
		snprintf(buf, len, "%s", homi_strreason(dev.info.out_reason));
	homi_close(&dev);
}

static void list_json(const struct controller *list, unsigned int count)
{
	struct json_object *top = json_object_new_object(), *all = json_object_new_array();
	struct json_object *o;
	struct homi_dev dev;
	struct trouble t;
	unsigned int i;
	int ret;

	for (i = 0; i < count; i++) {
		o = controller_json(&list[i]);
		ret = homi_open(&dev, list[i].name);
		if (ret) {
			add_string(o, "homi", NULL);
			if (ret != -ENOENT) {
				diagnose(&t, STAGE_OPEN, ret, 0, list[i].name);
				json_object_object_add(o, "error", trouble_json(&t));
			}
		} else {
			json_object_object_add(o, "homi", homi_json(&dev.info));
			homi_close(&dev);
		}
		json_object_object_add(o, "quota", quota_json(list[i].name));
		json_object_array_add(all, o);
	}
	json_object_object_add(top, "controllers", all);
	print_json(top);
}

static int no_list(const struct options *opt, int err)
{
	return report(opt, EXIT_IO, err, "", "the list of controllers can't be read: %s",
		      strerror(-err));
}

int cmd_list(const struct options *opt)
{
	struct controller *list;
	unsigned int i, count;
	char text[128];
	int ret;

	ret = find_controllers(&list, &count);
	if (ret)
		return no_list(opt, ret);
	if (opt->json) {
		list_json(list, count);
	} else {
		printf("%-8s %-13s %-24s %-3s %-10s %s\n", "NAME", "ADDRESS", "MODEL", "NS",
		       "STATE", "HOMI");
		for (i = 0; i < count; i++) {
			one_line(&list[i], text, sizeof(text));
			printf("%-8s %-13s %-24s %-3u %-10s %s\n", list[i].name,
			       list[i].address, list[i].model, list[i].namespaces,
			       list[i].state, text);
		}
		show_quotas(list, count);
	}
	free(list);
	return EXIT_OK;
}

/* --- info --- */

static void ns_text(const struct homi_ns_info *ns)
{
	char size[32];

	printf("namespace %-5u %s, %llu blocks of %u bytes", ns->out_nsid,
	       size_text(ns->out_blocks * ns->out_block_size, size, sizeof(size)),
	       (unsigned long long)ns->out_blocks, ns->out_block_size);
	if (ns->out_metadata_size)
		printf(" and %u bytes metadata", ns->out_metadata_size);
	printf(", device %u:%u%s%s%s\n", ns->out_major, ns->out_minor,
	       ns->out_features & HOMI_NS_READ_ONLY ? ", read only" : "",
	       ns->out_features & HOMI_NS_ZONED ? ", zoned" : "",
	       ns->out_features & HOMI_NS_MULTIPATH ? ", multipath" : "");
}

static struct json_object *ns_json(const struct homi_ns_info *ns)
{
	struct json_object *o = json_object_new_object();

	add_number(o, "nsid", ns->out_nsid);
	add_number(o, "blocks", ns->out_blocks);
	add_number(o, "block_size", ns->out_block_size);
	add_number(o, "metadata_size", ns->out_metadata_size);
	add_number(o, "major", ns->out_major);
	add_number(o, "minor", ns->out_minor);
	add_bool(o, "read_only", ns->out_features & HOMI_NS_READ_ONLY);
	add_bool(o, "zoned", ns->out_features & HOMI_NS_ZONED);
	add_bool(o, "multipath", ns->out_features & HOMI_NS_MULTIPATH);
	return o;
}

/* Calls one of both for each namespace; a negative errno if the list broke off. */
static int each_namespace(const struct homi_dev *dev, struct json_object *array)
{
	struct homi_ns_info ns;
	uint32_t nsid;
	int ret = 0;

	for (nsid = 1; nsid; nsid = ns.out_nsid + 1) {
		ret = homi_get_ns_info(dev, nsid, HOMI_NS_NEXT, &ns);
		if (ret)
			break;
		if (array)
			json_object_array_add(array, ns_json(&ns));
		else
			ns_text(&ns);
	}
	return ret == -ENOENT ? 0 : ret;
}

static void homi_text(const struct homi_ctrl_info *i)
{
	char size[32];

	printf("state           %s, generation %llu\n", state_text(i->out_state),
	       (unsigned long long)i->out_generation);
	printf("queue pairs     %u granted: the kernel may take %u, %u lent, %u spare\n",
	       i->out_queues_granted, i->out_queues_kernel, i->out_queues_lent,
	       i->out_queues_spare);
	if (i->out_reason)
		printf("no spare        %s\n", homi_strreason(i->out_reason));
	printf("queue depth     at most %u\n", i->out_max_depth);
	printf("doorbells       %u bytes apart%s\n", i->out_doorbell_stride,
	       i->out_features & HOMI_CTRL_SHADOW_DOORBELLS ? ", shadow doorbells on" : "");
	printf("page size       %u\n", i->out_page_size);
	printf("transfer        %s\n", i->out_max_transfer ?
	       size_text(i->out_max_transfer, size, sizeof(size)) : "any length");
	printf("IOMMU           %s\n", iommu_text(i->out_iommu));
	if (i->out_features & HOMI_CTRL_VIRTUAL_FUNCTION)
		printf("function        virtual\n");
}

/* What Identify tells besides; needs root, and is left out if it fails. */
static void identify(const char *name, struct json_object *o)
{
	nvme_root_t root = nvme_create_root(NULL, LOG_CRIT);
	struct nvme_id_ctrl id;
	nvme_ctrl_t ctrl;

	if (!root)
		return;
	ctrl = nvme_scan_ctrl(root, name);
	if (ctrl && !nvme_ctrl_identify(ctrl, &id)) {
		unsigned int cntlid = le16toh(id.cntlid), vid = le16toh(id.vid);
		uint32_t ver = le32toh(id.ver);

		if (o) {
			add_number(o, "cntlid", cntlid);
			add_number(o, "vendor_id", vid);
			add_number(o, "nvme_version", ver);
		} else {
			printf("identify        NVMe %u.%u.%u, vendor %#06x, controller id %u\n",
			       ver >> 16, ver >> 8 & 0xff, ver & 0xff, vid, cntlid);
		}
	}
	nvme_free_tree(root);
}

static int info_one(const struct controller *c, const struct options *opt,
		    struct json_object *all)
{
	struct json_object *o = NULL, *array = NULL;
	struct homi_dev dev;
	struct trouble t;
	int ret;

	if (opt->json) {
		o = controller_json(c);
		json_object_array_add(all, o);
	} else {
		printf("controller      %s, %s %s\nmodel           %s, serial %s, firmware %s\n",
		       c->name, c->transport, c->address, c->model, c->serial, c->firmware);
	}
	identify(c->name, o);
	ret = homi_open(&dev, c->name);
	if (ret) {
		diagnose(&t, STAGE_OPEN, ret, 0, c->name);
		trouble_print(&t);
		if (o)
			json_object_object_add(o, "error", trouble_json(&t));
		return t.exit;
	}
	if (opt->json) {
		array = json_object_new_array();
		json_object_object_add(o, "homi", homi_json(&dev.info));
		json_object_object_add(o, "namespace_list", array);
	} else {
		homi_text(&dev.info);
	}
	ret = each_namespace(&dev, array);
	homi_close(&dev);
	if (!ret)
		return EXIT_OK;
	trouble_set(&t, EXIT_IO, ret, "", "%s: namespaces: %s", c->name, strerror(-ret));
	trouble_print(&t);
	if (o)
		json_object_object_add(o, "error", trouble_json(&t));
	return t.exit;
}

int cmd_info(const struct options *opt)
{
	struct json_object *top = json_object_new_object(), *all = json_object_new_array();
	const char *want = opt->count ? opt->operands[0] : NULL;
	unsigned int i, count = 0, shown = 0;
	struct controller *list = NULL;
	int ret, one, code = EXIT_OK;

	json_object_object_add(top, "controllers", all);
	ret = find_controllers(&list, &count);
	if (want && strrchr(want, '/'))
		want = strrchr(want, '/') + 1;
	for (i = 0; i < count; i++) {
		if (want && strcmp(want, list[i].name))
			continue;
		if (shown++ && !opt->json)
			putchar('\n');
		one = info_one(&list[i], opt, all);
		code = code ? code : one;
	}
	free(list);
	if (opt->json && shown && !ret)
		print_json(top);
	else
		json_object_put(top);
	if (ret)
		return no_list(opt, ret);
	if (!shown && want)
		return report(opt, EXIT_REFUSED, -ENOENT,
			      "see \"homi list\" for the controllers there are",
			      "%s: there is no such NVMe controller", want);
	if (!shown)
		return report(opt, EXIT_REFUSED, -ENOENT, "", "there is no NVMe controller");
	return code;
}
