//! The image that a device receives: its length, its hash, and whether each piece is what it should be.
//!
//! Devices ask for the pieces in their order, so an image only grows. The bytes are not kept: their
//! hash is, and with an expected image each piece is compared as it comes; as long as all are
//! the same, the expected image stands for the received one, so ten thousand devices cost little.

use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Bytes at the start in which [`Image::version`] is looked for.
const HEAD_LEN: usize = 64;
/// What the version in an image stands behind.
const VERSION_MARK: &[u8] = b"version=";

/// A SHA-256.
pub type Hash = [u8; 32];

/// What devices should receive. Clones share their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    bytes: Arc<[u8]>,
    hash: Hash,
}

impl Expected {
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            hash: Sha256::digest(bytes).into(),
            bytes: bytes.into(),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub const fn hash(&self) -> Hash {
        self.hash
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Image {
    expected: Option<Expected>,
    len: usize,
    pieces: u32,
    head: Vec<u8>,
    /// Present once the bytes have to be hashed: without an expected image, or after a difference.
    hasher: Option<Sha256>,
    wrong: u32,
    first_wrong: Option<u32>,
}

impl Image {
    pub fn new(expected: Option<Expected>) -> Self {
        Self {
            hasher: expected.is_none().then(Sha256::new),
            expected,
            ..Self::default()
        }
    }

    /// The piece is what is expected next, if anything is.
    pub fn is_next(&self, piece: &[u8]) -> bool {
        let end = self.len + piece.len();
        let same = |e: &Expected| e.bytes.get(self.len..end) == Some(piece);
        self.expected.as_ref().is_none_or(same)
    }

    /// Adds the next piece; true unless it differs from the expected one.
    pub fn append(&mut self, piece: &[u8]) -> bool {
        let same = self.is_next(piece);
        if !same {
            self.wrong += 1;
            self.first_wrong.get_or_insert(self.pieces);
            if let (None, Some(expected)) = (&self.hasher, &self.expected) {
                let before = expected.bytes.get(..self.len).unwrap_or_default();
                self.hasher = Some(Sha256::new().chain_update(before));
            }
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece);
        }
        let room = HEAD_LEN.saturating_sub(self.head.len());
        self.head.extend(piece.iter().take(room));
        self.len += piece.len();
        self.pieces += 1;
        same
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        *self = Self::new(self.expected.take());
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Pieces so far.
    pub const fn pieces(&self) -> u32 {
        self.pieces
    }

    /// Pieces that differ from the expected image, and the first of them.
    pub const fn wrong(&self) -> (u32, Option<u32>) {
        (self.wrong, self.first_wrong)
    }

    /// It is the expected image, wholly; `None` when none is known.
    pub fn is_intact(&self) -> Option<bool> {
        let expected = self.expected.as_ref()?;
        Some(self.wrong == 0 && self.len == expected.bytes.len())
    }

    /// SHA-256 of what was received.
    pub fn hash(&self) -> Hash {
        match (&self.hasher, &self.expected) {
            (Some(hasher), _) => hasher.clone().finalize().into(),
            (None, Some(expected)) if self.len == expected.bytes.len() => expected.hash,
            (None, Some(expected)) => {
                Sha256::digest(expected.bytes.get(..self.len).unwrap_or_default()).into()
            }
            (None, None) => Sha256::digest([]).into(),
        }
    }

    /// The version that the image names in its first bytes: `version=V2.0`, up to a byte that can't
    /// be of a version.
    pub fn version(&self) -> Option<String> {
        let mut places = self.head.windows(VERSION_MARK.len());
        let at = places.position(|w| w == VERSION_MARK)? + VERSION_MARK.len();
        let rest = self.head.get(at..)?.iter();
        let name = rest.take_while(|b| b.is_ascii_alphanumeric() || b"._-+".contains(b));
        let name: String = name.map(|b| char::from(*b)).collect();
        (!name.is_empty()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&[u8]], expected: Option<&[u8]>) -> Image {
        let mut image = Image::new(expected.map(Expected::new));
        for piece in pieces {
            image.append(piece);
        }
        image
    }

    #[test]
    fn the_hash_is_of_what_came_whatever_was_expected() {
        let cases: &[(&[&[u8]], &[u8])] = &[
            (&[], b""),
            (&[b"abc", b"de"], b"abcde"),
            (&[b"abc", b"dX"], b"abcde"),
            (&[b"Xbc", b"de"], b"abcde"),
            (&[b"abc"], b"abcde"),
            (&[b"abc", b"de", b"f"], b"abcde"),
        ];
        for (pieces, expected) in cases {
            let want: Hash = Sha256::digest(pieces.concat()).into();
            assert_eq!(of(pieces, None).hash(), want, "{pieces:?}");
            let image = of(pieces, Some(expected));
            assert_eq!(image.hash(), want, "{pieces:?}");
            assert_eq!(image.is_intact(), Some(pieces.concat() == *expected));
        }
    }

    #[test]
    fn the_first_wrong_piece_is_named() {
        let mut image = of(&[b"ab", b"cX", b"eX"], Some(b"abcdef"));
        assert_eq!(image.wrong(), (2, Some(1)));
        assert_eq!((image.len(), image.pieces()), (6, 3));
        image.clear();
        assert!(image.is_empty() && image.append(b"ab"));
        assert_eq!(image.wrong(), (0, None));
        assert_eq!(of(&[b"ab"], None).is_intact(), None);
    }

    #[test]
    fn an_image_may_name_its_version() {
        let long = [&[b'x'; 60][..], b"version=V2"].concat();
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"version=V2.0\nrest", Some("V2.0")),
            (b"\x7fELF version=1.2-rc+3\0", Some("1.2-rc+3")),
            (b"version=\n", None),
            (b"nothing", None),
            (&long, None),
        ];
        for (bytes, want) in cases {
            assert_eq!(of(&[bytes], None).version().as_deref(), *want);
            let pieces: Vec<_> = bytes.chunks(5).collect();
            assert_eq!(of(&pieces, None).version().as_deref(), *want);
        }
    }
}
