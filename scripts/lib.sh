# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Sourced by the scripts beside it: where things are, and how to give up.

HOMI_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
HOMI_CACHE=${HOMI_CACHE:-${HOME:-/root}/.cache/homi}
# Distribution kernels, and with the one that is built here to watch for every mistake.
# The newest comes last.
HOMI_KERNELS="6.1 6.12 6.12-cloud 7.3"
HOMI_MATRIX="$HOMI_KERNELS watch"
HOMI_ME=${0##*/}
export HOMI_ROOT HOMI_CACHE HOMI_KERNELS HOMI_MATRIX

say() { echo "$HOMI_ME: $*" >&2; }
die() { say "$*"; exit 1; }

# The meta package whose dependency names the newest ABI of a kernel series.
kernel_meta() {
	case $1 in
	6.1) echo linux-headers-amd64 ;;
	6.12) echo linux-headers-6.12-amd64 ;;
	6.12-cloud) echo linux-headers-6.12-cloud-amd64 ;;
	*) die "no package of kernel '$1' is known" ;;
	esac
}

# Which release's archive a kernel comes from where it is not this system's own: it is built for
# in a chroot of that release, with the compiler and tools that its headers want.
kernel_release() {
	case $1 in
	7.3) echo trixie ;;
	esac
}

# Does a kernel have module NAME, as a file or built in? kernel_has DIRECTORY NAME [builtin]
kernel_has() {
	local list=$1/modules.builtin

	grep -q "/$2\.ko$" "$list" || { [ $# = 2 ] && grep -q "/$2\.ko[^:/]*:" "$1/modules.dep"; }
}

# Sets K_VERSION, K_VMLINUZ, K_MODULES, K_BUILD, K_ROOT (the chroot in which K_BUILD lies, or
# empty) and K_SHARE (the file system by which a guest sees the host's files) for one kernel.
kernel_paths() {
	local dir

	case " $HOMI_MATRIX " in
	*" $1 "*) ;;
	*) die "no kernel '$1' in the matrix ($HOMI_MATRIX)" ;;
	esac
	dir=$HOMI_CACHE/kernels/$1/current
	[ -f "$dir/abi" ] || die "kernel $1 is not in $HOMI_CACHE: run scripts/setup"
	dir=$(readlink -f "$dir")
	K_VERSION=$(cat "$dir/abi")
	K_VMLINUZ=$dir/boot/vmlinuz-$K_VERSION
	K_MODULES=$dir/lib/modules/$K_VERSION
	K_BUILD=$dir/build
	[ -d "$K_BUILD" ] || K_BUILD=/usr/src/linux-headers-$K_VERSION
	K_ROOT=
	[ ! -d "$dir/root" ] || K_ROOT=$dir/root
	K_SHARE=virtiofs
	! kernel_has "$K_MODULES" 9p || K_SHARE=9p
}

# Runs a command where K_BUILD is: in the chroot, with the clone, the directory for temporary files,
# /proc and /dev in sight, by mounts that nobody else sees and that end with it.
in_kernel_root() {
	local tmp=${TMPDIR:-/tmp}

	if [ -z "$K_ROOT" ]; then
		"$@"
		return
	fi
	[ "$(id -u)" = 0 ] || die "not root: kernel $K_VERSION is built for in a chroot"
	mkdir -p "$K_ROOT$HOMI_ROOT" "$K_ROOT$tmp"
	# shellcheck disable=SC2016 # for the inner shell
	unshare -m --propagation private bash -ec '
		root=$1 clone=$2 tmp=$3
		shift 3
		mount --rbind /dev "$root/dev"
		mount -t proc proc "$root/proc"
		mount --bind "$tmp" "$root$tmp"
		mount --bind "$clone" "$root$clone"
		exec chroot "$root" env PATH=/usr/sbin:/usr/bin HOME=/ LC_ALL=C "$@"
	' in_kernel_root "$K_ROOT" "$HOMI_ROOT" "$tmp" "$@"
}
