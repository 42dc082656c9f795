#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Runs selftests and prints TAP as the kernel's own kselftest runner does.
#
# usage: run_kselftest.sh [-t [homi:]TEST]... [-c homi] [-o SECONDS] [-d] [-l] [-s] [-h]
#   -t, --test TEST                 only that one; may be repeated
#   -c, --collection homi           all, which is the default
#   -o, --override-timeout SECONDS  instead of what the file "settings" says
#   -d, --dry-run                   only tell what would be run
#   -l, --list                      the tests
#   -s, --summary                   only one line for each test; the rest is kept in a file
# Environment:
#   HOMI_TEST_NS=/dev/nvmeXnY       the one namespace that tests may write to, and on whose controller they
#                                   may do everything, resets included. Without it all of them skip.
#   HOMI_TEST_FORCE=1               also if there is something on it. What is in use, or open in any process, and
#                                   the drive with the root file system, is refused whatever is forced.
#   HOMI_SOAK=1                     full counts
#   HOMI_VM=anything                nobody else uses this machine: also what goes beyond the drive (leases off,
#                                   processors off, an NFS server)
# Exit status: 0 if none failed, 1 if one did or the namespace is refused.
set -u
here=$(dirname "$(readlink -f "$0")")
# Installed, the tests are below; in the sources they are beside.
tests=$here/homi
[ -d "$tests" ] || tests=$here
mounts=/run/homi-selftests

usage() { sed -n '/^# usage/,/^set -u/s/^# \{0,1\}//p' "$0"; exit "$1"; }
wrong() {
	echo "run_kselftest.sh: $*" >&2
	usage 1 >&2
}
all_tests() {
	if [ -f "$here/kselftest-list.txt" ]; then
		sed -n 's/^homi://p' "$here/kselftest-list.txt"
	else
		find "$tests" -maxdepth 1 -name 'test_*' -type f -perm -u+x ! -name '*.[cho]' -printf '%f\n' | LC_ALL=C sort
	fi
}

wanted=() override='' dry='' summary=''
while [ $# -gt 0 ]; do
	case $1 in
	-t | --test | -c | --collection | -o | --override-timeout) [ $# -ge 2 ] || wrong "$1 needs an argument" ;;
	esac
	case $1 in
	-t | --test) wanted+=("${2#homi:}"); shift ;;
	-c | --collection) [ "$2" = homi ] || wrong "there is only the collection homi"; shift ;;
	-o | --override-timeout)
		[[ $2 =~ ^[0-9]+$ ]] || wrong "$1 needs a number of seconds, not \"$2\""
		override=$2
		shift
		;;
	-d | --dry-run) dry=1 ;;
	-l | --list) all_tests | sed 's/^/homi:/'; exit 0 ;;
	-s | --summary) summary=1 ;;
	-h | --help) usage 0 ;;
	*) wrong "there is no option \"$1\"" ;;
	esac
	shift
done
mapfile -t known <<<"$(all_tests)"
[ ${#wanted[@]} -gt 0 ] || wanted=("${known[@]}")
for name in "${wanted[@]}"; do
	[[ " ${known[*]} " = *" $name "* ]] || { echo "no such test: $name" >&2; exit 1; }
done

setting() { sed -n "s/^$1=//p" "$tests/settings"; }
timeout_of() {
	local t

	t=$(setting "timeout_${1#test_}")
	t=${override:-${t:-$(setting timeout)}}
	[ -z "${HOMI_SOAK:-}" ] || [ -n "$override" ] || t=$((t * 10))
	echo "${t:-300}"
}

log=$(mktemp -d "${TMPDIR:-/tmp}/homi-selftests.XXXXXX")
prepared=
end() {
	trap - EXIT
	[ -z "$prepared" ] || "$tests/prepare.sh" clear "$HOMI_TEST_NS" "$mounts" 2>&1 | sed 's/^/# /'
	[ -n "$summary" ] || rm -rf "$log"
	exit "$1"
}
trap 'end 1' EXIT
trap 'exit 1' INT TERM HUP

bail_out() {
	echo "Bail out! $*"
	end 1
}

# Not what an earlier test run, or another one, left in the environment
prepare() {
	local said

	unset HOMI_DEV HOMI_CTRL HOMI_BDEV HOMI_RAW HOMI_EXT4 HOMI_XFS HOMI_DEV2 HOMI_BDEV2 HOMI_RAW2
	[ -n "${HOMI_TEST_NS:-}" ] && [ -z "$dry" ] || return 0
	said=$("$tests/guard" "$HOMI_TEST_NS" 2>&1) || bail_out "$said"
	sed 's/^/# /' <<<"$said"
	HOMI_TEST_NS=$(readlink -f "$HOMI_TEST_NS")
	HOMI_CTRL=$(sed -n 's/^.* on \(nvme[0-9]*\): taken.*/\1/p' <<<"$said")
	export HOMI_TEST_NS HOMI_CTRL HOMI_DEV=/dev/homi/$HOMI_CTRL
	[ -c "$HOMI_DEV" ] || bail_out "there is no $HOMI_DEV: load homi (\"homi check\" tells more)"
	said=$("$tests/prepare.sh" check "$HOMI_TEST_NS" 2>&1) || bail_out "$said"
	# From here on it is wiped, at the end too.
	prepared=1
	modprobe -qa ext4 xfs
	said=$("$tests/prepare.sh" format "$HOMI_TEST_NS" 2>&1 && "$tests/prepare.sh" mount "$HOMI_TEST_NS" $mounts 2>&1) ||
		bail_out "$said"
	export HOMI_BDEV=$HOMI_TEST_NS HOMI_RAW=${HOMI_TEST_NS}p3 HOMI_EXT4=$mounts/ext4 HOMI_XFS=$mounts/xfs
}

passed=0 failed=0 skipped=0 number=0
# What a program says is in front of its result, as comments.
run_one() {
	local name=$1 out=$log/$1 limit status what="selftests: homi: $1" why

	number=$((number + 1))
	limit=$(timeout_of "$name")
	echo "# timeout set to $limit"
	echo "# $what"
	if [ -n "$dry" ]; then
		echo "ok $number $what # SKIP dry run"
		skipped=$((skipped + 1))
		return
	fi
	if [ ! -x "$tests/$name" ]; then
		echo "not ok $number $what # it is not there or can't be run"
		failed=$((failed + 1))
		return
	fi
	(cd "$tests" && exec timeout --foreground -k 10 "$limit" "./$name") </dev/null 2>&1 | tee "$out" |
		if [ -n "$summary" ]; then cat >/dev/null; else sed -u 's/^/# /'; fi
	status=${PIPESTATUS[0]}
	case $status in
	0)
		echo "ok $number $what"
		passed=$((passed + 1))
		;;
	4)
		why=$(sed -n 's/^.*# SKIP *//p' "$out" | head -n 1)
		echo "ok $number $what # SKIP${why:+ $why}"
		skipped=$((skipped + 1))
		;;
	124 | 137)
		echo "not ok $number $what # TIMEOUT $limit seconds"
		failed=$((failed + 1))
		;;
	*)
		echo "not ok $number $what # exit=$status"
		failed=$((failed + 1))
		;;
	esac
}

echo "TAP version 13"
echo "1..${#wanted[@]}"
prepare
for name in "${wanted[@]}"; do
	run_one "$name"
done
echo "# Totals: pass:$passed fail:$failed xfail:0 xpass:0 skip:$skipped error:0"
[ -z "$summary" ] || echo "# what they said is in $log"
end $((failed > 0))
