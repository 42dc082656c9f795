#!/bin/bash
# SPDX-License-Identifier: MIT
# The homi command on a real controller, as TAP. Root, homi loaded; environment as
# scripts/guest-run sets it: HOMI_CTRL, HOMI_BDEV, HOMI_EXT4, HOMI_XFS; and HOMI_DRIVE and
# HOMI_MONITOR to stall the drive under QEMU.
set -u
homi=$(readlink -f "$(dirname "$0")/../homi")
flip=$(readlink -f "$(dirname "$0")/../../build/tools/flip.so")
: "${HOMI_CTRL:?}" "${HOMI_BDEV:?}" "${HOMI_EXT4:?}" "${HOMI_XFS:?}"
tmp=$(mktemp -d)
. "$(dirname "$0")/../../lib/tap.sh"

clean_up() {
	rm -rf "$tmp" "$HOMI_EXT4/cli" "$HOMI_XFS/cli"
}
trap clean_up EXIT

check() {
	local name=$1

	shift
	if "$@"; then
		ok "$name"
	else
		not_ok "$name"
		head -n 20 "$tmp/out" "$tmp/err" 2>/dev/null | sed 's/^/# /'
	fi
}
end() {
	plan
	exit
}

# The next thing is there within 10 s, or goes wrong.
wait_for() {
	local i

	for i in $(seq 100); do
		! "$@" || return 0
		sleep 0.1
	done
}

# gives STATUS ARGUMENT...: the exit status of homi; output is in $tmp/out and $tmp/err.
gives() {
	local want=$1 status=0

	shift
	"$homi" "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
	[ $status = "$want" ] || { echo "status $status, not $want" >>"$tmp/err"; return 1; }
}
# The manual, plain, has each word of stdin, and there are some.
manual=$(readlink -f "$(dirname "$0")/../../Documentation/man/homi.1")
in_manual() {
	local word words=0 status=0

	sed 's/\\f[A-Z]//g; s/\\//g' "$manual" >"$tmp/manual"
	while read -r word; do
		words=$((words + 1))
		grep -qw -e "$word" "$tmp/manual" || { echo "not in homi(1): $word" >>"$tmp/err"; status=1; }
	done
	[ $words -gt 0 ] && return $status
}
# gives_keys STATUS ARGUMENT...: the last output as JSON has those that homi(1) tells; sysfs tells others.
gives_keys() {
	gives "$@" -o json && jq -r 'del(.controllers[]?.quota?.limits?) | [paths | .[] | strings] | unique[]' "$tmp/out" | in_manual
}
manual_has_options() {
	local command

	for command in $("$homi" --help | awk '/^  / { print $1 }'); do
		"$homi" "$command" --help
	done | grep -o -e '--[a-z-]*' | sort -u | in_manual
}
# Nothing at all is no JSON, which jq does not mind.
json() { [ -s "$tmp/out" ] && jq -e "$1" "$tmp/out" >/dev/null 2>>"$tmp/err"; }
info() { "$homi" info "$HOMI_CTRL" -o json | jq -r ".controllers[0].homi.$1"; }

make_files() {
	local dir=$1/cli i

	mkdir -p "$dir"
	head -c 3000001 /dev/urandom >"$dir/tail"
	: >"$dir/empty"
	echo x >"$dir/one"
	truncate -s 5000000 "$dir/sparse"
	# Many extents with holes between them.
	for ((i = 0; i < 60; i++)); do
		dd if=/dev/urandom of="$dir/sparse" bs=4096 count=3 seek=$((i * 9)) conv=notrunc status=none
	done
	fallocate -o 2500000 -l 1000000 -n "$dir/sparse"
	mkdir -p "$1/tree/deep"
	# Copies: who shares blocks with these would have them move.
	cp --reflink=never --sparse=always "$dir"/{empty,one,sparse} "$1/tree"
	cp --reflink=never "$dir/tail" "$1/tree/deep"
	sync -f "$dir"
}

# What filefrag says, as "offset slba" of each piece that has data, in 512 byte units.
by_filefrag() {
	local start

	start=$(cat "/sys/class/block/$(basename "$(findmnt -no SOURCE "$(dirname "$(dirname "$1")")")")/start")
	filefrag -v -b512 "$1" | awk -v start="$start" '
		$1 ~ /^[0-9]+:$/ && !/unwritten/ {
			gsub(/\.\./, " "); gsub(/:/, " ")
			for (i = 0; i < $3 - $2 + 1; i++) print $2 + i, $4 + i + start
		}'
}
by_homi() {
	"$homi" extents -o json "$1" | jq -r '.block_size as $b | .extents[] | select(.hole | not) |
		[.offset, .slba, .blocks, $b] | @tsv' | awk '{
			u = $4 / 512
			for (i = 0; i < $3 * u; i++) print $1 / 512 + i, $2 * u + i
		}'
}
# Up to the end of the file: filefrag shows also what is allocated behind, homi the whole of
# the last block.
up_to_end() { awk -v end="$((($(stat -c %s "$1") + 511) / 512))" '$1 < end' | sort; }
same_blocks() {
	by_filefrag "$1" | up_to_end "$1" >"$tmp/out"
	by_homi "$1" | up_to_end "$1" >"$tmp/err"
	[ -s "$tmp/out" ] && cmp "$tmp/out" "$tmp/err"
}

