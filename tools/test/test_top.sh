#!/bin/bash
# SPDX-License-Identifier: MIT
# "homi stats" and "homi top" on a real controller, as TAP. Root, homi loaded; environment as
# scripts/guest-run sets it: HOMI_CTRL, HOMI_EXT4.
set -u -o pipefail
root=$(readlink -f "$(dirname "$0")/../..")
homi=$root/tools/homi
reader=$root/build/lib/uring_read
: "${HOMI_CTRL:?}" "${HOMI_EXT4:?}"
O=$(mktemp -d)
dir=$HOMI_EXT4/stats
stats=/sys/class/homi/$HOMI_CTRL/stats
. "$root/lib/tap.sh"
children=()
clean_up() {
	[ ${#children[@]} = 0 ] || kill "${children[@]}" 2>/dev/null
	rm -rf "$O" "$dir"
}
trap clean_up EXIT

# gives STATUS ARGUMENT...: the exit status of homi; output is in $O/out
gives() {
	local want=$1 status=0

	shift
	"$homi" "$@" >"$O/out" || status=$?
	[ $status = "$want" ] || { echo "status $status, not $want"; return 1; }
}
# stat NAME: as homi tells it
stat() { "$homi" stats "$HOMI_CTRL" -o json | jq ".controllers[0].$1"; }
# grown NAME BEFORE BY
grown() {
	local now

	now=$(stat "$1")
	[ "$now" = $(($2 + $3)) ] || { echo "$1 was $2, is $now"; return 1; }
}
# The next thing is there within a minute, or goes wrong.
wait_for() {
	local i

	for i in $(seq 600); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	"$@"
}

as_sysfs() {
	local file count=0

	gives 0 stats -o json "$HOMI_CTRL" || return 1
	for file in "$stats"/*; do
		[ "$(jq ".controllers[0].${file##*/}" "$O/out")" = "$(cat "$file")" ] || {
			echo "${file##*/} is $(cat "$file")"
			return 1
		}
		count=$((count + 1))
	done
	jq -e ".controllers[0].name == \"$HOMI_CTRL\" and (.controllers[0] | length) == $count + 1" "$O/out"
}

in_table() {
	gives 0 stats && head -n 1 "$O/out" | grep -qw "$HOMI_CTRL" && grep -q '^queues_quarantined  *[0-9]' "$O/out"
}

as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$O/homi" "$@"; }
nobody_stats() { as_nobody stats -o json "$HOMI_CTRL" | jq -e '.controllers[0].fs_reads >= 0'; }
nobody_top() { as_nobody top -n 1 -i 0.1 -o json | jq -e '.files == null and (.controllers | length) > 0'; }

reads() { "$reader" -d "$HOMI_CTRL" "$dir"; }

# What all refreshes have counted, of reads by file systems
seen() {
	jq -s "[.[].controllers[] | select(.name == \"$HOMI_CTRL\") | .fs_read_bytes] | add" "$O/top"
}
seen_all() { [ "$(seen)" = "$bytes" ]; }

# One that stays, with what it has done and has
row_of() {
	jq -e -s "last | .files[] | select(.controller == \"$HOMI_CTRL\" and .pid == $1)" "$O/top" >"$O/row"
}
row_is() { row_of "$1" && jq -e '.command == "homi" and .uid == 0 and .state == "open" and .queues == 0' "$O/row"; }
row_gone() {
	jq -e -s "last | .files | map(select(.controller == \"$HOMI_CTRL\" and .pid == $1)) | length == 0" "$O/top"
}

# Nothing that only a terminal understands, and as many tables as were asked for
plain() {
	gives 0 top -n 2 -i 0.1 "$HOMI_CTRL" && ! grep -q $'\033' "$O/out" &&
		[ "$(grep -c "^$HOMI_CTRL  *fs " "$O/out")" = 2 ] && [ "$(grep -c '^NAME *PID' "$O/out")" = 2 ]
}
on_terminal() { script -qec "'$homi' top -n 1 -i 0.1" /dev/null </dev/null | grep $'\033\\[H'; }

refuses() {
	local before status

	before=$(stat refused)
	exec 9>>"$dir/file1"
	gives 3 extents "$dir/file1"
	status=$?
	exec 9>&-
	[ $status = 0 ] && [ "$(stat refused)" -gt "$before" ]
}

mkdir -p "$dir"
for i in 1 2 3 4 5 6; do
	head -c $((i * 54321)) /dev/urandom >"$dir/file$i"
done
sync -f "$dir"
bytes=$((21 * 54321))
chmod 755 "$O"
cp "$homi" "$O/homi"

works "stats: as sysfs has it" as_sysfs
works "stats: a table" in_table
works "stats: no such controller: status 3" gives 3 stats nvme99
works "stats: two operands: status 2" gives 2 stats nvme0 nvme1
works "stats: whoever asks" nobody_stats
works "top: not whose files they are" nobody_top
works "top: no such controller: status 3" gives 3 top -n 1 nvme99
for i in 0 0.01 x 1x ''; do
	works "top: -i \"$i\": status 2" gives 2 top -n 1 -i "$i"
done
works "top: no terminal" plain
works "top: a terminal" on_terminal

"$homi" top -i 0.1 -o json "$HOMI_CTRL" >"$O/top" 2>"$O/err" &
children+=("$!")
wait_for [ -s "$O/top" ]
before=$(stat fs_read_bytes)
works "reads" reads
works "stats: all of these bytes" grown fs_read_bytes "$before" $bytes
works "top: all of these bytes, and each once" wait_for seen_all
"$homi" watch "$dir/file1" >"$O/watch" 2>"$O/err" &
watcher=$!
children+=("$watcher")
works "top: an open file" wait_for row_is $watcher
kill $watcher
wait $watcher
works "top: and no more" wait_for row_gone $watcher
kill "${children[0]}"
works "stats: what was refused" refuses
before=$(stat resets)
echo 1 >"/sys/class/nvme/$HOMI_CTRL/reset_controller"
works "stats: a reset" grown resets "$before" 1
plan
