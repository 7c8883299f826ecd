//! Requests and other first messages of devices, and the server's answers byte for byte.

use coap_lite::{CoapOption, Packet};
use strait::sim::message;

use super::{Bench, CONFIRMABLE, LINKS, answer, volumes};

/// Hex with spaces in it.
fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ' ')
        .map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap())
        .collect();
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

/// `2.05` as a byte.
fn code(text: &str) -> u8 {
    let (class, detail) = text.split_once('.').unwrap();
    class.parse::<u8>().unwrap() << 5 | detail.parse::<u8>().unwrap()
}

/// Every row of answers.tsv.
#[tokio::test(start_paused = true)]
async fn answers_are_exact() {
    let mut bench = Bench::start().await;
    let location = bench.register(1, "rd", "ep=n1&lwm2m=1.1").await.location;
    let id = location.strip_prefix("rd/").unwrap().to_owned();
    assert!(id.len() <= 16 && id.bytes().all(|b| b.is_ascii_alphanumeric()));
    let table = include_str!("../../../fixtures/lwm2m/answers.tsv");
    let mut failures = Vec::new();
    for line in table.lines().filter(|l| !l.starts_with('#')) {
        let cells: Vec<_> = line
            .split('\t')
            .map(|c| if c == "-" { "" } else { c })
            .collect();
        let [name, from, method, path, query, payload, want, follows] = cells[..] else {
            panic!("bad row: {line}");
        };
        let method = match method {
            "GET" => message::GET,
            "POST" => message::POST,
            "PUT" => message::PUT,
            "DELETE" => message::DELETE,
            other => panic!("{name}: {other}"),
        };
        let payload = match payload.strip_prefix('=') {
            Some(bytes) => unhex(bytes),
            None => payload.as_bytes().to_vec(),
        };
        let follows = match follows.strip_suffix('L') {
            Some(head) => [&unhex(head), id.as_bytes()].concat(),
            None => unhex(follows),
        };
        let draft = bench.draft(method, &path.replace('L', &id), query);
        let datagram = draft.payload(&payload).bytes().unwrap();
        let want = answer(code(want), bench.msg_id, &follows);
        let got = bench.answers(from.parse().unwrap(), &datagram).await;
        if got.first() != Some(&want) {
            failures.push(format!("{name}:\n  got  {got:?}\n  want {want}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(volumes(&bench.server.history("p_n1")), [5, 6, 7, 8]);
}

/// An empty segment, which clients write for a path that ends with a slash.
#[tokio::test(start_paused = true)]
async fn a_trailing_slash_changes_nothing() {
    let mut bench = Bench::start().await;
    let location = bench.register(1, "rd", "ep=n1").await.location;
    let draft = bench.draft(message::POST, &location, "");
    let datagram = [&draft.bytes().unwrap()[..], &[0x00]].concat();
    let want = answer(message::CHANGED, bench.msg_id, b"");
    assert_eq!(bench.answers(1, &datagram).await, [want]);
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_no_requests() {
    let mut bench = Bench::start().await;
    let rows: [(&str, &[u8], &[&str]); 7] = [
        ("ping", b"\x40\x00\x12\x34", &["70001234"]),
        (
            "confirmable garbage",
            b"\x40\x02\x12\x34\xff",
            &["70001234"],
        ),
        ("non-confirmable garbage", b"\x50\x02\x12\x34\xff", &[]),
        ("reserved class", b"\x40\x20\x12\x34", &["70001234"]),
        ("another version", b"\x80\x01\x12\x34", &[]),
        ("short", b"\x40\x01\x12", &[]),
        // Option 9 is critical and nobody's.
        (
            "critical option",
            b"\x41\x01\x12\x34\x07\x90",
            &["6182123407"],
        ),
    ];
    for (name, datagram, want) in rows {
        assert_eq!(bench.answers(1, datagram).await, want, "{name}");
    }
    assert_eq!(
        bench.server.platform.endpoint.read().1,
        0,
        "peers are remembered"
    );
}

#[tokio::test(start_paused = true)]
async fn a_registration_is_observed() {
    let mut bench = Bench::start().await;
    // Name, path, query, link list; the observe request after its token, "" for none.
    let rows: [(&str, &str, &str, &[u8], &str); 4] = [
        ("LwM2M", "rd", "ep=n1", LINKS, "60523139013001306 12a"),
        (
            "without links",
            "rd",
            "ep=n1&lt=86400",
            b"",
            "60523139013001306 12a",
        ),
        ("raw", "t/r", "ep=n2", b"", "6051740164"),
        ("without a container", "rd", "ep=n1", b"</1/0>,</3/0>", ""),
    ];
    // Each from its own port: one request of ours at a time is open towards a device.
    for (port, (name, path, query, links, want)) in (1..).zip(rows) {
        let draft = bench.draft(message::POST, path, query).payload(links);
        let got = bench.answers(port, &draft.bytes().unwrap()).await;
        let want = want.replace(' ', "");
        let Some(observe) = got.get(1) else {
            assert_eq!(want, "", "{name}");
            continue;
        };
        assert_eq!(
            (&observe[..4], &observe[24..]),
            ("4801", &want[..]),
            "{name}"
        );
    }
}

/// What the server writes is read by another stack without complaint.
#[tokio::test(start_paused = true)]
async fn coap_lite_reads_the_observe_request() {
    let mut bench = Bench::start().await;
    let draft = bench.draft(message::POST, "rd", "ep=n1").payload(LINKS);
    let out = bench.exchange(1, &draft.bytes().unwrap()).await;
    let observe = Packet::from_bytes(&out[1].1).unwrap();
    assert_eq!(observe.header.get_type(), CONFIRMABLE);
    assert_eq!(message::joined(&observe, CoapOption::UriPath), "19/0/0");
    assert_eq!(message::uint(&observe, CoapOption::Observe), Some(0));
    assert_eq!(message::uint(&observe, CoapOption::Accept), Some(42));
    assert_eq!(observe.get_token().len(), 8);
}
