//! How a run of fixtures is shown: text for people, JSON for programs, JUnit for CI.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::codec::bundle::{Mistake, SKIPPED};
use crate::cli::codec::inspect::list;
use crate::product::codec::fixture::{Failure, Verdict};

/// One codec's share of a run.
pub(super) struct Suite {
    pub(super) name: String,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) cases: Vec<Case>,
}

/// One fixture that ran.
pub(super) struct Case {
    pub(super) file: PathBuf,
    /// Place in its file.
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) took: Duration,
    /// What a codec with code of its own held in memory, as far as its engine tells.
    pub(super) heap_bytes: Option<u64>,
    pub(super) verdict: Verdict,
}

impl Suite {
    pub(super) fn failed(&self) -> usize {
        let failed = |case: &&Case| !case.verdict.failures.is_empty();
        self.cases.iter().filter(failed).count()
    }
}

/// Red for what was expected and is not there, green for what came; bold for names.
struct Paint {
    on: bool,
}

impl Paint {
    fn wrap(&self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// `text` with what it has apart from `other` in bold: one byte in long hex is seen at once.
    fn difference(&self, code: &str, text: &str, other: &str) -> String {
        let pairs = || text.chars().zip(other.chars());
        let head: usize = pairs()
            .take_while(|(a, b)| a == b)
            .map(|(a, _)| a.len_utf8())
            .sum();
        let (start, text) = text.split_at_checked(head).unwrap_or(("", text));
        let other = other.get(head..).unwrap_or_default();
        let ends = text.chars().rev().zip(other.chars().rev());
        let tail: usize = ends
            .take_while(|(a, b)| a == b)
            .map(|(a, _)| a.len_utf8())
            .sum();
        let (middle, end) = text
            .split_at_checked(text.len() - tail)
            .unwrap_or((text, ""));
        let bold = format!("1;{code}");
        let parts = [(code, start), (&bold, middle), (code, end)];
        let parts = parts.into_iter().filter(|(_, part)| !part.is_empty());
        parts.map(|(code, part)| self.wrap(code, part)).collect()
    }
}

/// `skipped`: names of codecs that this build can't run.
pub(super) fn write_text(
    out: &mut impl Write,
    suites: &[Suite],
    skipped: &[String],
    coloured: bool,
) -> io::Result<()> {
    let paint = Paint { on: coloured };
    for suite in suites {
        writeln!(out, "{}", paint.wrap("1", &suite.name))?;
        list(out, &suite.mistakes)?;
        for case in &suite.cases {
            write_case(out, case, &paint)?;
        }
    }
    for name in skipped {
        let (name, mark) = (paint.wrap("1", name), paint.wrap("33", "skipped"));
        writeln!(out, "{name}\n  {mark}: {SKIPPED}")?;
    }
    let failed: usize = suites.iter().map(Suite::failed).sum();
    let total: usize = suites.iter().map(|s| s.cases.len()).sum();
    let invalid = suites.iter().filter(|s| !s.mistakes.is_empty()).count();
    let took: Duration = suites.iter().flat_map(|s| &s.cases).map(|c| c.took).sum();
    let mut line = format!("{} passed, {failed} failed", total - failed);
    if invalid > 0 {
        line += &format!(", {invalid} codecs invalid");
    }
    if !skipped.is_empty() {
        line += &format!(", {} codecs skipped", skipped.len());
    }
    line += &format!(" in {} codecs, {}", suites.len(), shown(took));
    let code = if failed + invalid > 0 { "31" } else { "32" };
    writeln!(out, "{}", paint.wrap(code, &line))
}

fn write_case(out: &mut impl Write, case: &Case, paint: &Paint) -> io::Result<()> {
    let file = case.file.file_name().unwrap_or_default().to_string_lossy();
    let heap = case
        .heap_bytes
        .map(|bytes| format!(", {} KiB", bytes / 1024));
    let cost = shown(case.took) + &heap.unwrap_or_default();
    if case.verdict.failures.is_empty() {
        let mark = paint.wrap("32", "ok  ");
        return writeln!(out, "  {mark}  {file}: {}  {cost}", case.name);
    }
    let mark = paint.wrap("31", "FAIL");
    writeln!(out, "  {mark}  {file}: {}  {cost}", case.name)?;
    for failure in &case.verdict.failures {
        writeln!(out, "        {}", path_of(failure))?;
        let expected = text_of(failure.expected.as_ref());
        let got = text_of(failure.got.as_ref());
        let (red, green) = (
            paint.difference("31", &expected, &got),
            paint.difference("32", &got, &expected),
        );
        writeln!(out, "          {}{red}", paint.wrap("31", "- expected "))?;
        writeln!(out, "          {}{green}", paint.wrap("32", "+ got      "))?;
    }
    Ok(())
}

fn path_of(failure: &Failure) -> &str {
    match failure.path.as_str() {
        "" => "(the whole)",
        path => path,
    }
}

fn text_of(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}

fn shown(took: Duration) -> String {
    match took.as_micros() {
        us @ 0..10_000 => format!("{us} µs"),
        us => format!("{} ms", us / 1000),
    }
}

pub(super) fn write_json(
    out: &mut impl Write,
    suites: &[Suite],
    skipped: &[String],
) -> io::Result<()> {
    let case = |case: &Case| {
        json!({
            "file": case.file,
            "name": case.name,
            "ok": case.verdict.failures.is_empty(),
            "over_limit": case.verdict.over_limit,
            "heap_bytes": case.heap_bytes,
            "took_us": u64::try_from(case.took.as_micros()).unwrap_or(u64::MAX),
            "failures": case.verdict.failures,
        })
    };
    let suite = |suite: &Suite| {
        let fixtures: Vec<Value> = suite.cases.iter().map(case).collect();
        json!({ "codec": suite.name, "errors": suite.mistakes, "fixtures": fixtures })
    };
    let failed: usize = suites.iter().map(Suite::failed).sum();
    let total: usize = suites.iter().map(|s| s.cases.len()).sum();
    let codecs: Vec<Value> = suites.iter().map(suite).collect();
    let skipped = skipped
        .iter()
        .map(|name| json!({ "codec": name, "reason": SKIPPED }));
    let skipped: Vec<Value> = skipped.collect();
    let all = json!({
        "passed": total - failed, "failed": failed, "codecs": codecs, "skipped": skipped,
    });
    writeln!(out, "{all}")
}

/// The JUnit form that CI servers read: a suite per codec, a case per fixture.
pub(super) fn junit(suites: &[Suite], skipped: &[String]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        let (name, tests) = (escape(&suite.name), suite.cases.len());
        let (failed, errors) = (suite.failed(), suite.mistakes.len());
        let mut put = |line: String| {
            xml += &line;
            xml.push('\n');
        };
        put(format!(
            "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failed}\" errors=\"{errors}\">",
            tests + errors
        ));
        for mistake in &suite.mistakes {
            let text = escape(&mistake.to_string());
            put(format!("    <testcase classname=\"{name}\" name=\"load\">"));
            put(format!(
                "      <error message=\"{text}\"/>\n    </testcase>"
            ));
        }
        for case in &suite.cases {
            put(case_xml(&name, case));
        }
        put("  </testsuite>".to_owned());
    }
    for name in skipped {
        let name = escape(name);
        xml += &format!("  <testsuite name=\"{name}\" tests=\"1\" skipped=\"1\">\n");
        xml += &format!("    <testcase classname=\"{name}\" name=\"load\">\n");
        xml += &format!("      <skipped message=\"{}\"/>\n", escape(SKIPPED));
        xml += "    </testcase>\n  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

fn case_xml(suite: &str, case: &Case) -> String {
    let file = case.file.file_name().unwrap_or_default().to_string_lossy();
    let name = escape(&format!("{file}: {}", case.name));
    let took = case.took.as_secs_f64();
    let head = format!("    <testcase classname=\"{suite}\" name=\"{name}\" time=\"{took:.6}\"");
    if case.verdict.failures.is_empty() {
        return head + "/>";
    }
    let mut text = head + ">";
    for failure in &case.verdict.failures {
        let message = format!(
            "{}: expected {}, got {}",
            path_of(failure),
            text_of(failure.expected.as_ref()),
            text_of(failure.got.as_ref())
        );
        let wrote = write!(text, "\n      <failure message=\"{}\"/>", escape(&message));
        debug_assert!(wrote.is_ok(), "writing to a String cannot fail");
    }
    text + "\n    </testcase>"
}

/// XML text; control characters, which XML cannot hold, become blanks.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_bold_on_a_terminal_alone() {
        let on = Paint { on: true };
        let cases = [
            ("\"00ff00\"", "\"00fe00\"", "[\"00f][*f][00\"]"),
            ("80", "81", "[8][*0]"),
            ("same", "same", "[same]"),
            ("aa", "a", "[a][*a]"),
            ("", "x", ""),
            ("zü", "zö", "[z][*ü]"),
        ];
        for (text, other, want) in cases {
            let painted = on.difference("31", text, other);
            let marked = painted.replace("\x1b[1;31m", "[*").replace("\x1b[31m", "[");
            assert_eq!(marked.replace("\x1b[0m", "]"), want, "{text} {other}");
            assert_eq!(Paint { on: false }.difference("31", text, other), text);
        }
    }
}
