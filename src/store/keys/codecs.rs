//! Keys of codecs: the one that runs, and the versions that were uploaded.

use super::Table;
use crate::base::ids::ProductId;

pub fn codec(id: &ProductId) -> Vec<u8> {
    Table::Codecs.key(&[id.as_str().as_bytes()])
}

pub fn codec_version(id: &ProductId, seq: u64) -> Vec<u8> {
    Table::CodecVersions.key(&[id.as_str().as_bytes(), &[0], &seq.to_be_bytes()])
}

/// The smallest key of a product's versions, and the smallest above them.
pub fn codec_versions(id: &ProductId) -> (Vec<u8>, Vec<u8>) {
    let id = id.as_str().as_bytes();
    (
        Table::CodecVersions.key(&[id, &[0]]),
        Table::CodecVersions.key(&[id, &[1]]),
    )
}

/// Product and seq of a row of `codec_versions`; `None` when the key has another shape.
pub fn split_codec_version(key: &[u8]) -> Option<(ProductId, u64)> {
    let (_, rest) = key.split_first()?;
    let (rest, seq) = rest.split_last_chunk::<8>()?;
    let (end, id) = rest.split_last()?;
    let id = ProductId::parse(std::str::from_utf8(id).ok()?).ok()?;
    (*end == 0).then_some((id, u64::from_be_bytes(*seq)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_back_and_stay_with_their_product() {
        let (a, longer) = (
            ProductId::parse("a").unwrap(),
            ProductId::parse("a-").unwrap(),
        );
        let (from, to) = codec_versions(&a);
        for seq in [0, 1, u64::MAX] {
            let key = codec_version(&a, seq);
            assert!(from <= key && key < to);
            assert_eq!(split_codec_version(&key), Some((a.clone(), seq)));
            let other = codec_version(&longer, seq);
            assert!(other < from || other >= to);
        }
        assert_eq!(split_codec_version(&codec(&a)), None);
    }
}
