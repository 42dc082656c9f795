#!/bin/bash
# SPDX-License-Identifier: MIT
# examples/dmabuf_read on a real controller, as TAP: into a dma-buf of the system's heap and into
# an accelerator's memory. Root, homi and homi_exporter loaded; environment as scripts/guest-run
# sets it: HOMI_CTRL, HOMI_BDEV, HOMI_EXT4, HOMI_XFS.
set -u -o pipefail
root=$(readlink -f "$(dirname "$0")/../..")
reader=$root/build/lib/dmabuf_read
bar=$root/selftests/bar_exec
: "${HOMI_CTRL:?}" "${HOMI_BDEV:?}" "${HOMI_EXT4:?}" "${HOMI_XFS:?}"
O=$(mktemp -d)
. "$root/lib/tap.sh"
trap 'rm -rf "$O" "$HOMI_EXT4/dmabuf" "$HOMI_XFS/dmabuf"' EXIT

make_files() {
	local dir=$1/dmabuf i

	mkdir -p "$dir/deeper"
	for ((i = 0; i < 20; i++)); do
		head -c $((i * i * 1701)) /dev/urandom >"$dir/file$i"
	done
	truncate -s 2000000 "$dir/holes"
	dd if=/dev/urandom of="$dir/holes" bs=4096 count=3 seek=300 conv=notrunc status=none
	# What is no file is left alone.
	mkfifo "$dir/fifo"
	sync -f "$dir"
}

# runs ARGUMENT...: the reader, with the memory that is being tested
runs() {
	case $memory in
	heap) "$reader" -d "$HOMI_CTRL" "$@" >"$O/out" 2>"$O/err" ;;
	# 6 MiB at 24 MiB: scripts/check-all looks for another test's at 48
	accelerator) "$bar" 0x1800000 0x600000 "$reader" -b {} -d "$HOMI_CTRL" "$@" >"$O/out" 2>"$O/err" ;;
	esac
}
said() {
	cat "$O/out" "$O/err"
	grep -q -- "$1" "$O/out" "$O/err"
}
reads() { runs "$@" && said "^21 files, .*: as pread gives them$" && [ ! -s "$O/err" ]; }

reads_dirty() {
	echo changed | dd of="$1/file19" conv=notrunc seek=100 status=none
	reads "$1"
}

# Later kernels' file systems can't say where it lies then: all but the one, whatever is on
# its way of others
beside_writer() {
	local status

	exec 9>>"$1/file17"
	runs "$1"
	status=$?
	exec 9>&-
	case $(uname -r) in
	[1-6].*)
		[ $status = 0 ] && said "^21 files, .*: as pread gives them$"
		return
		;;
	esac
	[ $status != 0 ] && said "^dmabuf_read: $1/file17: somebody has the file open for writing$" &&
		said "^21 files, .*: 1 not read, or wrong$" && [ "$(wc -l <"$O/err")" = 1 ]
}

# One piece at a time: none is more than two of the bar's fifty steps.
shows_progress() {
	runs -p -q 1 "$1" && said "^21 files, .*: as pread gives them$" || return 1
	tr '\r' '\n' <"$O/err" | sed -n 's/^\[#* *\] *\([0-9]*\) %$/\1/p' >"$O/percent"
	sort -n -c -u "$O/percent" && [ "$(wc -l <"$O/percent")" -ge 25 ] && [ "$(tail -n 1 "$O/percent")" = 100 ]
}

no_number() {
	"$reader" "$1" "$HOMI_EXT4/dmabuf"
	[ $? = 2 ]
}

# refused TEXT COUNT ARGUMENT...: that is said of each of so many, and none is read by another way
refused() {
	local text=$1 count=$2

	shift 2
	! runs "$@" && said "^$count files, .*: $count not read, or wrong$" &&
		[ "$(grep -c "^dmabuf_read: .*: $text" "$O/err")" = "$count" ]
}

for args in -q3x -q0 -q1025 -bfoo -b-1 -b3x; do
	works "no number: $args" no_number "$args"
done
mkdir "$O/elsewhere"
echo "not seen by homi" >"$O/elsewhere/file"
make_files "$HOMI_EXT4"
make_files "$HOMI_XFS"
for memory in heap accelerator; do
	if [ $memory = heap ] && ! [ -e /dev/dma_heap/system ]; then
		skip "$memory" "no /dev/dma_heap/system"
		continue
	elif [ $memory = accelerator ] && ! "$bar" 0x1800000 0x600000 true; then
		skip "$memory" "no accelerator here"
		continue
	fi
	for dir in "$HOMI_EXT4" "$HOMI_XFS"; do
		fs=$memory,$(findmnt -n -o FSTYPE "$dir")
		works "$fs: a directory" reads "$dir/dmabuf"
		sed 's/^/# /' "$O/out"
		works "$fs: one piece at a time" reads -q 1 "$dir/dmabuf"
		works "$fs: more pieces than there are places" reads -q 200 "$dir/dmabuf"
		works "$fs: homi's way is demanded" reads -w homi "$dir/dmabuf"
		works "$fs: what is dirty in the page cache" reads_dirty "$dir/dmabuf"
		works "$fs: a file that is open for writing is read, or named, and the others read" \
			beside_writer "$dir/dmabuf"
		works "$fs: and read when it is not" reads "$dir/dmabuf"
		works "$fs: progress" shows_progress "$dir/dmabuf"
		works "$fs: the kernel's way is demanded, which is not for files" \
			refused "Block device required$" 21 -w kernel "$dir/dmabuf"
	done
	works "$memory: a file that is somewhere else is refused by name" \
		refused "[a-z]" 1 "$O/elsewhere"
	# So it is where io_uring has no dma-bufs of its own, on all kernels of the matrix.
	works "$memory: a block device is not for homi" refused "not a regular file$" 1 "${HOMI_BDEV}p3"
	works "$memory: nor for this kernel" refused "Operation not supported$" 1 -w kernel "${HOMI_BDEV}p3"
done
plan
