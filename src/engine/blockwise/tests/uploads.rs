//! The server's first role: bodies collected from many senders.

use super::*;

/// What the server answers, in words: `2.31 0/1/16`, `done 35 bytes`, `4.08`.
fn words(received: &Received) -> String {
    let show = |block: &Block| {
        format!(
            "{}/{}/{}",
            block.num(),
            u8::from(block.more()),
            block.size()
        )
    };
    match received {
        Received::Whole => "whole".to_owned(),
        Received::Continue(block) => format!("2.31 {}", show(block)),
        Received::Complete {
            body,
            block,
            repeated,
        } => {
            let again = if *repeated { " again" } else { "" };
            format!("done {} bytes {}{again}", body.len(), show(block))
        }
        Received::Refused(Refusal {
            code, size1: None, ..
        }) => code.to_string(),
        Received::Refused(Refusal {
            code,
            size1: Some(max),
            ..
        }) => format!("{code} size1={max}"),
    }
}

fn receive(uploads: &mut Uploads<u8>, now: Instant, sender: u8, request: &Builder) -> String {
    let datagram = request.build();
    words(&uploads.receive(now, &sender, &Message::parse(&datagram).unwrap()))
}

/// Sends blocks (num, more, szx, from, to) of one body to a server with small bounds.
fn upload(steps: &[(u32, bool, u8, usize, usize)]) -> Vec<String> {
    let mut uploads = Uploads::new(small());
    let (now, whole) = (start(), body(400));
    let send = |(num, more, szx, from, to): &(u32, bool, u8, usize, usize)| {
        let request = post(Some(block(*num, *more, *szx)), &whole[*from..*to]);
        receive(&mut uploads, now, 1, &request)
    };
    steps.iter().map(send).collect()
}

#[test]
fn blocks_in_order_make_a_body() {
    let got = upload(&[
        (0, true, 0, 0, 16),
        (1, true, 0, 16, 32),
        (2, false, 0, 32, 35),
    ]);
    assert_eq!(got, ["2.31 0/1/16", "2.31 1/1/16", "done 35 bytes 2/0/16"]);
}

#[test]
fn a_request_without_block1_is_whole() {
    let mut uploads = Uploads::new(small());
    assert_eq!(
        receive(&mut uploads, start(), 1, &post(None, &body(300))),
        "whole"
    );
    assert!(uploads.is_empty());
}

#[test]
fn a_repeated_block_gets_the_same_answer() {
    let got = upload(&[
        (0, true, 0, 0, 16),
        (0, true, 0, 0, 16),
        (1, true, 0, 16, 32),
        (1, true, 0, 16, 32),
        (2, false, 0, 32, 35),
        (2, false, 0, 32, 35),
    ]);
    let want = [
        "2.31 0/1/16",
        "2.31 0/1/16",
        "2.31 1/1/16",
        "2.31 1/1/16",
        "done 35 bytes 2/0/16",
        "done 35 bytes 2/0/16 again",
    ];
    assert_eq!(got, want);
}

#[test]
fn a_body_of_one_block_is_new_each_time() {
    let got = upload(&[(0, false, 6, 0, 12), (0, false, 6, 0, 12)]);
    assert_eq!(got, ["done 12 bytes 0/0/1024", "done 12 bytes 0/0/1024"]);
}

#[test]
fn a_missing_block_is_incomplete_and_the_transfer_goes_on() {
    let got = upload(&[
        (0, true, 0, 0, 16),
        (2, true, 0, 32, 48),
        (1, false, 0, 16, 20),
    ]);
    assert_eq!(got, ["2.31 0/1/16", "4.08", "done 20 bytes 1/0/16"]);
    assert_eq!(upload(&[(1, false, 0, 16, 20)]), ["4.08"]);
    // The first block is gone, the second is not that which was sent.
    let got = upload(&[
        (0, true, 0, 0, 16),
        (1, true, 0, 16, 32),
        (1, true, 0, 32, 48),
    ]);
    assert_eq!(got[2], "4.08");
    // A block beyond the last.
    let got = upload(&[
        (0, true, 0, 0, 16),
        (1, false, 0, 16, 20),
        (2, false, 0, 32, 40),
    ]);
    assert_eq!(got[2], "4.08");
}

