//! Components that mean harm: what a call on each of them gives.

use strait::base::limits::WASM_INSTANCES_MAX;
use strait::product::codec::wasm::{Runtime, Wasm};
use strait::product::codec::{CodecError, Decoded};

use super::component::{Component, SOUND};
use super::{decode, encode};

/// Name, what is broken, and what a call then gives: kind, and a part of the message.
pub(crate) fn hostile() -> Vec<(&'static str, Component, &'static str, &'static str)> {
    let decode = |decode| Component { decode, ..SOUND };
    let module = |module, decode| Component {
        module,
        decode,
        ..SOUND
    };
    let large = |pages, decode| Component {
        pages,
        decode,
        ..SOUND
    };
    let realloc = |realloc| Component { realloc, ..SOUND };
    vec![
        ("panics", decode("unreachable"), "trap", "unreachable"),
        (
            "reads out of bounds",
            decode("(i32.load (i32.const 0x7fffffff))"),
            "limit",
            "out of bounds",
        ),
        (
            "writes just behind its memory",
            decode("(i32.store8 (i32.const 65536) (i32.const 1)) (i32.const 16)"),
            "limit",
            "out of bounds",
        ),
        (
            "copies to behind its memory",
            decode("(memory.copy (i32.const 65000) (i32.const 0) (i32.const 1000)) (i32.const 16)"),
            "limit",
            "out of bounds",
        ),
        (
            "calls behind its table",
            module(
                "(table 1 funcref) (type $t (func (result i32)))",
                "(call_indirect (type $t) (i32.const 7))",
            ),
            "limit",
            "out of bounds",
        ),
        (
            "divides by zero",
            decode("(i32.div_u (i32.const 1) (i32.const 0))"),
            "trap",
            "divide by zero",
        ),
        (
            "calls what is no function",
            module(
                "(table 1 funcref) (type $t (func (result i32)))",
                "(call_indirect (type $t) (i32.const 0))",
            ),
            "trap",
            "",
        ),
        (
            "spins",
            decode("(loop $l (br $l)) unreachable"),
            "limit",
            "50 ms",
        ),
        (
            "spins in a function that calls itself last",
            module("(func $f (result i32) (return_call $f))", "(call $f)"),
            "limit",
            "50 ms",
        ),
        (
            "recurses",
            module(
                "(func $f (param i64) (result i64) (i64.add (local.get 0) (call $f (i64.add (local.get 0) (i64.const 1)))))",
                "(drop (call $f (i64.const 0))) (i32.const 16)",
            ),
            "limit",
            "stack",
        ),
        (
            "grows for ever",
            decode("(loop $l (drop (memory.grow (i32.const 1))) (br $l)) unreachable"),
            "limit",
            "memory",
        ),
        (
            "grows by 4 GiB at once",
            decode("(drop (memory.grow (i32.const 65535))) (i32.const 16)"),
            "limit",
            "memory",
        ),
        (
            "grows a table for ever",
            module(
                "(table $t 1 funcref)",
                "(loop $l (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $l)) unreachable",
            ),
            "limit",
            "50 ms",
        ),
        (
            "fills memory for ever",
            large(
                60,
                "(loop $l (memory.fill (i32.const 4096) (i32.const 1) (i32.const 3900000)) (br $l)) unreachable",
            ),
            "limit",
            "50 ms",
        ),
        (
            "answers out of bounds",
            decode("(i32.const 0x7ffffff0)"),
            "trap",
            "",
        ),
        (
            "answers at an odd address",
            decode("(i32.const 17)"),
            "trap",
            "aligned",
        ),
        (
            "answers neither yes nor no",
            decode("(i32.store8 (i32.const 16) (i32.const 7)) (i32.const 16)"),
            "trap",
            "",
        ),
        (
            "answers a text of 4 GiB",
            decode("(i32.store (i32.const 24) (i32.const -1)) (i32.const 16)"),
            "trap",
            "out of bounds",
        ),
        (
            "answers what is not UTF-8",
            decode("(i32.store8 (i32.const 64) (i32.const 0xff)) (i32.const 16)"),
            "trap",
            "utf-8",
        ),
        (
            "answers more than 64 KiB",
            large(
                4,
                "(i32.store (i32.const 24) (i32.const 65537)) (i32.const 16)",
            ),
            "output",
            "65536",
        ),
        (
            "answers 3 MiB",
            large(
                60,
                "(i32.store (i32.const 24) (i32.const 3000000)) (i32.const 16)",
            ),
            "output",
            "65536",
        ),
        (
            "answers no JSON",
            decode("(i32.store (i32.const 24) (i32.const 3)) (i32.const 16)"),
            "json",
            "column 3",
        ),
        (
            "answers brackets without end",
            decode(
                "(memory.fill (i32.const 64) (i32.const 0x5b) (i32.const 1000)) (i32.store (i32.const 24) (i32.const 1000)) (i32.const 16)",
            ),
            "depth",
            "32",
        ),
        ("refuses", decode("(i32.const 32)"), "refused", "no"),
        (
            "allocates out of bounds",
            realloc("(i32.const -8)"),
            "trap",
            "beyond end of memory",
        ),
        (
            "allocates for ever",
            realloc("(loop $l (br $l)) unreachable"),
            "limit",
            "50 ms",
        ),
    ]
}