# A directory: each file as by itself, in order; one that is being written to does not spoil the others.
same_tree() {
	local dir=$1 file counts='' status

	for file in deep/tail empty one sparse; do
		"$homi" extents -o json "$dir/$file" >"$tmp/one" || return 1
		counts+=$(jq -r --arg f "$file" '"\($f) \(.size) \(.extents | length)"' "$tmp/one")$'\n'
	done
	gives 0 extents -o json "$dir" &&
		[ "$(jq -r '.files[] | "\(.path) \(.size) \(.count)"' "$tmp/out")" = "${counts%$'\n'}" ] || return 1
	gives 0 extents "$dir/" && grep -q "^$dir/: 4 files on $HOMI_CTRL$" "$tmp/out" || return 1
	exec 9>>"$dir/one"
	gives 3 extents -o json "$dir" && json '[.files[] | select(.error)] == [.files[2]] and .files[3].count > 60'
	status=$?
	exec 9>&-
	return $status
}

copies() {
	local file=$1

	shift
	gives 0 read "$@" -O "$tmp/copy" "$file" && cmp "$tmp/copy" "$file" >>"$tmp/err" &&
		"$homi" read "$@" -O - "$file" 2>>"$tmp/err" | cmp - "$file" >>"$tmp/err"
}

# pread gives one byte wrong, which verify must find.
finds_difference() {
	local file=$1 at=$2

	FLIP=$at LD_PRELOAD=$flip gives 1 verify -o json "$file" &&
		json ".verified == false and .files[0].first_difference == $at"
}

refused_writer() {
	local status

	exec 9>>"$1"
	gives 3 read -o json "$1" && json '.error.errno == "EAGAIN" and .error.reason == 27'
	status=$?
	exec 9>&-
	return $status
}

# Somebody writes while the file is held by a reader whose receiver has stopped.
gives_way() {
	local file=$1 status

	mkfifo "$tmp/pipe"
	exec 8<>"$tmp/pipe"
	# With more in flight all could be there before it is wanted back.
	"$homi" read --bs 4k --depth 2 "$file" -O "$tmp/pipe" >"$tmp/out" 2>"$tmp/err" &
	status=$!
	sleep 1
	{ sleep 1; exec timeout 20 cat <&8 >/dev/null; } &
	timeout 20 bash -c "echo more >>$file" || return 1
	wait $status
	status=$?
	exec 8<&-
	kill %% 2>/dev/null
	rm "$tmp/pipe"
	[ $status = 5 ] && grep -q "wants the file" "$tmp/err"
}

# Held by one, seen by another, given to a writer at once, and held again.
watches() {
	local file=$1 status watcher

	"$homi" watch -c 2 -o json "$file" >"$tmp/watch" 2>"$tmp/err" &
	watcher=$!
	wait_for [ -s "$tmp/watch" ]
	gives 0 extents -o json "$file" && json ".generation > 0 and (.holders | length) == 1 and
		.holders[0].pid == $watcher and .holders[0].delegation and
		(.holders[0].writes | not) and (.holders[0].recalled | not)" || { kill $watcher; return 1; }
	timeout 20 dd if=/dev/urandom of="$file" bs=4096 count=1 conv=notrunc,fsync status=none ||
		{ kill $watcher; return 1; }
	wait_for held_again
	cp "$file" "$tmp/copy" && timeout 20 dd if="$tmp/copy" of="$file" bs=1M status=none ||
		{ kill $watcher; return 1; }
	wait $watcher
	status=$?
	jq -s -c 'map(.event)' "$tmp/watch" >"$tmp/out"
	[ $status = 0 ] && [ "$(cat "$tmp/out")" = '["held","recalled","held","recalled"]' ] &&
		jq -e -s '.[2].changed == 0 and .[1].generation > .[0].generation' "$tmp/watch" >/dev/null
}
held_again() { [ "$(grep -c held "$tmp/watch")" = 2 ]; }
# It ends when it is told to, and holds nobody up after that.
watch_ends() {
	local watcher

	"$homi" watch "$1" >"$tmp/out" 2>"$tmp/err" &
	watcher=$!
	wait_for [ -s "$tmp/out" ]
	kill "$watcher" && wait "$watcher" && grep -q "held, generation" "$tmp/out"
}

