#!/bin/bash
# SPDX-License-Identifier: MIT
# fio with homi's engine on a real controller, as TAP: what is written is verified, by each way,
# beside controller resets too. Root, homi loaded; environment as scripts/guest-run sets it:
# HOMI_CTRL, HOMI_BDEV, HOMI_EXT4, HOMI_XFS, HOMI_RAW; HOMI_SOAK, HOMI_SLOW.
set -u
root=$(readlink -f "$(dirname "$0")/../..")
jobs=$root/tools/fio
: "${HOMI_CTRL:?}" "${HOMI_BDEV:?}" "${HOMI_EXT4:?}" "${HOMI_XFS:?}" "${HOMI_RAW:?}"
export HOMI_FIO=$root/tools/homi-fio.so HOMI_FILE HOMI_HEAP HOMI_BLOCKS=$HOMI_RAW
O=$(mktemp -d)
. "$root/lib/tap.sh"
resets=6
[ -z "${HOMI_SOAK:-}" ] || resets=100
[ -z "${HOMI_SLOW:-}" ] || resets=$((resets / 4 + 1))
device=/dev/homi/$HOMI_CTRL
resetter=

clean_up() {
	[ -z "$resetter" ] || kill "$resetter" 2>/dev/null
	rm -rf "$O" "$HOMI_EXT4/fio" "$HOMI_XFS/fio"
}
trap clean_up EXIT
# fio leaves states of verification where it is.
cd "$O" || exit 1

if ! [ -f "$HOMI_FIO" ]; then
	not_ok "the engine is there: scripts/setup, make tools"
	plan
	exit
fi

# runs [OPTION]...: a job by the engine, in the words of fio's command line; its answer is in $O/json
runs() {
	fio --output="$O/json" --output-format=json --name=job "--ioengine=external:$HOMI_FIO" "$@"
}

# runs, and how often this or that was done: does WHAT COUNT [OPTION]...
does() {
	local what=$1 count=$2

	shift 2
	runs "$@" && jq -e "[.jobs[] | .error] == [0] and .jobs[0].$what.total_ios == $count" "$O/json"
}

# refuses TEXT [OPTION]...: an end with an error, and which one
refuses() {
	local text=$1

	shift
	! runs "$@" && grep -q -e "$text" "$O/log" "$O/json"
}

# What the block layer has seen of a block device: read or written bytes
seen() {
	local -a stat

	read -ra stat <"/sys/class/block/${1#/dev/}/stat"
	if [ "$2" = read ]; then
		echo $((stat[2] * 512))
	else
		echo $((stat[6] * 512))
	fi
}

# moves all|none BYTES DEVICE read|written COMMAND...: what of that the block layer sees
moves() {
	local want=$1 bytes=$2 dev=$3 what=$4 before after

	shift 4
	before=$(seen "$dev" "$what")
	"$@" || return 1
	after=$(seen "$dev" "$what")
	echo "the block layer has seen $((after - before)) bytes $what"
	if [ "$want" = all ]; then
		[ $((after - before)) -ge "$bytes" ]
	else
		[ $((after - before)) -lt $((bytes / 4)) ]
	fi
}

# By the kernel alone, without homi
kernel_does() {
	fio --output="$O/json" --output-format=json --name=job --ioengine=psync --direct=1 "$@"
}

# A byte at this offset is another one from here on.
spoil() {
	local was

	was=$(dd if="$1" bs=1 skip="$2" count=1 status=none | od -An -tu1)
	# shellcheck disable=SC2059 # an escape is wanted
	printf "\\x$(printf %x $((was ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
	sync "$1"
}

verify=(--verify=crc32c --verify_fatal=1)
differs="bad header\|verify failed\|verify: "
four=$((4 << 20))

# --- files ---

# fio adds a second --filename= to the first one.
sizes=(--size=4m --bs=32k --iodepth=8)
file_of() { file=("--filename=$1" "${sizes[@]}"); }

# Later kernels' file systems can't say where a file lies while somebody has it open for writing.
case $(uname -r) in
[1-6].*) beside=1 ;;
*) beside=0 ;;
esac

