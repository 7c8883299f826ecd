//! Transfers by hazard: what is lost, late, repeated, too large or too many.

mod client;
mod uploads;

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::wire::coap::{Builder, ContentFormat, Message, Token, Type, option};

fn start() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do: only differences count"
    )]
    Instant::now()
}

fn small() -> Settings {
    Settings {
        body_max: 128,
        per_sender_max: 2,
        total_max: 3,
        bytes_max: 200,
        lifetime: Duration::from_secs(300),
        szx_max: 6,
    }
}

fn body(len: usize) -> Vec<u8> {
    let byte = |at: usize| (at * 7 + at / 256).to_be_bytes()[7];
    (0..len).map(byte).collect()
}

fn block(num: u32, more: bool, szx: u8) -> Block {
    Block::new(num, more, szx).unwrap()
}

fn post(block: Option<Block>, payload: &[u8]) -> Builder {
    let builder = Builder::new(Type::Confirmable, Code::POST, 1, Token::EMPTY)
        .path("/rd")
        .content_format(ContentFormat::LINK)
        .payload(payload);
    match block {
        Some(block) => builder.block1(block),
        None => builder,
    }
}

#[test]
fn slices_of_a_body() {
    let whole = body(100);
    let cases = [
        // Fits: Block2 only when asked for.
        (100, None, 6, Ok((0, 100, None))),
        (
            100,
            Some(block(0, false, 6)),
            6,
            Ok((0, 100, Some(block(0, false, 6)))),
        ),
        (100, None, 2, Ok((0, 64, Some(block(0, true, 2))))),
        // Any order, and the client's smaller size.
        (
            100,
            Some(block(1, false, 2)),
            6,
            Ok((64, 100, Some(block(1, false, 2)))),
        ),
        (
            100,
            Some(block(5, false, 0)),
            6,
            Ok((80, 96, Some(block(5, true, 0)))),
        ),
        (
            96,
            Some(block(5, false, 0)),
            6,
            Ok((80, 96, Some(block(5, false, 0)))),
        ),
        // The server's smaller size: the same offset, another number.
        (
            100,
            Some(block(1, false, 2)),
            0,
            Ok((64, 80, Some(block(4, true, 0)))),
        ),
        (0, None, 6, Ok((0, 0, None))),
        (
            0,
            Some(block(0, false, 5)),
            6,
            Ok((0, 0, Some(block(0, false, 5)))),
        ),
        (100, Some(block(2, false, 2)), 6, Err("past_end")),
        (64, Some(block(1, false, 2)), 6, Err("past_end")),
        (0, Some(block(1, false, 0)), 6, Err("past_end")),
        (
            100,
            Some(block(Block::NUM_MAX, false, 6)),
            0,
            Err("past_end"),
        ),
    ];
    for (len, asked, szx_max, want) in cases {
        let got = slice(&whole[..len], asked, szx_max).map_err(PastEnd::kind);
        let want = want.map(|(from, to, block)| (&whole[from..to], block));
        assert_eq!(got, want, "{len} bytes, {asked:?}, at most {szx_max}");
    }
}

#[test]
fn the_last_of_a_million_blocks() {
    // A body of 1 GiB on disk.
    let len = 1 << 30;
    let Window { range, block: last } =
        window(len, Some(block(Block::NUM_MAX, false, 6)), 6).unwrap();
    assert_eq!(range, len - 1024..len);
    assert_eq!(last, Some(block(Block::NUM_MAX, false, 6)));
    // In smaller blocks its place has no number.
    assert!(window(len, Some(block(Block::NUM_MAX, false, 6)), 5).is_err());
}

#[test]
fn etags_tell_bodies_apart() {
    assert_eq!(etag(b"a"), etag(b"a"));
    assert_ne!(etag(b"a"), etag(b"b"));
    // SHA-256 of nothing (FIPS 180-4 example), its first eight bytes.
    assert_eq!(etag(b""), [0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14]);
}

/// The whole way of a body up, at the client's and the server's sizes; the server's answers.
fn round_trip_up(len: usize, client: u8, server: u8) -> Vec<u8> {
    let mut uploads = Uploads::new(Settings {
        szx_max: server,
        ..Settings::default()
    });
    let mut sender = Sender::new(Bytes::from(body(len)), client);
    loop {
        let (block, payload) = sender.current().unwrap();
        let datagram = post(block, payload).build();
        let request = Message::parse(&datagram).unwrap();
        let (code, block) = match uploads.receive(start(), &1, &request) {
            Received::Whole => return request.payload.to_vec(),
            Received::Continue(block) => (Code::CONTINUE, block),
            Received::Complete {
                body,
                block,
                repeated: false,
            } => {
                assert_eq!(
                    sender.answered(Code::CHANGED, Some(block), None),
                    Ok(Sent::Done)
                );
                return body.to_vec();
            }
            Received::Complete { .. } | Received::Refused(_) => panic!("not whole, or refused"),
        };
        assert_eq!(sender.answered(code, Some(block), None), Ok(Sent::Next));
    }
}