#[test]
fn hostile_code_ends_with_its_reason_and_the_next_call_runs() {
    let runtime = Runtime::new().unwrap();
    let mut failures = Vec::new();
    for (name, component, kind, part) in hostile() {
        let codec = match runtime.load(&component.binary()) {
            Ok(codec) => codec,
            Err(mistakes) => {
                failures.push(format!("{name}: is not loaded: {mistakes:?}"));
                continue;
            }
        };
        // Twice: the second meets a fresh instance.
        for _ in 0..2 {
            match decode(&codec, &[1, 2, 3]) {
                Err(e) if e.kind() == kind && e.to_string().contains(part) => {}
                other => failures.push(format!("{name}: {other:?}, want {kind} with {part:?}")),
            }
        }
        let other_function = encode(&codec);
        if component.takes_values()
            && other_function.as_ref().map_err(CodecError::kind) != Err("refused")
        {
            failures.push(format!("{name}: encode then gives {other_function:?}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// A codec that fails in each second call keeps none of the pool's places, and nothing of its own.
#[test]
fn a_failed_instance_is_replaced_and_leaves_nothing() {
    let runtime = Runtime::new().unwrap();
    let component = Component {
        module: "(global $calls (mut i32) (i32.const 0))",
        // Without a payload a trap; else refused from the second call of an instance on.
        decode: "(if (i32.eqz (local.get $len)) (then unreachable))
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (select (i32.const 16) (i32.const 32) (i32.eq (global.get $calls) (i32.const 1)))",
        ..SOUND
    };
    let codec = runtime.load(&component.binary()).unwrap();
    for _ in 0..3 * WASM_INSTANCES_MAX {
        assert_eq!(decode(&codec, &[1]), Ok(Decoded::Nothing));
        assert_eq!(decode(&codec, &[1]).unwrap_err().kind(), "refused");
        assert_eq!(decode(&codec, &[]).unwrap_err().kind(), "trap");
    }
    assert_eq!(codec.memory_bytes(), 0, "the last call failed");
    assert_eq!(decode(&codec, &[1]), Ok(Decoded::Nothing));
    assert_eq!(codec.memory_bytes(), 65536);
}

#[test]
fn more_codecs_than_places_are_refused_until_one_goes() {
    let runtime = Runtime::new().unwrap();
    let source = SOUND.binary();
    let mut codecs: Vec<Wasm> = (0..WASM_INSTANCES_MAX)
        .map(|_| runtime.load(&source).unwrap())
        .collect();
    let refused = runtime.load(&source).unwrap_err();
    assert!(refused[0].message.contains("does not begin"), "{refused:?}");
    codecs.pop();
    runtime.load(&source).unwrap();
}
