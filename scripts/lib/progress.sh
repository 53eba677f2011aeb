# What a step says while it runs, its lock, and root's rights. Sourced by setup.sh.
# shellcheck shell=bash

# say TEXT: one line of progress.
say() { printf '· %s\n' "$*" >&2; }

# fail TEXT: one sentence with the cure; returns 1, so that `fail … || return` and `set -e` both end the step.
fail() {
    printf '✗ %s\n' "$*" >&2
    return 1
}

# as_root COMMAND…: as it is when we are root, else by sudo.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "'$1' needs root's rights: run as root, or install sudo"
    fi
}

# locked NAME COMMAND…: runs the command while no other process runs one of the same name. The command inherits the
# lock: should this shell be killed, the lock ends with the command and not before.
locked() {
    local name=$1 lock_fd status=0
    shift
    mkdir -p "$AIMG_CACHE/locks"
    exec {lock_fd}>"$AIMG_CACHE/locks/$name"
    if ! flock -n "$lock_fd"; then
        say "waiting for another process that sets up $name …"
        flock "$lock_fd"
    fi
    "$@" || status=$?
    exec {lock_fd}>&-
    return "$status"
}

# logged TEXT COMMAND…: runs the command with its output in a log, tells every ten seconds how far it is, and shows the
# end of the log when it fails.
logged() {
    local label=$1 log started=$SECONDS status=0
    shift
    mkdir -p "$AIMG_CACHE/logs"
    log="$(mktemp "$AIMG_CACHE/logs/$(date +%Y%m%dT%H%M%S)-XXXXXX.log")"
    say "$label …"
    # The command stays in the foreground, so that Ctrl-C reaches it.
    "$@" </dev/null 2>&1 | progress_every_ten_seconds "$log" "$label"
    status=${PIPESTATUS[0]}
    if ((status != 0)); then
        tail -n 15 "$log" | sed 's/^/    /' >&2
        fail "$label: failed (exit code $status); the whole log is $log"
        return 1
    fi
    rm -f "$log"
    say "$label: done in $((SECONDS - started)) s"
}

progress_every_ten_seconds() {
    local log=$1 label=$2 line next=$((SECONDS + 10))
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        if ((SECONDS >= next)); then
            say "$label: ${line:0:80}"
            next=$((SECONDS + 10))
        fi
    done
}