survives_resets() {
	local file=$1 i status reader

	for i in 1 2 3; do
		"$homi" read --bs 4k --depth 2 "$file" >"$tmp/out" 2>"$tmp/err" &
		reader=$!
		sleep 0.2
		echo 1 >"/sys/class/nvme/$HOMI_CTRL/reset_controller" 2>/dev/null
		wait $reader
		status=$?
		[ $status = 0 ] || [ $status = 5 ] || return 1
	done
	gives 0 verify "$file"
}

# What is read in order goes on where it was.
goes_on() {
	local file=$1 i reader

	"$homi" verify --bs 4k --depth 2 -o json "$file" >"$tmp/out" 2>"$tmp/err" &
	reader=$!
	for ((i = 0; i < 4; i++)); do
		sleep 0.4
		echo 1 >"/sys/class/nvme/$HOMI_CTRL/reset_controller" 2>/dev/null
	done
	wait $reader && json '.verified'
}

survives_kill() {
	local i

	for i in 1 2 3 4; do
		"$homi" read --bs 4k --depth 4 "$1" >/dev/null 2>&1 &
		sleep 0.1$i
		kill -9 $!
		wait $! 2>/dev/null
	done
	for i in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(info queues_lent)" != 0 ] || break
		sleep 0.5
	done
	[ "$(info queues_lent)" = 0 ] && gives 0 verify "$1"
}

# A drive that gives 2 KiB a second: of two commands of 4 KiB none ends within a second, but
# both do within the five that a deletion may take.
stall() { homi_qemu "block_set_io_throttle $HOMI_DRIVE 0 $1 0 0 0 0"; }
times_out() {
	local file=$1 before status=0

	before=$(dmesg | grep -c "was not deleted")
	stall 2048
	sleep 0.2
	gives 4 read --timeout 1 --depth 2 --bs 4k -o json "$file" || status=1
	stall 0
	[ $status = 0 ] && json '.error.errno == "ETIMEDOUT"' &&
		[ "$(info queues_lent)" = 0 ] && [ "$(info state)" = live ] &&
		[ "$(dmesg | grep -c "was not deleted")" = "$before" ] && gives 0 verify "$file"
}

