# Sourced by the scripts beside it: installs what a machine lacks, and is quiet when all is there.
#
# Every function may be called again and again, also by several processes at once (each step holds a lock), leaves
# nothing half-made when it is interrupted, and returns 1 after a sentence with the cure. What people read goes to
# standard error, so that a script may end with JSON on standard output.
# shellcheck shell=bash

# Where roots, locks and logs live: outside the checkout, so that every checkout shares them.
AIMG_CACHE="${AIMG_CACHE:-$HOME/.cache/aimg}"
export AIMG_CACHE

setup_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib/progress.sh
. "$setup_dir/progress.sh"
# shellcheck source=scripts/lib/packages.sh
. "$setup_dir/packages.sh"
# shellcheck source=scripts/lib/rust.sh
. "$setup_dir/rust.sh"
# shellcheck source=scripts/lib/asterisk_root.sh
. "$setup_dir/asterisk_root.sh"