beside_a_writer() {
	local status

	exec 9>>"$HOMI_FILE"
	if [ $beside = 1 ]; then
		does read 128 "${file[@]}" "${verify[@]}" --homi_way=by_extents --rw=read
	else
		refuses "while somebody has it open for writing" "${file[@]}" --homi_way=by_extents --rw=read
	fi
	status=$?
	exec 9>&-
	return $status
}

# writes_by_blocks DEVICE [OPTION]...: the file has its blocks
writes_by_blocks() {
	local dev=$1

	shift
	if [ $beside = 1 ]; then
		moves none $four "$dev" written does write 128 "${file[@]}" "${verify[@]}" --rw=randwrite "$@"
	else
		refuses "where it has blocks already" "${file[@]}" --rw=randwrite "$@"
	fi
}

trims() {
	local before after

	before=$(stat -c %b "$HOMI_FILE")
	does trim 64 "${file[@]}" --rw=trim --io_size=2m --fdatasync=8 || return 1
	after=$(stat -c %b "$HOMI_FILE")
	echo "$before sectors before, $after after"
	[ "$before" -ge 8192 ] && [ "$after" -le $((before - 4096)) ]
}

on_a_file_system() {
	local fs dev

	mkdir -p "$1/fio"
	HOMI_FILE=$1/fio/file
	fs=$(findmnt -n -o FSTYPE "$1")
	dev=$(findmnt -n -o SOURCE "$1")
	file_of "$HOMI_FILE"
	works "$fs: written and verified by the file system" moves all $four "$dev" written \
		does write 128 "${file[@]}" "${verify[@]}" --homi_way=by_fs --rw=write --end_fsync=1
	works "$fs: read by the file system" moves all $four "$dev" read \
		does read 128 "${file[@]}" "${verify[@]}" --homi_way=by_fs --rw=read
	works "$fs: read by its blocks" moves none $four "$dev" read \
		does read 128 "${file[@]}" "${verify[@]}" --homi_way=by_extents --rw=read
	works "$fs: by its blocks while somebody writes, or not" beside_a_writer
	works "$fs: written and verified by its blocks, or not" writes_by_blocks "$dev" --homi_way=by_extents
	spoil "$HOMI_FILE" 2000000
	works "$fs: what is not as it was written is found by the file system" \
		refuses "$differs" "${file[@]}" "${verify[@]}" --homi_way=by_fs --rw=read
	works "$fs: and by its blocks" \
		refuses "$differs" "${file[@]}" "${verify[@]}" --homi_way=by_extents --rw=read
	works "$fs: trims punch holes" trims
}

# --- a partition ---

raw=("--filename=$HOMI_RAW" --homi_mode=raw "${sizes[@]}")

# Of a read, since who writes has to claim it
behind_the_end() {
	local size

	size=$(blockdev --getsize64 "$HOMI_RAW")
	printf '%s\n' "fio version 2 iolog" "$HOMI_RAW add" "$HOMI_RAW open" \
		"$HOMI_RAW read $((size - 4096)) $1" "$HOMI_RAW close" >"$O/iolog"
	runs --homi_mode=raw "--read_iolog=$O/iolog" --rw=read --bs=64k
}

refuses_behind_the_end() {
	behind_the_end 4096 && ! behind_the_end 8192 && grep -q "not within the partition" "$O/log" "$O/json"
}

