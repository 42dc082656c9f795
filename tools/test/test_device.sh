#!/bin/bash
# SPDX-License-Identifier: MIT
# examples/host_device on a real controller, as TAP: a process that plays a device, with rings,
# PRP lists and data in memory of the system and in an accelerator's BAR. Root, homi and
# homi_exporter loaded; environment as scripts/guest-run sets it: HOMI_CTRL, HOMI_EXT4, HOMI_XFS.
set -u
root=$(readlink -f "$(dirname "$0")/../..")
device=$root/build/lib/host_device
bar=$root/selftests/bar_exec
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

for dir in "$HOMI_EXT4" "$HOMI_XFS"; do
	make_files "$dir"
	for file in whole one holes; do
		if [ -e /dev/udmabuf ]; then
			reads "memory of the system: $dir, $file" "the system's" "$dir/device/$file" "$device"
		else
			skip "memory of the system: $dir, $file" "no /dev/udmabuf"
		fi
		reads "memory of the accelerator: $dir, $file" "BAR 2 of" "$dir/device/$file" \
			"$bar" 0x800000 "$device" -b {}
	done
done
plan
