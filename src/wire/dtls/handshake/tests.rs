use proptest::prelude::*;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn tell_extensions(extensions: &Extensions<'_>, said: &mut Vec<String>) {
    let flags = [
        (extensions.encrypt_then_mac, "etm"),
        (extensions.extended_master_secret, "ems"),
    ];
    said.extend(flags.iter().filter(|f| f.0).map(|f| f.1.to_owned()));
    let reneg = extensions.renegotiation_info;
    said.extend(reneg.map(|bytes| format!("reneg({})", hex(bytes))));
    let cid = extensions.connection_id;
    said.extend(cid.map(|bytes| format!("cid({})", hex(bytes))));
    said.extend(extensions.return_routability.then(|| "rrc".to_owned()));
}

fn tell_bytes(name: &str, bytes: &[u8], said: &mut Vec<String>) {
    if !bytes.is_empty() {
        said.push(format!("{name} {}", hex(bytes)));
    }
}

fn tell_prefix(prefix: &HelloPrefix<'_>) -> Vec<String> {
    let mut said = vec![format!("{:#06x}", prefix.version)];
    tell_bytes("session", prefix.session_id, &mut said);
    tell_bytes("cookie", prefix.cookie, &mut said);
    said.push("suites".to_owned());
    said.extend(
        prefix
            .cipher_suites
            .iter()
            .map(|suite| format!("{suite:04x}")),
    );
    tell_bytes("methods", prefix.compression_methods, &mut said);
    if prefix.cipher_suites.contains(SIGNALLING_SUITE) {
        said.push("scsv".to_owned());
    }
    said
}

/// What a message of this name says, in the words of the fixture table.
fn tell(message: &str, body: &[u8]) -> Result<String, HandshakeError> {
    Ok(match message {
        "client_hello" => {
            let hello = ClientHello::parse(body)?;
            assert_eq!(ClientHello::parse_prefix(body), Ok(hello.prefix));
            let mut said = tell_prefix(&hello.prefix);
            tell_extensions(&hello.extensions, &mut said);
            let signal = said.iter().any(|s| s == "scsv" || s.starts_with("reneg("));
            assert_eq!(hello.signals_renegotiation_info(), signal);
            said.join(" ")
        }
        "client_hello_prefix" => tell_prefix(&ClientHello::parse_prefix(body)?).join(" "),
        "server_hello" => {
            let hello = ServerHello::parse(body)?;
            let mut said = vec![format!("{:#06x}", hello.version)];
            tell_bytes("session", hello.session_id, &mut said);
            said.push(format!("suite {:04x}", hello.cipher_suite));
            said.push(format!("method {:02x}", hello.compression_method));
            tell_extensions(&hello.extensions, &mut said);
            said.join(" ")
        }
        "hello_verify_request" => {
            let request = HelloVerifyRequest::parse(body)?;
            format!("{:#06x} cookie {}", request.version, hex(request.cookie))
        }
        "client_key_exchange" => {
            let exchange = ClientKeyExchange::parse(body)?;
            format!("identity {}", String::from_utf8_lossy(exchange.identity))
        }
        "finished" => format!("verify {}", hex(&Finished::parse(body)?.verify_data)),
        "fragment" => {
            let (fragment, rest) = Fragment::parse(body)?;
            let Fragment {
                msg_type,
                message_seq,
                offset,
                length,
                body,
            } = fragment;
            let place = format!("{offset}+{}/{length}", body.len());
            format!(
                "{} seq {message_seq} {place}, {} more",
                msg_type.0,
                rest.len()
            )
        }
        other => panic!("no message {other}"),
    })
}

/// Every row of handshake.tsv: name, message, body, what it says or why it is refused.
#[test]
fn messages_say_what_the_table_says() {
    let table = include_str!("../../../../fixtures/dtls/handshake.tsv");
    let mut failures = Vec::new();
    for row in table.lines().filter(|line| !line.starts_with('#')) {
        let [name, message, body, want] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("bad fixture row: {row}");
        };
        let got = tell(message, &unhex(body)).unwrap_or_else(|e| format!("error: {}", e.kind()));
        if got != want {
            failures.push(format!("{name}:\n  got  {got}\n  want {want}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn errors_name_field_value_and_what_would_be_right() {
    let body = [&[0xfe, 0xfd][..], &[0; 32], &[0, 0, 0, 3, 1, 2, 3]].concat();
    let error = ClientHello::parse(&body).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cipher_suites has 3 bytes, takes pairs, at least one"
    );
    let error = Fragment::parse(&[1, 0, 0, 4, 0, 0, 0, 0, 3, 0, 0, 2, 9, 9]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "fragment 3+2 goes beyond its message of 4"
    );
}

#[test]
fn fragments_end_with_the_first_malformed_one() {
    let mut content = Vec::new();
    message(&mut content, MsgType::SERVER_HELLO, 1, b"hello");
    message(&mut content, MsgType::SERVER_HELLO_DONE, 2, &[]);
    content.extend([1, 2]);
    let got: Vec<_> = fragments(&content).collect();
    assert!(got[0].is_ok_and(|f| f.is_whole() && f.body == b"hello"));
    assert!(got[1].is_ok_and(|f| f.is_whole() && f.message_seq == 2));
    assert_eq!(got[2].unwrap_err().kind(), "truncated");
    assert_eq!(got.len(), 3);
    assert_eq!(fragments(&[]).count(), 0);
}

#[test]
fn what_is_too_long_for_its_length_is_cut() {
    let long = vec![7; 70_000];
    let mut body = Vec::new();
    HelloVerifyRequest {
        version: 0xfeff,
        cookie: &long,
    }
    .write(&mut body);
    assert_eq!(
        HelloVerifyRequest::parse(&body).unwrap().cookie,
        &long[..255]
    );
    body.clear();
    ClientKeyExchange { identity: &long }.write(&mut body);
    assert_eq!(
        ClientKeyExchange::parse(&body).unwrap().identity,
        &long[..65_535]
    );
}

fn any_bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=max)
}

