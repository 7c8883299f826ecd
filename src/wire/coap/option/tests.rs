//! Options as their receivers ask for them.

use proptest::prelude::*;

use super::*;
use crate::wire::coap::{Builder, Code, Message, Token, Type};

fn with(options: &[(u16, &[u8])]) -> Vec<u8> {
    let builder = Builder::new(Type::Confirmable, Code::POST, 1, Token::EMPTY);
    options
        .iter()
        .fold(builder, |builder, (number, value)| {
            builder.option(*number, value)
        })
        .build()
}

#[test]
fn every_accessor_reads_its_option() {
    let datagram = Builder::new(Type::Confirmable, Code::POST, 1, Token::EMPTY)
        .payload(b"x")
        .query("ep=8677&Q")
        .path("/19/1/0")
        .location("rd/5a")
        .content_format(ContentFormat::TLV)
        .accept(ContentFormat::OPAQUE)
        .observe(0x00ab_cdef)
        .block1(Block::new(3, true, 6).unwrap())
        .block2(Block::new(Block::NUM_MAX, false, 2).unwrap())
        .uint_option(SIZE1, 65536)
        .uint_option(SIZE2, u64::from(u32::MAX))
        .uint_option(MAX_AGE, 0)
        .option(ETAG, &[1, 2])
        .option(ECHO, &[7; 40])
        .option(REQUEST_TAG, &[])
        .option(REQUEST_TAG, &[9])
        .uint_option(NO_RESPONSE, 26)
        .build();
    let options = Message::parse(&datagram).unwrap().options;
    assert!(options.uri_path().eq(["19", "1", "0"].map(Ok)));
    assert!(options.uri_query().eq(["ep=8677", "Q"].map(Ok)));
    assert!(options.location_path().eq(["rd", "5a"].map(Ok)));
    assert!(options.is_path(&["19", "1", "0"]));
    assert!(!options.is_path(&["19", "1"]));
    assert!(!options.is_path(&["19", "1", "0", ""]));
    assert_eq!(options.content_format(), Some(11542));
    assert_eq!(options.accept(), Some(42));
    assert_eq!(options.observe(), Some(0x00ab_cdef));
    assert_eq!(options.block1(), Some(Block::new(3, true, 6)));
    assert_eq!(options.block2(), Some(Block::new(Block::NUM_MAX, false, 2)));
    assert_eq!(
        (options.size1(), options.size2()),
        (Some(65536), Some(u32::MAX))
    );
    assert_eq!(options.max_age(), Some(0));
    assert_eq!(options.etag(), Some(&[1, 2][..]));
    assert_eq!(options.echo(), Some(&[7; 40][..]));
    assert_eq!(options.request_tag(), Some(&[][..]));
    assert!(options.values(REQUEST_TAG).eq([&[][..], &[9][..]]));
    assert_eq!(options.no_response(), Some(26));
    let numbers: Vec<_> = options.iter().map(|option| option.number).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(numbers.len(), 20);
}

#[test]
fn absent_options_are_none() {
    let datagram = with(&[]);
    let options = Message::parse(&datagram).unwrap().options;
    assert!(options.is_empty());
    assert_eq!(options.uri_path().next(), None);
    assert_eq!((options.content_format(), options.observe()), (None, None));
    assert_eq!((options.block1(), options.max_age()), (None, None));
    assert!(options.is_path(&[]));
}

#[test]
fn an_elective_option_of_illegal_length_counts_as_absent() {
    let value = [1; 41];
    for (number, illegal) in [
        (CONTENT_FORMAT, 3),
        (OBSERVE, 4),
        (MAX_AGE, 5),
        (SIZE1, 5),
        (ETAG, 0),
        (ETAG, 9),
        (ECHO, 0),
        (ECHO, 41),
        (NO_RESPONSE, 2),
        (REQUEST_TAG, 9),
    ] {
        let datagram = with(&[(number, &value[..illegal])]);
        let options = Message::parse(&datagram).unwrap().options;
        assert_eq!(options.first(number), None, "{number} with {illegal} bytes");
        assert_eq!(options.unknown_critical(&[]), None, "{number} is elective");
    }
}

#[test]
fn block_options_tell_their_errors() {
    let datagram = with(&[(BLOCK1, &[0x07]), (BLOCK2, &[0, 0, 0, 0])]);
    let options = Message::parse(&datagram).unwrap().options;
    assert_eq!(options.block1(), Some(Err(BlockError::Size)));
    assert_eq!(options.block2(), Some(Err(BlockError::Length { len: 4 })));
}

#[test]
fn a_path_that_is_no_text_says_where() {
    let datagram = with(&[
        (URI_PATH, b"ok"),
        (URI_PATH, b"n\xe4h"),
        (URI_QUERY, b"\xff"),
    ]);
    let options = Message::parse(&datagram).unwrap().options;
    let path: Vec<_> = options.uri_path().collect();
    assert_eq!(
        path,
        [
            Ok("ok"),
            Err(TextError {
                number: URI_PATH,
                at: 1
            })
        ]
    );
    let error = options.uri_query().next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "option 15 is not UTF-8 from byte 0 on");
}