#[test]
fn block_0_starts_anew() {
    let got = upload(&[
        (0, true, 0, 0, 16),
        (1, true, 0, 16, 32),
        (0, true, 0, 0, 16),
        (1, false, 0, 16, 20),
        (0, true, 0, 0, 16),
        (1, false, 0, 16, 20),
    ]);
    assert_eq!(got[3], "done 20 bytes 1/0/16");
    assert_eq!(
        got[5], "done 20 bytes 1/0/16",
        "a second upload is no repetition"
    );
}

#[test]
fn smaller_blocks_in_the_middle_adapt_their_numbers() {
    let got = upload(&[
        (0, true, 2, 0, 64),
        (2, true, 1, 64, 96),
        (6, false, 0, 96, 100),
    ]);
    assert_eq!(got, ["2.31 0/1/64", "2.31 2/1/32", "done 100 bytes 6/0/16"]);
    // The old numbering goes on with the new size: a gap.
    let got = upload(&[(0, true, 2, 0, 64), (1, true, 1, 64, 96)]);
    assert_eq!(got[1], "4.08");
}

#[test]
fn a_server_may_want_smaller_blocks() {
    let mut uploads = Uploads::new(Settings {
        szx_max: 1,
        ..small()
    });
    let (now, whole) = (start(), body(100));
    let first = post(Some(block(0, true, 2)), &whole[..64]);
    assert_eq!(receive(&mut uploads, now, 1, &first), "2.31 0/1/32");
    let second = post(Some(block(2, true, 1)), &whole[64..96]);
    assert_eq!(receive(&mut uploads, now, 1, &second), "2.31 2/1/32");
}

#[test]
fn too_large_is_told_at_once_and_ends_the_transfer() {
    assert_eq!(upload(&[(0, true, 4, 0, 256)]), ["4.13 size1=128"]);
    let got = upload(&[
        (0, true, 3, 0, 128),
        (1, false, 3, 128, 129),
        (1, false, 3, 128, 128),
    ]);
    assert_eq!(got, ["2.31 0/1/128", "4.13 size1=128", "4.08"]);
    // Announced by Size1.
    let mut uploads = Uploads::new(small());
    let request = post(Some(block(0, true, 0)), &body(16)).uint_option(option::SIZE1, 129);
    assert_eq!(
        receive(&mut uploads, start(), 1, &request),
        "4.13 size1=128"
    );
    assert!(uploads.is_empty());
    // The largest number is far beyond, without overflow.
    assert_eq!(
        upload(&[(Block::NUM_MAX, false, 6, 0, 1)]),
        ["4.13 size1=128"]
    );
}

#[test]
fn a_block_of_the_wrong_length_is_a_bad_request() {
    assert_eq!(upload(&[(0, true, 0, 0, 15)]), ["4.00"]);
    assert_eq!(upload(&[(0, true, 0, 0, 17)]), ["4.00"]);
    assert_eq!(upload(&[(0, false, 0, 0, 17)]), ["4.00"]);
    assert_eq!(
        upload(&[(0, true, 0, 0, 16), (1, false, 0, 16, 16)])[1],
        "done 16 bytes 1/0/16"
    );
    let mut uploads = Uploads::new(small());
    for (value, want) in [(&[0x07][..], "4.00"), (&[0, 0, 0, 8], "4.02")] {
        let request = post(None, &body(16)).option(option::BLOCK1, value);
        assert_eq!(receive(&mut uploads, start(), 1, &request), want);
    }
}

/// Everything that tells transfers apart: none of these goes on with the first.
#[test]
fn transfers_are_told_apart() {
    let next = block(1, false, 0);
    let payload = &body(4)[..];
    let base = || Builder::new(Type::Confirmable, Code::POST, 1, Token::EMPTY).payload(payload);
    let link = ContentFormat::LINK;
    let others = [
        (1, base().path("/t").content_format(link).block1(next)),
        (1, base().path("/rd/1").content_format(link).block1(next)),
        (
            1,
            base()
                .path("/rd")
                .query("ep=1")
                .content_format(link)
                .block1(next),
        ),
        (
            1,
            base()
                .path("/rd")
                .option(option::REQUEST_TAG, &[])
                .content_format(link)
                .block1(next),
        ),
        (
            1,
            base()
                .path("/rd")
                .content_format(ContentFormat::TLV)
                .block1(next),
        ),
        (1, base().path("/rd").block1(next)),
        (2, base().path("/rd").content_format(link).block1(next)),
    ];
    let mut uploads = Uploads::new(small());
    let now = start();
    receive(
        &mut uploads,
        now,
        1,
        &post(Some(block(0, true, 0)), &body(16)),
    );
    for (sender, other) in others {
        assert_eq!(
            receive(&mut uploads, now, sender, &other),
            "4.08",
            "{other:?}"
        );
    }
    let mut put = base().path("/rd").content_format(link).block1(next);
    put.code = Code::PUT;
    assert_eq!(receive(&mut uploads, now, 1, &put), "4.08");
    // A new message with a new token goes on.
    let mut same = base().path("/rd").content_format(link).block1(next);
    (same.msg_id, same.token) = (9, Token::from_u64(9));
    assert_eq!(receive(&mut uploads, now, 1, &same), "done 20 bytes 1/0/16");
}

