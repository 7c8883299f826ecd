//! The wire layer: a registration request of 129 bytes with 6 options, parsed, walked and read.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that can't go on has failed"
)]

use divan::{AllocProfiler, Bencher, black_box};
use strait::wire::coap::{Builder, Code, ContentFormat, Message, Token, Type};
use strait::wire::lwm2m::{ObjectList, tlv};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const LINKS: &[u8] = b"</>;ct=11543,</1/0>,</3/0>,</4/0>,</5/0>,</19/0>,</19/1>";

/// Uri-Path, Content-Format and four times Uri-Query.
fn registration() -> Vec<u8> {
    let datagram = Builder::new(Type::Confirmable, Code::POST, 0x1234, Token::from_u64(7))
        .path("/rd")
        .content_format(ContentFormat::LINK)
        .query("ep=867725038317248&lt=86400&lwm2m=1.0&b=U")
        .payload(LINKS)
        .build();
    assert_eq!(datagram.len(), 129);
    assert_eq!(Message::parse(&datagram).unwrap().options.iter().count(), 6);
    datagram
}

#[divan::bench]
fn parse_registration(bencher: Bencher<'_, '_>) {
    let datagram = registration();
    bencher.bench_local(|| Message::parse(black_box(&datagram)).is_ok());
}

/// Parses, and reads every option once more, as the server does.
#[divan::bench]
fn parse_registration_and_walk_options(bencher: Bencher<'_, '_>) {
    let datagram = registration();
    bencher.bench_local(|| {
        let message = Message::parse(black_box(&datagram)).ok()?;
        let options = message.options.iter();
        Some(
            options
                .map(|option| usize::from(option.number) + option.value.len())
                .sum::<usize>(),
        )
    });
}

#[divan::bench]
fn read_links_of_registration(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| ObjectList::parse(black_box(LINKS)));
}

#[divan::bench]
fn unwrap_tlv_notification(bencher: Bencher<'_, '_>) {
    let payload = [&[0xc8, 0, 68][..], &[0x5a; 68]].concat();
    bencher.bench_local(|| tlv::unwrap_opaque(black_box(&payload)).map(<[u8]>::len));
}

#[divan::bench]
fn build_notification_ack(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(64);
    bencher.bench_local(|| {
        out.clear();
        Builder::empty(Type::Acknowledgement, black_box(7)).encode_into(&mut out);
        out.len()
    });
}