fn round_trip_down(len: usize, client: u8, server: u8) -> Vec<u8> {
    let (whole, tag) = (body(len), etag(&body(len)));
    let mut collector = Collector::new(&Settings {
        szx_max: client,
        ..Settings::default()
    });
    let mut asked = None;
    loop {
        let (payload, block) = slice(&whole, asked, server).unwrap();
        let response = Builder::new(Type::Acknowledgement, Code::CONTENT, 1, Token::EMPTY)
            .option(option::ETAG, &tag)
            .payload(payload);
        let response = block.into_iter().fold(response, Builder::block2).build();
        match collector
            .receive(&Message::parse(&response).unwrap())
            .unwrap()
        {
            Collected::Next(block) => asked = Some(block),
            Collected::Complete(body) => return body,
        }
    }
}

/// A request of an arbitrary sender: mostly sensible, so that the state gets deep.
fn any_request() -> impl Strategy<Value = (u8, Builder, u64)> {
    let num = prop_oneof![8 => 0..6u32, 1 => 0..=Block::NUM_MAX];
    (
        0..5u8,
        0..3u8,
        num,
        any::<bool>(),
        0..=3u8,
        0..140usize,
        0..120u64,
        any::<bool>(),
    )
        .prop_map(|(sender, tag, num, more, szx, len, wait, fitting)| {
            let block = block(num, more, szx);
            let len = if fitting && more { block.size() } else { len };
            let request = post(Some(block), &body(len)).option(option::REQUEST_TAG, &[tag]);
            (sender, request, wait)
        })
}

proptest! {
    #[test]
    fn any_requests_never_panic_and_stay_within_bounds(
        requests in prop::collection::vec(any_request(), 0..60),
    ) {
        let settings = small();
        let mut uploads = Uploads::new(settings);
        let mut now = start();
        for (sender, request, wait) in requests {
            now += Duration::from_secs(wait);
            let datagram = request.build();
            let received = uploads.receive(now, &sender, &Message::parse(&datagram).unwrap());
            if let Received::Complete { body, .. } = received {
                prop_assert!(body.len() <= settings.body_max);
            }
            prop_assert!(uploads.len() <= settings.total_max);
            prop_assert!(uploads.bytes() <= settings.bytes_max);
        }
        uploads.sweep(now + settings.lifetime);
        prop_assert_eq!((uploads.len(), uploads.bytes()), (0, 0));
    }

    #[test]
    fn any_answers_never_panic_and_come_to_an_end(
        len in 0..200usize,
        szx in 0..=7u8,
        answers in prop::collection::vec(
            (
                prop::sample::select(vec![0x5f, 0x44, 0x88, 0x8d, 0x84, 0xa3]),
                prop::option::of((0..4u32, any::<bool>(), 0..=6u8)),
                prop::option::of(any::<u32>()),
            ),
            0..40,
        ),
    ) {
        let mut sender = Sender::new(Bytes::from(body(len)), szx);
        for (code, answer, size1) in answers {
            let (current, payload) = sender.current().unwrap();
            prop_assert!(payload.len() <= 1024);
            // Right numbers take it further than arbitrary ones.
            let answer = answer.map(|(num, more, szx)| {
                block(current.map_or(num, |current| current.num()), more, szx)
            });
            match sender.answered(Code::from_byte(code), answer, size1) {
                Ok(Sent::Next) => {}
                Ok(Sent::Done) | Err(_) => break,
            }
        }
    }

    #[test]
    fn any_responses_never_panic_and_stay_within_bounds(
        responses in prop::collection::vec(
            (0..4u32, any::<bool>(), 0..=3u8, 0..200usize, 0..2u8), 0..20),
    ) {
        let mut collector = Collector::new(&small());
        for (num, more, szx, len, tag) in responses {
            let datagram = Builder::new(Type::Acknowledgement, Code::CONTENT, 1, Token::EMPTY)
                .block2(block(num, more, szx))
                .option(option::ETAG, &[tag])
                .payload(&body(len))
                .build();
            let got = collector.receive(&Message::parse(&datagram).unwrap());
            if let Ok(Collected::Complete(body)) = got {
                prop_assert!(body.len() <= small().body_max);
            }
            prop_assert!(collector.len() <= small().body_max);
        }
    }

    #[test]
    fn a_body_survives_the_way_at_all_sizes(
        len in prop_oneof![0..70usize, 0..4000usize],
        client in 0..=6u8,
        server in 0..=6u8,
    ) {
        prop_assert!(round_trip_up(len, client, server) == body(len));
        prop_assert!(round_trip_down(len, client, server) == body(len));
    }

    #[test]
    fn a_window_is_within_the_body(
        len in any::<u32>(),
        num in 0..=Block::NUM_MAX,
        szx in 0..=6u8,
        szx_max in any::<u8>(),
    ) {
        let len = len as usize >> 2;
        if let Ok(Window { range, block: got }) = window(len, Some(block(num, false, szx)), szx_max) {
            prop_assert!(range.start <= range.end && range.end <= len);
            let got = got.unwrap();
            prop_assert_eq!(got.offset(), range.start);
            prop_assert_eq!(got.more(), range.end < len);
            prop_assert!(got.szx() <= szx && range.len() <= got.size());
        }
    }
}
