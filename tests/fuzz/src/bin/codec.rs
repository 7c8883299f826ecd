//! A text as the source of a table codec; one that loads gets the text as a payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strait::base::time::Timestamp;
use strait::product::codec::{Kind, Uplink, compile};

fuzz_target!(|source: &[u8]| {
    if let Ok(codec) = compile(Kind::Table, source, None, None) {
        let uplink = Uplink {
            payload: source,
            received_at: Timestamp::from_ms(1_700_000_000_000),
            f_port: None,
        };
        let mut trace = Vec::new();
        let _decoded = codec.decode(&uplink, Some(&mut trace));
    }
});