on_a_partition() {
	works "raw: written and verified" moves none $four "$HOMI_RAW" written \
		does write 128 "${raw[@]}" "${verify[@]}" --rw=write --fsync=32
	works "raw: it is where the kernel looks for it" kernel_does --filename="$HOMI_RAW" \
		--size=4m --bs=32k "${verify[@]}" --rw=read
	works "raw: what the kernel has written" eval \
		'kernel_does --filename="$HOMI_RAW" --size=4m --bs=32k --rw=write "${verify[@]}" --do_verify=0 &&
		does read 128 "${raw[@]}" "${verify[@]}" --rw=read'
	spoil "$HOMI_RAW" 2000000
	works "raw: what is not as it was written is found" refuses "$differs" "${raw[@]}" "${verify[@]}" --rw=read
	works "raw: trims and flushes" does trim 128 "${raw[@]}" --rw=trim --fsync=32
	works "raw: nothing behind the end of a partition" refuses_behind_the_end
	works "raw: no writes where a file system is mounted" refuses "claimed by somebody" "${sizes[@]}" --homi_mode=raw \
		"--filename=$(findmnt -n -o SOURCE "$HOMI_EXT4")" --allow_mounted_write=1 --rw=write
	works "raw: nor to the whole disk" refuses "claimed by somebody" "${sizes[@]}" --homi_mode=raw \
		"--filename=$HOMI_BDEV" --rw=write
	works "raw: jobs that share a partition say so" eval \
		'refuses "homi_claim=0" "${raw[@]}" --rw=write --numjobs=2 --offset_increment=8m --thread &&
		runs "${raw[@]}" "${verify[@]}" --rw=write --numjobs=2 --offset_increment=8m --homi_claim=0'
}

# --- a dma-buf ---

to_a_dmabuf() {
	local heaps=0

	for HOMI_HEAP in /dev/dma_heap/system /dev/udmabuf; do
		[ -e "$HOMI_HEAP" ] || continue
		heaps=$((heaps + 1))
		HOMI_FILE=$HOMI_XFS/fio/heap
		works "$HOMI_HEAP: an example" runs_example "$jobs/dmabuf-verify.fio" 2
		file_of "$HOMI_FILE"
		works "$HOMI_HEAP: a file is written from it, or not" \
			writes_by_blocks "$(findmnt -n -o SOURCE "$HOMI_XFS")" "--homi_dmabuf=$HOMI_HEAP"
	done
	[ $heaps -gt 0 ] || skip "dma-buf" "neither a heap nor /dev/udmabuf"
}

# --- the examples ---

# runs_example FILE JOBS
runs_example() {
	fio --output="$O/json" --output-format=json "$1" &&
		jq -e "[.jobs[].error] == [range($2) | 0] and ([.jobs[] | .read.total_ios + .write.total_ios + .trim.total_ios] | min) > 0" "$O/json"
}

examples() {
	local job want

	HOMI_FILE=$HOMI_EXT4/fio/example
	for job in "$jobs"/*.fio; do
		want=$(grep '^\[' "$job" | grep -vc global)
		case $job in
		*/dmabuf-*) ;;
		*) works "example: ${job##*/}" runs_example "$job" "$want" ;;
		esac
	done
}

# --- without privilege ---

nobody() { prlimit "--memlock=$memlock" setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }

unprivileged() {
	local memlock=$((8 << 20)) HOMI_FIO=$O/homi-fio.so mode

	mode=$(stat -c %a "$device")
	cp "$root/tools/homi-fio.so" "$O/"
	mkdir -m 777 "$HOMI_EXT4/fio/free" "$O/free"
	chmod 755 "$O"
	file_of "$HOMI_EXT4/fio/free/file"
	works "nobody: not without the device" nobody_refuses "members of the group homi"
	chmod 666 "$device"
	works "nobody: written and verified" nobody_runs "${verify[@]}" --rw=write
	works "nobody: read by its blocks" nobody_runs "${verify[@]}" --rw=read --homi_way=by_extents
	memlock=65536
	works "nobody: more memory than is allowed" nobody_refuses 'raise "ulimit -l"'
	chmod "$mode" "$device"
	works "no raw queue without CAP_SYS_RAWIO" without_rawio
}
nobody_runs() {
	(cd "$O/free" && nobody fio --output="$O/free/json" --name=job "--ioengine=external:$HOMI_FIO" "${file[@]}" "$@")
}
nobody_refuses() { ! nobody_runs --rw=write && grep -q "$1" "$O/log" "$O/free/json"; }
without_rawio() {
	! setpriv --bounding-set=-sys_rawio fio --output="$O/json" --name=job "--ioengine=external:$HOMI_FIO" \
		"${raw[@]}" --rw=read && grep -q "it needs CAP_SYS_RAWIO" "$O/log" "$O/json"
}

# --- what can't be ---