# In place: same blocks, other content, from a file and from a pipe; what is refused changes nothing.
writes() {
	local file=$1/cli/target data=$1/cli/data before

	check "prepare: $1" gives 0 prepare -o json "$file" 3m
	check "all of it was zeroed" json ".size == 3145728 and .zeroed == 3145728 and .extents > 0"
	check "and is zero" cmp -n 3145728 "$file" /dev/zero
	before=$(by_homi "$file" | sha256sum)
	head -c 3145728 /dev/urandom >"$data"
	check "write: $1" gives 0 write -o json -I "$data" "$file"
	check "that many bytes" json ".bytes == 3145728 and .ios > 1"
	check "they are in the file" cmp "$data" "$file"
	check "in the same blocks" [ "$before" = "$(by_homi "$file" | sha256sum)" ]
	check "verify what was written" gives 0 verify "$file"
	head -c 65536 /dev/urandom >"$tmp/head"
	check "write from a pipe" pipes "$tmp/head" "$file" --bs 4k
	cat "$tmp/head" >"$tmp/want" && tail -c +65537 "$data" >>"$tmp/want"
	check "only as much as there is" cmp "$tmp/want" "$file"
	head -c 1000 "$data" >"$tmp/head"
	check "no whole blocks: status 3" gives 3 write -I "$tmp/head" "$file"
	head -c 3149824 /dev/zero >"$tmp/long"
	check "longer than the file: status 3" gives 3 write -I "$tmp/long" "$file"
	check "and advice" grep -q "homi prepare" "$tmp/err"
	check "a pipe likewise: status 3" pipes_badly 3 0 "$tmp/long" "$file"
	check "onto itself: status 2" gives 2 write -I "$file" "$file"
	exec 9<"$file"
	check "open elsewhere: status 3" gives 3 write -o json -I "$data" "$file"
	check "and why" json '.error.errno == "EAGAIN" and .error.reason == 31'
	exec 9<&-
	check "nothing was changed" cmp "$tmp/want" "$file"
	check "prepare what somebody holds" prepares_what_is_held "$file"
	check "shorter than it is: status 3" gives 3 prepare "$file" 1m
	check "a size that is none: status 2" gives 2 prepare "$file" 1x
	check "the manual: keys of write" gives_keys 0 write -I "$tmp/want" "$file"
	check "the manual: keys of prepare" gives_keys 0 prepare "$file" 3145728
	check "prepare what is prepared" gives 0 prepare -o json "$file" 3145728
	check "does nothing" json ".zeroed == 0"
	check "holes: status 3" gives 3 write -I "$data" "$1/cli/sparse"
	cp "$1/cli/sparse" "$tmp/sparse"
	check "prepare what has holes" gives 0 prepare "$1/cli/sparse" 6000000
	truncate -s 6000000 "$tmp/sparse"
	check "keeps what is there" cmp "$tmp/sparse" "$1/cli/sparse"
	head -c 8192 /dev/urandom >"$tmp/head"
	check "and can be written" gives 0 write -I "$tmp/head" "$1/cli/sparse"
	[ "$1" = "$HOMI_XFS" ] || return
	cp --reflink=always "$file" "$1/cli/clone"
	check "shared: status 3" gives 3 write -I "$data" "$file"
	check "prepare what is shared" gives 0 prepare -o json "$file" 3145728
	check "has its own blocks" json ".unshared == 3145728"
	check "write to these" gives 0 write -I "$data" "$file"
	check "the other one stays" cmp "$tmp/want" "$1/cli/clone"
}
# Who holds it gives way, and is waited for.
prepares_what_is_held() {
	local watcher status

	"$homi" watch -c 1 "$1" >"$tmp/watch" 2>&1 &
	watcher=$!
	wait_for [ -s "$tmp/watch" ]
	gives 0 prepare "$1" 3145728
	status=$?
	kill $watcher 2>/dev/null
	wait $watcher
	return $status
}
has_room() { sync -f "$1" && [ "$(stat -f -c %a "$1")" -ge "$2" ]; }
# refused_whole DIR SIZE ERRNO TEXT: no file is made, none is changed, and nothing is used up.
refused_whole() {
	local new=$1/cli/new old=$1/cli/old room

	head -c 1000001 /dev/urandom >"$tmp/old"
	rm -f "$new"
	cp "$tmp/old" "$old"
	sync -f "$1"
	room=$(($(stat -f -c %a "$1") - 64))
	gives 3 prepare -o json "$new" "$2" && json ".error.errno == \"$3\"" && [ ! -e "$new" ] &&
		gives 3 prepare "$old" "$2" && grep -q "$4" "$tmp/err" && cmp "$old" "$tmp/old" || return 1
	wait_for has_room "$1" "$room"
	has_room "$1" "$room"
}
refused_late() { ROOM=1 LD_PRELOAD=$flip refused_whole "$@"; }
refused_by_limit() { (ulimit -f 2048 && refused_whole "$@"); }
stopped() { STOP=15 LD_PRELOAD=$flip gives 143 prepare "$1/cli/new" 3m 2>/dev/null && [ ! -e "$1/cli/new" ]; }
# There is room for one MiB more, but not for blocks of its own.
refused_copy() {
	local one=$1/cli/one40 clone=$1/cli/clone40 status

	head -c 41943040 /dev/urandom >"$one" && cp --reflink=always "$one" "$clone" && sync -f "$1" &&
		fallocate -l $(($(stat -f -c '%a * %S' "$1") - 20971520)) "$1/cli/filler" &&
		gives 3 prepare "$clone" 41m && cmp "$one" "$clone"
	status=$?
	rm -f "$one" "$clone" "$1/cli/filler"
	return $status
}
# Only where there is little of it: a command that is wrong would use it all up.
prepares_nothing() {
	if ! mountpoint -q "$1" || [ $(($(stat -f -c '%b * %S' "$1"))) -gt 4294967296 ]; then
		skip "prepare what can't be had: $1" "not a small file system"
		return
	fi
	check "prepare, no room: $1" refused_whole "$1" 8g ENOSPC "bytes more are needed, and .* has [0-9]* free"
	check "prepare, no room, as it turns out: $1" refused_late "$1" 8g ENOSPC "no room"
	check "prepare, over a limit: $1" refused_by_limit "$1" 3m EFBIG "ulimit"
	check "prepare, stopped: $1" stopped "$1"
	rm -f "$1/cli/new" "$1/cli/old"
	[ "$1" != "$HOMI_XFS" ] || check "prepare what is shared, no room" refused_copy "$1"
}
# What is there already is not lost to a file that can't be read.
keeps_output() {
	echo kept >"$tmp/kept"
	gives 3 read -d "$HOMI_CTRL" -O "$tmp/kept" /nonexistent && [ "$(cat "$tmp/kept")" = kept ] &&
		gives 0 read -O "$tmp/kept" "$1" && cmp "$tmp/kept" "$1"
}
leaves_no_output() { gives 3 read -O "$tmp/none" "$1" && ! [ -e "$tmp/none" ]; }
# The copy is not what stands in for stdout.
without_stdout() {
	"$homi" read -O "$tmp/alone" "$1" >&- 2>"$tmp/err"
	cmp "$tmp/alone" "$1"
}
# Somebody changes the end of it when it was read by the queue and is now by pread.
changed_meanwhile() {
	local file=$1 recall=/sys/module/homi/parameters/recall_ms before verifier status written=1

	before=$(cat $recall)
	echo 200 >$recall
	stall 2097152
	"$homi" verify --progress -o json "$file" >"$tmp/out" 2>"$tmp/progress" &
	verifier=$!
	wait_for grep -q pread "$tmp/progress"
	timeout 60 dd if=/dev/urandom of="$file" bs=4096 count=1 conv=notrunc status=none \
		seek=$(($(stat -c %s "$file") / 4096 - 1)) || written=0
	wait $verifier
	status=$?
	stall 0
	echo "$before" >$recall
	[ $written = 1 ] && [ $status = 5 ] && json '.files[0].error.errno == "ESTALE" and (.files[0].match | not)'
}
# Names are any bytes, JSON is not.
odd_name() {
	local file=$1/cli/$'odd \xff\xc3\xa9\xed\xa0\x80'

	# Not by reflink, as cp and cat may: "watch" has blocks that stay.
	dd if="$1/cli/tail" of="$file" bs=1M status=none
	gives 0 extents -o json "$file" && iconv -f UTF-8 -t UTF-8 "$tmp/out" >/dev/null &&
		json '.path | endswith("odd \ufffdé\ufffd\ufffd\ufffd")'
}
pipes() {
	local from=$1 to=$2

	shift 2
	# shellcheck disable=SC2002 # a pipe is what is wanted
	cat "$from" | "$homi" write "$@" "$to" >"$tmp/out" 2>"$tmp/err"
}

