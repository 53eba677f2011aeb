# The Rust toolchain and the tools that cargo installs. Sourced by setup.sh.
# shellcheck shell=bash

# need_rust: a cargo as new as the workspace asks for, from what is there, else from rustup (apt's package where the
# system has one, else its own installer). Tool versions are then rust-toolchain.toml's business.
need_rust() {
    enter_cargo
    # whisper.cpp, the local recogniser, is built with them.
    need_apt cmake g++ || return
    rust_is_new_enough && return 0
    need_apt ca-certificates curl gcc libc6-dev || return
    locked rust install_rust
}

# shellcheck disable=SC2154 # setup.sh sets setup_dir
rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$setup_dir/../../Cargo.toml"; }

rust_is_new_enough() {
    local found
    # In the checkout: rustup then answers for the toolchain that rust-toolchain.toml names.
    found="$(cd "$setup_dir" && cargo --version 2>/dev/null | cut -d ' ' -f 2)" || return
    [[ -n "$found" ]] && printf '%s\n%s\n' "$(rust_wanted)" "$found" | sort --check=quiet --version-sort
}

# What rustup's installer tells people to put into their profile.
enter_cargo() {
    if [[ -d "$HOME/.cargo/bin" && ":$PATH:" != *":$HOME/.cargo/bin:"* ]]; then
        export PATH="$HOME/.cargo/bin:$PATH"
    fi
}

install_rust() {
    rust_is_new_enough && return 0
    if ! command -v rustup >/dev/null; then
        # apt's rustup would remove an installed cargo package, which somebody may need.
        if [[ -n "$(missing_packages cargo)" && -n "$(apt-cache search --names-only '^rustup$' 2>/dev/null)" ]]; then
            need_apt rustup || return
        else
            logged "installing rustup" install_rustup || return
            enter_cargo
        fi
    fi
    logged "installing Rust $(rust_wanted)" rustup toolchain install --profile minimal --component clippy,rustfmt stable ||
        return
    rust_is_new_enough || fail "cargo is older than $(rust_wanted): run 'rustup update stable'"
}

install_rustup() {
    local installer
    installer="$(mktemp)"
    curl --proto '=https' --tlsv1.2 --silent --show-error --fail --output "$installer" https://sh.rustup.rs &&
        sh "$installer" -y --no-modify-path --default-toolchain none
    local status=$?
    rm -f "$installer"
    return "$status"
}

# need_cargo_tool NAME: a program that cargo builds from its crate, such as cargo-deny.
need_cargo_tool() {
    command -v "$1" >/dev/null && return 0
    need_rust || return
    locked "cargo-tool-$1" install_cargo_tool "$1"
}

install_cargo_tool() {
    command -v "$1" >/dev/null && return 0
    # They run for seconds: a quick build is worth more than quick programs.
    logged "building $1" env CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=false cargo install --locked "$1"
}
