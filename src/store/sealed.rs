//! Records that hold secrets, as rows (`rows.rs`) with a sealed part (`seal.rs`).
//!
//! | record | sealed | beside it, for everyone |
//! |---|---|---|
//! | device | secret, secondary secret | the rest of the record; its secrets empty |
//! | session | the whole record | its number, which guards ask for |
//! | subtask with an input | the input | the rest of the record, without it |
//! | file content | the bytes | nothing |
//! | forwarding | the whole record | its version, which guards ask for |
//!
//! The context of the seal is the row's key, so no value opens in the row of another device. What
//! lies beside is not protected: it is what a thief of the disk may read. Errors: `RowError`.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::catalog::{FileContent, SubtaskRecord, VersionHead};
use super::forwarding::ForwardingRecord;
use super::keys;
use super::records::{DeviceRecord, SessionRecord};
use super::rows::{self, RowError, SEALED_FORMAT};
use super::seal::Sealer;
use crate::base::cbor;
use crate::base::secret::Secret;

/// What is sealed of a device.
#[derive(Serialize, Deserialize)]
struct DeviceSecrets {
    secret: Secret<String>,
    secondary_secret: Option<Secret<String>>,
}

/// What is not sealed of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHead {
    pub number: u64,
}

/// The row of a device. The secrets are gone from the record afterwards.
pub fn encode_device(record: &mut DeviceRecord, sealer: &Sealer) -> Result<Vec<u8>, RowError> {
    let empty = Secret::new(String::new());
    let secrets = DeviceSecrets {
        secret: std::mem::replace(&mut record.auth.secret, empty),
        secondary_secret: record.auth.secondary_secret.take(),
    };
    let sealed = seal(&keys::device(&record.device_id), &secrets, sealer)?;
    rows::encode_beside(&sealed, record)
}

/// The device of a whole row that lies under `key`.
pub fn decode_device(key: &[u8], row: &[u8], sealer: &Sealer) -> Result<DeviceRecord, RowError> {
    let (sealed, body) = rows::split_sealed(row)?;
    let mut record: DeviceRecord = cbor::decode(body)?;
    let secrets: DeviceSecrets = cbor::decode(&sealer.open(key, sealed)?)?;
    record.auth.secret = secrets.secret;
    record.auth.secondary_secret = secrets.secondary_secret;
    Ok(record)
}

/// The row of a session.
pub fn encode_session(record: &SessionRecord, sealer: &Sealer) -> Result<Vec<u8>, RowError> {
    let sealed = seal(&keys::session(record.device_seq), record, sealer)?;
    let head = SessionHead {
        number: record.number,
    };
    rows::encode_beside(&sealed, &head)
}

/// The session of a whole row that lies under `key`.
pub fn decode_session(key: &[u8], row: &[u8], sealer: &Sealer) -> Result<SessionRecord, RowError> {
    let (sealed, _) = rows::split_sealed(row)?;
    Ok(cbor::decode(&sealer.open(key, sealed)?)?)
}

/// The row of a subtask, which lies under `key`. The input is gone from the record afterwards.
pub fn encode_subtask(
    key: &[u8],
    record: &mut SubtaskRecord,
    sealer: &Sealer,
) -> Result<Vec<u8>, RowError> {
    match record.input.take() {
        None => rows::encode(record),
        Some(input) => rows::encode_beside(&seal(key, &input, sealer)?, record),
    }
}

/// The subtask of a whole row that lies under `key`.
pub fn decode_subtask(key: &[u8], row: &[u8], sealer: &Sealer) -> Result<SubtaskRecord, RowError> {
    if row.first() != Some(&SEALED_FORMAT) {
        return rows::decode(row);
    }
    let (sealed, body) = rows::split_sealed(row)?;
    let mut record: SubtaskRecord = cbor::decode(body)?;
    record.input = Some(cbor::decode(&sealer.open(key, sealed)?)?);
    Ok(record)
}

/// The row of a file's bytes, which lies under `key`.
pub fn encode_content(
    key: &[u8],
    content: &FileContent,
    sealer: &Sealer,
) -> Result<Vec<u8>, RowError> {
    rows::encode_beside(&sealer.seal(key, &content.bytes)?, &())
}

/// The file's bytes of a whole row that lies under `key`.
pub fn decode_content(key: &[u8], row: &[u8], sealer: &Sealer) -> Result<FileContent, RowError> {
    let (sealed, _) = rows::split_sealed(row)?;
    let bytes = sealer.open(key, sealed)?.to_vec();
    Ok(FileContent { bytes })
}