# pipes_badly STATUS WRITTEN FROM TO: some may be written when it is seen, which is said.
pipes_badly() {
	local want=$1 written=$2 status

	pipes "$3" "$4" -o json
	status=$?
	[ $status = "$want" ] && json ".error.errno | . == \"EFBIG\" or . == \"EINVAL\"" || return 1
	if [ "$written" = 0 ]; then
		! grep "have been written" "$tmp/err"
	else
		grep -q "the first $written bytes have been written, but" "$tmp/err" && cmp -n "$written" "$3" "$4"
	fi
}
# More than is looked at before any of it is written
pipes_too_much() {
	local file=$HOMI_EXT4/cli/target16

	check "prepare 17 MiB" gives 0 prepare "$file" 17m
	head -c 16778216 /dev/urandom >"$tmp/long"
	check "a pipe that ends within a block: status 4" pipes_badly 4 16777216 "$tmp/long" "$file"
	head -c 17826816 /dev/urandom >"$tmp/long"
	check "a pipe that is too long: status 4" pipes_badly 4 16777216 "$tmp/long" "$file"
	rm -f "$file" "$tmp/long"
}
# The stock driver has all; it leaves one, with which a file is read, and gets it back.
reserve_takes_and_gives() {
	if [ "$(info queues_granted)" -lt 2 ]; then
		skip reserve "the controller has one queue"
		return
	fi
	check "reserve more than there are: status 3" gives 3 reserve "$HOMI_CTRL" 999
	check "and advice" grep -q "keeps one" "$tmp/err"
	check "reserve one" gives 0 reserve -o json "$HOMI_CTRL" 1
	check "by a reset" json ".queues_reserved == 1 and .queues_spare == 1 and .reset"
	check "read with it" copies "$1"
	check "give it back" gives 0 reserve "$HOMI_CTRL" 0
	check "then there is none" [ "$(info queues_spare)" = 0 ]
}

