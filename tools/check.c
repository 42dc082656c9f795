// SPDX-License-Identifier: MIT
/*
 * Can this machine run homi? A table of questions, each of which answers with
 * OK, WARN (it works, but) or NO. Add a row to ask more.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/capability.h>

#include <homi/uring.h>

#include "check.h"

struct question {
	const char *name;
	void (*ask)(struct answer *a);
};

/* A controller's questions get it here; the kernel's and the caller's need none. */
struct controller_question {
	const char *name;
	void (*ask)(struct answer *a, const struct controller *c, const struct homi_dev *dev,
		    int err);
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

void answer_set(struct answer *a, enum verdict verdict, const char *advice, const char *format, ...)
{
	va_list args;

	a->verdict = verdict;
	va_start(args, format);
	vsnprintf(a->text, sizeof(a->text), format, args);
	va_end(args);
	snprintf(a->advice, sizeof(a->advice), "%s", advice);
}

bool exists(const char *path)
{
	return !access(path, F_OK);
}

bool in_modules(const char *list, const char *what, char *line, size_t len)
{
	char path[512];
	struct utsname u;
	bool found = false;
	FILE *f;

	uname(&u);
	snprintf(path, sizeof(path), "/lib/modules/%s/%s", u.release, list);
	f = fopen(path, "re");
	while (f && !found && fgets(line, (int)len, f)) {
		line[strcspn(line, ":\n")] = '\0';
		found = strstr(line, what);
	}
	if (f)
		fclose(f);
	return found;
}

bool loaded(void)
{
	return exists("/sys/module/homi");
}

/* --- the kernel --- */

static void ask_kernel(struct answer *a)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	uname(&u);
	sscanf(u.release, "%u.%u", &major, &minor);
	if (strcmp(u.machine, "x86_64"))
		answer_set(a, NO, "use an x86-64 machine", "%s on %s: not built for that", u.release,
			   u.machine);
	else if (major < 6 || (major == 6 && !minor))
		answer_set(a, NO, "use Linux 6.1 or later", "%s is too old", u.release);
	else
		answer_set(a, OK, "", "%s", u.release);
}

static void ask_module(struct answer *a)
{
	char version[64] = "", line[4096];

	read_line("/sys/module/homi/version", version, sizeof(version));
	if (loaded() && strcmp(version, HOMI_VERSION))
		answer_set(a, WARN, "install both from the same sources; then, once nobody uses homi: modprobe -r homi && modprobe homi",
			   "loaded %s, but this command is %s", version[0] ? version : "without a version",
			   HOMI_VERSION);
	else if (loaded())
		answer_set(a, OK, "", "loaded %s, as this command is", version);
	else if (in_modules("modules.dep", "/homi.ko", line, sizeof(line)))
		answer_set(a, NO, "modprobe homi", "installed for this kernel, not loaded");
	else
		answer_set(a, NO, "make dkms-install && modprobe homi; or: make modules K=$(uname -r) && insmod build/$(uname -r)/homi.ko",
			   "not installed for this kernel");
}

static void ask_btf(struct answer *a)
{
	char line[4096];

	if (!exists("/sys/kernel/btf/vmlinux"))
		answer_set(a, NO, "use a kernel with CONFIG_DEBUG_INFO_BTF=y, as all of Debian's are",
			   "this kernel has no type information (BTF)");
	else if (in_modules("modules.builtin", "/nvme.ko", line, sizeof(line)))
		answer_set(a, OK, "", "vmlinux, which has nvme built in");
	else if (exists("/sys/kernel/btf/nvme") && exists("/sys/kernel/btf/nvme_core"))
		answer_set(a, OK, "", "vmlinux, nvme, nvme_core");
	else if (!exists("/sys/module/nvme"))
		answer_set(a, NO, "modprobe nvme", "the nvme driver is not loaded");
	else
		answer_set(a, NO, "use a kernel with CONFIG_DEBUG_INFO_BTF_MODULES=y",
			   "the nvme modules have no BTF");
}

