#!/bin/bash
# SPDX-License-Identifier: MIT
# homi-bench on a real controller, as TAP: who reads, and where everything lies. It measures; here
# only what it has read counts, which it compares by itself. Root, homi loaded; environment as
# scripts/guest-run sets it: HOMI_CTRL, HOMI_EXT4, HOMI_XFS.
set -u
root=$(readlink -f "$(dirname "$0")/../..")
bench=$root/tools/homi-bench
flip=$root/build/tools/flip.so
: "${HOMI_CTRL:?}" "${HOMI_EXT4:?}" "${HOMI_XFS:?}"
tmp=$(mktemp -d)
. "$root/lib/tap.sh"

clean_up() {
	rm -rf "$tmp" "$HOMI_EXT4/bench" "$HOMI_XFS/bench"
}
trap clean_up EXIT

make_files() {
	mkdir -p "$1/bench"
	head -c 2500000 /dev/urandom >"$1/bench/whole"
	truncate -s 1000000 "$1/bench/holes"
	dd if=/dev/urandom of="$1/bench/holes" bs=4096 count=50 seek=30 conv=notrunc status=none
	truncate -s 1000000 "$1/bench/nothing"
	head -c 5000 /dev/urandom >"$1/bench/short"
	: >"$1/bench/empty"
	sync -f "$1"
}

# reads NAME FILTER ARGUMENT...: a second of it, and what jq says of the answer
reads() {
	local name=$1 filter=$2 status=0

	shift 2
	"$bench" -d "$HOMI_CTRL" -s 1 -o json "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
	if [ $status = 0 ] && jq -e ".reads > 0 and .compared > 0 and .bytes > 0 and ($filter)" "$tmp/out" >/dev/null; then
		ok "$name"
		jq -r '"# \(.reads) reads, \(.compared) buffers compared"' "$tmp/out"
	else
		not_ok "$name"
		{ echo "status $status"; cat "$tmp/err" "$tmp/out"; } | sed 's/^/# /'
	fi
}

# says STATUS TEXT NAME ARGUMENT...
says() {
	local want=$1 text=$2 name=$3 status=0

	shift 3
	"$bench" "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
	if [ $status = "$want" ] && grep -q -e "$text" "$tmp/out" "$tmp/err"; then
		ok "$name"
	else
		not_ok "$name"
		{ echo "status $status"; cat "$tmp/err" "$tmp/out"; } | sed 's/^/# /'
	fi
}

# Not as long as it was told, since somebody else wants to write to the file
gives_way() {
	local pid status=0 begin=$SECONDS i

	"$bench" -d "$HOMI_CTRL" -s 100 "$@" "$HOMI_EXT4/bench/whole" >"$tmp/out" 2>"$tmp/err" &
	pid=$!
	for ((i = 0; i < 500; i++)); do
		grep -q "LEASE.*READ.*:$(stat -c %i "$HOMI_EXT4/bench/whole") " /proc/locks && break
		sleep 0.05
	done
	sleep 1
	echo more >>"$HOMI_EXT4/bench/whole"
	wait $pid || status=$?
	[ $status = 5 ] && [ $((SECONDS - begin)) -lt 90 ] && grep -q "wanted to change it" "$tmp/err" && return
	{ echo "status $status"; cat "$tmp/err" "$tmp/out"; } | sed 's/^/# /'
	return 1
}

make_files "$HOMI_EXT4"
make_files "$HOMI_XFS"
for dir in "$HOMI_EXT4" "$HOMI_XFS"; do
	reads "a thread: $dir" '.initiator == "cpu" and .latency_p50_ns > 0 and .latency_p99_ns >= .latency_p50_ns' \
		"$dir/bench/whole"
	reads "threads that play a device: $dir" '.initiator == "device-model" and .threads == 4' -i device-model \
		"$dir/bench/whole"
done
reads "small queues" '.queues == 2 and .depth == 2' -q 2 -D 2 "$HOMI_EXT4/bench/whole"
reads "PRP lists" '.bytes > .reads * 30000' --bs 64k "$HOMI_XFS/bench/whole"
reads "PRP lists, by a device" '.bytes > .reads * 20000' -i device-model -D 8 --bs 64k "$HOMI_XFS/bench/whole"
reads "a file with holes" 'true' "$HOMI_EXT4/bench/holes"
reads "a file with holes, by a device" 'true' -i device-model -t 2 "$HOMI_XFS/bench/holes"
# Where nothing translates the system's pages are not in one piece, so rings of one page
if [ -e /dev/udmabuf ]; then
	for what in sq cq lists data; do
		reads "$what elsewhere" ".places.$what == \"device\"" --udmabuf -D 64 "--$what=device" --bs 16k "$HOMI_EXT4/bench/whole"
	done
	reads "all elsewhere, by a device" '[.places[]] == ["device", "device", "device", "device"]' -i device-model \
		--udmabuf -D 64 --sq=device --cq=device --lists=device --data=device --bs 16k "$HOMI_XFS/bench/whole"
else
	skip "places" "no /dev/udmabuf"
fi
says 0 "reads a second" "for people" -s 1 "$HOMI_EXT4/bench/whole"
says 0 "^usage:" "help" --help
says 2 "wants --dmabuf or --udmabuf" "no device's memory" --data=device "$HOMI_EXT4/bench/whole"
for args in --bs=1x --depth=1k -t1k -q1k --seconds=2m -bfoo; do
	says 2 "is not a number" "no number: $args" $args "$HOMI_EXT4/bench/whole"
done
says 2 "is not from 512" "too few bytes" --bs=5 "$HOMI_EXT4/bench/whole"
says 2 "no multiple of the namespace's blocks" "a part of a block" --bs=1000 "$HOMI_EXT4/bench/whole"
says 2 "power of two" "a depth that can't be shared" -i device-model -D 100 "$HOMI_EXT4/bench/whole"
says 2 "neither host nor device" "no such side" --sq=nowhere "$HOMI_EXT4/bench/whole"
says 2 "is shorter" "a short file" --bs 128k "$HOMI_EXT4/bench/short"
says 3 "there is nothing in the file" "an empty file" "$HOMI_EXT4/bench/empty"
says 3 "no NVMe namespace\|on no block device" "a file elsewhere" "$tmp/out"
says 4 "nothing was read" "a file that is one hole" -s 1 "$HOMI_EXT4/bench/nothing"
FLIP=0 LD_PRELOAD=$flip says 1 "is not what is there" "something else than pread gives" -d "$HOMI_CTRL" -s 1 \
	"$HOMI_EXT4/bench/short"
for initiator in cpu device-model; do
	if gives_way -i $initiator; then
		ok "gives way to a writer: $initiator"
	else
		not_ok "gives way to a writer: $initiator"
	fi
done
plan