# io_uring_says VERDICT TEXT: that line of "homi check"; its status is about other things
io_uring_says() {
	"$homi" check -o json >"$tmp/out" 2>"$tmp/err" || true
	json "[.checks[] | select(.check == \"io_uring\")] | length == 1 and .[0].verdict == \"$1\" and
		(.[0].text | contains(\"$2\"))"
}
usable_for() { gives 0 check && tail -n 1 "$tmp/out" | grep -q "can be used, on [0-9]* controllers*, for $1"; }
# Who has no CAP_SYS_RAWIO: no raw queue, but READ and WRITE by io_uring, if there is that.
make_lesser() {
	printf '#!/bin/sh\nexec setpriv --bounding-set -sys_rawio %s "$@"\n' "$homi" >"$tmp/lesser" && chmod +x "$tmp/lesser"
}
line_for_lesser() { homi=$tmp/lesser line_says CAP_SYS_RAWIO "$@"; }
usable_by_io_uring() {
	usable_for "READ and WRITE by io_uring, but not for raw queues" && gives 0 check -o json &&
		json ".usable and .io_uring and .usable_controllers > 0 and .raw_queue_controllers == 0"
}
# From 6.6 on it can be switched off, for root too.
io_uring_off() {
	local status

	echo 2 >/proc/sys/kernel/io_uring_disabled || return 1
	io_uring_says WARN "not for you" && usable_for "raw queues, but not for READ and WRITE by io_uring" &&
		line_for_lesser NO "READ and WRITE by io_uring: no" && homi=$tmp/lesser gives 1 check &&
		grep -q "homi can't be used" "$tmp/out"
	status=$?
	echo 0 >/proc/sys/kernel/io_uring_disabled || return 1
	return $status
}

# line_says LINE VERDICT TEXT: of the machine, or of the controller that is tested; its status is about other things
line_says() {
	"$homi" check -o json >"$tmp/out" 2>"$tmp/err" || true
	jq -e --arg line "$1" --arg verdict "$2" --arg text "$3" --arg ctrl "$HOMI_CTRL" '
		[.checks[] | select(.check == $line and (.controller == null or .controller == $ctrl))] |
		length == 1 and .[0].verdict == $verdict and (.[0].text | contains($text)) and
		($verdict == "OK" or (.[0].advice | length) > 0)' "$tmp/out" >/dev/null 2>>"$tmp/err"
}
# meanwhile PATH TEXT LINE VERDICT TEXT: with something else in that file, for this process alone
meanwhile() {
	export homi tmp
	export -f line_says
	# shellcheck disable=SC2016 # for the inner shell
	printf '%s\n' "$2" >"$tmp/other" && unshare -m bash -c '
		mount --bind "$tmp/other" "$1" || exit 1
		shift
		line_says "$@"' meanwhile "$1" "${@:3}"
}
# What "make install" brings, where no udev runs: the rule, and the group that it names
apply_rule() { udevadm test --action=add "/sys/class/homi/$HOMI_CTRL" >"$tmp/out" 2>&1; }
udev_rule() {
	local node=/dev/homi/$HOMI_CTRL scripts

	scripts=$(readlink -f "$(dirname "$0")/../../scripts")
	if ! command -v udevadm >/dev/null || ! command -v systemd-sysusers >/dev/null || getent group homi >/dev/null; then
		skip "check: the udev rule" "no udev and sysusers, or a group homi of somebody else's"
		return
	fi
	cp "$scripts/60-homi.rules" /etc/udev/rules.d/
	check "check: the rule's group is not there" line_says node WARN "no group homi"
	check "sysusers makes the group" systemd-sysusers "$scripts/homi.sysusers"
	check "udev takes the rule" apply_rule
	check "check: the group may open it" line_says node OK "0660: root, and group homi"
	check "so it is" [ "$(stat -c %a:%U:%G "$node")" = 660:root:homi ]
	rm /etc/udev/rules.d/60-homi.rules
	chmod 600 "$node" && chgrp root "$node"
	groupdel homi
}
check_lines() {
	local node=/dev/homi/$HOMI_CTRL mode line

	for line in kernel module btf ftrace kprobes "secure boot" lockdown signatures fs.leases-enable io_uring \
		CAP_SYS_RAWIO CAP_LEASE RLIMIT_MEMLOCK transport device node doorbells; do
		check "check: $line" line_says "$line" OK ""
	done
	# Debian's 6.12 has no PCI_P2PDMA.
	if grep -qw pci_p2pdma_distance_many /proc/kallsyms; then
		check "check: dma-bufs" line_says dma-bufs OK ""
	else
		check "check: dma-bufs" line_says dma-bufs WARN "no CONFIG_PCI_P2PDMA"
	fi
	check "check: OK, or what to do" json '[.checks[] | select(.verdict != "OK" and (.advice // "" | length) == 0)] == []'
	check "check: the version of both" line_says module OK "loaded $("$homi" --version | sed 's/.* //'), as"
	check "check: another version" meanwhile /sys/module/homi/version 9.9.9 module WARN "loaded 9.9.9, but"
	check "check: leases are off" meanwhile /proc/sys/fs/leases-enable 0 fs.leases-enable NO off
	check "check: ftrace is off" meanwhile /proc/sys/kernel/ftrace_enabled 0 ftrace NO off
	check "check: signatures are demanded" meanwhile /sys/module/module/parameters/sig_enforce Y signatures OK "loaded all the same"
	mode=$(stat -c %a "$node")
	chmod 666 "$node"
	check "check: everybody may open it" line_says node WARN "0666: everybody"
	chmod 660 "$node" && chgrp daemon "$node"
	check "check: a group may" line_says node OK "0660: root, and group daemon"
	chmod "$mode" "$node" && chgrp root "$node"
	check "check: as it was" line_says node OK "0$mode: root only"
	udev_rule
}

of_this=".controllers[] | select(.name == \"$HOMI_CTRL\")"
# Where none is set there is no table of them.
limits() {
	local dir=/sys/class/homi/$HOMI_CTRL/quota status=0

	gives 0 list && ! grep -q ^LIMITS "$tmp/out" || status=1
	echo 7 >"$dir/queues_total"
	echo 512 >"$dir/pinned_mib_per_user"
	gives 0 list -o json &&
		json "$of_this | .quota.limits | .queues_total == 7 and .pinned_mib_per_user == 512 and .queues_per_user == 0" ||
		status=1
	gives 0 list && grep -q "^$HOMI_CTRL  *-  *7  *512.0 MiB  *-  *-  *-  *262144$" "$tmp/out" || status=1
	echo default >"$dir/queues_total"
	echo default >"$dir/pinned_mib_per_user"
	echo 9 >"$dir/extents_per_user"
	gives 0 list && grep -q "^$HOMI_CTRL  *-  *-  *-  *-  *-  *-  *9$" "$tmp/out" || status=1
	echo default >"$dir/extents_per_user"
	gives 0 list && ! grep -q ^LIMITS "$tmp/out" || status=1
	return $status
}

queue_lent() { [ "$(info queues_lent)" != 0 ]; }
# Revoked under a reader, who ends with status 5 or is through before.
revoked() {
	local file=$1 status=0 reader

	stall 2048
	"$homi" read --depth 2 --bs 4k "$file" >/dev/null 2>"$tmp/reader" &
	reader=$!
	wait_for queue_lent
	gives 0 list -o json && json "$of_this | .quota.users[] | select(.uid == 0) | .queues == 1 and .files == 1" || status=1
	gives 0 list && grep -Eq "^$HOMI_CTRL +root +1 +1 +.* +0 +1 +0, 0.0 s$" "$tmp/out" || status=1
	gives 0 revoke -n -o json "$HOMI_CTRL" && json ".revoked == 0 and .holders[0].pid == $reader" || status=1
	gives 0 revoke -o json "$HOMI_CTRL" && json ".revoked == 1 and .busy == 0" || status=1
	stall 0
	wait $reader
	[ $? = 5 ] && [ $status = 0 ] && [ "$(info queues_lent)" = 0 ]
}

check "list" gives 0 list -o json
check "list names the controller" json ".controllers[] | select(.name == \"$HOMI_CTRL\") | .homi.state == \"live\""
check "list shows limits" limits
check "info" gives 0 info "$HOMI_CTRL"
check "no command: status 2" gives 2
check "unknown command: status 2" gives 2 frobnicate
check "unknown option: status 2" gives 2 read --frobnicate x
check "option of another command: status 2" gives 2 list --depth 3
check "a number out of range: status 2" gives 2 read --depth 70000 x
# So is a size that is none, as which it would be taken; neither are counts and seconds sizes.
for args in "--bs=5" "--bs=1000" "--bs=6k" "--bs=0" "--bs=2049m" "--depth=0"; do
	check "read $args: status 2" gives 2 read $args x
	check "and why" grep -q "is no multiple of 4096\|is not from 1 to" "$tmp/err"
done
for args in "read --bs=1x" "read --bs=k" "read --bs=+4k" "read --depth=1k" "read --timeout=2m" "watch -c 1k" "top -n 1k"; do
	check "$args: status 2" gives 2 $args x
	check "is no number" grep -q "is not a number" "$tmp/err"
done
check_lines
# So it is on all kernels of the matrix.
check "check: no dma-bufs of io_uring's own" io_uring_says OK "this kernel has no registration of its own"
make_lesser
check "check: no CAP_SYS_RAWIO" line_for_lesser WARN "raw queues: no; READ and WRITE by io_uring: yes"
homi=$tmp/lesser check "check: then by io_uring alone" usable_by_io_uring
if [ -e /proc/sys/kernel/io_uring_disabled ]; then
	check "check: io_uring is off" io_uring_off
	check "check: io_uring is on again" io_uring_says OK "dma-bufs by homi"
else
	skip "check: io_uring is off" "this kernel can't switch it off"
fi
check "the manual: options" manual_has_options
for args in list "info $HOMI_CTRL" check; do
	# shellcheck disable=SC2086 # several words
	check "the manual: keys of $args" gives_keys 0 $args
done
make_files "$HOMI_EXT4"
make_files "$HOMI_XFS"
for dir in "$HOMI_EXT4" "$HOMI_XFS"; do
	check "blocks agree with filefrag: $dir, sparse" same_blocks "$dir/cli/sparse"
	check "blocks agree with filefrag: $dir, tail" same_blocks "$dir/cli/tail"
	check "a directory by one call: $dir" same_tree "$dir/tree"
done
if [ "$(info queues_spare)" = 0 ]; then
	check "no spare queue: status 3" gives 3 read "$HOMI_EXT4/cli/tail"
	check "and advice what to do" grep -q "homi reserve\|grants" "$tmp/err"
	check "check: no spare queue" line_says queues WARN "raw queues: no; READ and WRITE by io_uring: yes"
	check "check: homi can be used" gives 0 check
	reserve_takes_and_gives "$HOMI_EXT4/cli/tail"
	skip reading "no spare queue on this controller"
	end
fi
check "reserve: what is to spare" gives 0 reserve -o json "$HOMI_CTRL" 1
check "without a reset" json ".queues_reserved == 1 and .reset == false"
check "the manual: keys of reserve" gives_keys 0 reserve "$HOMI_CTRL" 1
check "the manual: keys of revoke" gives_keys 0 revoke -n "$HOMI_CTRL"
check "reserve: nothing" gives 0 reserve "$HOMI_CTRL" 0
for count in "" x -1 1.5 65535; do
	check "reserve, \"$count\": status 2" gives 2 reserve "$HOMI_CTRL" "$count"
done
check "reserve, no such controller: status 3" gives 3 reserve nvme99 1
check "revoke, no such controller: status 3" gives 3 revoke nvme99
# Whoever reads JSON gets it, and nothing else.
for args in "2 reserve $HOMI_CTRL x" "2 reserve $HOMI_CTRL" "3 reserve nvme99 1" "3 info nvme99" "3 stats nvme99" \
	"3 read /nonexistent" "2 prepare x 1x"; do
	check "$args: JSON" gives $args -o json
	check "$args: an error" json 'keys == ["error"] and (.error.text | length > 0) and (.error | has("advice")) and
		.error.errno != null and .error.reason == 0'
done
check "revoke: nobody" gives 0 revoke -o json "$HOMI_CTRL"
check "none was taken" json ".revoked == 0 and .busy == 0 and (.holders | length) == 0"
check "check" gives 0 check -o json
check "check says so" json ".usable and .io_uring and .usable_controllers > 0 and .raw_queue_controllers > 0"
for dir in "$HOMI_EXT4" "$HOMI_XFS"; do
	check "verify: $dir" gives 0 verify -o json "$dir"/cli/{tail,empty,one,sparse}
	check "verify counts: $dir" json '[.files[] | select(.match and .sha256_queue == .sha256_pread and
		.end_ns >= .start_ns)] | length == 4'
	check "the manual: keys of verify" gives_keys 0 verify "$dir/cli/tail"
	check "the manual: keys of read" gives_keys 0 read "$dir/cli/tail"
	check "the manual: keys of extents" gives_keys 0 extents "$dir/cli/sparse"
	check "the manual: keys of extents, a directory" gives_keys 0 extents "$dir/tree"
	check "read: $dir, tail" copies "$dir/cli/tail"
	check "read: $dir, sparse" copies "$dir/cli/sparse"
	check "read: $dir, small commands" copies "$dir/cli/sparse" --bs 4k --depth 1
	check "read: $dir, large commands" copies "$dir/cli/tail" --bs 1m --depth 3
	check "verify finds a difference: $dir" finds_difference "$dir/cli/tail" 2654321
	check "read into what there is: $dir" keeps_output "$dir/cli/tail"
	check "read what can't be, into a new file: $dir" leaves_no_output "$dir"
	check "read without a stdout: $dir" without_stdout "$dir/cli/tail"
	check "a name that is no text: $dir" odd_name "$dir"
	writes "$dir"
	prepares_nothing "$dir"
	check "a file that is being written: $dir" refused_writer "$dir/cli/tail"
	check "gives way to a writer: $dir" gives_way "$dir/cli/tail"
	check "watch: $dir" watches "$dir/cli/tail"
	check "watch ends: $dir" watch_ends "$dir/cli/tail"