static struct symbol {
	const char *name;
	bool found;
} symbols[] = {
	{ .name = "ftrace_set_filter_ip" },
	{ .name = "register_kprobe" },
	{ .name = "dma_buf_dynamic_attach" },
	{ .name = "pci_p2pdma_distance_many" },
};

/* All of them by one reading. Root or not, the names are there; only the addresses may be hidden. */
static void find_symbols(void)
{
	char line[512], name[256];
	FILE *f = fopen("/proc/kallsyms", "re");
	size_t i;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %*s %255s", name) != 1)
			continue;
		for (i = 0; i < COUNT(symbols); i++)
			symbols[i].found |= !strcmp(name, symbols[i].name);
	}
	if (f)
		fclose(f);
}

static bool has_symbol(const char *want)
{
	static bool asked;
	size_t i;

	if (!asked)
		find_symbols();
	asked = true;
	for (i = 0; i < COUNT(symbols); i++)
		if (!strcmp(symbols[i].name, want))
			return symbols[i].found;
	return false;
}

static void ask_ftrace(struct answer *a)
{
	char line[16];

	if (!has_symbol("ftrace_set_filter_ip"))
		answer_set(a, NO, "use a kernel with CONFIG_DYNAMIC_FTRACE_WITH_REGS or _WITH_ARGS",
			   "this kernel has no dynamic ftrace");
	else if (read_line("/proc/sys/kernel/ftrace_enabled", line, sizeof(line)) &&
		 !strcmp(line, "0"))
		answer_set(a, NO, "sysctl kernel.ftrace_enabled=1, then load homi again",
			   "switched off");
	else
		answer_set(a, OK, "", "on");
}

static void ask_kprobes(struct answer *a)
{
	char line[16];

	if (!has_symbol("register_kprobe"))
		answer_set(a, NO, "use a kernel with CONFIG_KPROBES=y", "this kernel has no kprobes");
	else if (read_line("/sys/kernel/debug/kprobes/enabled", line, sizeof(line)) &&
		 !strcmp(line, "0"))
		answer_set(a, NO, "echo 1 >/sys/kernel/debug/kprobes/enabled", "switched off");
	else
		answer_set(a, OK, "", "on");
}

static void ask_leases(struct answer *a)
{
	char line[16];

	if (read_line("/proc/sys/fs/leases-enable", line, sizeof(line)) && !strcmp(line, "0"))
		answer_set(a, NO, "sysctl fs.leases-enable=1", "off: no file can be resolved");
	else
		answer_set(a, OK, "", "on");
}

/* It is asked once. */
static int probe_io_uring(void)
{
	static int ret;
	static bool asked;

	if (!asked)
		ret = homi_uring_probe();
	asked = true;
	return ret;
}

/* READ and WRITE by io_uring need neither a queue nor the right to have one. */
static bool has_io_uring(void)
{
	return probe_io_uring() >= 0;
}

/* No raw queue, for the reason that is given: a NO only if nothing is left then. */
__attribute__((format(printf, 3, 4)))
static void answer_no_queue(struct answer *a, const char *advice, const char *format, ...)
{
	char why[160];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	answer_set(a, has_io_uring() ? WARN : NO, advice,
		   "%s (raw queues: no; READ and WRITE by io_uring: %s)", why,
		   has_io_uring() ? "yes" : "no");
}

/* Never a NO: raw queues do without. */
static void ask_io_uring(struct answer *a)
{
	static const char use[] = "use raw queues, or \"homi read\", which has one";
	int ret = probe_io_uring();

	if (ret == HOMI_URING_DMABUF_YES)
		answer_set(a, OK, "", "dma-bufs: files by homi, raw block devices by the kernel's own registration");
	else if (ret == HOMI_URING_DMABUF_OFF)
		answer_set(a, OK, "", "dma-bufs by homi; this kernel was built without its own registration");
	else if (ret == HOMI_URING_DMABUF_NONE)
		answer_set(a, OK, "", "dma-bufs by homi; this kernel has no registration of its own");
	else if (ret == -ENOSYS)
		answer_set(a, WARN, use, "this kernel has none: no READ and WRITE");
	else if (ret == -EPERM)
		answer_set(a, WARN, "sysctl kernel.io_uring_disabled=0, or =1 and be in kernel.io_uring_group",
			   "not for you: no READ and WRITE");
	else
		answer_set(a, WARN, use, "not known: %s", strerror(-ret));
}

