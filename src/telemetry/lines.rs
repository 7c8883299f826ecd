//! One event of the log, one line: whoever gets a line break into a field, such as by the text of an
//! error, must not be able to write lines of his own, nor to move a terminal's cursor.
//!
//! The formatter gives each event whole. Its colours can't be told from those of a value, so on a
//! terminal colours pass, and nothing else that a terminal obeys.

use std::borrow::Cow;
use std::io::{self, Write};

/// Writes each event on a line of its own.
pub(super) struct OneLine<W> {
    pub(super) inner: W,
    pub(super) colours: bool,
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = on_one_line(&text, self.colours);
        self.inner.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// With what would end a line, or turn its order round, as it is written in Rust. The end stays.
fn on_one_line(event: &str, colours: bool) -> Cow<'_, str> {
    let (inner, end) = match event.strip_suffix('\n') {
        Some(inner) => (inner, "\n"),
        None => (event, ""),
    };
    if !inner.contains(is_escaped) {
        return Cow::Borrowed(event);
    }
    let mut line = String::with_capacity(event.len());
    for (at, c) in inner.char_indices() {
        let stays = !is_escaped(c) || (colours && is_colour(inner.get(at..).unwrap_or_default()));
        match stays {
            true => line.push(c),
            false => line.extend(c.escape_default()),
        }
    }
    line.push_str(end);
    Cow::Owned(line)
}

fn is_escaped(c: char) -> bool {
    let moves = matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    moves || (c.is_control() && c != '\t')
}

/// Whether the text begins with `ESC [ 1 ; 2 m`, whatever the numbers.
fn is_colour(text: &str) -> bool {
    let numbers = text.strip_prefix("\x1b[");
    let rest =
        numbers.map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
    rest.is_some_and(|rest| rest.starts_with('m'))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// What a server with such a log writes.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Log {
        type Writer = OneLine<Self>;

        fn make_writer(&'a self) -> Self::Writer {
            OneLine {
                inner: self.clone(),
                colours: false,
            }
        }
    }

    #[test]
    fn a_value_makes_no_line() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        let told = "no\r\n2026-01-01T00:00:00Z  INFO strait: all is well\u{2028}\x1b[2J\u{202e}";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(error = %told, text = told, "first");
            tracing::warn!("second: {told}");
        });
        let bytes = log.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(text.ends_with('\n') && !text.contains('\r'), "{text:?}");
        for (line, begin) in lines.iter().zip(["first", "second"]) {
            assert!(line.contains(begin) && line.contains("\\n2026"), "{line}");
            assert!(!line.contains(['\u{2028}', '\u{202e}', '\x1b']), "{line}");
        }
    }

    #[test]
    fn a_terminal_gets_colours_and_nothing_else() {
        let event = "\x1b[1;31mred\x1b[0m \x1b[2J\x1b]0;title\x07\x1b[31\ttab\n";
        let shown = "\x1b[1;31mred\x1b[0m \\u{1b}[2J\\u{1b}]0;title\\u{7}\\u{1b}[31\ttab\n";
        assert_eq!(on_one_line(event, true), shown);
        let plain = shown.replace('\x1b', "\\u{1b}");
        assert_eq!(on_one_line(event, false), plain);
    }
}
