# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# For scripts that print one TAP stream; what is run leaves its output in $O.
n=0
failed=0

ok() { n=$((n + 1)); echo "ok $n - $*"; }
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }
not_ok() {
	n=$((n + 1))
	failed=$((failed + 1))
	echo "not ok $n - $*"
}

# works NAME COMMAND...
works() {
	local name=$1

	shift
	if "$@" >"$O/log" 2>&1; then
		ok "$name"
	else
		not_ok "$name"
		head -n 40 "$O/log" | sed 's/^/# /'
	fi
}

# numbered NAME SUFFIX COMMAND...: a program's lines are numbered through; a plan that does not
# fit, or an exit status that no line explains, is a failure of its own.
numbered() {
	local name=$1 suffix=$2 line status lines=0 plan=-1 bad=0

	shift 2
	"$@" >"$O/out" 2>"$O/err"
	status=$?
	while IFS= read -r line; do
		case $line in
		'ok '*) lines=$((lines + 1)); ok "${line#ok * - }$suffix" ;;
		'not ok '*) lines=$((lines + 1)); bad=1; not_ok "${line#not ok * - }$suffix" ;;
		1..*) plan=${line#1..} ;;
		*) printf '%s\n' "$line" ;;
		esac
	done <"$O/out"
	if [ "$plan" != "$lines" ] || { [ $status != 0 ] && [ $bad = 0 ]; }; then
		not_ok "$name: ended early, status $status"
		head -n 40 "$O/err" | sed 's/^/# /'
	fi
}

# Last of all: the plan, and whether all was well
plan() {
	echo "1..$n"
	[ $failed = 0 ]
}
