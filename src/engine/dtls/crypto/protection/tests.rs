use aes::cipher::array::Array;
use aes::cipher::{BlockModeEncrypt, KeyIvInit};
use proptest::prelude::*;

use super::super::keys::Keys;
use super::super::mac::{keyed, mac};
use super::*;
use crate::wire::dtls::record;

const KEY: [u8; 16] = [0x4b; 16];
const MAC_KEY: [u8; 32] = [0x6d; 32];
const IV: [u8; 16] = [0x69; 16];

/// The four suites, CBC in both orders.
fn any_protection() -> impl Strategy<Value = Protection> {
    let suite = (0..4_usize).prop_map(|index| Suite::ALL[index]);
    (suite, any::<bool>()).prop_map(|(suite, encrypt_then_mac)| Protection {
        suite,
        encrypt_then_mac,
    })
}

fn keys(suite: Suite) -> Keys {
    let block: Vec<u8> = (1..).take(suite.key_block_len()).collect();
    Keys::from_key_block(suite, &block).unwrap()
}

fn seal(protection: Protection, head: Head<'_>, content_type: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let keys = keys(protection.suite);
    let content_type = ContentType(content_type);
    protection
        .seal(&keys.client, head, content_type, content, IV, &mut out)
        .unwrap();
    out
}

fn open(protection: Protection, datagram: &[u8], cid_len: usize) -> Option<(u8, Vec<u8>)> {
    let (record, _) = record::parse(datagram, cid_len).ok()?;
    let mut out = b"stale".to_vec();
    let keys = keys(protection.suite);
    let opened = protection.open(&keys.client, &record, &mut out);
    if opened.is_none() {
        assert!(out.is_empty(), "leaves nothing of what it refused");
    }
    opened.map(|content_type| (content_type.0, out))
}

const INSIDE: Protection = Protection {
    suite: Suite::CbcSha256,
    encrypt_then_mac: false,
};
const CBC_HEAD: Head<'_> = Head {
    epoch: 1,
    seq: 9,
    cid: &[],
};

fn cbc_keys() -> Keys {
    let block = [&MAC_KEY[..], &MAC_KEY, &KEY, &KEY].concat();
    Keys::from_key_block(Suite::CbcSha256, &block).unwrap()
}

/// A record whose plaintext is given whole: content, MAC and padding, of whole blocks.
fn cbc_record(plaintext: &[u8]) -> Vec<u8> {
    let mut data = plaintext.to_vec();
    let (blocks, odd) = Array::slice_as_chunks_mut(&mut data);
    assert!(odd.is_empty());
    cbc::Encryptor::<aes::Aes128Enc>::new(&KEY.into(), &IV.into()).encrypt_blocks(blocks);
    let fragment = [&IV[..], &data].concat();
    let mut out = Vec::new();
    let data = ContentType::APPLICATION_DATA;
    record::write(
        &mut out,
        data,
        VERSION_1_2,
        CBC_HEAD.epoch,
        CBC_HEAD.seq,
        &fragment,
    );
    out
}

/// The MAC that belongs inside.
fn inner_mac(content: &[u8]) -> [u8; 32] {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = [0, 1, 0, 0, 0, 0, 0, 9, 23, 0xfe, 0xfd];
    mac(&keyed(&MAC_KEY), &[&head, &len, content])
}

fn open_cbc(plaintext: &[u8]) -> Option<Vec<u8>> {
    let datagram = cbc_record(plaintext);
    let (record, _) = record::parse(&datagram, 0).unwrap();
    let mut out = Vec::new();
    INSIDE
        .open(&cbc_keys().client, &record, &mut out)
        .map(|_| out)
}

/// With every length of content up to some blocks, so that the inner hash ends at every place of
/// a block, and every length of padding that a length allows.
#[test]
fn mac_inside_takes_every_valid_padding() {
    for len in (0..200).chain([300, 1000]) {
        let content: Vec<u8> = (0..=255).cycle().take(len).collect();
        let body = [&content[..], &inner_mac(&content)].concat();
        let shortest = 15 - u8::try_from(body.len() % 16).unwrap();
        let mut count = 0;
        for padding in (shortest..=255).step_by(16) {
            let end = vec![padding; usize::from(padding) + 1];
            let got = open_cbc(&[&body[..], &end].concat());
            assert_eq!(got.as_ref(), Some(&content), "{len} and {padding}");
            count += 1;
        }
        assert_eq!(count, 16);
    }
}

