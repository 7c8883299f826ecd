//! The table codec: a 68-byte report of 12 fields to JSON bytes, as the uplink journey does it.
//! Beside it the parts, so that it shows where the time goes.

#![allow(clippy::unwrap_used, reason = "a bench that cannot start has failed")]

use divan::{AllocProfiler, Bencher, black_box};
use serde_json::{Map, json};
use strait::base::time::Timestamp;
use strait::product::codec::table::{TableCodec, load};
use strait::product::codec::{Codec, Decoded, Encode, Uplink};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const SOURCE: &str = include_str!("../fixtures/codec/tables/bench.toml");

fn codec() -> TableCodec {
    load(SOURCE, None).unwrap()
}

/// 68 bytes.
fn payload() -> Vec<u8> {
    let mut bytes = vec![1, 0, 0x12, 0x34, 0x56, 0x78, 0x90];
    bytes.extend(1_597_133_265_u32.to_be_bytes());
    bytes.extend(123_456_u32.to_le_bytes());
    bytes.extend(7_u32.to_le_bytes());
    bytes.extend((-25_i16).to_be_bytes());
    bytes.extend(655_i16.to_be_bytes());
    bytes.extend(3012_u16.to_be_bytes());
    bytes.extend([36, 0x11, 9]);
    for litres in [10_u16, 25, 0, 130, 45, 7, 0, 12, 3] {
        bytes.extend(litres.to_be_bytes());
    }
    bytes.extend(*b"89860412345678901234");
    let sum = crc::Crc::<u16>::new(&crc::CRC_16_MODBUS).checksum(&bytes);
    bytes.extend(sum.to_le_bytes());
    assert_eq!(bytes.len(), 68);
    bytes
}

fn uplink(payload: &[u8]) -> Uplink<'_> {
    Uplink {
        payload,
        received_at: Timestamp::from_ms(0),
        f_port: None,
    }
}

#[divan::bench(sample_size = 100)]
fn decode_68_bytes_to_json(bencher: Bencher<'_, '_>) {
    let (codec, payload) = (codec(), payload());
    let mut out = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        let decoded = codec.decode(&uplink(black_box(&payload)), None).unwrap();
        let Decoded::Report(report) = decoded else {
            return 0;
        };
        out.clear();
        for service in &report.services {
            serde_json::to_writer(&mut out, &service.properties).unwrap();
        }
        out.len()
    });
}

#[divan::bench(sample_size = 100)]
fn decode_68_bytes(bencher: Bencher<'_, '_>) {
    let (codec, payload) = (codec(), payload());
    bencher.bench_local(|| codec.decode(&uplink(black_box(&payload)), None).unwrap());
}

#[divan::bench(sample_size = 100)]
fn encode_command(bencher: Bencher<'_, '_>) {
    let codec = codec();
    let mut paras = Map::new();
    paras.insert("state".to_owned(), json!("closed"));
    bencher.bench_local(|| {
        let command = Encode {
            service_id: "Meter",
            command_name: "SET_VALVE",
            paras: black_box(&paras),
            mid: 7,
        };
        codec.encode(&command).unwrap()
    });
}

fn main() {
    divan::main();
}
