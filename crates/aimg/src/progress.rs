//! How far something is that takes its time, on standard error: a bar on a terminal, otherwise a line for each step.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use crate::output::Output;

/// Places of the bar.
const BAR_PLACES: usize = 30;

/// Shows how far something is; what it drew on a terminal goes with it.
#[derive(Debug)]
pub(crate) struct Progress {
    look: Look,
    /// What was shown last.
    shown: Mutex<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Bar,
    Lines,
    /// Programs want the result alone.
    Nothing,
}

impl Progress {
    /// For who reads `output`.
    pub(crate) fn new(output: Output) -> Self {
        let look = match output.json {
            true => Look::Nothing,
            false if io::stderr().is_terminal() => Look::Bar,
            false => Look::Lines,
        };
        Self { look, shown: Mutex::default() }
    }

    /// Shows a step, how much of it is done where that is known, and the same in words.
    pub(crate) fn show(&self, step: &str, percent: Option<u64>, words: &str) {
        let line = match self.look {
            Look::Nothing => return,
            Look::Lines => step.to_owned(),
            Look::Bar => bar(step, percent, words),
        };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown == line {
            return;
        }
        // Whoever cannot see how far it is still gets the result.
        let _ = match self.look {
            Look::Bar => write!(io::stderr(), "\r\x1b[K{line}"),
            _ => writeln!(io::stderr(), "{line} …"),
        };
        *shown = line;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.look == Look::Bar {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn bar(step: &str, percent: Option<u64>, words: &str) -> String {
    let Some(percent) = percent else { return format!("{step}  {words}") };
    let percent = percent.min(100);
    let done = BAR_PLACES * percent as usize / 100;
    format!("{step}  [{}{}] {percent:3} %  {words}", "#".repeat(done), ".".repeat(BAR_PLACES - done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_long_as_what_is_done() {
        assert_eq!(
            bar("fetching", Some(50), "1 of 2 MB"),
            format!("fetching  [{0}{1}]  50 %  1 of 2 MB", "#".repeat(15), ".".repeat(15))
        );
        assert_eq!(bar("fetching", Some(250), ""), format!("fetching  [{}] 100 %  ", "#".repeat(30)));
        assert_eq!(bar("fetching", None, "1 MB"), "fetching  1 MB");
    }
}
