# SPDX-License-Identifier: BSD-3-Clause
# Shared by the scripts in ci/, which source it: works from the root of the checkout, with Debian's tools.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# Debian's meson and python3 know Debian's modules; another python3 earlier on PATH does not.
export PATH=/usr/bin:$PATH

# configure DIR OPTION... - set DIR up as a meson build directory with these options, when it is not
configure() {
	local dir=$1 stamp=$1/.configured-with
	shift
	if [[ -e $dir && ! -w $dir ]]; then
		echo "$dir belongs to $(stat -c %U "$dir") and is not writable: remove it, or run as that user" >&2
		return 1
	fi
	if [[ ! -e $dir/build.ninja ]]; then
		# what an interrupted setup left behind
		rm -rf "$dir/meson-private" "$dir/meson-info" || return 1
		meson setup "$dir" "$@" || return 1
	elif [[ $(cat "$stamp" 2>/dev/null) != "$*" ]]; then
		meson setup --wipe "$dir" "$@" || return 1
	else
		return 0
	fi
	echo "$*" >"$stamp"
}