#[test]
fn mac_inside_refuses_every_wrong_padding_and_mac() {
    let content = b"sixteen of these, then some more";
    let mac = inner_mac(content);
    for padding in (15..=255).step_by(16) {
        let end = vec![padding; usize::from(padding) + 1];
        let good = [&content[..], &mac, &end].concat();
        assert!(open_cbc(&good).is_some());
        // Each byte of MAC and padding bent, one at a time. A bent last byte may promise more
        // padding than there are bytes.
        for at in content.len()..good.len() {
            for bit in [1, 0x80] {
                let mut bent = good.clone();
                bent[at] ^= bit;
                assert_eq!(open_cbc(&bent), None, "padding {padding}, byte {at}");
            }
        }
    }
    // No room for a MAC before what the last byte promises.
    for last in 15..=255 {
        assert_eq!(open_cbc(&[last; 48]), None, "{last}");
        assert_eq!(open_cbc(&[last; 256]), None, "{last}");
    }
    // Shorter than any MAC.
    for len in [16, 32] {
        assert_eq!(open_cbc(&vec![0; len]), None, "{len}");
    }
}

/// The padding is wrong, but the MAC is where the shortest padding would have it: both count.
#[test]
fn a_right_mac_does_not_excuse_a_wrong_padding() {
    let content = [7; 15]; // with MAC and one byte of padding: three blocks
    let mac = inner_mac(&content);
    let good = [&content[..], &mac, &[0]].concat();
    assert_eq!(open_cbc(&good), Some(content.to_vec()));
    for last in 1..=255 {
        assert_eq!(
            open_cbc(&[&content[..], &mac, &[last]].concat()),
            None,
            "{last}"
        );
    }
}

#[test]
fn encrypt_then_mac_is_not_its_opposite() {
    let outside = Protection {
        encrypt_then_mac: true,
        ..INSIDE
    };
    for (one, other) in [(INSIDE, outside), (outside, INSIDE)] {
        for len in 0..40 {
            let datagram = seal(one, CBC_HEAD, 23, &vec![1; len]);
            assert_eq!(open(other, &datagram, 0), None);
        }
    }
}

/// A padding longer than the record, under a right MAC: only a wrong peer sends that.
#[test]
fn encrypt_then_mac_refuses_wrong_paddings_too() {
    let outside = Protection {
        encrypt_then_mac: true,
        ..INSIDE
    };
    for (end, want) in [
        (0, Some(31)),
        (15, None),
        (31, None),
        (32, None),
        (255, None),
    ] {
        let mut plaintext = [3; 32];
        plaintext[31] = end;
        let inside = cbc_record(&plaintext);
        let sealed = &inside[record::HEADER_LEN..];
        let head = [0, 1, 0, 0, 0, 0, 0, 9, 23, 0xfe, 0xfd, 0, 48];
        let fragment = [sealed, &mac(&keyed(&MAC_KEY), &[&head, sealed])].concat();
        let mut datagram = Vec::new();
        let data = ContentType::APPLICATION_DATA;
        record::write(&mut datagram, data, VERSION_1_2, 1, 9, &fragment);
        let (record, _) = record::parse(&datagram, 0).unwrap();
        let mut out = Vec::new();
        let got = outside.open(&cbc_keys().client, &record, &mut out);
        assert_eq!(got.map(|_| out.len()), want, "{end}");
    }
}

#[test]
fn an_id_without_its_type_or_a_type_without_its_id_is_refused() {
    for suite in Suite::ALL {
        let protection = Protection {
            suite,
            encrypt_then_mac: true,
        };
        let with = seal(
            protection,
            Head {
                cid: &[1, 2],
                ..CBC_HEAD
            },
            23,
            b"x",
        );
        assert_eq!(with[0], 25);
        assert_eq!(open(protection, &with, 2), Some((23, b"x".to_vec())));
        let keys = keys(suite);
        let (mut record, _) = record::parse(&with, 2).unwrap();
        record.cid = &[];
        assert_eq!(
            protection.open(&keys.client, &record, &mut Vec::new()),
            None
        );
        record.cid = &[1, 2];
        record.content_type = ContentType::APPLICATION_DATA;
        assert_eq!(
            protection.open(&keys.client, &record, &mut Vec::new()),
            None
        );
        record.content_type = ContentType::TLS12_CID;
        record.cid = &[1, 3];
        assert_eq!(
            protection.open(&keys.client, &record, &mut Vec::new()),
            None
        );
        // Another type is inside, and zeros alone are no content.
        let alert = seal(
            protection,
            Head {
                cid: &[1, 2],
                ..CBC_HEAD
            },
            21,
            &[1, 0],
        );
        assert_eq!(open(protection, &alert, 2), Some((21, vec![1, 0])));
        let zeros = seal(
            protection,
            Head {
                cid: &[1, 2],
                ..CBC_HEAD
            },
            0,
            &[0; 9],
        );
        assert_eq!(open(protection, &zeros, 2), None);
    }
}

