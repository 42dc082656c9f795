#!/bin/bash
# SPDX-License-Identifier: MIT
# Records what homi does with one controller while a command runs, and prints it: queue ids lent
# and returned, memory registered, files recalled and how long their holders took to answer, resets
# and what was refused. As root, with homi loaded:
#
#	examples/homi_trace.sh nvme0 homi verify /mnt/file
#	examples/homi_trace.sh nvme0 sleep 60
#
# READs and WRITEs by io_uring are in it too; there may be many: HOMI_EVENTS=homi:homi_reset has
# only resets, HOMI_EVENTS="homi:homi_recall homi:homi_refuse" these two.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 CONTROLLER COMMAND [ARGUMENT]..." >&2; exit 2; }
ctrl=$1
shift
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Each event with the filter: a condition belongs to the event before it.
events=()
for event in ${HOMI_EVENTS:-homi}; do
	events+=(-e "$event" -f "ctrl == \"$ctrl\"")
done
# trace-cmd's own status is another one.
# shellcheck disable=SC2016 # for the inner shell
trace-cmd record -q -o "$out/trace.dat" "${events[@]}" \
	sh -c '"$@"; echo $? >"$0"' "$out/status" "$@"
trace-cmd report -q -i "$out/trace.dat"
exit "$(cat "$out/status")"
