//! Secrets that are typed, or come on a line of standard input.

use std::io::{self, BufRead, IsTerminal};

use anyhow::Context;
use secrecy::SecretString;

use crate::exit::Usage;

/// The secret as given, else typed at the terminal or on a line of a pipe.
pub(super) fn secret(given: Option<SecretString>, [what, variable]: [&str; 2]) -> anyhow::Result<SecretString> {
    if let Some(secret) = given {
        return Ok(secret);
    }
    let line = if io::stdin().is_terminal() {
        rpassword::prompt_password(format!("{what}: ")).context("the terminal")?
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).context("standard input")?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if line.is_empty() {
        return Err(
            Usage(format!("the {what} is missing: set {variable}, or write it on a line of standard input")).into()
        );
    }
    Ok(SecretString::from(line))
}