/* Memory of devices: by whom it is exported is another question, and the matrix below tells the ways. */
static void ask_p2p(struct answer *a)
{
	if (!has_symbol("dma_buf_dynamic_attach"))
		answer_set(a, NO, "use a kernel with CONFIG_DMA_SHARED_BUFFER=y, as all of Debian's are",
			   "this kernel has no dma-bufs: homi is not built for it");
	else if (!has_symbol("pci_p2pdma_distance_many"))
		answer_set(a, WARN, "use a kernel with CONFIG_PCI_P2PDMA=y if memory of devices is wanted",
			   "no CONFIG_PCI_P2PDMA: GPU drivers may export memory of the host only");
	else
		answer_set(a, OK, "", "dma-bufs, and PCI_P2PDMA");
}

/* --- the caller --- */

static bool capable(unsigned int cap)
{
	unsigned long long set = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &set) == 1)
			break;
	if (f)
		fclose(f);
	return set >> cap & 1;
}

static void ask_rawio(struct answer *a)
{
	if (capable(CAP_SYS_RAWIO))
		answer_set(a, OK, "", "have it");
	else
		answer_no_queue(a, "for raw queues run as root, or be handed a descriptor with queues by who is",
				"lacking");
}

static void ask_lease_right(struct answer *a)
{
	if (capable(CAP_LEASE))
		answer_set(a, OK, "", "have it");
	else
		answer_set(a, WARN, "run as root for files of others", "lacking: your own files only");
}

static void ask_memlock(struct answer *a)
{
	struct homi_pump_config typical = { .page_size = 4096 };
	uint64_t need = homi_pump_memory(&typical);
	struct rlimit limit;
	char have[32], want[32];

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (capable(CAP_IPC_LOCK)) {
		answer_set(a, OK, "", "does not count: CAP_IPC_LOCK");
		return;
	}
	size_text(limit.rlim_cur, have, sizeof(have));
	size_text(need, want, sizeof(want));
	if (limit.rlim_cur == RLIM_INFINITY)
		answer_set(a, OK, "", "unlimited");
	else if (limit.rlim_cur >= need)
		answer_set(a, OK, "", "%s", have);
	else
		answer_set(a, WARN, "raise \"ulimit -l\", or use less with --depth and --bs",
			   "%s, but \"homi read\" wants %s", have, want);
}

/* --- one controller --- */

static const char unknown[] = "the line \"device\" says what to do";

static void ask_device(struct answer *a, const struct controller *c, const struct homi_dev *dev,
		       int err)
{
	struct trouble t;

	(void)dev;
	if (!err) {
		answer_set(a, OK, "", "/dev/homi/%s can be opened", c->name);
		return;
	}
	diagnose(&t, STAGE_OPEN, err, 0, c->name);
	if (err == -ENOENT && loaded())
		answer_set(a, NO, "see \"dmesg\" and the module's parameters only= and except=",
			   "homi is loaded, but not attached to it");
	else
		answer_set(a, NO, t.advice, "%s", t.text + strlen(c->name) + 2);
}

static void ask_transport(struct answer *a, const struct controller *c,
			  const struct homi_dev *dev, int err)
{
	(void)dev;
	(void)err;
	if (strcmp(c->transport, "pcie"))
		answer_set(a, NO, "homi works on PCIe controllers only", "%s", c->transport);
	else
		answer_set(a, OK, "", "PCIe %s, %s", c->address, c->state);
}

