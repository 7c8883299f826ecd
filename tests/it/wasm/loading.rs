//! What the loader takes, and what it says to the rest.

use proptest::prelude::*;
use strait::base::limits::CODEC_WASM_MAX;
use strait::product::codec::wasm::Runtime;
use strait::product::codec::{AnswerTo, Codec, Decoded, LoadError};

use super::component::{Component, SOUND};
use super::{decode, encode};

fn mistakes(source: &[u8]) -> Vec<LoadError> {
    Runtime::new().unwrap().load(source).unwrap_err()
}

#[test]
fn what_does_not_fit_is_told_when_it_is_loaded() {
    let import = r#"(import "wasi:cli/exit@0.2.0" (instance (export "exit" (func (param "code" u32)))))
        (import "own" (func))"#;
    let odd = r#"(func (export "decode") (param "payload" string) (result u32)
        (canon lift (core func $i "encode") (memory (core memory $i "memory"))
    (realloc (core func $i "cabi_realloc"))))"#;
    let rows: Vec<(Component, &[&str])> = vec![
        (
            Component {
                imports: import,
                ..SOUND
            },
            &["imports wasi:cli/exit@0.2.0", "without WASI", "imports own"],
        ),
        (
            Component {
                exports: "",
                ..SOUND
            },
            &["exports no decode: func(payload: list<u8>", "world `codec`"],
        ),
        (
            Component {
                exports: odd,
                ..SOUND
            },
            &["decode is not func(payload: list<u8>"],
        ),
        (
            Component {
                version: "(i32.const 2)",
                ..SOUND
            },
            &["model-version: is 2, takes 1"],
        ),
        (
            Component {
                version: "(loop $l (br $l)) unreachable",
                ..SOUND
            },
            &["does not begin", "50 ms"],
        ),
        (
            Component {
                module: "(func $s (loop $l (br $l))) (start $s)",
                ..SOUND
            },
            &["does not begin", "50 ms"],
        ),
        (
            Component {
                module: "(func $s unreachable) (start $s)",
                ..SOUND
            },
            &["does not begin", "unreachable"],
        ),
        (Component { pages: 65, ..SOUND }, &["memory"]),
        (
            Component {
                module: "(table 100000 funcref)",
                ..SOUND
            },
            &["table"],
        ),
    ];
    for (component, parts) in rows {
        let text = format!("{:?}", mistakes(&component.binary()));
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
}

#[test]
fn malformed_binaries_are_refused() {
    let sound = SOUND.binary();
    let core = wat::parse_str("(module)").unwrap();
    let memory64 = wat::parse_str("(component (core module (memory i64 1)))").unwrap();
    let mut endless_section = sound[..8].to_vec();
    endless_section.extend([1, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let mut many_types = sound[..8].to_vec();
    many_types.extend([7, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x40]);
    let rows: Vec<(&[u8], &str)> = vec![
        (b"", "not WebAssembly"),
        (b"(component)", "not WebAssembly"),
        (b"\0asm", "of a version"),
        (b"\0asm\x63\0\0\0", "of a version"),
        (&core, "core module"),
        (&memory64, "not a component"),
        (&endless_section, "not a component"),
        (&many_types, "not a component"),
    ];
    for (source, part) in rows {
        let found = mistakes(source);
        assert!(found[0].message.contains(part), "{found:?}, want {part:?}");
    }
    let long = [&sound[..8], &vec![0; CODEC_WASM_MAX]].concat();
    assert!(mistakes(&long)[0].message.contains("takes up to 4194304"));
    let runtime = Runtime::new().unwrap();
    // Kinds and lengths of the first sections.
    for at in 8..40 {
        let mut source = sound.clone();
        source[at] = 0;
        let _any_end_is_fine = runtime.load(&source).is_ok();
    }
    for cut in 8..end_of_exports(&sound) {
        assert!(runtime.load(&sound[..cut]).is_err(), "cut at {cut}");
    }
}

/// Where the last section ends that means something; those with names for people follow.
fn end_of_exports(binary: &[u8]) -> usize {
    let (mut at, mut end) = (8, 8);
    while at < binary.len() {
        let is_custom = binary[at] == 0;
        let (mut len, mut shift) = (0_usize, 0);
        loop {
            at += 1;
            len |= usize::from(binary[at] & 0x7f) << shift;
            shift += 7;
            if binary[at] & 0x80 == 0 {
                break;
            }
        }
        at += 1 + len;
        if !is_custom {
            end = at;
        }
    }
    end
}

/// Whoever has no optional function has none.
#[test]
fn optional_functions_may_be_absent() {
    let codec = Runtime::new().unwrap().load(&SOUND.binary()).unwrap();
    assert_eq!(codec.decode_downlink(&[1]), None);
    let to = AnswerTo {
        request: &[1],
        errcode: 0,
        has_more: true,
    };
    assert_eq!(codec.answer(&to), Ok(None));
    assert_eq!(decode(&codec, &[]), Ok(Decoded::Nothing));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Broken binaries are refused or run: neither loading nor calling panics or hangs.
    #[test]
    fn broken_binaries_never_panic(
        flips in proptest::collection::vec((8..4096_usize, any::<u8>()), 1..4),
    ) {
        let mut source = SOUND.binary();
        let len = source.len();
        for (at, byte) in flips {
            source[8 + at % (len - 8)] = byte;
        }
        let runtime = Runtime::new().unwrap();
        if let Ok(codec) = runtime.load(&source) {
            let _any_end_is_fine = (decode(&codec, &[1, 2, 3]).is_ok(), encode(&codec).is_ok());
        }
    }
}
