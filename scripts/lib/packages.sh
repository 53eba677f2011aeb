# Packages of a Debian-like system. Sourced by setup.sh.
# shellcheck shell=bash

# need_apt PACKAGE…: installs those that are missing.
need_apt() {
    [[ -z "$(missing_packages "$@")" ]] && return 0
    command -v apt-get >/dev/null ||
        fail "no apt-get here: install what the Debian packages '$*' hold by this system's own means" || return
    locked apt install_missing "$@"
}

missing_packages() {
    local package
    for package in "$@"; do
        [[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" == installed ]] || printf '%s ' "$package"
    done
}

# Another process may have installed some while we waited for the lock, so they are looked up again.
install_missing() {
    local missing
    read -ra missing <<<"$(missing_packages "$@")"
    ((${#missing[@]})) || return 0
    # Package lists are absent on a fresh machine and outdated on an old one; both show as a failed simulation.
    if ! apt-get install --simulate --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
        logged "updating the package lists" apt_get update || return
    fi
    logged "installing ${missing[*]}" apt_get install --yes --no-install-recommends "${missing[@]}"
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"; }

# debian_mirror: the mirror of Debian that this machine's apt uses, in whichever format its sources are written; nothing
# when it has none (an Ubuntu, say).
debian_mirror() {
    # shellcheck disable=SC2016 # the words in $() are apt's
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 2>/dev/null |
        sed -n 's#^\(.*/debian\)/\{0,1\}$#\1#p' | sed -n 1p
}

# need_python NAME REQUIREMENT: a Python environment of its own in the cache, with one package from PyPI.
need_python() {
    local environment="$AIMG_CACHE/$1"
    # Written last, so that one that was interrupted is made again.
    [[ "$(cat "$environment/requirement" 2>/dev/null)" == "$2" ]] && return
    need_apt python3-venv || return
    locked "$1" make_python "$environment" "$2"
}

make_python() {
    [[ "$(cat "$1/requirement" 2>/dev/null)" == "$2" ]] && return
    say "installing $2 into $1 …"
    rm -rf "$1"
    python3 -m venv "$1" && "$1/bin/pip" install --quiet "$2" || return
    printf '%s\n' "$2" >"$1/requirement"
}
