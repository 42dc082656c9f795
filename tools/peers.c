// SPDX-License-Identifier: MIT
/*
 * Devices whose memory a controller could read and write, and what lies between
 * them: the matrix of "homi check". All of it is in sysfs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define PCI		"/sys/bus/pci/devices"
#define MEMORY_BAR	0x200u		/* IORESOURCE_MEM */
#define SMALL_BAR	(1u << 20)	/* registers, not memory */

/* Extended capabilities: PCI Express Base Specification 6.0, sections 7.6.3 and 7.7.11 */
#define EXT_CAPS	0x100u
#define CONFIG_SIZE	0x1000u
#define CAP_ACS		0x000du
#define ACS_CONTROL	6u
#define ACS_REDIRECT	0x04u		/* P2P Request Redirect Enable */

#define PORTS_MAX	32u

/**
 * struct peer - a device with memory in a BAR
 * @address: PCI
 * @kind: what it is, by its class
 * @id: vendor and device
 * @driver: or ""
 * @bar: the largest one
 * @bar_size: of it, bytes
 */
struct peer {
	char address[NAME_LEN];
	const char *kind;
	char id[16];
	char driver[NAME_LEN];
	unsigned int bar;
	uint64_t bar_size;
};

/* From a controller to a peer; see enum homi_path */
struct way {
	uint32_t path;
	unsigned int distance;		/* ports on the way, as homi_mem_info.out_distance */
	int redirected;			/* ACS sends it up to the root complex; -1: not known */
};

/* --- devices --- */

static unsigned long number_of(const char *address, const char *attribute)
{
	char path[PATH_MAX], line[64];

	snprintf(path, sizeof(path), PCI "/%s/%s", address, attribute);
	return read_line(path, line, sizeof(line)) ? strtoul(line, NULL, 16) : 0;
}

static const char *kind_of(unsigned long class)
{
	switch (class >> 16) {
	case 0x03:
		return "GPU";
	case 0x05:
		return "memory";
	case 0x12:
		return "accelerator";
	}
	return NULL;
}

static void find_bar(struct peer *peer)
{
	unsigned long long start, end, flags;
	char path[PATH_MAX], line[128];
	unsigned int i;
	FILE *f;

	snprintf(path, sizeof(path), PCI "/%s/resource", peer->address);
	f = fopen(path, "re");
	for (i = 0; f && i < 6 && fgets(line, sizeof(line), f); i++) {
		if (sscanf(line, "%llx %llx %llx", &start, &end, &flags) != 3 ||
		    !(flags & MEMORY_BAR) || !end || end - start < peer->bar_size)
			continue;
		peer->bar = i;
		peer->bar_size = end - start + 1;
	}
	if (f)
		fclose(f);
}

static bool describe(struct peer *peer, const char *address)
{
	char path[PATH_MAX], link[PATH_MAX];
	ssize_t n;

	memset(peer, 0, sizeof(*peer));
	snprintf(peer->address, sizeof(peer->address), "%s", address);
	peer->kind = kind_of(number_of(address, "class"));
	if (!peer->kind)
		return false;
	find_bar(peer);
	if (peer->bar_size < SMALL_BAR)
		return false;
	snprintf(peer->id, sizeof(peer->id), "%04lx:%04lx", number_of(address, "vendor"),
		 number_of(address, "device"));
	snprintf(path, sizeof(path), PCI "/%s/driver", address);
	n = readlink(path, link, sizeof(link) - 1);
	if (n > 0) {
		link[n] = '\0';
		snprintf(peer->driver, sizeof(peer->driver), "%.63s", strrchr(link, '/') + 1);
	}
	return true;
}

static int by_address(const void *a, const void *b)
{
	return strcmp(((const struct peer *)a)->address, ((const struct peer *)b)->address);
}

