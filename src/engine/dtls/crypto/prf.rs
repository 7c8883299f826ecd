//! The key schedule of TLS 1.2 with SHA-256 and a pre-shared key.
//!
//! ```text
//!  premaster   = len(psk) || zeros of that length || len(psk) || psk          (RFC 4279 2)
//!  master      = PRF(premaster, "master secret", client random || server random)  48 bytes
//!     or       = PRF(premaster, "extended master secret", session hash)       (RFC 7627 4)
//!  key block   = PRF(master, "key expansion", server random || client random) (RFC 5246 6.3)
//!  verify data = PRF(master, "client finished", transcript hash)   12 bytes   (RFC 5246 7.4.9)
//!
//!  PRF(secret, label, seed) = HMAC(secret, A(1) || label || seed) || HMAC(secret, A(2) || …) …
//!  A(0) = label || seed,  A(i) = HMAC(secret, A(i-1))                         (RFC 5246 5)
//! ```
//!
//! Lengths are of two bytes. The session hash is that of all handshake messages up to and with
//! the ClientKeyExchange; the transcript hash goes up to the Finished that it is for, without it.

use zeroize::{Zeroize, Zeroizing};

use super::mac::{MAC_LEN, keyed, mac};
use super::suite::Suite;
use crate::base::secret::Secret;

/// The secret that keys and Finished messages come from.
pub type MasterSecret = Secret<[u8; 48]>;

/// Whose Finished message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// Fills `out` with the pseudo-random function of secret, label and seed.
pub fn prf(secret: &[u8], label: &str, seed: &[&[u8]], out: &mut [u8]) {
    let keyed = keyed(secret);
    let mut parts: Vec<&[u8]> = Vec::with_capacity(seed.len() + 2);
    parts.push(label.as_bytes());
    parts.extend(seed);
    let mut a = Zeroizing::new(mac(&keyed, &parts));
    let mut chunks = out.chunks_mut(MAC_LEN).peekable();
    while let Some(chunk) = chunks.next() {
        let mut with_a: Vec<&[u8]> = Vec::with_capacity(parts.len() + 1);
        with_a.push(a.as_slice());
        with_a.extend(&parts);
        let mut block = mac(&keyed, &with_a);
        for (slot, byte) in chunk.iter_mut().zip(block) {
            *slot = byte;
        }
        block.zeroize();
        if chunks.peek().is_some() {
            *a = mac(&keyed, &[a.as_slice()]);
        }
    }
}

/// The premaster secret of a pre-shared key, of which the first 65,535 bytes count: the format
/// has no room for more.
pub fn psk_premaster(psk: &[u8]) -> Secret<Vec<u8>> {
    let len = u16::try_from(psk.len()).unwrap_or(u16::MAX);
    let bytes = usize::from(len);
    let mut premaster = Vec::with_capacity(2 * (2 + bytes));
    premaster.extend(len.to_be_bytes());
    premaster.resize(2 + bytes, 0);
    premaster.extend(len.to_be_bytes());
    premaster.extend_from_slice(psk.get(..bytes).unwrap_or(psk));
    Secret::new(premaster)
}

/// The master secret of a client that offers no better.
pub fn master_secret(
    premaster: &Secret<Vec<u8>>,
    client_random: &[u8; 32],
    server_random: &[u8; 32],
) -> MasterSecret {
    let mut master = Zeroizing::new([0; 48]);
    let seed: &[&[u8]] = &[client_random, server_random];
    prf(premaster.expose(), "master secret", seed, &mut *master);
    Secret::new(*master)
}

/// The master secret that is bound to its handshake.
pub fn extended_master_secret(
    premaster: &Secret<Vec<u8>>,
    session_hash: &[u8; 32],
) -> MasterSecret {
    let mut master = Zeroizing::new([0; 48]);
    let label = "extended master secret";
    prf(premaster.expose(), label, &[session_hash], &mut *master);
    Secret::new(*master)
}

/// As many bytes as [`super::Keys::from_key_block`] takes for the suite.
pub fn key_block(
    master: &MasterSecret,
    client_random: &[u8; 32],
    server_random: &[u8; 32],
    suite: Suite,
) -> Secret<Vec<u8>> {
    let mut block = vec![0; suite.key_block_len()];
    let seed: &[&[u8]] = &[server_random, client_random];
    prf(master.expose(), "key expansion", seed, &mut block);
    Secret::new(block)
}

/// What the side's Finished must hold. Compare in constant time.
pub fn verify_data(master: &MasterSecret, side: Side, transcript_hash: &[u8; 32]) -> [u8; 12] {
    let label = match side {
        Side::Client => "client finished",
        Side::Server => "server finished",
    };
    let mut out = [0; 12];
    prf(master.expose(), label, &[transcript_hash], &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_premaster_secret_as_its_figure_says() {
        let premaster = psk_premaster(&[0xaa, 0xbb, 0xcc]);
        assert_eq!(
            premaster.expose()[..],
            [0, 3, 0, 0, 0, 0, 3, 0xaa, 0xbb, 0xcc]
        );
        assert_eq!(psk_premaster(&[]).expose()[..], [0, 0, 0, 0]);
        assert_eq!(psk_premaster(&vec![1; 70_000]).expose().len(), 2 * 65_537);
    }

    #[test]
    fn both_sides_and_all_inputs_count() {
        let premaster = psk_premaster(b"secret");
        let master = master_secret(&premaster, &[1; 32], &[2; 32]);
        assert_ne!(master, master_secret(&premaster, &[2; 32], &[1; 32]));
        assert_ne!(master, extended_master_secret(&premaster, &[1; 32]));
        let client = verify_data(&master, Side::Client, &[3; 32]);
        assert_ne!(client, verify_data(&master, Side::Server, &[3; 32]));
        assert_ne!(client, verify_data(&master, Side::Client, &[4; 32]));
        for suite in Suite::ALL {
            let block = key_block(&master, &[1; 32], &[2; 32], suite);
            assert_eq!(block.expose().len(), suite.key_block_len());
        }
    }
}
