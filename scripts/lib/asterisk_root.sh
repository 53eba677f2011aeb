# A whole Asterisk in a directory of its own, from Debian's packages. Sourced by setup.sh.
# shellcheck shell=bash

# need_asterisk_root 22|16: makes $AIMG_CACHE/asterisk-22 or -16 unless it is there.
need_asterisk_root() {
    case "${1:-}" in
    22 | 16) ;;
    *) fail "need_asterisk_root takes 22 or 16, not '${1:-}'" || return ;;
    esac
    [[ -d "$AIMG_CACHE/asterisk-$1" ]] && return 0
    need_apt debootstrap || return
    locked "asterisk-$1" build_asterisk_root "$1"
}

build_asterisk_root() {
    local version=$1 root="$AIMG_CACHE/asterisk-$1" building="$AIMG_CACHE/asterisk-$1.building" suite mirror mirrors
    [[ -d "$root" ]] && return 0
    local packages=asterisk,asterisk-core-sounds-en-gsm suites=(bullseye)
    if [[ $version == 22 ]]; then
        # The prompts as 8 kHz WAV: the known speech of the tests.
        packages+=,asterisk-core-sounds-en-wav
        # forky has Asterisk 22 as this is written; should it leave, sid is where it comes back first.
        suites=(forky sid)
    fi
    # A mirror that does not hold the suite, or none at all (an Ubuntu's apt has no Debian mirror): debootstrap's default.
    mirror="$(debian_mirror)"
    mirrors=("")
    [[ -n "$mirror" ]] && mirrors=("$mirror" "")
    for suite in "${suites[@]}"; do
        for mirror in "${mirrors[@]}"; do
            # What an interrupted build left. The lock makes it ours.
            discard_root "$building"
            logged "building Asterisk $version from Debian $suite (1 to 3 minutes, 500 MB)" \
                bootstrap "$suite" "$building" "$packages" "$mirror" || continue
            if ! as_root chroot "$building" /usr/sbin/asterisk -V | grep -q "^Asterisk $version\."; then
                say "Debian $suite has no Asterisk $version any more"
                continue
            fi
            # Downloaded packages are of no further use. The empty /mnt is where an instance's own directory appears.
            as_root rm -rf "$building"/var/cache/apt/archives "$building"/var/lib/apt/lists
            # Appears whole or not at all.
            as_root mv "$building" "$root"
            return 0
        done
    done
    discard_root "$building"
    fail "no Asterisk $version could be built: check that this machine reaches a Debian mirror and has 2 GB free in $AIMG_CACHE"
}

bootstrap() {
    local suite=$1 target=$2 packages=$3 mirror=$4 script=/usr/share/debootstrap/scripts
    # A debootstrap older than the suite has no script for it; sid's fits every later suite.
    if [[ -e "$script/$suite" ]]; then script+="/$suite"; else script+=/sid; fi
    as_root debootstrap --variant=minbase --include="$packages" "$suite" "$target" "$mirror" "$script"
}

discard_root() {
    [[ -d "$1" ]] || return 0
    # An interrupted debootstrap leaves its mounts.
    awk -v under="$1/" 'index($2, under) == 1 { print $2 }' /proc/self/mounts | sort --reverse |
        while IFS= read -r mounted; do as_root umount --lazy "$mounted"; done
    as_root rm -rf --one-file-system "$1"
}
