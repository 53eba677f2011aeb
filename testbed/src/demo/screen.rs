//! Progress for people: lines, and one line that is drawn anew while a call lasts.

use std::io::Write;

/// To the beginning of the line, which is emptied.
const CLEAR_LINE: &str = "\r\x1b[2K";
/// So that a line longer than the terminal is cut, and the next one can still take its place; and back.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";

/// Where progress is shown. Nobody reading any more is no reason to fail.
pub struct Screen {
    out: Box<dyn Write>,
    is_terminal: bool,
    is_live: bool,
    /// The live line as it was shown last.
    last: String,
}

impl Screen {
    /// Draws lines anew only on a terminal.
    pub fn new(out: impl Write + 'static, is_terminal: bool) -> Self {
        Self { out: Box::new(out), is_terminal, is_live: false, last: String::new() }
    }

    /// Shows a line that stays.
    pub fn say(&mut self, text: &str) {
        self.leave_live();
        let _ = writeln!(self.out, "· {text}").and_then(|()| self.out.flush());
    }

    /// Shows a line in place of the last one that this showed, or below it when that one is to stay.
    pub fn live(&mut self, text: &str, last_one_stays: bool) {
        if std::mem::replace(&mut self.last, text.to_owned()) == text {
            return;
        }
        if !self.is_terminal {
            return self.say(text);
        }
        if last_one_stays {
            self.leave_live();
        }
        self.is_live = true;
        let _ = write!(self.out, "{CLEAR_LINE}{WRAP_OFF}· {text}{WRAP_ON}").and_then(|()| self.out.flush());
    }

    /// Lets the line stay.
    pub fn leave_live(&mut self) {
        if std::mem::take(&mut self.is_live) {
            let _ = writeln!(self.out);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave_live();
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("is_terminal", &self.is_terminal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(is_terminal: bool) -> String {
        let paper = Paper::default();
        let mut screen = Screen::new(paper.clone(), is_terminal);
        screen.say("a");
        screen.live("b", true);
        screen.live("c", false);
        screen.live("c", false);
        screen.live("d", true);
        screen.say("e");
        drop(screen);
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn plain_lines_where_nobody_draws() {
        assert_eq!(shown(false), "· a\n· b\n· c\n· d\n· e\n");
    }

    #[test]
    fn one_line_is_drawn_anew_on_a_terminal() {
        let text = shown(true).replace(WRAP_OFF, "").replace(WRAP_ON, "").replace(CLEAR_LINE, "<");
        assert_eq!(text, "· a\n<· b<· c\n<· d\n· e\n");
    }
}
