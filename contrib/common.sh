# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034,SC2154
# What quickstart and run-tests share: packages, a scratch directory, a build. Sourced, not run.
# The caller sets $top, the source tree.

PATH=$PATH:/usr/sbin:/sbin
build_packages="gcc make autoconf automake pkg-config xz-utils fuse3
	libfuse3-dev libjansson-dev liburing-dev uthash-dev libc6-dev"

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# The words of "$@" that are not installed as packages.
missing_packages() {
	local package
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			echo "$package"
	done
}

# Installs what is missing of "$@". Where this cannot be done, configure says what it lacks.
install_packages() {
	local missing attempt
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		say "No apt-get here: taking for granted what is needed, by Debian's names: $*"
		return 0
	fi
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ]; then
		say "Not root, so not installed: ${missing[*]}"
		return 0
	fi
	say "Installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	for attempt in 1 2 3; do
		apt-get -qq update </dev/null && apt-get -qq -y --no-install-recommends \
			-o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 install "${missing[@]}" \
			</dev/null >"$scratch/apt.log" 2>&1 && return 0
		say "apt-get failed (attempt $attempt of 3)"
		sleep $((attempt * 3))
	done
	tail -n 20 "$scratch/apt.log" >&2
	return 1
}

# A directory on a disk (/tmp may be a tmpfs), readable by the users that some tests become.
make_scratch() {
	scratch=$(mktemp -d "${CACHEFS_SCRATCH:-/var/tmp}/cachefs-$1.XXXXXX") ||
		die "no scratch directory in ${CACHEFS_SCRATCH:-/var/tmp}: set CACHEFS_SCRATCH to one"
	chmod 755 "$scratch"
}

# What is still mounted below the scratch directory, the innermost first.
scratch_mounts() { awk -v p="$scratch/" 'index($2, p) == 1 { print $2 }' /proc/mounts | tac; }
scratch_loops() {
	losetup -nO NAME,BACK-FILE 2>/dev/null |
		awk -v p="$scratch/" 'index($2, p) == 1 { print $1 }'
}

# Takes down whatever is left below the scratch directory, and the directory.
remove_scratch() {
	local item
	for item in $(scratch_mounts); do
		umount "$item" 2>/dev/null || umount -l "$item"
	done
	for item in $(scratch_loops); do
		losetup -d "$item"
	done
	rm -rf --one-file-system "$scratch"
}

# What belongs to the tree: what git knows or would add, or, from a tarball, everything.
list_source() {
	if [ -e "$top/.git" ] && git -C "$top" ls-files -zco --exclude-standard 2>/dev/null; then
		return 0
	fi
	(cd "$top" && find . -name .git -prune -o -type f -print0)
}

# A copy of the tree with its ./configure made, so that a clone stays as it is, configured or not.
copy_source() {
	mkdir -p "$1" &&
		list_source | tar -C "$top" --null --ignore-failed-read -T - -cf - 2>"$1.log" |
		tar -C "$1" -xf - && "$1/autogen.sh" >"$1.log" 2>&1 && return 0
	tail -n 20 "$1.log" >&2
	return 1
}

# build SOURCE DIR [configure arguments]: the log stands in DIR/build.log.
build() {
	local source=$1 dir=$2
	shift 2
	mkdir -p "$dir" || return 1
	(cd "$dir" && "$source/configure" -q "$@" && make -s -j"$(nproc)" V=0) \
		</dev/null >"$dir/build.log" 2>&1 && return 0
	tail -n 40 "$dir/build.log" >&2
	return 1
}
