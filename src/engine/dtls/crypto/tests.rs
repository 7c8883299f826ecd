use super::aead::AeadKeys;
use super::associated::Covered;
use super::*;
use crate::base::secret::Secret;
use crate::wire::dtls::{ContentType, record};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `-` is nothing.
fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim_matches('-').as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    unhex(text).try_into().unwrap()
}

/// Rows of exactly `N` columns.
fn rows<const N: usize>(table: &str) -> impl Iterator<Item = [&str; N]> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').collect::<Vec<_>>().try_into().unwrap())
}

#[test]
fn prf_known_answers() {
    let table = include_str!("../../../../fixtures/dtls/prf.tsv");
    for [name, secret, label, seed, want] in rows(table) {
        let seed = unhex(seed);
        let mut out = vec![0; want.len() / 2];
        prf::prf(&unhex(secret), label, &[&seed], &mut out);
        assert_eq!(hex(&out), want, "{name}");
        // The seed in pieces is the same seed.
        let (first, rest) = seed.split_at(seed.len() / 2);
        prf::prf(&unhex(secret), label, &[first, &[], rest], &mut out);
        assert_eq!(hex(&out), want, "{name}");
    }
}

#[test]
fn the_key_schedule_from_key_to_finished() {
    let table = include_str!("../../../../fixtures/dtls/schedule.tsv");
    for row in rows::<11>(table) {
        let [
            name,
            suite,
            psk,
            client,
            server,
            session,
            transcript,
            want @ ..,
        ] = row;
        let suite = Suite::from_name(suite).unwrap();
        let (client, server) = (array(client), array(server));
        let premaster = prf::psk_premaster(&unhex(psk));
        let master = match session {
            "-" => prf::master_secret(&premaster, &client, &server),
            hash => prf::extended_master_secret(&premaster, &array(hash)),
        };
        let transcript = array(transcript);
        let block = prf::key_block(&master, &client, &server, suite);
        let got = [
            hex(master.expose()),
            hex(block.expose()),
            hex(&prf::verify_data(&master, Side::Client, &transcript)),
            hex(&prf::verify_data(&master, Side::Server, &transcript)),
        ];
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn aead_known_answers() {
    let table = include_str!("../../../../fixtures/dtls/aead.tsv");
    for [name, suite, key, nonce, associated, plaintext, want] in rows(table) {
        let suite = Suite::from_name(suite).unwrap();
        let (salt, explicit) = nonce.split_at(8);
        let (key, salt) = (array(key), array(salt));
        let keys = AeadKeys {
            key: &key,
            salt: &salt,
        };
        let (associated, plaintext) = (unhex(associated), unhex(plaintext));
        let mut sealed = Vec::new();
        let content: [&[u8]; 2] = [&plaintext, &[]];
        keys.seal(suite, array(explicit), &associated, content, &mut sealed)
            .unwrap();
        assert_eq!(hex(&sealed), format!("{explicit}{want}"), "{name}");
        let mut opened = Vec::new();
        keys.open(suite, &sealed, &associated, &mut opened).unwrap();
        assert_eq!(opened, plaintext, "{name}");
    }
}

#[test]
fn associated_data_byte_by_byte() {
    let table = include_str!("../../../../fixtures/dtls/associated.tsv");
    for [name, content_type, version, epoch, seq, cid, len, want] in rows(table) {
        let cid = unhex(cid);
        let covered = Covered {
            content_type: ContentType(content_type.parse().unwrap()),
            version: u16::from_str_radix(version, 16).unwrap(),
            epoch: epoch.parse().unwrap(),
            seq: seq.parse().unwrap(),
            cid: &cid,
        };
        let associated = covered.with_len(len.parse().unwrap()).unwrap();
        assert_eq!(hex(associated.as_bytes()), want, "{name}");
    }
}

/// Whole records, against OpenSSL's primitives: made byte for byte, and opened.
#[test]
fn records_as_the_table_has_them() {
    let table = include_str!("../../../../fixtures/dtls/records.tsv");
    for row in rows::<12>(table) {
        let [
            name,
            suite,
            mac,
            block,
            content_type,
            epoch,
            seq,
            cid,
            iv,
            content,
            what,
            want,
        ] = row;
        let protection = Protection {
            suite: Suite::from_name(suite).unwrap(),
            encrypt_then_mac: mac == "outside",
        };
        let keys = Keys::from_key_block(protection.suite, &unhex(block)).unwrap();
        let content_type = ContentType(content_type.parse().unwrap());
        let (cid, content) = (unhex(cid), unhex(content));
        let head = Head {
            epoch: epoch.parse().unwrap(),
            seq: seq.parse().unwrap(),
            cid: &cid,
        };
        let iv = if iv == "-" { [0; 16] } else { array(iv) };
        let mut out = b"before".to_vec();
        protection
            .seal(&keys.server, head, content_type, &content, iv, &mut out)
            .unwrap();
        let sealed = out.strip_prefix(b"before").unwrap();
        assert_eq!(
            hex(sealed) == want,
            what == "seal",
            "{name}: {}",
            hex(sealed)
        );

        let datagram = unhex(want);
        let (record, rest) = record::parse(&datagram, cid.len()).unwrap();
        assert!(rest.is_empty(), "{name}");
        let got = protection.open(&keys.server, &record, &mut out);
        assert_eq!((got, &out), (Some(content_type), &content), "{name}");
        // The other direction's keys open nothing.
        assert_eq!(
            protection.open(&keys.client, &record, &mut out),
            None,
            "{name}"
        );
        assert!(out.is_empty(), "{name}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let premaster: Secret<Vec<u8>> = prf::psk_premaster(b"key");
    let master = prf::master_secret(&premaster, &[0; 32], &[0; 32]);
    assert_eq!(format!("{premaster:?} {master:?}"), "*** ***");
}