/// What to seal, and the error's kind.
type Case<'a> = (Suite, Head<'a>, &'a [u8], Result<(), &'static str>);

#[test]
fn what_can_not_be_sealed_leaves_the_datagram_as_it_was() {
    let long_id = [1; 256];
    let full = vec![0; CONTENT_MAX];
    let head = |seq, cid| Head { epoch: 1, seq, cid };
    let keys = keys(Suite::Ccm8);
    let cases: [Case<'_>; 7] = [
        (Suite::Ccm8, head(SEQ_MAX, &[]), b"x", Ok(())),
        (Suite::Ccm8, head(SEQ_MAX + 1, &[]), b"x", Err("sequence")),
        (Suite::Ccm8, head(0, &long_id[..255]), b"x", Ok(())),
        (Suite::Ccm8, head(0, &long_id), b"x", Err("connection_id")),
        (Suite::Ccm8, head(0, &[]), &full, Ok(())),
        (Suite::Ccm8, head(0, &[1]), &full, Err("too_long")),
        (Suite::CbcSha256, head(0, &[]), b"x", Err("keys")),
    ];
    for (suite, head, content, want) in cases {
        let protection = Protection {
            suite,
            encrypt_then_mac: true,
        };
        let mut out = b"before".to_vec();
        let data = ContentType::APPLICATION_DATA;
        let got = protection.seal(&keys.client, head, data, content, IV, &mut out);
        assert_eq!(got.map_err(SealError::kind), want);
        assert_eq!(got.is_err(), out == b"before");
        if got.is_ok() {
            let opened = open(protection, &out[6..], head.cid.len());
            assert_eq!(opened, Some((23, content.to_vec())));
        }
    }
}

proptest! {
    #[test]
    fn opens_what_it_sealed(
        protection in any_protection(),
        cid in prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 1..20)],
        epoch: u16,
        seq in 0..=SEQ_MAX,
        content_type in prop::sample::select(vec![21_u8, 22, 23, 27]),
        content in prop::collection::vec(any::<u8>(), 0..1400),
    ) {
        let head = Head { epoch, seq, cid: &cid };
        let mut datagram = seal(protection, head, content_type, &content);
        let len = datagram.len();
        datagram.extend([0; 5]); // the next record, whatever it is
        let opened = open(protection, &datagram, cid.len());
        prop_assert_eq!(opened, Some((content_type, content)));
        let (record, rest) = record::parse(&datagram, cid.len()).unwrap();
        prop_assert_eq!((record.epoch, record.seq), (epoch, seq));
        prop_assert_eq!(rest.len(), datagram.len() - len);
    }

    #[test]
    fn arbitrary_records_never_panic(
        protection in any_protection(),
        content_type: u8,
        seq: u64,
        cid in prop::collection::vec(any::<u8>(), 0..300),
        fragment in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let record = Record {
            content_type: ContentType(content_type),
            version: VERSION_1_2,
            epoch: 1,
            seq,
            cid: &cid,
            fragment: &fragment,
        };
        let mut out = vec![1];
        let keys = keys(protection.suite);
        prop_assert_eq!(protection.open(&keys.server, &record, &mut out), None);
        prop_assert!(out.is_empty());
        // Under MAC-then-encrypt any blocks decrypt to something.
        let plaintext = &fragment[..fragment.len() / 16 * 16];
        if !plaintext.is_empty() {
            prop_assert_eq!(open_cbc(plaintext), None);
        }
    }
}

proptest! {
    // Each case opens the record once per bit.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_flipped_bit_or_a_missing_byte_is_refused(
        protection in any_protection(),
        cid in prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 8)],
        content in prop::collection::vec(any::<u8>(), 0..80),
        cut in 1..200_usize,
    ) {
        let head = Head { epoch: 1, seq: 77, cid: &cid };
        let whole = seal(protection, head, 23, &content);
        for at in 0..whole.len() * 8 {
            let mut bent = whole.clone();
            bent[at / 8] ^= 1 << (at % 8);
            prop_assert_eq!(open(protection, &bent, cid.len()), None, "bit {}", at);
        }
        // Cut, with a header that admits it.
        let header_len = record::HEADER_LEN + cid.len();
        let fragment_len = whole.len() - header_len;
        let kept = fragment_len - cut.min(fragment_len);
        let mut short = whole[..header_len + kept].to_vec();
        let len = u16::try_from(kept).unwrap().to_be_bytes();
        short[header_len - 2..header_len].copy_from_slice(&len);
        prop_assert_eq!(open(protection, &short, cid.len()), None);
    }
}
