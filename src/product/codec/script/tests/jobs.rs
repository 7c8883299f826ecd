//! Promises, and jobs that nobody waits for.

use super::*;

/// A job that throws is nobody's fault, as long as the promise settles.
#[test]
fn what_jobs_throw_is_no_limit() {
    let rows = [
        (
            "queueMicrotask(() => { throw new Error('boom') }); return { data: { v: 1 } }",
            Ok(1),
        ),
        (
            "return new Promise((r) => { queueMicrotask(() => { throw 5 });
                queueMicrotask(() => r({ data: { v: 2 } })) })",
            Ok(2),
        ),
        (
            "return (async () => { await 0; return { data: { v: 3 } } })()",
            Ok(3),
        ),
        (
            "return Promise.reject(new Error('no meter'))",
            Err("no meter"),
        ),
        ("return new Promise(() => {})", Err("never settles")),
    ];
    for (body, want) in rows {
        let script = script(&format!("function decodeUplink(i) {{ {body} }}"));
        for _ in 0..2 {
            match (decode(&script, &[]), want) {
                (Ok(got), Ok(want)) => {
                    assert_eq!(got["services"][0]["properties"]["v"], want, "{body}");
                }
                (Err(error), Err(words)) => {
                    assert_eq!(error.kind(), "script", "{body}: {error}");
                    assert!(error.to_string().contains(words), "{body}: {error}");
                }
                (got, _) => panic!("{body}: {got:?}"),
            }
        }
    }
}
