//! The client's roles: bodies sent and collected.

use super::*;

fn sender(len: usize, szx: u8) -> Sender {
    Sender::new(Bytes::from(body(len)), szx)
}

/// What is sent now: num, more, size, length.
fn current(sender: &Sender) -> (u32, bool, usize, usize) {
    let (block, payload) = sender.current().unwrap();
    let block = block.unwrap();
    (block.num(), block.more(), block.size(), payload.len())
}

#[test]
fn a_short_body_needs_no_block() {
    let mut sender = sender(64, 2);
    assert_eq!(sender.current(), Ok((None, &body(64)[..])));
    assert_eq!(sender.answered(Code::CHANGED, None, None), Ok(Sent::Done));
}

#[test]
fn goes_on_at_the_receivers_size() {
    let mut sender = sender(100, 2);
    assert_eq!(current(&sender), (0, true, 64, 64));
    let answer = Some(block(0, true, 0));
    assert_eq!(
        sender.answered(Code::CONTINUE, answer, None),
        Ok(Sent::Next)
    );
    assert_eq!(current(&sender), (4, true, 16, 16));
    // A larger size is no reason to grow again; a 2.31 without Block1 is taken.
    sender
        .answered(Code::CONTINUE, Some(block(4, true, 6)), None)
        .unwrap();
    sender.answered(Code::CONTINUE, None, None).unwrap();
    assert_eq!(current(&sender), (6, false, 16, 4));
    let answer = Some(block(6, false, 0));
    assert_eq!(sender.answered(Code::CHANGED, answer, None), Ok(Sent::Done));
}

#[test]
fn takes_each_block_answered_on_its_own() {
    let mut sender = sender(40, 1);
    let answer = Some(block(0, false, 1));
    assert_eq!(sender.answered(Code::CHANGED, answer, None), Ok(Sent::Next));
    assert_eq!(current(&sender), (1, false, 32, 8));
}

#[test]
fn answers_that_make_no_sense_end_it() {
    let cases = [
        (Code::CONTINUE, Some(block(3, true, 2)), "gap"),
        (Code::CHANGED, None, "unexpected"),
    ];
    for (code, answer, want) in cases {
        let error = sender(100, 2).answered(code, answer, None).unwrap_err();
        assert_eq!(error.kind(), want);
    }
    let error = sender(10, 2)
        .answered(Code::CONTINUE, None, None)
        .unwrap_err();
    assert_eq!(error, TransferError::Unexpected(Code::CONTINUE));
    // Any other answer is that to the whole request, early or not.
    assert_eq!(
        sender(100, 2).answered(Code::FORBIDDEN, None, None),
        Ok(Sent::Done)
    );
}

#[test]
fn too_large_starts_again_in_smaller_blocks() {
    let too_large = Code::REQUEST_ENTITY_TOO_LARGE;
    let mut to = sender(100, 6);
    assert_eq!(to.current(), Ok((None, &body(100)[..])));
    assert_eq!(to.answered(too_large, None, None), Ok(Sent::Next));
    assert_eq!(
        current(&to),
        (0, true, 64, 64),
        "the first size that cuts it"
    );
    to.answered(Code::CONTINUE, Some(block(0, true, 2)), None)
        .unwrap();
    assert_eq!(
        to.answered(too_large, Some(block(1, false, 0)), Some(4)),
        Ok(Sent::Next)
    );
    assert_eq!(
        current(&to),
        (0, true, 16, 16),
        "the receiver's size, from the start"
    );
    let error = to.answered(too_large, None, None).unwrap_err();
    assert_eq!(error, TransferError::Refused(too_large));
    // A receiver that says how much it takes at all.
    let error = sender(100, 2)
        .answered(too_large, None, Some(99))
        .unwrap_err();
    assert_eq!(error, TransferError::TooLarge { len: 100, max: 99 });
}

