#!/bin/bash
# SPDX-License-Identifier: MIT
# The selftests' archive as a user runs it, as TAP: unpacked elsewhere, on a namespace that is named,
# and afterwards as empty as it was. Root, homi loaded; environment as scripts/guest-run sets it:
# HOMI_RAW2, a namespace of another controller than the one that is tested.
set -u
selftests=$(readlink -f "$(dirname "$0")/../../selftests")
tmp=$(mktemp -d)
export O=$tmp
. "$(dirname "$0")/../../lib/tap.sh"
trap 'rm -rf "$tmp"' EXIT

if [ -z "${HOMI_RAW2:-}" ]; then
	skip "selftests on a named namespace" "HOMI_RAW2 names no second namespace that may be overwritten"
	plan
	exit
fi
ns=$HOMI_RAW2
# Other tests may have left something there.
wipefs -q -a "$ns"
tests="-t test_uapi -t homi:test_ctrl -t test_queue -t test_io_stats -t test_scale"

unpacked() {
	make -s -C "$selftests" gen_tar TAR="$tmp/it.tar.gz" && tar -C "$tmp" -xzf "$tmp/it.tar.gz"
}
# Not by what guest-run says, but by the name alone
run() { env -u HOMI_VM "$@" ./run_kselftest.sh $tests >"$tmp/said" 2>&1; }
passes() {
	local name

	run HOMI_TEST_NS="$ns" || { cat "$tmp/said"; return 1; }
	grep -q "^# $ns on ${HOMI_DEV2##*/}: taken" "$tmp/said" || return 1
	for name in uapi ctrl queue io_stats; do
		grep -qx "ok [0-9] selftests: homi: test_$name" "$tmp/said" || { cat "$tmp/said"; return 1; }
	done
	grep -qx "# Totals: pass:4 fail:0 xfail:0 xpass:0 skip:1 error:0" "$tmp/said"
}
empty() {
	! compgen -G "${ns}p*" && [ -z "$(wipefs "$ns")" ] && ! grep "^$ns" /proc/mounts && [ ! -e /run/homi-selftests ]
}
refused() { ! run HOMI_TEST_NS="$ns" "$@" && grep -q "^Bail out! $ns is refused: .*$text" "$tmp/said"; }
# One that holds a file system is left as it is, and given up only by who says so.
data_is_kept() {
	text="there is ext4 on it"
	mkfs.ext4 -q -F "$ns" 64m && wipefs "$ns" >"$tmp/before" && refused HOMI_TEST_FORCE= &&
		wipefs "$ns" | cmp - "$tmp/before" && fsck.ext4 -fn "$ns"
}
mounted_is_kept() {
	local status=0

	text="is mounted at $tmp/mnt"
	mkdir -p "$tmp/mnt" && mount "$ns" "$tmp/mnt" || return 1
	refused HOMI_TEST_FORCE=1 || status=1
	umount "$tmp/mnt" && wipefs "$ns" | cmp - "$tmp/before" && return $status
}
# What the tests need and do not find here costs nothing.
incomplete_keeps() {
	text="not found: mkfs.xfs sfdisk (Debian: apt install .*)"
	unshare -m sh -ec 'for tool in mkfs.xfs sfdisk; do mount --bind /dev/null "$(command -v $tool)"; done
		exec "$@"' - env HOMI_TEST_NS="$ns" HOMI_TEST_FORCE=1 ./run_kselftest.sh -t test_ctrl >"$tmp/said" 2>&1
	[ $? = 1 ] && grep -qx "Bail out! prepare.sh: $text" "$tmp/said" || { cat "$tmp/said"; return 1; }
	wipefs "$ns" | cmp - "$tmp/before" && fsck.ext4 -fn "$ns"
}
# A virtual machine's drive, say
open_is_kept() {
	local status=0

	text="${ns##*/} is open in process $$ (test_kselftest.)"
	exec 5<"$ns"
	refused HOMI_TEST_FORCE=1 || { cat "$tmp/said"; status=1; }
	exec 5<&-
	wipefs "$ns" | cmp - "$tmp/before" && return $status
}
usage() {
	local option

	for option in -t --test -c -o --override-timeout "-o soon" "-c other" -x; do
		# shellcheck disable=SC2086 # an option with its argument
		./run_kselftest.sh $option >"$tmp/said" 2>&1
		[ $? = 1 ] && grep -q "^run_kselftest.sh: " "$tmp/said" && grep -q "^usage: " "$tmp/said" &&
			! grep -q "^TAP" "$tmp/said" || { echo "$option:"; cat "$tmp/said"; return 1; }
	done
}
forced() { tests="-t test_ctrl" run HOMI_TEST_NS="$ns" HOMI_TEST_FORCE=1 && grep -q "taken, and lost what is on it: ext4" "$tmp/said"; }
# Who is stopped leaves nothing mounted.
interrupted() {
	local i

	HOMI_TEST_NS=$ns setsid ./run_kselftest.sh -t test_lease >"$tmp/said" 2>&1 &
	for ((i = 0; i < 300; i++)); do
		! grep -q "^# ok 1 " "$tmp/said" || break
		sleep 0.1
	done
	mountpoint -q /run/homi-selftests/ext4 && grep -q "^# ok 1 " "$tmp/said" || return 1
	kill -TERM -- -$!
	wait $!
	[ $? = 1 ] && ! grep -q "^ok 1 " "$tmp/said"
}

works "the archive is made and unpacked" unpacked
cd "$tmp/homi-selftests" || { plan; exit; }
works "what it is told wrongly it says" usage
works "selftests pass on $ns" passes
works "it is empty again" empty
works "what holds a file system is refused, and kept" data_is_kept
works "what is mounted is refused, forced or not, and kept" mounted_is_kept
works "what is open elsewhere is refused, forced or not, and kept" open_is_kept
works "nothing is lost where tools are missing" incomplete_keeps
works "what holds a file system is taken if told so" forced
works "it is empty again" empty
works "it can be stopped in the middle" interrupted
works "it is empty again" empty
plan
