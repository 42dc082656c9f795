#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Makes a namespace ready for the tests: ext4 on partition 1, XFS on 2, and 3 free to be overwritten.
# By names and places of these partitions the tests, and guard, know that they are meant. All that was
# there is lost: whether it may be is not asked here but by guard.
#
# usage: prepare.sh check NAMESPACE	can this be done here? Nothing is changed.
#	prepare.sh format NAMESPACE	which begins with check
#	prepare.sh table NAMESPACE	the same without file systems
#	prepare.sh mount NAMESPACE DIR
#	prepare.sh clear NAMESPACE DIR
set -u
PATH=$PATH:/usr/sbin:/sbin

fail() { echo "prepare.sh: $*" >&2; exit 1; }

# Whoever looks at new disks (udev) may have it open for a moment.
patiently() {
	local i

	for ((i = 0; i < 50; i++)); do
		! "$@" 2>/dev/null || return 0
		sleep 0.1
	done
	"$@"
}

# What is left for partition 3; sizes are in MiB. Everything that can be missing is asked for here,
# before anything is lost.
check() {
	local dev=$1 tool size missing=

	for tool in blockdev mkfs.ext4 mkfs.xfs mount mountpoint sfdisk umount wipefs; do
		[ -x "$(command -v "$tool")" ] || missing+=" $tool"
	done
	[ -z "$missing" ] || fail "not found:$missing (Debian: apt install e2fsprogs fdisk mount util-linux xfsprogs)"
	size=$(blockdev --getsize64 "$dev") || fail "the size of $dev"
	rest=$((size / 1048576 - 742))
	[ $rest -ge 256 ] || fail "$dev is too small: it takes 1 GiB"
	[ $rest -le 1024 ] || rest=1024
}

# scratch.c has the same numbers. The one of XFS is just above what mkfs.xfs allows. sfdisk would put
# the beginnings elsewhere on a drive that asks for it.
table() {
	local dev=$1 rest

	check "$dev"
	wipefs -qa "$dev" || fail "wipefs $dev"
	sfdisk -q --no-reread --no-tell-kernel "$dev" <<-END || fail "sfdisk $dev"
		label: gpt
		start=1MiB, size=420MiB, name=homi-ext4
		start=421MiB, size=320MiB, name=homi-xfs
		start=741MiB, size=${rest}MiB, name=homi-raw
	END
	patiently blockdev --rereadpt "$dev" && patiently test -b "${dev}p3" || fail "the partitions of $dev"
}

format() {
	table "$1"
	mkfs.ext4 -q -F -b 4096 -E lazy_itable_init=0,lazy_journal_init=0 "${1}p1" &&
		mkfs.xfs -q -f "${1}p2" || fail "mkfs"
}

make_mounts() {
	mkdir -p "$2/ext4" "$2/xfs" && mount "${1}p1" "$2/ext4" && mount "${1}p2" "$2/xfs" || fail "mount"
}

# As empty as guard wants it the next time. What a test has left may end a little later.
clear() {
	local dev=$1 fs part

	for fs in ext4 xfs; do
		! mountpoint -q "$2/$fs" || patiently umount "$2/$fs" || fail "$2/$fs stays mounted"
	done
	rmdir "$2/ext4" "$2/xfs" "$2" 2>/dev/null
	for part in "${dev}"p?; do
		! [ -b "$part" ] || patiently wipefs -qa "$part"
	done
	patiently wipefs -qa "$dev" && patiently blockdev --rereadpt "$dev" || fail "$dev keeps its partitions"
}

case ${1:-} in
check | format | table) "$1" "${2:?}" ;;
mount) make_mounts "${2:?}" "${3:?}" ;;
clear) clear "${2:?}" "${3:?}" ;;
*) fail "usage: prepare.sh check|format|table NAMESPACE, or mount|clear NAMESPACE DIR" ;;
esac
