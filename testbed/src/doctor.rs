//! Whether this machine has what the testbed needs, and what to do where it has not.

use std::process::{Command, Stdio};

use serde::Serialize;

use crate::privilege::as_root;
use crate::{Error, Root, Version};

/// One prerequisite.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// Nothing when all is well, else what to do.
    pub cure: Option<String>,
}

/// Looks at everything: programs, root's rights, private mounts, installations.
pub fn checks() -> Vec<Check> {
    let mut checks = vec![
        program("sipp", "-v", "sip-tester"),
        program("tcpdump", "--version", "tcpdump"),
        program("setpriv", "--version", "util-linux"),
        Check {
            what: "root's rights, and mounts of one's own".to_owned(),
            cure: (!succeeds(as_root("unshare").args(["--mount", "true"])))
                .then(|| "run as root or let `sudo -n` work; in a container, allow mounts (CAP_SYS_ADMIN)".to_owned()),
        },
    ];
    checks.extend(Version::ALL.map(|version| Check {
        what: format!("Asterisk {version}"),
        cure: Root::of(version).err().map(|e| e.to_string()),
    }));
    checks
}

fn program(program: &'static str, version_flag: &str, package: &'static str) -> Check {
    // Some print their version and fail: only their absence counts.
    let found = Command::new(program).arg(version_flag).stdin(Stdio::null()).output().is_ok();
    Check { what: program.to_owned(), cure: (!found).then(|| Error::NoProgram { program, package }.to_string()) }
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