bad_options() {
	local line text options

	HOMI_FILE=$HOMI_EXT4/fio/bad
	truncate -s 4m "$HOMI_FILE"
	while IFS='|' read -r text where options; do
		read -ra options <<<"$options"
		works "refused: ${where##*/} ${options[*]}" refuses "$text" "--filename=$where" "${sizes[@]}" --rw=read "${options[@]}"
	done <<-END
		valid values|$HOMI_FILE|--homi_mode=nonsense
		valid values|$HOMI_FILE|--homi_way=nonsense
		has no pages|$HOMI_FILE|--homi_way=by_fs --homi_dmabuf=/dev/udmabuf
		leave it out with homi_mode=raw|$HOMI_RAW|--homi_mode=raw --homi_way=by_fs
		wants a namespace or a partition|$HOMI_FILE|--homi_mode=raw
		wants homi_mode=raw|$HOMI_RAW|
		"homi list" tells|$HOMI_FILE|--homi_ctrl=nvme77
		on no block device|$O/elsewhere|
		it is no heap|$HOMI_FILE|--homi_dmabuf=/dev/null
		a heap below|$HOMI_FILE|--homi_dmabuf=/dev/dma_heap/none
		a command takes|$HOMI_RAW|--homi_mode=raw --bs=4m
		the controller takes|$HOMI_RAW|--homi_mode=raw --iodepth=65536 --bs=512
	END
}

# --- beside controller resets ---

# Only while there is I/O: fio says from when on, and until when.
reset_again() {
	local i

	for ((i = 0; i < resets; i++)); do
		while ! [ -e "$O/running" ]; do sleep 0.02; done
		echo 1 >"/sys/class/nvme/$HOMI_CTRL/reset_controller" || return 1
		sleep 0.$((i % 4))
	done
}

# The same job until there were enough
beside_resets() {
	local times=0 status=0

	reset_again &
	resetter=$!
	while [ $status = 0 ] && kill -0 $resetter 2>/dev/null; do
		"$@" "--exec_prerun=touch $O/running" "--exec_postrun=rm $O/running" >"$O/job" 2>&1 || status=1
		rm -f "$O/running"
		grep -h "made anew" "$O/job"
		times=$((times + 1))
	done
	[ $status = 0 ] || {
		kill $resetter 2>/dev/null
		cat "$O/job" "$O/json"
	}
	wait $resetter || status=1
	resetter=
	echo "$times times beside $resets resets"
	return $status
}

# ... of which this job has seen most, and each had taken its queue pair away.
loses_queues() {
	beside_resets "$@" &&
		[ "$(sed -n 's/.*made anew \([0-9]*\) times.*/\1/p' "$O/log" | paste -sd+ | bc)" -ge $((resets / 2)) ]
}

all_beside_resets() {
	HOMI_FILE=$HOMI_XFS/fio/resets
	file=("--filename=$HOMI_FILE" --size=16m --bs=16k --iodepth=16 "${verify[@]}")
	works "resets: written and verified by the file system" beside_resets does write 1024 "${file[@]}" \
		--homi_way=by_fs --rw=randwrite
	sed -n 's/^[0-9]* times/# &/p' "$O/log"
	works "resets: read by its blocks" beside_resets does read 1024 "${file[@]}" --homi_way=by_extents --rw=read
	sed -n 's/^[0-9]* times/# &/p' "$O/log"
	raw=("--filename=$HOMI_RAW" --homi_mode=raw --size=16m --bs=16k --iodepth=16 "${verify[@]}")
	works "resets: raw, written and verified" loses_queues does write 1024 "${raw[@]}" --rw=randwrite --fsync=100
	sed -n 's/^[0-9]* times/# &/p; s/^homi: \(.*made anew\)/# \1/p' "$O/log"
}

on_a_file_system "$HOMI_EXT4"
on_a_file_system "$HOMI_XFS"
on_a_partition
to_a_dmabuf
# What a slow kernel learns nothing from
if [ -z "${HOMI_SLOW:-}" ]; then
	examples
	unprivileged
	bad_options
fi
all_beside_resets
plan
