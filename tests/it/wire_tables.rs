//! The wire layer against its fixture tables, and its CoAP messages against coap-lite.

use coap_lite::{MessageClass, MessageType, Packet};
use proptest::prelude::*;
use strait::wire::coap::{Builder, Code, Message, ParseError, Token, Type};
use strait::wire::lwm2m::tlv::{self, Entry};
use strait::wire::lwm2m::{ObjectList, link};

fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('\t').collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        (rest, _) = match (byte, after) {
            (b'\\', [b'n', after @ ..]) => (after, out.push(b'\n')),
            (b'\\', [b'0', after @ ..]) => (after, out.push(0)),
            (b'\\', [b'\\', after @ ..]) => (after, out.push(b'\\')),
            (b'\\', [b'x', a, b, after @ ..]) => {
                let digits = [*a, *b];
                (
                    after,
                    out.extend(unhex(std::str::from_utf8(&digits).unwrap())),
                )
            }
            _ => (after, out.push(*byte)),
        };
    }
    out
}

/// Compares every row's last column with what `read` makes of the row.
fn check(table: &str, read: impl Fn(&[&str]) -> String) {
    let mut failures = Vec::new();
    let mut count = 0;
    for row in rows(table) {
        let (want, given) = row.split_last().unwrap();
        let got = read(given);
        count += 1;
        if got != *want {
            failures.push(format!("{}:\n  got  {got}\n  want {want}", row[0]));
        }
    }
    assert!(count > 5, "the table is empty");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn type_name(ty: Type) -> &'static str {
    match ty {
        Type::Confirmable => "CON",
        Type::NonConfirmable => "NON",
        Type::Acknowledgement => "ACK",
        Type::Reset => "RST",
    }
}

fn describe(message: &Message<'_>) -> String {
    let token = message.token.to_string();
    let mut words = vec![
        type_name(message.ty).to_owned(),
        message.code.to_string(),
        format!("{:04x}", message.msg_id),
        if token.is_empty() {
            "-".to_owned()
        } else {
            token
        },
    ];
    let options = message.options.iter();
    words.extend(options.map(|option| format!("{}:{}", option.number, hex(option.value))));
    if !message.payload.is_empty() {
        words.push(format!("| {}", hex(message.payload)));
    }
    words.join(" ")
}

fn rebuild(message: &Message<'_>) -> Vec<u8> {
    let builder = Builder::new(message.ty, message.code, message.msg_id, message.token);
    let options = message.options.iter();
    options
        .fold(builder, |builder, option| {
            builder.option(option.number, option.value)
        })
        .payload(message.payload)
        .build()
}

#[test]
fn coap_messages() {
    check(include_str!("../../fixtures/coap/messages.tsv"), |row| {
        let bytes = unhex(row[1]);
        match Message::parse(&bytes) {
            Ok(message) => {
                assert_eq!(hex(&rebuild(&message)), row[1], "{}: written anew", row[0]);
                describe(&message)
            }
            Err(e) => format!("error: {}", e.kind()),
        }
    });
}

fn describe_entry(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Instance { id, resources } => format!("{id}{{{}}}", describe_entries(resources)),
        Entry::Resource { id, value } => format!("{id}={}", hex(value)),
        Entry::Multiple { id, values } => {
            let values: Vec<_> = values
                .iter()
                .map(|(id, v)| format!("{id}={}", hex(v)))
                .collect();
            format!("{id}[{}]", values.join(" "))
        }
        Entry::ResourceInstance { id, value } => format!("<{id}={}>", hex(value)),
    }
}

fn describe_entries(entries: &[Entry<'_>]) -> String {
    entries
        .iter()
        .map(describe_entry)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn tlv_payloads() {
    check(include_str!("../../fixtures/lwm2m/tlv.tsv"), |row| {
        let bytes = unhex(row[2]);
        match tlv::decode(&bytes) {
            Ok(entries) => {
                let again = hex(&tlv::encode(&entries).unwrap()) == row[2];
                assert_eq!(again, row[1] == "yes", "{}: written anew", row[0]);
                describe_entries(&entries)
            }
            Err(e) => format!("error: {}", e.kind()),
        }
    });
}

#[test]
fn wrapped_notifications() {
    check(
        include_str!("../../fixtures/lwm2m/opaque.tsv"),
        |row| match tlv::unwrap_opaque(&unhex(row[1])) {
            Ok(data) => hex(data),
            Err(e) => format!("error: {}", e.kind()),
        },
    );
}

fn or_dash(words: Vec<String>) -> String {
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(" ")
    }
}

/// Root, formats and objects as the tables write them.
fn describe_objects(list: &ObjectList) -> [String; 3] {
    let root = if list.root.is_empty() {
        "/"
    } else {
        &list.root
    };
    let objects = list.objects.iter().map(|object| {
        let version = object.version.map(|v| format!("@{v}")).unwrap_or_default();
        let instances: Vec<_> = object.instances.iter().map(u16::to_string).collect();
        format!("{}{version}:{}", object.id, instances.join(","))
    });
    [
        root.to_owned(),
        or_dash(list.formats.iter().map(u16::to_string).collect()),
        or_dash(objects.collect()),
    ]
}

#[test]
fn link_lists() {
    check(
        include_str!("../../fixtures/lwm2m/links.tsv"),
        |row| match ObjectList::parse(&unescape(row[1])) {
            Ok(list) => {
                let again = ObjectList::parse(list.to_string().as_bytes()).unwrap();
                assert_eq!(again, list, "{}: written anew", row[0]);
                describe_objects(&list).join(" | ")
            }
            Err(e) => format!("error: {}", e.kind()),
        },
    );
}

/// The objects of every registration. Its query is for the registration interface.
#[test]
fn link_lists_of_registrations() {
    let table = include_str!("../../fixtures/lwm2m/registrations.tsv");
    for row in rows(table) {
        assert_eq!(row.len(), 13, "{}", row[0]);
        let payload = if row[3] == "-" { "" } else { row[3] };
        let list = ObjectList::parse(&unescape(payload)).unwrap();
        assert_eq!(describe_objects(&list), row[10..13], "{}", row[0]);
    }
}

#[test]
fn lists_are_bounded() {
    let links = "</3/0>,".repeat(link::LINKS_MAX);
    assert!(ObjectList::parse(links.as_bytes()).is_ok());
    let more = format!("{links}</3/1>");
    assert_eq!(
        ObjectList::parse(more.as_bytes()).unwrap_err().kind(),
        "link_too_many"
    );
    let params = format!("</3/0>{}", ";a=b".repeat(link::PARAMS_MAX + 1));
    assert_eq!(
        link::parse(params.as_bytes()).unwrap_err().kind(),
        "link_too_many"
    );
    let entries = [0xc0, 0x00].repeat(tlv::ENTRIES_MAX);
    assert_eq!(tlv::decode(&entries).unwrap().len(), tlv::ENTRIES_MAX);
    let more = [0xc0, 0x00].repeat(tlv::ENTRIES_MAX + 1);
    assert_eq!(tlv::decode(&more).unwrap_err().kind(), "tlv_too_many");
}

/// Options beyond a datagram's size are not built, lengths of one and two bytes are.
fn options() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let number = prop_oneof![0..64u16, 200..300u16, any::<u16>()];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::collection::vec(any::<u8>(), 260..290),
    ];
    prop::collection::vec((number, value), 0..8)
}

