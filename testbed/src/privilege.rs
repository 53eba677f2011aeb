//! Commands with root's rights: chroot, private mounts and captures need them.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// Whether this process is root's: its directory in /proc belongs to the effective user.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The command as it is when we are root, else by sudo, which must not ask for a password.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.arg("-n").arg(program);
        command
    }
}