static void ask_queues(struct answer *a, const struct controller *c, const struct homi_dev *dev,
		       int err)
{
	const struct homi_ctrl_info *i = &dev->info;
	char advice[sizeof(a->advice)];

	(void)c;
	if (err)
		answer_set(a, WARN, unknown, "not known");
	else if (i->out_state != HOMI_CTRL_LIVE)
		answer_set(a, NO, "try again when it is live", "the controller is %s",
			   i->out_state == HOMI_CTRL_GONE ? "gone" : "resetting");
	else if (i->out_queues_spare)
		answer_set(a, OK, "", "%u spare of %u granted; the kernel may take %u, %u lent",
			   i->out_queues_spare, i->out_queues_granted, i->out_queues_kernel,
			   i->out_queues_lent);
	else if (i->out_reason == HOMI_REASON_NO_SPARE)
		answer_no_queue(a, no_spare_advice(i, advice, sizeof(advice)),
				"none spare of %u granted; the kernel may take %u, %u lent",
				i->out_queues_granted, i->out_queues_kernel, i->out_queues_lent);
	else
		answer_no_queue(a, "\"dmesg\" may tell more", "%s", homi_strreason(i->out_reason));
}

static void ask_doorbells(struct answer *a, const struct controller *c,
			  const struct homi_dev *dev, int err)
{
	(void)c;
	if (err)
		answer_set(a, WARN, unknown, "not known");
	else
		answer_set(a, OK, "", "%u bytes apart: %u queues share a page%s",
			   dev->info.out_doorbell_stride,
			   (unsigned int)sysconf(_SC_PAGESIZE) / 2 / dev->info.out_doorbell_stride,
			   dev->info.out_features & HOMI_CTRL_SHADOW_DOORBELLS ?
			   "; shadow doorbells on" : "");
}

/* What the kernel says of the group, where homi can't be asked. */
static uint32_t iommu_by_sysfs(const char *name)
{
	char path[256], type[32];

	snprintf(path, sizeof(path), "/sys/class/nvme/%s/device/iommu_group/type", name);
	if (!read_line(path, type, sizeof(type)))
		return HOMI_IOMMU_NONE;
	return strcmp(type, "identity") ? HOMI_IOMMU_TRANSLATING : HOMI_IOMMU_PASSTHROUGH;
}

static void ask_iommu(struct answer *a, const struct controller *c, const struct homi_dev *dev,
		      int err)
{
	uint32_t iommu = err ? iommu_by_sysfs(c->name) : dev->info.out_iommu;

	if (iommu == HOMI_IOMMU_TRANSLATING)
		answer_set(a, OK, "", "translating");
	else
		answer_set(a, WARN, "it works; switch the IOMMU on if wrong addresses shall be caught",
			   "%s: a queue's commands can reach all memory",
			   iommu == HOMI_IOMMU_NONE ? "none" : "passthrough");
}

/* --- the tables --- */

static const struct question questions[] = {
	{ "kernel", ask_kernel },
	{ "module", ask_module },
	{ "btf", ask_btf },
	{ "ftrace", ask_ftrace },
	{ "kprobes", ask_kprobes },
	{ "secure boot", ask_secure_boot },
	{ "lockdown", ask_lockdown },
	{ "signatures", ask_signatures },
	{ "fs.leases-enable", ask_leases },
	{ "io_uring", ask_io_uring },
	{ "dma-bufs", ask_p2p },
	{ "CAP_SYS_RAWIO", ask_rawio },
	{ "CAP_LEASE", ask_lease_right },
	{ "RLIMIT_MEMLOCK", ask_memlock },
};

static const struct controller_question controller_questions[] = {
	{ "transport", ask_transport },
	{ "device", ask_device },
	{ "node", ask_node },
	{ "queues", ask_queues },
	{ "doorbells", ask_doorbells },
	{ "iommu", ask_iommu },
};

static const char *const verdict_text[] = { [OK] = "OK", [WARN] = "WARN", [NO] = "NO" };

static void show(const struct answer *a, const char *subject, const char *name,
		 struct json_object *all)
{
	struct json_object *o;
	char label[128];