/// Ids are at most 255 bytes; flags as they come.
type OwnExtensions = (bool, bool, bool, Option<Vec<u8>>, Option<Vec<u8>>);

fn extensions(own: &OwnExtensions) -> Extensions<'_> {
    Extensions {
        extended_master_secret: own.0,
        encrypt_then_mac: own.1,
        return_routability: own.2,
        renegotiation_info: own.3.as_deref(),
        connection_id: own.4.as_deref(),
    }
}

fn any_extensions() -> impl Strategy<Value = OwnExtensions> {
    let bytes = || prop::option::of(any_bytes(255));
    (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        bytes(),
        bytes(),
    )
}

proptest! {
    #[test]
    fn any_bytes_never_panic(mut bytes in any_bytes(120), lengths: bool) {
        if lengths {
            // Let some get past the lengths at the front.
            for byte in bytes.iter_mut().skip(34) {
                *byte %= 8;
            }
        }
        let names = [
            "client_hello", "client_hello_prefix", "server_hello", "hello_verify_request",
            "client_key_exchange", "finished", "fragment",
        ];
        for name in names {
            drop(tell(name, &bytes));
        }
        for fragment in fragments(&bytes).flatten() {
            let end = u64::from(fragment.offset) + fragment.body.len() as u64;
            prop_assert!(end <= u64::from(fragment.length));
        }
    }

    #[test]
    fn client_hello_reads_what_it_wrote(
        version: u16,
        random: [u8; 32],
        session_id in any_bytes(32),
        cookie in any_bytes(255),
        cipher_suites in prop::collection::vec(any::<u16>(), 1..40),
        compression_methods in prop::collection::vec(any::<u8>(), 1..5),
        own in prop::option::of(any_extensions()),
        other in any_bytes(20),
    ) {
        let others = [(14, &other[..]), (0xfefe, &[][..])];
        let offer = ClientOffer {
            version,
            random,
            session_id: &session_id,
            cookie: &cookie,
            cipher_suites: &cipher_suites,
            compression_methods: &compression_methods,
            extensions: own.as_ref().map(extensions),
            others: &others,
        };
        let mut body = Vec::new();
        offer.write(&mut body);
        let hello = ClientHello::parse(&body).unwrap();
        let prefix = hello.prefix;
        prop_assert_eq!((prefix.version, prefix.random), (version, random));
        prop_assert_eq!((prefix.session_id, prefix.cookie), (&session_id[..], &cookie[..]));
        prop_assert_eq!(prefix.cipher_suites.iter().collect::<Vec<_>>(), &cipher_suites[..]);
        prop_assert_eq!(prefix.compression_methods, &compression_methods[..]);
        prop_assert_eq!(hello.extensions, own.as_ref().map(extensions).unwrap_or_default());
        // Cut anywhere, it is refused, but for where the extensions would begin.
        let bare = ClientOffer { extensions: None, ..offer };
        let mut start = Vec::new();
        bare.write(&mut start);
        for len in (0..body.len()).filter(|len| *len != start.len()) {
            prop_assert!(ClientHello::parse(&body[..len]).is_err());
            let enough = len >= start.len();
            prop_assert_eq!(ClientHello::parse_prefix(&body[..len]).is_ok(), enough);
        }
    }

    #[test]
    fn server_messages_read_what_they_wrote(
        version: u16,
        random: [u8; 32],
        session_id in any_bytes(32),
        cookie in any_bytes(255),
        cipher_suite: u16,
        compression_method: u8,
        own in any_extensions(),
    ) {
        let mut body = Vec::new();
        let hello = ServerHello {
            version,
            random,
            session_id: &session_id,
            cipher_suite,
            compression_method,
            extensions: extensions(&own),
        };
        hello.write(&mut body);
        prop_assert_eq!(ServerHello::parse(&body), Ok(hello));
        body.clear();
        let request = HelloVerifyRequest { version, cookie: &cookie };
        request.write(&mut body);
        prop_assert_eq!(HelloVerifyRequest::parse(&body), Ok(request));
    }

    #[test]
    fn client_messages_read_what_they_wrote(identity in any_bytes(300), verify_data: [u8; 12]) {
        let mut body = Vec::new();
        let exchange = ClientKeyExchange { identity: &identity };
        exchange.write(&mut body);
        prop_assert_eq!(ClientKeyExchange::parse(&body), Ok(exchange));
        body.clear();
        let finished = Finished { verify_data };
        finished.write(&mut body);
        prop_assert_eq!(Finished::parse(&body), Ok(finished));
    }

    #[test]
    fn fragments_read_what_they_wrote(
        msg_type: u8,
        message_seq: u16,
        body in any_bytes(60),
        offset in 0..1000_u32,
        more in 0..1000_u32,
    ) {
        let fragment = Fragment {
            msg_type: MsgType(msg_type),
            length: offset + u32::try_from(body.len()).unwrap() + more,
            message_seq,
            offset,
            body: &body,
        };
        let mut out = Vec::new();
        fragment.write(&mut out);
        out.push(1);
        prop_assert_eq!(Fragment::parse(&out), Ok((fragment, &[1][..])));
        prop_assert_eq!(fragment.is_whole(), offset == 0 && more == 0);
    }
}