/* The caller frees @list. Negative errno. */
static int find_peers(struct peer **list, unsigned int *count)
{
	DIR *dir = opendir(PCI);
	struct dirent *e;
	int ret = 0;

	*list = NULL;
	*count = 0;
	while (dir && !ret && (e = readdir(dir))) {
		struct peer one, *more;

		if (e->d_name[0] == '.' || !describe(&one, e->d_name))
			continue;
		more = realloc(*list, (*count + 1) * sizeof(**list));
		if (!more) {
			ret = -ENOMEM;
			break;
		}
		*list = more;
		more[(*count)++] = one;
	}
	if (dir)
		closedir(dir);
	if (*count)
		qsort(*list, *count, sizeof(**list), by_address);
	return ret;
}

/* --- what lies between them --- */

/**
 * struct chain - a device and the ports above it
 * @path: its directory in sysfs, cut at each slash
 * @nodes: from below the host bridge on to the device itself
 * @count: how many
 */
struct chain {
	char path[PATH_MAX];
	const char *nodes[PORTS_MAX];
	unsigned int count;
};

static bool chain_of(struct chain *chain, const char *address)
{
	char link[PATH_MAX], *part, *rest;
	unsigned int domain, bus, device, function;

	chain->count = 0;
	snprintf(link, sizeof(link), PCI "/%s", address);
	if (!realpath(link, chain->path))
		return false;
	for (part = strtok_r(chain->path, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
		if (sscanf(part, "%x:%x:%x.%x", &domain, &bus, &device, &function) != 4)
			continue;
		if (chain->count == PORTS_MAX)
			return false;
		chain->nodes[chain->count++] = part;
	}
	return chain->count > 0;
}

/* Does a port send what its devices want of each other upwards? -1: can't be read */
static int redirects(const char *port)
{
	unsigned char config[CONFIG_SIZE];
	unsigned int at = EXT_CAPS, steps;
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), PCI "/%s/config", port);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, config, sizeof(config));
	close(fd);
	/* 256: no PCI Express, or no capabilities of that kind. 64: not root. */
	if (n < (ssize_t)sizeof(config))
		return n == 256 ? 0 : -1;
	for (steps = 0; at >= EXT_CAPS && at <= CONFIG_SIZE - 8 && steps < 1000; steps++) {
		unsigned int head = config[at] | config[at + 1] << 8 | config[at + 2] << 16 |
				    (unsigned int)config[at + 3] << 24;

		if ((head & 0xffff) == CAP_ACS)
			return !!(config[at + ACS_CONTROL] & ACS_REDIRECT);
		at = head >> 20 & 0xffc;
	}
	return 0;
}

/* Of the ports of a chain from @first on */
static int any_redirects(const struct chain *chain, unsigned int first)
{
	int all = 0, one;

	for (; first + 1 < chain->count; first++) {
		one = redirects(chain->nodes[first]);
		if (one > 0)
			return 1;
		if (one < 0)
			all = -1;
	}
	return all;
}

/* As the kernel counts it: ports on the way, the one where both ways meet once. */
static void find_way(struct way *way, const char *from, const char *to)
{
	struct chain a, b;
	unsigned int common = 0;
	int one, other;

	memset(way, 0, sizeof(*way));
	if (!chain_of(&a, from) || !chain_of(&b, to))
		return;
	while (common + 1 < a.count && common + 1 < b.count &&
	       !strcmp(a.nodes[common], b.nodes[common]))
		common++;
	if (!common) {
		way->path = HOMI_PATH_ROOT;
		way->distance = a.count - 1 + b.count - 1;
		return;
	}
	way->path = HOMI_PATH_SWITCH;
	way->distance = a.count - common + b.count - common - 1;
	one = any_redirects(&a, common);
	other = any_redirects(&b, common);
	way->redirected = one > 0 || other > 0 ? 1 : one < 0 || other < 0 ? -1 : 0;
}

/* --- shown --- */