	if (!all) {
		snprintf(label, sizeof(label), "%s%s%s", subject ? subject : "",
			 subject ? " " : "", name);
		printf("%-4s  %-18s %s\n", verdict_text[a->verdict], label, a->text);
		if (a->advice[0])
			printf("%24s -> %s\n", "", a->advice);
		return;
	}
	o = json_object_new_object();
	add_string(o, "check", name);
	add_string(o, "controller", subject);
	add_string(o, "verdict", verdict_text[a->verdict]);
	add_string(o, "text", a->text);
	add_string(o, "advice", a->advice[0] ? a->advice : NULL);
	json_object_array_add(all, o);
}

/* How many controllers can be used, and how many of these lend a raw queue */
struct usable {
	unsigned int count, raw;
};

static void check_controller(const struct controller *c, struct usable *usable,
			     struct json_object *all)
{
	struct homi_dev dev = { .fd = -1 };
	int err = homi_open(&dev, c->name);
	struct answer a;
	bool good = true;
	size_t i;

	for (i = 0; i < COUNT(controller_questions); i++) {
		controller_questions[i].ask(&a, c, &dev, err);
		show(&a, c->name, controller_questions[i].name, all);
		good &= a.verdict != NO;
	}
	usable->count += good;
	usable->raw += good && !err && dev.info.out_queues_spare && capable(CAP_SYS_RAWIO);
	homi_close(&dev);
}

static void check_controllers(const struct controller *list, unsigned int count,
			      struct usable *usable, struct json_object *all)
{
	struct answer a;
	unsigned int i;

	if (!count) {
		answer_set(&a, NO, "modprobe nvme, or plug one in", "this machine has no NVMe controller");
		show(&a, NULL, "controllers", all);
	}
	for (i = 0; i < count; i++)
		check_controller(&list[i], usable, all);
}

/* Last, and for what; without io_uring no controller is usable that lends no queue. */
static void show_verdict(const struct usable *usable)
{
	const char *s = usable->count == 1 ? "" : "s";

	if (!usable->raw)
		printf("\nhomi can be used, on %u controller%s, for READ and WRITE by io_uring, but not for raw queues, which \"homi read\", \"write\" and \"verify\" have; the WARNs say why.\n",
		       usable->count, s);
	else if (!has_io_uring())
		printf("\nhomi can be used, on %u controller%s, for raw queues, but not for READ and WRITE by io_uring; the WARNs say why.\n",
		       usable->count, s);
	else if (usable->raw < usable->count)
		printf("\nhomi can be used, on %u controllers, for raw queues on %u of these.\n",
		       usable->count, usable->raw);
	else
		printf("\nhomi can be used, on %u controller%s.\n", usable->count, s);
}

/* Yes if nothing but single controllers stands against it, and one of these can be used. */
int cmd_check(const struct options *opt)
{
	struct json_object *top = NULL, *all = NULL;
	struct usable usable = { 0 };
	struct controller *list;
	unsigned int count;
	struct answer a;
	bool good = true;
	size_t i;

	if (opt->json) {
		top = json_object_new_object();
		all = json_object_new_array();
	}
	for (i = 0; i < COUNT(questions); i++) {
		questions[i].ask(&a);
		show(&a, NULL, questions[i].name, all);
		good &= a.verdict != NO;
	}
	if (find_controllers(&list, &count))
		count = 0;
	check_controllers(list, count, &usable, all);
	good &= usable.count > 0;
	if (opt->json)
		json_object_object_add(top, "checks", all);
	show_peers(list, count, top);
	free(list);
	if (opt->json) {
		add_number(top, "usable_controllers", usable.count);
		add_number(top, "raw_queue_controllers", usable.raw);
		add_bool(top, "io_uring", has_io_uring());
		add_bool(top, "usable", good);
		print_json(top);
	} else if (good) {
		show_verdict(&usable);
	} else {
		printf("\nhomi can't be used now; each NO says what to do.\n");
	}
	return good ? EXIT_OK : EXIT_DIFFERS;
}
