// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file that is held, exported by nfsd to a client on the same machine. The server is made without
 * its daemons: what they would answer is put into its caches before it asks.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "harness.h"
#include "inplace.h"

#define NFSD	"/proc/fs/nfsd"
#define RPC	"/proc/net/rpc"
#define NEVER	"2147483647"	/* expires */

/* NFSEXP_INSECURE_PORT, NFSEXP_NOSUBTREECHECK, NFSEXP_FSID */
#define EXPORT_FLAGS	(0x2 | 0x400 | 0x2000)

static const char *point;
static char remote[300];

/* --- the server --- */

static void lo_up(void)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_name = "lo" };

	ASSERT(sock >= 0);
	ASSERT(!ioctl(sock, SIOCGIFFLAGS, &ifr));
	ifr.ifr_flags |= IFF_UP;
	ASSERT(!ioctl(sock, SIOCSIFFLAGS, &ifr));
	close(sock);
}

/* A socket of nfsd's, by the number that the descriptor has here */
static void listen_here(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(2049) };
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	char text[16];

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ASSERT(sock >= 0);
	ASSERT(!setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	ASSERT(!bind(sock, (struct sockaddr *)&addr, sizeof(addr)));
	ASSERT(!listen(sock, 8));
	snprintf(text, sizeof(text), "%d\n", sock);
	ASSERT(sysfs_write(NFSD "/portlist", text));
	close(sock);
}

/* There is nobody who had anything open before; not every kernel lets one say so. */
static void end_grace(void)
{
	uint64_t end = now_ms() + 30000;
	char text[8];

	sysfs_write(NFSD "/v4_end_grace", "Y\n");
	while (sysfs_read(text, sizeof(text), NFSD "/v4_end_grace") && text[0] != 'Y') {
		ASSERT(now_ms() < end);
		nap_ms(50);
	}
}

static void nfs_start(const char *dir)
{
	char text[600];

	need_own_machine("its NFS server is started and stopped");
	if (shell("modprobe -qa nfsd nfs nfsv4"))
		SKIP("this kernel has no NFS");
	point = private_mount_point();
	lo_up();
	if (access(NFSD "/threads", F_OK))
		ASSERT(!mount("homi", NFSD, "nfsd", 0, NULL));
	/* One that failed has left it. */
	if (sysfs_read(text, sizeof(text), NFSD "/threads") && atoi(text))
		ASSERT(sysfs_write(NFSD "/threads", "0\n"));
	snprintf(text, sizeof(text), "nfsd 127.0.0.1 " NEVER " homi\n");
	ASSERT(sysfs_write(RPC "/auth.unix.ip/channel", text));
	snprintf(text, sizeof(text), "homi %s " NEVER " %d 65534 65534 0\n", dir, EXPORT_FLAGS);
	ASSERT(sysfs_write(RPC "/nfsd.export/channel", text));
	/* Its file system 0, which is the root of what a client of version 4 sees */
	snprintf(text, sizeof(text), "homi 1 \\x00000000 " NEVER " %s\n", dir);
	ASSERT(sysfs_write(RPC "/nfsd.fh/channel", text));
	ASSERT(sysfs_write(NFSD "/versions", "-2 -3 +4 +4.1 +4.2\n"));
	/* As short as it may be */
	sysfs_write(NFSD "/nfsv4leasetime", "10\n");
	sysfs_write(NFSD "/nfsv4gracetime", "10\n");
	listen_here();
	ASSERT(sysfs_write(NFSD "/threads", "2\n"));
	end_grace();
	ASSERT(!mount("127.0.0.1:/", point, "nfs", 0,
		      "vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1,sec=sys"));
}

/* Its caches keep the file system busy. */
static void nfs_stop(void)
{
	ASSERT(!umount(point));
	ASSERT(sysfs_write(NFSD "/threads", "0\n"));
	ASSERT(sysfs_write(RPC "/nfsd.fh/flush", NEVER "\n"));
	ASSERT(sysfs_write(RPC "/nfsd.export/flush", NEVER "\n"));
	ASSERT(sysfs_write(RPC "/auth.unix.ip/flush", NEVER "\n"));
}

static const char *by_nfs(const char *path)
{
	snprintf(remote, sizeof(remote), "%s/%s", point, base_name(path));
	return remote;
}

/* --- */

static void recalled_by(const char *dir, const char *name, int (*act)(const char *path))
{
	struct waiter waiter;
	struct held h;

	printf("# %s\n", name);
	hold(&h, dir, "remote");
	waiter_start(&waiter, act, by_nfs(h.file.path));
	answer(&h, &waiter);
	let_go(&h);
}

/* A client that has it open, and one that had: the server may keep what it opened. */
static void writer_was_first(const char *dir)
{
	int fd = homi_open(), writer, err;
	struct homi_extent_resolve r;
	struct file file;
	uint64_t end;

	file_create(&file, dir, "remote", 4 * PAGE, 60);
	writer = open(by_nfs(file.path), O_WRONLY | O_CLOEXEC);
	ASSERT(writer >= 0);
	ASSERT_EQ(1, write(writer, "x", 1));
	ASSERT_EQ(-EAGAIN, extent_resolve(fd, file.fd, 0, 0, &r));
	ASSERT_EQ(HOMI_REASON_WRITER, r.out_reason);
	close(writer);
	end = now_ms() + 30000;
	while ((err = extent_resolve(fd, file.fd, 0, 0, &r)) == -EAGAIN && now_ms() < end)
		nap_ms(20);
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, destroy(fd, r.out_extent_id));
	file_remove(&file);
	close(fd);
}

/* The server may have given a delegation, and its client closes in its own time. */
static void hold_to_write(struct table *table, int fd, const struct file *file)
{
	struct homi_extent_resolve r;
	uint64_t end = now_ms() + 30000;

	while (resolve_path(fd, file->path, &r) == -EAGAIN) {
		ASSERT(now_ms() < end);
		nap_ms(20);
	}
	ASSERT_EQ(0, destroy(fd, r.out_extent_id));
	table_open_to_write(table, fd, file->path);
}

/* And one to write to, of which a client reads what was written */
static void read_after_write(const char *dir)
{
	struct waiter reader;
	struct table table;
	struct file file;
	int fd = homi_open();

	set_recall_ms(MINUTE_MS);
	file_to_write(&file, dir, "remote");
	hold_to_write(&table, fd, &file);
	waiter_start(&reader, act_open_read, by_nfs(file.path));
	ack_recall(&table);
	ASSERT_EQ(0, waiter_end(&reader, MINUTE_MS / 2, NULL));
	hold_to_write(&table, fd, &file);
	waiter_start(&reader, act_truncate, by_nfs(file.path));
	ack_recall(&table);
	ASSERT_EQ(0, waiter_end(&reader, MINUTE_MS / 2, NULL));
	file_remove(&file);
	close(fd);
}

/* One server for all: it starts with a time in which it grants nothing. */
FS_TEST_TIMEOUT(clients, 240)
{
	nfs_start(dir);
	recalled_by(dir, "opens it for writing", act_open_write);
	recalled_by(dir, "writes", act_overwrite);
	recalled_by(dir, "truncates", act_truncate);
	recalled_by(dir, "removes it", act_unlink);
	writer_was_first(dir);
	read_after_write(dir);
	nfs_stop();
}