fn tagged(tag: u8, num: u32) -> Builder {
    post(Some(block(num, true, 0)), &body(16)).option(option::REQUEST_TAG, &[tag])
}

#[test]
fn a_sender_with_too_many_loses_its_own_oldest() {
    let mut uploads = Uploads::new(small());
    let now = start();
    let later = |s| now + Duration::from_secs(s);
    receive(&mut uploads, now, 9, &tagged(0, 0));
    receive(&mut uploads, later(1), 1, &tagged(1, 0));
    receive(&mut uploads, later(2), 1, &tagged(2, 0));
    assert_eq!(
        receive(&mut uploads, later(3), 1, &tagged(1, 1)),
        "2.31 1/1/16"
    );
    assert_eq!(
        receive(&mut uploads, later(4), 1, &tagged(3, 0)),
        "2.31 0/1/16"
    );
    assert_eq!(
        receive(&mut uploads, later(5), 1, &tagged(2, 1)),
        "4.08",
        "untouched longest"
    );
    assert_eq!(
        receive(&mut uploads, later(5), 1, &tagged(1, 2)),
        "2.31 2/1/16"
    );
    assert_eq!(
        receive(&mut uploads, later(5), 9, &tagged(0, 1)),
        "2.31 1/1/16"
    );
}

#[test]
fn strangers_can_not_end_others_transfers() {
    let mut uploads = Uploads::new(small());
    let now = start();
    for sender in 1..=3 {
        assert_eq!(
            receive(&mut uploads, now, sender, &tagged(0, 0)),
            "2.31 0/1/16"
        );
    }
    assert_eq!(receive(&mut uploads, now, 4, &tagged(0, 0)), "5.03");
    assert_eq!(receive(&mut uploads, now, 1, &tagged(0, 1)), "2.31 1/1/16");
    assert_eq!(uploads.len(), 3);
    // What is done gives way.
    let last = post(Some(block(1, false, 0)), &[1]).option(option::REQUEST_TAG, &[0]);
    assert_eq!(receive(&mut uploads, now, 2, &last), "done 17 bytes 1/0/16");
    assert_eq!(receive(&mut uploads, now, 4, &tagged(0, 0)), "2.31 0/1/16");
    assert_eq!(uploads.len(), 3);
}

#[test]
fn bytes_in_all_are_bounded() {
    let mut uploads = Uploads::new(small());
    let now = start();
    for sender in 1..=2 {
        let first = post(Some(block(0, true, 2)), &body(64));
        assert_eq!(receive(&mut uploads, now, sender, &first), "2.31 0/1/64");
    }
    let second = post(Some(block(1, true, 2)), &body(64));
    assert_eq!(receive(&mut uploads, now, 1, &second), "2.31 1/1/64");
    assert_eq!(receive(&mut uploads, now, 2, &second), "5.03");
    assert_eq!(uploads.bytes(), 192);
    // The refused block may come again when there is room.
    receive(
        &mut uploads,
        now,
        1,
        &post(Some(block(0, false, 2)), &body(1)),
    );
    assert_eq!(receive(&mut uploads, now, 2, &second), "2.31 1/1/64");
}

#[test]
fn a_transfer_ends_when_nothing_comes_for_its_lifetime() {
    let mut uploads = Uploads::new(small());
    let now = start();
    let at = |s| now + Duration::from_secs(s);
    assert_eq!(uploads.deadline(), None);
    receive(&mut uploads, now, 1, &tagged(0, 0));
    receive(&mut uploads, at(299), 1, &tagged(0, 1));
    assert_eq!(uploads.deadline(), Some(at(300)));
    uploads.sweep(at(300));
    assert_eq!((uploads.len(), uploads.deadline()), (1, Some(at(599))));
    assert_eq!(receive(&mut uploads, at(599), 1, &tagged(0, 2)), "4.08");
    assert_eq!(
        (uploads.len(), uploads.bytes(), uploads.deadline()),
        (0, 0, None)
    );
}
