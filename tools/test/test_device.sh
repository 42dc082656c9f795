#!/bin/bash
# SPDX-License-Identifier: MIT
# examples/host_device on a real controller, as TAP: a process that plays a device, with rings,
# PRP lists and data in memory of the system and in an accelerator's BAR. Root, homi and
# homi_exporter loaded; environment as scripts/guest-run sets it: HOMI_CTRL, HOMI_EXT4, HOMI_XFS.
set -u
root=$(readlink -f "$(dirname "$0")/../..")
device=$root/build/lib/host_device
bar=$root/selftests/bar_exec
homi=$root/tools/homi
: "${HOMI_CTRL:?}" "${HOMI_EXT4:?}" "${HOMI_XFS:?}"
tmp=$(mktemp -d)
. "$root/lib/tap.sh"

clean_up() {
	rm -rf "$tmp" "$HOMI_EXT4/device" "$HOMI_XFS/device"
}
trap clean_up EXIT

make_files() {
	local dir=$1/device i

	mkdir -p "$dir"
	head -c 3000001 /dev/urandom >"$dir/whole"
	echo x >"$dir/one"
	truncate -s 2000000 "$dir/holes"
	for ((i = 0; i < 40; i++)); do
		dd if=/dev/urandom of="$dir/holes" bs=4096 count=3 seek=$((i * 9)) conv=notrunc status=none
	done
	sync -f "$dir"
}

# reads NAME PLACE FILE COMMAND...: and says where the memory was
reads() {
	local name=$1 place=$2 file=$3 status=0

	shift 3
	"$@" -d "$HOMI_CTRL" "$file" >"$tmp/out" 2>&1 || status=$?
	if [ $status = 4 ]; then
		skip "$name" "no accelerator here"
	elif [ $status = 0 ] && grep -q "^memory: $place" "$tmp/out" && grep -q ": as pread gives them$" "$tmp/out"; then
		ok "$name"
		sed -n 's/^[0-9]* bytes by/# by/p' "$tmp/out"
	else
		echo "status $status" >>"$tmp/out"
		not_ok "$name"
		head -n 20 "$tmp/out" | sed 's/^/# /'
	fi
}

# What "homi check" says of the way to the accelerator is what the kernel says of its memory;
# all other controllers have a root port of their own.
on_the_way() {
	local want

	want=$(sed -n 's/^memory: BAR \([0-9]*\) of \([^,]*\), \([0-9]*\) bridges away, .*/\2 \1 \3/p' "$tmp/way")
	"$homi" check -o json >"$tmp/check" || true
	"$homi" check | sed -n '/^Peer/,/^$/s/^/# /p'
	[ -n "$want" ] && jq -e --arg ctrl "$HOMI_CTRL" --arg want "$want switch 67108864" '
		([.peers[] | select(.controller == $ctrl) |
		  "\(.device) \(.bar) \(.distance) \(.path) \(.bar_size)"] == [$want]) and
		all(.peers[] | select(.controller != $ctrl); .path == "root" and .distance > 1) and
		([.peers[].controller] | unique) == ([.checks[].controller | values] | unique)' \
		"$tmp/check" >"$tmp/out" 2>&1
}

for dir in "$HOMI_EXT4" "$HOMI_XFS"; do
	make_files "$dir"
	for file in whole one holes; do
		if [ -e /dev/udmabuf ]; then
			reads "memory of the system: $dir, $file" "the system's" "$dir/device/$file" "$device"
		else
			skip "memory of the system: $dir, $file" "no /dev/udmabuf"
		fi
		reads "memory of the accelerator: $dir, $file" "BAR 2 of" "$dir/device/$file" \
			"$bar" 0 0x800000 "$device" -b {}
	done
done
# scripts/check-all looks for it in that memory, from outside of the guest; no other test has this
# part of it.
seq -f 'homi-in-the-bar. %07.0f' 65536 >"$HOMI_EXT4/device/marked"
sync -f "$HOMI_EXT4"
reads "memory of the accelerator: marked" "BAR 2 of" "$HOMI_EXT4/device/marked" \
	"$bar" 0x3000000 0x400000 "$device" -b {}
# All of it there, threads that play the device
if ! "$bar" 0 0x800000 true; then
	skip "homi-bench in the accelerator's memory" "no accelerator here"
elif "$bar" 0 0x800000 "$root/tools/homi-bench" -b {} -d "$HOMI_CTRL" -i device-model -s 1 --sq=device --cq=device \
	--lists=device --data=device --bs 16k "$HOMI_EXT4/device/whole" >"$tmp/out" 2>&1; then
	ok "homi-bench in the accelerator's memory"
	sed 's/^/# /' "$tmp/out"
else
	not_ok "homi-bench in the accelerator's memory"
	sed 's/^/# /' "$tmp/out"
fi
if ! "$bar" 0 0x800000 "$device" -b {} -d "$HOMI_CTRL" "$HOMI_EXT4/device/one" >"$tmp/way" 2>&1; then
	skip "homi check: the way to the accelerator" "no accelerator here"
elif on_the_way; then
	ok "homi check: the way to the accelerator"
else
	not_ok "homi check: the way to the accelerator"
	sed 's/^/# /' "$tmp/way" "$tmp/out" "$tmp/check"
fi
plan