/// The row of a record of forwarding, which lies under `key`.
pub fn encode_forwarding(
    key: &[u8],
    record: &ForwardingRecord,
    sealer: &Sealer,
) -> Result<Vec<u8>, RowError> {
    let head = VersionHead {
        version: record.version(),
    };
    rows::encode_beside(&seal(key, record, sealer)?, &head)
}

/// The record of forwarding of a whole row that lies under `key`.
pub fn decode_forwarding(
    key: &[u8],
    row: &[u8],
    sealer: &Sealer,
) -> Result<ForwardingRecord, RowError> {
    let (sealed, _) = rows::split_sealed(row)?;
    Ok(cbor::decode(&sealer.open(key, sealed)?)?)
}

/// Bytes of a secret value before it is sealed: more would be moved while it is written, and leave
/// a copy behind in memory.
const VALUE_ROOM: usize = 4096;

fn seal<T: Serialize>(key: &[u8], value: &T, sealer: &Sealer) -> Result<Vec<u8>, RowError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(VALUE_ROOM));
    cbor::encode_into(value, &mut bytes)?;
    Ok(sealer.seal(key, &bytes)?)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::base::ids::DeviceId;
    use crate::base::peer::DeviceSeq;
    use crate::base::time::Timestamp;

    prop_compose! {
        fn sessions()(
            device_seq in any::<u64>(),
            number in any::<u64>(),
            own_cid in any::<Option<[u8; 8]>>(),
            peer_cid in prop::collection::vec(any::<u8>(), 0..255),
            address in any::<(std::net::IpAddr, u16)>(),
            suite in any::<u16>(),
            flags in any::<[bool; 3]>(),
            key_block in prop::collection::vec(any::<u8>(), 0..200),
            verify_data in any::<[u8; 12]>(),
            numbers in any::<(u16, u64, Option<u64>, u64)>(),
        ) -> SessionRecord {
            let (finished_seq, send_reserved, received, at) = numbers;
            SessionRecord {
                device_seq: DeviceSeq(device_seq),
                device_id: DeviceId::parse("d").unwrap(),
                number,
                own_cid,
                peer_cid,
                address: SocketAddr::from(address),
                address_proven: flags[2],
                suite,
                encrypt_then_mac: flags[0],
                return_routability: flags[1],
                key_block: Secret::new(key_block),
                verify_data: verify_data.to_vec(),
                finished_seq,
                send_reserved,
                received,
                established_at: Timestamp::from_ms(at),
            }
        }
    }

    proptest! {
        #[test]
        fn sessions_come_back(session in sessions()) {
            let sealer = Sealer::new([3; 32]);
            let key = keys::session(session.device_seq);
            let row = encode_session(&session, &sealer).unwrap();
            let head: SessionHead = rows::decode_beside(&row).unwrap();
            prop_assert_eq!(head.number, session.number);
            prop_assert_eq!(decode_session(&key, &row, &sealer).unwrap(), session);
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let sealer = Sealer::new([3; 32]);
            let len = u8::try_from(bytes.len() / 2).unwrap();
            let row = [&[SEALED_FORMAT, 0, 0, 0, len], &bytes[..]].concat();
            // What opens can still be anything.
            let sealed = sealer.seal(b"k", &bytes).unwrap();
            let opens = rows::encode_beside(&sealed, &SessionHead { number: 1 }).unwrap();
            for row in [&bytes, &row, &opens] {
                prop_assert!(decode_device(b"k", row, &sealer).is_err());
                drop(decode_session(b"k", row, &sealer));
                drop(decode_forwarding(b"k", row, &sealer));
            }
        }
    }

    #[test]
    fn a_session_opens_in_its_own_row_alone() {
        let sealer = Sealer::new([3; 32]);
        let session = SessionRecord {
            device_seq: DeviceSeq(7),
            device_id: DeviceId::parse("d").unwrap(),
            number: 9,
            own_cid: None,
            peer_cid: Vec::new(),
            address: SocketAddr::from(([192, 0, 2, 1], 5684)),
            address_proven: true,
            suite: 0xc0a8,
            encrypt_then_mac: false,
            return_routability: false,
            key_block: Secret::new(vec![0x5a; 40]),
            verify_data: vec![1; 12],
            finished_seq: 1,
            send_reserved: 0,
            received: None,
            established_at: Timestamp::from_ms(1),
        };
        let row = encode_session(&session, &sealer).unwrap();
        assert!(!row.windows(8).any(|bytes| bytes == [0x5a; 8]));
        let other = keys::session(DeviceSeq(8));
        let refused = decode_session(&other, &row, &sealer).unwrap_err();
        assert_eq!(refused.kind(), "sealed");
    }
}