done
pipes_too_much
check "a file elsewhere: status 3" gives 3 read /proc/self/status
check "a directory: status 3" gives 3 read "$HOMI_EXT4"
check "no such file: status 3" gives 3 read -d "$HOMI_CTRL" /nonexistent
check "read to where nothing can be: status 3" gives 3 read -O /nonexistent/copy "$HOMI_EXT4/cli/one"
check "write what is not there: status 3" gives 3 write -I /nonexistent "$HOMI_EXT4/cli/one"
check "watch, an empty file: status 3" gives 3 watch "$HOMI_EXT4/cli/empty"
check "and why" grep -q "there is nothing in the file" "$tmp/err"
check "watch, nothing that can be: status 3" gives 3 watch "$HOMI_EXT4/cli/one" /proc/self/status
check "watch, -c 0: status 2" gives 2 watch -c 0 "$HOMI_EXT4/cli/one"
check "no such controller: status 3" gives 3 read -d nvme99 "$HOMI_EXT4/cli/one"
check "the file onto itself: status 2" gives 2 read -O "$HOMI_EXT4/cli/one" "$HOMI_EXT4/cli/one"
head -c 30000000 /dev/urandom >"$HOMI_EXT4/cli/large"
sync -f "$HOMI_EXT4/cli"
if [ -n "${HOMI_MONITOR:-}" ]; then
	check "a stalled drive" times_out "$HOMI_EXT4/cli/large"
	check "revoke" revoked "$HOMI_EXT4/cli/large"
	for dir in "$HOMI_EXT4" "$HOMI_XFS"; do
		head -c 8388608 /dev/urandom >"$dir/cli/last"
		sync -f "$dir/cli"
		check "verify what is changed meanwhile: $dir" changed_meanwhile "$dir/cli/last"
	done
else
	skip "a stalled drive" "no QEMU monitor to stall it with"
fi
check "controller resets" survives_resets "$HOMI_EXT4/cli/large"
check "controller resets, in order" goes_on "$HOMI_EXT4/cli/large"
check "kill -9" survives_kill "$HOMI_EXT4/cli/large"
end
