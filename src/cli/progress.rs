//! Progress of long work: a bar or spinner on a terminal, plain lines now and then otherwise, both
//! on stderr, so that stdout holds results alone.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::base::time::Clock;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far something is.
pub enum Progress {
    Bar(ProgressBar),
    Lines { clock: Clock, last: Instant },
    Quiet,
}

impl Progress {
    /// `total` is `None` when the end is not known. Quiet when a program reads the output.
    pub fn new(total: Option<u64>, quiet: bool, clock: &Clock) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            let (clock, last) = (clock.clone(), clock.instant());
            return Self::Lines { clock, last };
        }
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{bar:30} {pos}/{len} {msg}"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// `text` is made only when it is shown.
    pub fn show(&mut self, done: u64, text: impl FnOnce() -> String) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(text());
            }
            Self::Lines { clock, last } => {
                let now = clock.instant();
                if now >= *last + LINE_EVERY {
                    *last = now;
                    note(&text());
                }
            }
            Self::Quiet => {}
        }
    }

    /// Says something beside the progress, also when that is quiet.
    pub fn note(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| note(text)),
            Self::Lines { .. } | Self::Quiet => note(text),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// One line on stderr. A closed pipe is nobody's loss.
pub fn note(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// One line on stdout; false when nobody reads it any more.
pub fn print(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}
