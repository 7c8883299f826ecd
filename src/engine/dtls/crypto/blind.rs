//! Padding and MAC of a CBC record, judged in one go and in constant time.
//!
//! ```text
//!  data       content | MAC, 32 bytes | padding, 1 to 256 bytes
//!  hashed     associated | length of content, 2 bytes | content
//! ```
//!
//! After decryption the last byte says how long the padding is, and so where the MAC lies and how
//! much it covers. Who can measure whether the padding was found wrong, or how much was hashed,
//! learns plaintext (Vaudenay; AlFardan and Paterson, "Lucky Thirteen"). So nothing here depends
//! on that byte or on any other of the data: no branch, no address, no number of compressions.
//! Only the record's length, which everyone sees, decides what is done:
//!
//! - The last 256 bytes are all compared with the last, and a mask says which of them count.
//!   With a bad padding one goes on as with the shortest.
//! - The inner hash is run by hand over every block up to the last that a shortest padding would
//!   fill. Each byte is masked by its place: content, the mark 0x80, zero; each block may be the
//!   one that holds the length, and after each the state is kept if it was. The blocks that are
//!   content under the longest padding too need no mask.
//! - The MAC is gathered from every place where it may lie into 32 bytes, at its place modulo 32,
//!   and what was computed is turned by the same secret distance in five masked steps.
//! - Both verdicts are joined, and only their conjunction is looked at.
//!
//! This is the one place that takes a hash apart; the masks are those of `subtle`.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use subtle::{
    Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater, ConstantTimeLess,
};
use zeroize::Zeroizing;

use super::mac::{BLOCK_LEN, MAC_LEN, padded};

/// The state that SHA-256 begins with (FIPS 180-4 5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const BLOCK: u32 = 64;
const MAC: u32 = 32;

/// The length of the content in `data`, when padding and MAC are right. `associated` is what is
/// hashed before the length.
pub(super) fn content_len(
    mac_key: &[u8; MAC_LEN],
    associated: &[u8],
    data: &[u8],
) -> Option<usize> {
    let bounds = Bounds::new(associated, data)?;
    let (good_padding, padding) = padding(data, MAC)?;
    let content_len = bounds.content_max - padding;
    let mac = blind_mac(mac_key, associated, data, bounds, content_len)?;
    let good_mac = contains(data, bounds, content_len, mac);
    // The one branch.
    if !bool::from(good_padding & good_mac) {
        return None;
    }
    usize::try_from(content_len).ok()
}

/// The length of what comes before the padding, when that is right.
pub(super) fn unpadded_len(data: &[u8]) -> Option<usize> {
    let (good, padding) = padding(data, 0)?;
    if !bool::from(good) {
        return None;
    }
    let padding = usize::try_from(padding).ok()?;
    data.len().checked_sub(padding)?.checked_sub(1)
}

/// What everyone knows who sees the record.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// How long the content is with the longest padding, and with the shortest.
    content_min: u32,
    content_max: u32,
    /// How much is hashed before the content.
    before: u32,
}

impl Bounds {
    /// `None` when there is no room for a MAC and a byte of padding.
    fn new(associated: &[u8], data: &[u8]) -> Option<Self> {
        let len = u32::try_from(data.len()).ok()?;
        let content_max = len.checked_sub(MAC + 1)?;
        Some(Self {
            content_min: content_max.saturating_sub(255),
            content_max,
            before: u32::try_from(associated.len()).ok()?.checked_add(2)?,
        })
    }
}

/// Whether the padding is right and leaves `reserved` bytes before it, and how long it is without
/// its last byte: 0 when it is wrong.
fn padding(data: &[u8], reserved: u32) -> Option<(Choice, u32)> {
    let len = u32::try_from(data.len()).ok()?;
    let last = *data.last()?;
    let padding = u32::from(last);
    let mut differences = 0;
    for (back, byte) in (0_u32..).zip(data.iter().rev().take(256)) {
        let inside = !back.ct_gt(&padding);
        differences |= u8::conditional_select(&0, &(byte ^ last), inside);
    }
    let fits = !(padding + 1 + reserved).ct_gt(&len);
    let good = fits & differences.ct_eq(&0);
    Some((good, u32::conditional_select(&0, &padding, good)))
}