#[test]
fn incomplete_starts_again_but_not_for_ever() {
    let incomplete = Code::REQUEST_ENTITY_INCOMPLETE;
    let mut to = sender(100, 2);
    for _ in 0..2 {
        to.answered(Code::CONTINUE, Some(block(0, true, 2)), None)
            .unwrap();
        assert_eq!(to.answered(incomplete, None, None), Ok(Sent::Next));
        assert_eq!(current(&to), (0, true, 64, 64));
    }
    let error = to.answered(incomplete, None, None).unwrap_err();
    assert_eq!(error, TransferError::Refused(incomplete));
}

#[test]
fn more_blocks_than_there_are_numbers() {
    let mut to = Sender::new(Bytes::from(vec![0; (16 << 20) + 1]), 1);
    to.answered(Code::CONTINUE, Some(block(0, true, 0)), None)
        .unwrap();
    assert!(to.current().is_ok());
    for num in 2..=Block::NUM_MAX {
        to.answered(Code::CONTINUE, Some(block(num, true, 0)), None)
            .unwrap();
    }
    assert_eq!(to.current().unwrap_err().kind(), "too_large");
}

fn content(block: Option<Block>, etag: &[u8], payload: &[u8]) -> Builder {
    let builder = Builder::new(Type::Acknowledgement, Code::CONTENT, 1, Token::EMPTY);
    let builder = builder.payload(payload).option(option::ETAG, etag);
    match block {
        Some(block) => builder.block2(block),
        None => builder,
    }
}

/// Feeds responses; what the last one means.
fn collect(responses: &[Builder]) -> Result<Collected, &'static str> {
    let mut collector = Collector::new(&small());
    let mut last = None;
    for response in responses {
        let datagram = response.build();
        let got = collector.receive(&Message::parse(&datagram).unwrap());
        last = Some(got.map_err(TransferError::kind));
    }
    last.unwrap()
}

#[test]
fn responses_make_a_body() {
    let whole = body(100);
    let first = || content(Some(block(0, true, 2)), &[1], &whole[..64]);
    let cases = [
        (
            vec![content(None, &[1], &whole)],
            Ok(Collected::Complete(whole.clone())),
        ),
        (
            vec![content(None, &[1], &[])],
            Ok(Collected::Complete(Vec::new())),
        ),
        (vec![first()], Ok(Collected::Next(block(1, false, 2)))),
        (
            vec![
                first(),
                content(Some(block(1, false, 2)), &[1], &whole[64..]),
            ],
            Ok(Collected::Complete(whole.clone())),
        ),
        // The server goes on in smaller blocks.
        (
            vec![
                first(),
                content(Some(block(4, true, 0)), &[1], &whole[64..80]),
            ],
            Ok(Collected::Next(block(5, false, 0))),
        ),
        (
            vec![
                first(),
                content(Some(block(1, false, 2)), &[2], &whole[64..]),
            ],
            Err("changed"),
        ),
        (vec![first(), first()], Err("gap")),
        (
            vec![first(), content(Some(block(2, false, 2)), &[1], &[])],
            Err("gap"),
        ),
        (vec![first(), content(None, &[1], &whole)], Err("gap")),
        (
            vec![content(Some(block(1, false, 2)), &[1], &[])],
            Err("gap"),
        ),
        (
            vec![content(Some(block(0, true, 2)), &[1], &whole[..63])],
            Err("length"),
        ),
        (
            vec![content(Some(block(0, false, 0)), &[1], &whole[..17])],
            Err("length"),
        ),
        (vec![content(None, &[1], &body(129))], Err("too_large")),
        (
            vec![first().uint_option(option::SIZE2, 129)],
            Err("too_large"),
        ),
        (
            vec![content(None, &[1], &whole).option(option::BLOCK2, &[7])],
            Err("block_size"),
        ),
    ];
    for (responses, want) in cases {
        assert_eq!(collect(&responses), want, "{responses:?}");
    }
}
