//! Bodies in blocks, in both roles.

use bytes::Bytes;

use super::{Bench, peer, post, request, requested, sent};
use crate::engine::exchange::{
    Event, MsgIds, Outgoing, Outputs, Push, Request, Response, Resume, Settle,
};
use crate::wire::coap::{Block, Builder, Code, Message, Token, Type};

/// A body of 3000 bytes.
fn long_body() -> Bytes {
    (0..3000u32).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_request_in_blocks_arrives_whole() {
    let mut bench = Bench::new();
    let body = long_body();
    for (num, part) in (0u16..).zip(body.chunks(1024)) {
        let more = num < 2;
        let block = Block::new(num.into(), more, 6).unwrap();
        let message = Builder::new(Type::Confirmable, Code::POST, num, Token::EMPTY)
            .path("/t/d")
            .block1(block)
            .payload(part);
        let out = bench.receive(peer(), &message);
        if more {
            assert_eq!(sent(&out), [(Type::Acknowledgement, Code::CONTINUE, num)]);
            continue;
        }
        let [Event::Request { id, message }] = out.events.as_slice() else {
            panic!("{out:?}")
        };
        assert_eq!(message.payload(), body);
        let out = bench.answer(*id, Some(1));
        let answer = Message::parse(&out.datagrams[0].1).unwrap();
        assert_eq!(answer.options.block1(), Some(Ok(block)));
    }
    // A gap: 4.08.
    let message = Builder::new(Type::Confirmable, Code::POST, 9, Token::EMPTY)
        .path("/t/d")
        .block1(Block::new(5, true, 6).unwrap())
        .payload(&[0; 1024]);
    let incomplete = Code::REQUEST_ENTITY_INCOMPLETE;
    assert_eq!(
        sent(&bench.receive(peer(), &message)),
        [(Type::Acknowledgement, incomplete, 9)]
    );
}

#[test]
fn a_long_answer_goes_out_in_the_blocks_asked_for() {
    let mut bench = Bench::new();
    let body = long_body();
    let mut got = Vec::new();
    for msg_id in 0u16..6 {
        let num = u32::from(msg_id);
        let asked = Block::new(num, false, 5).unwrap();
        // Padded, so that a stranger's allowance is enough.
        let message = Builder::new(Type::Confirmable, Code::GET, msg_id, Token::EMPTY)
            .path("/p")
            .block2(asked)
            .payload(&[0; 400]);
        let id = requested(&bench.receive(peer(), &message));
        let payload = body.clone();
        let response = Response {
            payload,
            ..Response::refusal(Code::CONTENT)
        };
        let out = bench.send(Outgoing::Respond { id, response });
        let answer = Message::parse(&out.datagrams[0].1).unwrap();
        let block = answer.options.block2().unwrap().unwrap();
        assert_eq!(
            (block.num(), block.more(), block.size()),
            (num, num < 5, 512)
        );
        assert!(answer.options.etag().is_some());
        got.extend_from_slice(answer.payload);
    }
    assert_eq!(got, body);
}

/// The device's side of the one request in `out`: its message, and an answer to it.
fn answer_to(out: &Outputs, code: Code) -> (Vec<u8>, Builder) {
    let [(_, datagram)] = out.datagrams.as_slice() else {
        panic!("{out:?}")
    };
    let m = Message::parse(datagram).unwrap();
    let builder = Builder::new(Type::Acknowledgement, code, m.msg_id, m.token);
    (datagram.to_vec(), builder)
}

#[test]
fn a_long_request_of_ours_goes_out_in_blocks() {
    let mut bench = Bench::new();
    let id = requested(&bench.receive(peer(), &post(1).payload(&[0; 1400])));
    bench.answer(id, Some(1));
    let put = Request {
        code: Code::PUT,
        payload: long_body(),
        ..request(peer(), 42)
    };
    let mut out = bench.send(Outgoing::Request(Box::new(put)));
    let mut got = Vec::new();
    for num in 0..3 {
        let (datagram, _) = answer_to(&out, Code::CONTINUE);
        let m = Message::parse(&datagram).unwrap();
        let block = m.options.block1().unwrap().unwrap();
        assert_eq!((block.num(), block.more()), (num, num < 2));
        got.extend_from_slice(m.payload);
        let code = if block.more() {
            Code::CONTINUE
        } else {
            Code::CHANGED
        };
        let (_, answer) = answer_to(&out, code);
        out = bench.receive(peer(), &answer.block1(block));
    }
    assert_eq!(got, long_body());
    assert!(matches!(
        out.events.as_slice(),
        [Event::Response {
            solicited: true,
            ..
        }]
    ));
}

/// The blocks of a push that the peer takes, each with what is told of it; 4.08 to the first block of `from`,
/// if there is one.
fn pushed(from: usize, refuses: bool) -> Vec<(u32, Option<usize>)> {
    let mut bench = Bench::new();
    let id = requested(&bench.receive(peer(), &post(1).payload(&[0; 1400])));
    bench.answer(id, Some(1));
    let put = Request {
        code: Code::PUT,
        payload: long_body(),
        push: Some(Push { from, szx: 5 }),
        msg_ids: MsgIds {
            first: 100,
            count: 50,
        },
        ..request(peer(), 42)
    };
    let mut out = bench.send(Outgoing::Request(Box::new(put)));
    let mut blocks = Vec::new();
    let mut refuses = refuses;
    loop {
        let (datagram, _) = answer_to(&out, Code::CONTINUE);
        let m = Message::parse(&datagram).unwrap();
        let block = m.options.block1().unwrap().unwrap();
        let at = block.offset();
        let end = long_body().len().min(at + 512);
        assert_eq!(m.payload, &long_body()[at..end]);
        let code = match (std::mem::take(&mut refuses), block.more()) {
            (true, _) => Code::REQUEST_ENTITY_INCOMPLETE,
            (false, true) => Code::CONTINUE,
            (false, false) => Code::CHANGED,
        };
        let (_, answer) = answer_to(&out, code);
        out = bench.receive(peer(), &answer.block1(block));
        let told = out.events.iter().find_map(|event| {
            let Event::Sent { done, total, .. } = event else {
                return None;
            };
            assert_eq!(*total, long_body().len());
            Some(*done)
        });
        blocks.push((block.num(), told));
        if code == Code::CHANGED {
            return blocks;
        }
    }
}

#[test]
fn a_push_tells_how_far_it_is_and_goes_on_there() {
    let len = long_body().len();
    let count = u32::try_from(len.div_ceil(512)).unwrap();
    let after = |num: u32| (num + 1 < count).then(|| (num as usize + 1) * 512);
    let all: Vec<_> = (0..count).map(|num| (num, after(num))).collect();
    assert_eq!(pushed(0, false), all);
    assert_eq!(pushed(1024, false), all[2..]);
    // The peer has not what is before.
    assert_eq!(pushed(1024, true), [&[(2, Some(0))], &all[..]].concat());
    // No place to go on at.
    assert_eq!(pushed(7, false), all);
    assert_eq!(pushed(len, false), all);
}

#[test]
fn a_notification_in_blocks_is_fetched_before_it_is_acknowledged() {
    let mut bench = Bench::new();
    let body = long_body();
    let part = |num: u16| {
        let begin = usize::from(num) * 1024;
        let range = begin..body.len().min(begin + 1024);
        (
            Block::new(num.into(), num < 2, 6).unwrap(),
            body.slice(range),
        )
    };
    let (block, payload) = part(0);
    let note = Builder::new(Type::Confirmable, Code::CONTENT, 9, Token::from_u64(42))
        .observe(7)
        .block2(block)
        .payload(&payload);
    let out = bench.receive(peer(), &note);
    let [
        Event::Response {
            settle, message, ..
        },
    ] = out.events.as_slice()
    else {
        panic!()
    };
    let resume = Some(Resume {
        first: message.clone(),
        settle: *settle,
    });
    let mut out = bench.send(Outgoing::Request(Box::new(Request {
        resume,
        ..request(peer(), 42)
    })));
    for num in 1u16..3 {
        let (datagram, answer) = answer_to(&out, Code::CONTENT);
        let asked = Message::parse(&datagram).unwrap();
        assert_eq!(
            asked.options.block2().unwrap().unwrap().num(),
            u32::from(num)
        );
        assert_eq!(asked.options.observe(), None);
        let (block, payload) = part(num);
        out = bench.receive(peer(), &answer.block2(block).payload(&payload));
    }
    let [
        Event::Response {
            settle: Some(id),
            message,
            solicited: false,
            ..
        },
    ] = out.events.as_slice()
    else {
        panic!("{out:?}");
    };
    assert_eq!(message.payload(), body);
    let how = Settle::Acknowledge;
    let out = bench.send(Outgoing::Settle {
        id: *id,
        how,
        timing: None,
    });
    assert_eq!(sent(&out), [(Type::Acknowledgement, Code::EMPTY, 9)]);
}