static bool is_translated(const struct controller *c)
{
	char path[PATH_MAX], type[32];

	snprintf(path, sizeof(path), PCI "/%s/iommu_group/type", c->address);
	return read_line(path, type, sizeof(type)) && strcmp(type, "identity");
}

static const char *path_text(uint32_t path)
{
	return path == HOMI_PATH_SWITCH ? "switch" : path == HOMI_PATH_ROOT ? "root" : "unknown";
}

static void add_row(struct json_object *all, const struct controller *c, const struct peer *p)
{
	struct json_object *o = json_object_new_object();
	struct way way;

	find_way(&way, c->address, p->address);
	add_string(o, "controller", c->name);
	add_string(o, "device", p->address);
	add_string(o, "kind", p->kind);
	add_string(o, "id", p->id);
	add_string(o, "driver", p->driver[0] ? p->driver : NULL);
	add_number(o, "bar", p->bar);
	add_number(o, "bar_size", p->bar_size);
	add_string(o, "path", path_text(way.path));
	add_number(o, "distance", way.distance);
	if (way.redirected < 0)
		add_string(o, "acs_redirect", NULL);
	else
		add_bool(o, "acs_redirect", way.redirected);
	add_bool(o, "translated", is_translated(c));
	json_object_array_add(all, o);
}

static void print_cell(const struct controller *c, const struct peer *p)
{
	char text[64];
	struct way way;

	find_way(&way, c->address, p->address);
	snprintf(text, sizeof(text), "%s %u%s", path_text(way.path), way.distance,
		 way.redirected > 0 ? "*" : way.redirected < 0 ? "?" : "");
	printf("  %-12s", text);
}

static void print_matrix(const struct controller *cs, unsigned int nr_cs, const struct peer *peers,
			 unsigned int nr_peers)
{
	bool translated = false;
	unsigned int i, k;
	char size[32];

	printf("\nPeer to peer: what lies between a controller and a device, and how many ports\n%-14s", "");
	for (k = 0; k < nr_peers; k++)
		printf("  %-12s", peers[k].address);
	for (i = 0; i < nr_cs; i++) {
		if (strcmp(cs[i].transport, "pcie"))
			continue;
		printf("\n%-14s", cs[i].name);
		for (k = 0; k < nr_peers; k++)
			print_cell(&cs[i], &peers[k]);
		translated |= is_translated(&cs[i]);
	}
	printf("\n");
	for (k = 0; k < nr_peers; k++)
		printf("%-14s  %s %s, BAR %u of %s, %s%s\n", peers[k].address, peers[k].kind,
		       peers[k].id, peers[k].bar, size_text(peers[k].bar_size, size, sizeof(size)),
		       peers[k].driver[0] ? "driver " : "no driver", peers[k].driver);
	printf("switch: below one bridge or switch; * its ports send it up to the root complex (ACS), ? root can tell.\n"
	       "root: through the root complex, which on many machines does not let it pass: compare data once.\n");
	if (translated)
		printf("With an IOMMU that translates, all of it goes through the root complex.\n");
}

/**
 * show_peers - the matrix, if there is a device for it
 * @cs: the controllers
 * @nr_cs: how many
 * @top: for a row of each controller and device, as "peers"; NULL: print
 */
void show_peers(const struct controller *cs, unsigned int nr_cs, struct json_object *top)
{
	struct json_object *all;
	struct peer *peers;
	unsigned int nr_peers, i, k;

	if (find_peers(&peers, &nr_peers))
		nr_peers = 0;
	if (top) {
		all = json_object_new_array();
		for (i = 0; i < nr_cs; i++)
			for (k = 0; k < nr_peers && !strcmp(cs[i].transport, "pcie"); k++)
				add_row(all, &cs[i], &peers[k]);
		json_object_object_add(top, "peers", all);
	} else if (nr_peers && nr_cs) {
		print_matrix(cs, nr_cs, peers, nr_peers);
	}
	free(peers);
}
