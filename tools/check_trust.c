// SPDX-License-Identifier: MIT
/*
 * "homi check", continued: whether the kernel takes the module, which no distribution has signed, and
 * who may open the devices. Documentation/install.md has the whole story.
 */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "check.h"

#define SECURE_BOOT	"/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define SECURITY	"/sys/kernel/security"

static const char sign[] =
	"sign it with a key that this machine trusts: dkms does, once its key is enrolled by \"mokutil --import /var/lib/dkms/mok.pub\" and a reboot (MOK manager, Enroll MOK); see Documentation/install.md";
static const char enrol[] =
	"modprobe homi; if that is refused, the machine does not trust the key: \"mokutil --import /var/lib/dkms/mok.pub\" and a reboot (MOK manager, Enroll MOK); see Documentation/install.md";

enum signature {
	NOT_INSTALLED,
	UNSIGNED,
	SIGNED,		/* by whomever */
	COMPRESSED,	/* so it can't be told here */
};

/* Of the module that modprobe would load */
static enum signature signature(void)
{
	static const char magic[] = "~Module signature appended~\n";
	char line[512], path[1024], end[sizeof(magic)] = "";
	enum signature found = NOT_INSTALLED;
	struct utsname u;
	FILE *f;

	if (!in_modules("modules.dep", "/homi.ko", line, sizeof(line)))
		return NOT_INSTALLED;
	if (strcmp(line + strlen(line) - 3, ".ko"))
		return COMPRESSED;
	uname(&u);
	snprintf(path, sizeof(path), "/lib/modules/%s/%s", u.release, line);
	f = fopen(path, "re");
	if (f && !fseek(f, -(long)strlen(magic), SEEK_END) &&
	    fread(end, 1, strlen(magic), f) == strlen(magic))
		found = strcmp(end, magic) ? UNSIGNED : SIGNED;
	if (f)
		fclose(f);
	return found;
}

/* Where only signed modules are taken */
static void judge(struct answer *a, const char *what)
{
	enum signature s = signature();

	if (loaded())
		answer_set(a, OK, "", "%s, and the module is loaded all the same", what);
	else if (s == SIGNED)
		answer_set(a, WARN, enrol, "%s: signed modules only, and homi's is", what);
	else if (s == COMPRESSED)
		answer_set(a, WARN, sign, "%s: signed modules only", what);
	else
		answer_set(a, NO, sign, "%s: signed modules only, and homi's is %s", what,
			   s == UNSIGNED ? "not" : "not installed");
}

void ask_secure_boot(struct answer *a)
{
	unsigned char value[5];
	FILE *f = fopen(SECURE_BOOT, "re");
	bool good = f && fread(value, 1, sizeof(value), f) == sizeof(value);

	if (f)
		fclose(f);
	if (!exists("/sys/firmware/efi"))
		answer_set(a, OK, "", "none: this machine was not booted by EFI");
	else if (!good)
		answer_set(a, OK, "", "off, or not to be seen; \"lockdown\" is what counts");
	else
		answer_set(a, OK, "", value[4] ? "on; \"lockdown\" is what counts" : "off");
}

void ask_lockdown(struct answer *a)
{
	char line[128], what[32], *level;

	if (!read_line(SECURITY "/lockdown", line, sizeof(line))) {
		if (exists(SECURITY "/lsm"))
			answer_set(a, OK, "", "none: this kernel has none");
		else if (loaded())
			answer_set(a, OK, "", "not known, but the module is loaded");
		else
			answer_set(a, WARN, "mount -t securityfs securityfs " SECURITY,
				   "not known: securityfs is not mounted");
		return;
	}
	level = strchr(line, '[');
	if (!level) {
		answer_set(a, WARN, "cat " SECURITY "/lockdown", "not known: \"%s\"", line);
		return;
	}
	level++;
	level[strcspn(level, "]")] = '\0';
	snprintf(what, sizeof(what), "%.31s", level);
	if (!strcmp(what, "none"))
		answer_set(a, OK, "", "none");
	else
		judge(a, what);
}

void ask_signatures(struct answer *a)
{
	char line[16];

	if (!read_line("/sys/module/module/parameters/sig_enforce", line, sizeof(line)))
		answer_set(a, OK, "", "none: this kernel does not ask for any");
	else if (line[0] == 'Y')
		judge(a, "demanded (module.sig_enforce)");
	else
		answer_set(a, OK, "", "not demanded: an unsigned module taints the kernel (E), no more");
}

/* "homi", or its number */
static const char *group_name(gid_t gid, char *buf, size_t len)
{
	struct group *group = getgrgid(gid);

	if (group)
		snprintf(buf, len, "%s", group->gr_name);
	else
		snprintf(buf, len, "%u", gid);
	return buf;
}

static bool rule_installed(void)
{
	return exists("/usr/lib/udev/rules.d/60-homi.rules") || exists("/lib/udev/rules.d/60-homi.rules") ||
	       exists("/etc/udev/rules.d/60-homi.rules");
}

/* Whoever may open it, not only this caller */
void ask_node(struct answer *a, const struct controller *c, const struct homi_dev *dev, int err)
{
	char path[sizeof(c->name) + 16], name[64];
	struct stat st;

	(void)dev;
	(void)err;
	snprintf(path, sizeof(path), "/dev/homi/%s", c->name);
	if (stat(path, &st))
		answer_set(a, WARN, "the line \"device\" says what to do", "there is none");
	else if (st.st_mode & 07)
		answer_set(a, WARN, "look for who changes it (udev rules); homi's rule has 0660 and group homi",
			   "%04o: everybody may open it", st.st_mode & 07777);
	else if (rule_installed() && !getgrnam("homi"))
		answer_set(a, WARN, "systemd-sysusers && udevadm trigger -c add -s homi",
			   "%04o, group %s: the udev rule is there, but no group homi", st.st_mode & 07777,
			   group_name(st.st_gid, name, sizeof(name)));
	else if (st.st_mode & 070 && st.st_gid)
		answer_set(a, OK, "", "%04o: root, and group %s", st.st_mode & 07777,
			   group_name(st.st_gid, name, sizeof(name)));
	else
		answer_set(a, OK, "", "%04o: root only", st.st_mode & 07777);
}
