//! A payload to the codec of each sample product.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use strait::base::time::Timestamp;
use strait::product::codec::{Codec, Kind, Uplink, compile};

const SOURCES: [&str; 5] = [
    include_str!("../../../../codecs/gas-meter/codec.toml"),
    include_str!("../../../../codecs/parking-sensor/codec.toml"),
    include_str!("../../../../codecs/smoke-detector/codec.toml"),
    include_str!("../../../../codecs/street-light/codec.toml"),
    include_str!("../../../../codecs/water-meter/codec.toml"),
];

static CODECS: LazyLock<Vec<Arc<dyn Codec>>> = LazyLock::new(|| {
    let load = |source: &str| compile(Kind::Table, source.as_bytes(), None, None);
    SOURCES
        .into_iter()
        .filter_map(|source| load(source).ok())
        .collect()
});

fuzz_target!(|payload: &[u8]| {
    assert_eq!(CODECS.len(), SOURCES.len());
    for codec in CODECS.iter() {
        let uplink = Uplink {
            payload,
            received_at: Timestamp::from_ms(1_700_000_000_000),
            f_port: None,
        };
        let _decoded = codec.decode(&uplink, None);
    }
});