#[test]
fn unknown_critical_options() {
    let known = [URI_PATH, URI_QUERY, ACCEPT, BLOCK1, IF_NONE_MATCH, 2049];
    let long = [0; 256];
    type Row<'a> = (&'a [(u16, &'a [u8])], Option<u16>);
    let cases: [Row<'_>; 13] = [
        (&[], None),
        (
            &[(URI_PATH, b"rd"), (URI_PATH, b"1"), (URI_QUERY, b"")],
            None,
        ),
        (&[(OSCORE, b"")], Some(OSCORE)),
        (&[(PROXY_URI, b"coap://x")], Some(PROXY_URI)),
        (&[(2050, b"elective"), (2050, b"twice")], None),
        (&[(2051, b"")], Some(2051)),
        // Known to the caller, though not defined here: its rules are the caller's.
        (&[(2049, b"a"), (2049, b"b")], None),
        // A length that the definition forbids.
        (&[(ACCEPT, &[0, 0, 0])], Some(ACCEPT)),
        (&[(URI_PATH, &long)], Some(URI_PATH)),
        (&[(IF_NONE_MATCH, &[1])], Some(IF_NONE_MATCH)),
        (&[(BLOCK1, &[0, 0, 0, 6])], Some(BLOCK1)),
        // More often than the definition allows.
        (&[(ACCEPT, &[42]), (ACCEPT, &[42])], Some(ACCEPT)),
        // The first of several in order of their numbers.
        (&[(65535, b""), (OSCORE, b"")], Some(OSCORE)),
    ];
    for (options, want) in cases {
        let datagram = with(options);
        let message = Message::parse(&datagram).unwrap();
        assert_eq!(
            message.options.unknown_critical(&known),
            want,
            "{options:02x?}"
        );
    }
}

#[test]
fn numbers_in_their_shortest_form() {
    let cases: [(u64, &[u8]); 6] = [
        (0, &[]),
        (1, &[1]),
        (255, &[255]),
        (256, &[1, 0]),
        (0x00ff_0000, &[255, 0, 0]),
        (u64::MAX, &[255; 8]),
    ];
    for (number, bytes) in cases {
        assert_eq!(Uint::new(number).as_bytes(), bytes);
        assert_eq!(Uint::parse(bytes), Some(number));
    }
    assert_eq!(Uint::parse(&[0, 0, 5]), Some(5));
    assert_eq!(Uint::parse(&[0; 9]), None);
}

#[test]
fn criticality_is_in_the_number() {
    assert!(is_critical(URI_PATH) && is_unsafe(URI_PATH));
    assert!(is_critical(IF_MATCH) && !is_unsafe(IF_MATCH));
    assert!(!is_critical(SIZE1) && !is_unsafe(SIZE1));
    assert!(!is_critical(MAX_AGE) && is_unsafe(MAX_AGE));
}

#[test]
fn legacy_formats_mean_the_modern_ones() {
    for (number, format) in [
        (1541, ContentFormat::TEXT),
        (11541, ContentFormat::TEXT),
        (1542, ContentFormat::TLV),
        (1543, ContentFormat::LWM2M_JSON),
        (11542, ContentFormat::TLV),
        (42, ContentFormat::OPAQUE),
    ] {
        assert_eq!(ContentFormat(number).modern(), format);
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let datagram = [&[0x40, 0x02, 0, 1][..], &bytes].concat();
        if let Ok(message) = Message::parse(&datagram) {
            let options = message.options;
            let len: usize = options.iter().map(|option| option.value.len() + 1).sum();
            prop_assert!(len <= bytes.len());
            let _ = (options.block1(), options.block2(), options.observe(), options.echo());
            prop_assert!(options.uri_path().count() <= bytes.len());
            // Whatever is critical is unknown when nothing is known.
            let critical = options.iter().map(|option| option.number).find(|n| is_critical(*n));
            prop_assert_eq!(options.unknown_critical(&[]), critical);
        }
    }

    /// Options of one number keep their order, whatever stands between them.
    #[test]
    fn order_survives(numbers in prop::collection::vec(0..6u16, 0..20)) {
        let values: Vec<_> = (0..20u8).map(|place| vec![place; usize::from(place % 3)]).collect();
        let added: Vec<_> = numbers.iter().copied().zip(values.iter().map(Vec::as_slice)).collect();
        let datagram = with(&added);
        let options = Message::parse(&datagram).unwrap().options;
        for number in 0..6 {
            let want = added.iter().filter(|(n, _)| *n == number).map(|(_, value)| *value);
            prop_assert!(options.values(number).eq(want));
        }
    }
}