/// HMAC-SHA256 of the associated data, the length, and as much of the data as `content_len` says,
/// which is between the bounds and a secret.
fn blind_mac(
    key: &[u8; MAC_LEN],
    associated: &[u8],
    data: &[u8],
    bounds: Bounds,
    content_len: u32,
) -> Option<[u8; MAC_LEN]> {
    let key = padded(key);
    let total = bounds.before + content_len;
    let bits = (u64::from(total) + u64::from(BLOCK)) * 8;
    // The block that ends the message: with the mark and eight bytes of length.
    let last = (total + 8) / BLOCK;
    let last_max = (bounds.before + bounds.content_max + 8) / BLOCK;
    let plain_blocks = (bounds.before + bounds.content_min) / BLOCK;

    let [_, _, length @ ..] = content_len.to_be_bytes();
    // Runs out at a place that everyone knows.
    let mut message = associated.iter().chain(&length).chain(data).copied();
    let mut state = START;
    compress256(&mut state, &[key.map(|byte| byte ^ 0x36)]);
    let mut end = START;
    for number in 0..=last_max {
        let mut block = [0; BLOCK_LEN];
        for slot in &mut block {
            *slot = message.next().unwrap_or(0);
        }
        let is_last = number.ct_eq(&last);
        if number >= plain_blocks {
            mask(&mut block, number * BLOCK, total);
            for (slot, byte) in block
                .last_chunk_mut::<8>()?
                .iter_mut()
                .zip(bits.to_be_bytes())
            {
                *slot |= u8::conditional_select(&0, &byte, is_last);
            }
        }
        compress256(&mut state, &[block]);
        for (kept, word) in end.iter_mut().zip(&state) {
            kept.conditional_assign(word, is_last);
        }
    }

    let outer = Zeroizing::new(key.map(|byte| byte ^ 0x5c));
    let mut digest = Sha256::new_with_prefix(*outer);
    for word in end {
        digest.update(word.to_be_bytes());
    }
    Some(digest.finalize().into())
}

/// Leaves what lies before `total`, puts the mark there, and zeros after it. The block begins at
/// `start`.
fn mask(block: &mut [u8; BLOCK_LEN], start: u32, total: u32) {
    for (at, slot) in (start..).zip(block) {
        let kept = u8::conditional_select(&0, slot, at.ct_lt(&total));
        *slot = kept | u8::conditional_select(&0, &0x80, at.ct_eq(&total));
    }
}

/// Whether `mac` lies in the data right after the content.
fn contains(data: &[u8], bounds: Bounds, content_len: u32, mac: [u8; MAC_LEN]) -> Choice {
    // Byte i of the MAC that came, at place (content_len + i) modulo 32.
    let mut gathered = [0_u8; MAC_LEN];
    let skipped = usize::try_from(bounds.content_min).unwrap_or(usize::MAX);
    // The last byte is padding at best.
    let places = (0_u32..).zip(data).skip(skipped);
    for (at, byte) in places.take_while(|(at, _)| *at < bounds.content_max + MAC) {
        let inside = !at.ct_lt(&content_len) & at.ct_lt(&(content_len + MAC));
        let place = usize::try_from(at % MAC).unwrap_or_default();
        if let Some(slot) = gathered.get_mut(place) {
            *slot |= u8::conditional_select(&0, byte, inside);
        }
    }
    // The MAC as it should be, turned alike.
    let mut turned = mac;
    for bit in 0..5 {
        let mut further = turned;
        further.rotate_right(1 << bit);
        let [.., low] = (content_len >> bit).to_be_bytes();
        let take = Choice::from(low & 1);
        for (slot, byte) in turned.iter_mut().zip(&further) {
            slot.conditional_assign(byte, take);
        }
    }
    gathered.ct_eq(&turned)
}
