//! Whatever a script does, each limit ends it, and the next call is served.

use super::*;

/// A script that hits a limit, and what its words are.
#[test]
fn limits_end_a_call_and_leave_the_script_usable() {
    let rows = [
        ("for (;;) {}", "ms"),
        (
            "for (;;) { try { for (;;) {} } catch (e) {} finally { continue; } }",
            "ms",
        ),
        ("const f = () => f() + 1; f()", "stack"),
        (
            "let a = []; for (;;) a.push(new Array(10000).fill(1))",
            "memory",
        ),
        ("let s = 'x'; for (;;) s += s", ""),
        ("/^(a+)+$/.test('a'.repeat(40) + '!')", "ms"),
        (
            "'a'.repeat(100000).split('').map((_, i, all) => all.join('').indexOf('b'))",
            "ms",
        ),
        ("return { data: { get v() { for (;;) {} } } }", "ms"),
        ("return { data: { toJSON() { for (;;) {} } } }", "ms"),
        ("throw { toString() { for (;;) {} } }", "ms"),
        // In jobs: of what is waited for, of what nobody waits for, and where the promise never hears of it.
        (
            "return Promise.resolve().then(() => { const a = []; for (;;) a.push(new Array(1e4).fill(1)) })",
            "memory",
        ),
        (
            "return (async () => { await 0; const a = []; for (;;) a.push(new Array(1e4).fill(1)) })()",
            "memory",
        ),
        (
            "return new Promise(() => queueMicrotask(() => {
                const a = []; for (;;) a.push(new Array(1e4).fill(1));
            }))",
            "memory",
        ),
        (
            "queueMicrotask(() => { const a = []; for (;;) a.push(new Array(1e4).fill(1)) });
            return { data: { v: 1 } }",
            "memory",
        ),
        (
            "return new Promise(() => queueMicrotask(() => { const f = () => f() + 1; f() }))",
            "stack",
        ),
        // A job that the call leaves behind, and jobs that make jobs.
        (
            "Promise.resolve().then(() => { for (;;) {} }); return { data: { v: 1 } }",
            "ms",
        ),
        (
            "const f = () => { Promise.resolve().then(f); }; f(); return new Promise(() => {})",
            "ms",
        ),
    ];
    for (body, word) in rows {
        let source = format!(
            "function decodeUplink(i) {{ if (i.bytes[0]) return {{ data: {{ v: 1 }} }}; {body} }}"
        );
        // Time enough for an innocent call where the machine has much to do.
        let limits = Limits {
            time: Duration::from_millis(200),
            ..Limits::default()
        };
        let script = Script::load(&source, &Options::default(), limits).unwrap();
        for _ in 0..2 {
            let error = decode(&script, &[0]).unwrap_err();
            let kinds: &[&str] = if word.is_empty() {
                &["limit", "script"]
            } else {
                &["limit"]
            };
            assert!(kinds.contains(&error.kind()), "{body}: {error}");
            assert!(error.to_string().contains(word), "{body}: {error}");
            assert!(decode(&script, &[1]).is_ok(), "{body}");
        }
    }
}
