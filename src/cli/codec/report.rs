//! How a run of fixtures is shown: text for people, JSON for programs, JUnit for CI.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::codec::inspect::list;
use crate::cli::codec::test::{Case, Suite};
use crate::product::codec::fixture::Failure;

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
}

pub(super) fn write_text(
    out: &mut impl Write,
    suites: &[Suite],
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
    let failed: usize = suites.iter().map(Suite::failed).sum();
    let total: usize = suites.iter().map(|s| s.cases.len()).sum();
    let invalid = suites.iter().filter(|s| !s.mistakes.is_empty()).count();
    let took: Duration = suites.iter().flat_map(|s| &s.cases).map(|c| c.took).sum();
    let mut line = format!("{} passed, {failed} failed", total - failed);
    if invalid > 0 {
        line += &format!(", {invalid} codecs invalid");
    }
    line += &format!(" in {} codecs, {}", suites.len(), shown(took));
    let code = if failed + invalid > 0 { "31" } else { "32" };
    writeln!(out, "{}", paint.wrap(code, &line))
}

fn write_case(out: &mut impl Write, case: &Case, paint: &Paint) -> io::Result<()> {
    let file = case.file.file_name().unwrap_or_default().to_string_lossy();
    if case.verdict.failures.is_empty() {
        let mark = paint.wrap("32", "ok  ");
        return writeln!(out, "  {mark}  {file}: {}  {}", case.name, shown(case.took));
    }
    let mark = paint.wrap("31", "FAIL");
    writeln!(out, "  {mark}  {file}: {}  {}", case.name, shown(case.took))?;
    for failure in &case.verdict.failures {
        writeln!(out, "        {}", path_of(failure))?;
        let expected = format!("- expected {}", text_of(failure.expected.as_ref()));
        let got = format!("+ got      {}", text_of(failure.got.as_ref()));
        writeln!(out, "          {}", paint.wrap("31", &expected))?;
        writeln!(out, "          {}", paint.wrap("32", &got))?;
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

pub(super) fn write_json(out: &mut impl Write, suites: &[Suite]) -> io::Result<()> {
    let case = |case: &Case| {
        json!({
            "file": case.file,
            "name": case.name,
            "ok": case.verdict.failures.is_empty(),
            "over_limit": case.verdict.over_limit,
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
    let all = json!({ "passed": total - failed, "failed": failed, "codecs": codecs });
    writeln!(out, "{all}")
}

/// The JUnit form that CI servers read: a suite per codec, a case per fixture.
pub(super) fn junit(suites: &[Suite]) -> String {
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
            put(format!("      <error message=\"{text}\"/>\n    </testcase>"));
        }
        for case in &suite.cases {
            put(case_xml(&name, case));
        }
        put("  </testsuite>".to_owned());
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
