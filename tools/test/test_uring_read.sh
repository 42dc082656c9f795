#!/bin/bash
# SPDX-License-Identifier: MIT
# examples/uring_read on a real controller, as TAP. Root, homi loaded; environment as
# scripts/guest-run sets it: HOMI_CTRL, HOMI_EXT4, HOMI_XFS.
set -u -o pipefail
root=$(readlink -f "$(dirname "$0")/../..")
reader=$root/build/lib/uring_read
: "${HOMI_CTRL:?}" "${HOMI_EXT4:?}" "${HOMI_XFS:?}"
O=$(mktemp -d)
. "$root/lib/tap.sh"
trap 'rm -rf "$O" "$HOMI_EXT4/uring" "$HOMI_XFS/uring"' EXIT

make_files() {
	local dir=$1/uring i

	mkdir -p "$dir/deeper"
	for ((i = 0; i < 30; i++)); do
		head -c $((i * i * 701)) /dev/urandom >"$dir/file$i"
	done
	truncate -s 3000000 "$dir/holes"
	dd if=/dev/urandom of="$dir/holes" bs=4096 count=3 seek=500 conv=notrunc status=none
	# What is no file is left alone.
	mkfifo "$dir/fifo"
	sync -f "$dir"
}

reads() {
	"$reader" -d "$HOMI_CTRL" "$@" >"$O/out" && grep -q ": as pread gives them$" "$O/out"
}

refused() {
	"$reader" "$1" "$HOMI_EXT4/uring"
	[ $? = 2 ]
}

reads_dirty() {
	echo changed | dd of="$1/file20" conv=notrunc seek=100 status=none
	reads "$1"
}

for dir in "$HOMI_EXT4" "$HOMI_XFS"; do
	make_files "$dir"
	fs=$(findmnt -n -o FSTYPE "$dir")
	works "$fs: a directory" reads "$dir/uring"
	sed 's/^/# /' "$O/out"
	works "$fs: one piece at a time" reads -q 1 "$dir/uring"
	works "$fs: a thousand pieces" reads -q 1000 "$dir/uring"
	works "$fs: what is dirty in the page cache" reads_dirty "$dir/uring"
done
for args in -q3x -q0 -q1025 -q-1; do
	works "no depth: $args" refused "$args"
done
mkdir "$O/elsewhere"
echo "not seen by homi" >"$O/elsewhere/file"
if "$reader" -d "$HOMI_CTRL" "$O/elsewhere" >"$O/log" 2>&1 || ! grep -q "$O/elsewhere/file: " "$O/log"; then
	not_ok "a file that is somewhere else is refused by name"
else
	ok "a file that is somewhere else is refused by name"
fi
echo "1..$n"
exit $((failed > 0))