prop_compose! {
    fn message()(
        ty in prop_oneof![
            Just(Type::Confirmable), Just(Type::NonConfirmable),
            Just(Type::Acknowledgement), Just(Type::Reset),
        ],
        code in (prop_oneof![Just(0u8), 2..=5u8], 1..32u8)
            .prop_map(|(class, detail)| Code::new(class, detail)),
        msg_id: u16,
        token in prop::collection::vec(any::<u8>(), 0..=8),
        options in options(),
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) -> Builder {
        let builder = Builder::new(ty, code, msg_id, Token::from_bytes(&token).unwrap());
        let builder = options.iter().fold(builder, |b, (number, value)| b.option(*number, value));
        builder.payload(&payload)
    }
}

/// What coap-lite says, where it says anything, in the words of `describe`.
fn describe_packet(packet: &Packet) -> String {
    let token = hex(packet.get_token());
    let code = u8::from(packet.header.code);
    let mut words = vec![
        match packet.header.get_type() {
            MessageType::Confirmable => "CON",
            MessageType::NonConfirmable => "NON",
            MessageType::Acknowledgement => "ACK",
            MessageType::Reset => "RST",
        }
        .to_owned(),
        format!("{}.{:02}", code >> 5, code & 0x1f),
        format!("{:04x}", packet.header.message_id),
        if token.is_empty() {
            "-".to_owned()
        } else {
            token
        },
    ];
    for (number, values) in packet.options() {
        words.extend(
            values
                .iter()
                .map(|value| format!("{number}:{}", hex(value))),
        );
    }
    if !packet.payload.is_empty() {
        words.push(format!("| {}", hex(&packet.payload)));
    }
    words.join(" ")
}

/// Both stacks say the same of `datagram`, but for what coap-lite does not check.
fn agree(datagram: &[u8]) -> Result<(), TestCaseError> {
    let theirs = Packet::from_bytes(datagram);
    match Message::parse(datagram) {
        Ok(message) => {
            // Nothing is taken that coap-lite refuses: no exclusion here.
            let theirs = theirs.map_err(|e| TestCaseError::fail(format!("refused: {e}")))?;
            prop_assert_eq!(describe(&message), describe_packet(&theirs));
        }
        Err(
            // coap-lite reads any version; RFC 7252 §3: others MUST be silently ignored.
            ParseError::Version(_)
            // It has no notion of reserved classes; §4.2: MUST be rejected.
            | ParseError::ReservedClass(_)
            // It takes empty messages with content; §4.1: a message format error.
            | ParseError::EmptyWithContent { .. }
            // It takes a payload marker without payload; §3: a message format error.
            | ParseError::EmptyPayload,
        ) => {}
        Err(e) => {
            let theirs = theirs.map(|packet| describe_packet(&packet));
            prop_assert!(theirs.is_err(), "{e}, yet {theirs:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_coap_lite_on_arbitrary_bytes(
        datagram in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        agree(&datagram)?;
    }

    /// A legal start makes for deeper garbage.
    #[test]
    fn agrees_with_coap_lite_on_arbitrary_options(
        tail in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        agree(&[&[0x40, 0x02, 0x12, 0x34], &tail[..]].concat())?;
    }

    #[test]
    fn agrees_with_coap_lite_on_mutated_messages(
        message in message(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut datagram = message.build();
        for (place, byte) in mutations {
            let at = place.index(datagram.len());
            datagram[at] = byte;
        }
        if let Some(cut) = cut {
            datagram.truncate(cut.index(datagram.len() + 1));
        }
        agree(&datagram)?;
    }

    #[test]
    fn coap_lite_reads_what_was_written(message in message()) {
        let datagram = message.build();
        let read = Message::parse(&datagram).unwrap();
        let packet = Packet::from_bytes(&datagram).unwrap();
        prop_assert_eq!(describe(&read), describe_packet(&packet));
        prop_assert!(packet.header.code != MessageClass::Empty);
        // And what coap-lite writes of it is the same bytes.
        prop_assert_eq!(packet.to_bytes_unlimited().unwrap(), datagram);
    }
}
