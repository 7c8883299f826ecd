//! The keys of a session: those with which the client writes, and those of the server.
//!
//! ```text
//!  key block (RFC 5246 6.3), client's before server's each time
//!    CCM, GCM    keys 16 + 16, salts 4 + 4                      40 bytes
//!    CBC         MAC keys 32 + 32, keys 16 + 16                 96 bytes
//! ```
//!
//! Every sleeping session keeps these, so they are the bare keys, 98 bytes: AES schedules are made
//! for each record anew, which costs less than fetching them from cold memory.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::suite::Suite;
use crate::base::secret::Secret;

/// Both directions' keys. Overwritten when dropped, never printed.
#[derive(Clone)]
pub struct Keys {
    /// With these the client seals and the server opens.
    pub client: DirectionKeys,
    /// With these the server seals and the client opens.
    pub server: DirectionKeys,
}

/// One direction's keys.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DirectionKeys(pub(super) Form);

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) enum Form {
    Aead { key: [u8; 16], salt: [u8; 4] },
    Cbc { key: [u8; 16], mac_key: [u8; 32] },
}

const _: () = assert!(size_of::<Keys>() <= 112, "kept for each sleeping session");

impl Keys {
    /// Takes the block apart. `None` unless it is of [`Suite::key_block_len`] bytes.
    pub fn from_key_block(suite: Suite, block: &[u8]) -> Option<Self> {
        if block.len() != suite.key_block_len() {
            return None;
        }
        let (client, server) = match suite {
            Suite::Ccm8 | Suite::Ccm | Suite::Gcm => {
                let (keys, salts) = block.split_first_chunk::<32>()?;
                let (client_key, server_key) = halves(keys)?;
                let (client_salt, server_salt) = halves(salts)?;
                let form = |key, salt| Form::Aead { key, salt };
                (form(client_key, client_salt), form(server_key, server_salt))
            }
            Suite::CbcSha256 => {
                let (mac_keys, keys) = block.split_first_chunk::<64>()?;
                let (client_mac, server_mac) = halves(mac_keys)?;
                let (client_key, server_key) = halves(keys)?;
                let form = |key, mac_key| Form::Cbc { key, mac_key };
                (form(client_key, client_mac), form(server_key, server_mac))
            }
        };
        Some(Self {
            client: DirectionKeys(client),
            server: DirectionKeys(server),
        })
    }

    /// The block that these keys came from, to be stored under seal.
    pub fn key_block(&self) -> Secret<Vec<u8>> {
        let (client_first, client_second) = self.client.0.parts();
        let (server_first, server_second) = self.server.0.parts();
        let parts = [client_first, server_first, client_second, server_second];
        // In one piece of memory from the start: growing would leave copies behind.
        Secret::new(parts.concat())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(***)")
    }
}

impl fmt::Debug for DirectionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirectionKeys(***)")
    }
}

impl Form {
    /// In the order of the key block.
    const fn parts(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Aead { key, salt } => (key, salt),
            Self::Cbc { key, mac_key } => (mac_key, key),
        }
    }
}

/// Two arrays of the same length, one after the other.
fn halves<const N: usize>(bytes: &[u8]) -> Option<([u8; N], [u8; N])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((*first, rest.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_block_leads_back_and_is_cut_in_order() {
        for suite in Suite::ALL {
            let block: Vec<u8> = (0..).take(suite.key_block_len()).collect();
            let keys = Keys::from_key_block(suite, &block).unwrap();
            assert_eq!(keys.key_block().expose(), &block);
            assert!(Keys::from_key_block(suite, &block[1..]).is_none());
            let longer = [&block[..], &[0]].concat();
            assert!(Keys::from_key_block(suite, &longer).is_none());
            let (first, second) = keys.server.0.parts();
            match suite {
                Suite::Ccm8 | Suite::Ccm | Suite::Gcm => {
                    assert_eq!((first[0], first.len()), (16, 16));
                    assert_eq!(second, [36, 37, 38, 39]);
                }
                Suite::CbcSha256 => {
                    assert_eq!((first[0], first.len()), (32, 32));
                    assert_eq!((second[0], second.len()), (80, 16));
                }
            }
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let keys = Keys::from_key_block(Suite::Ccm8, &[0xab; 40]).unwrap();
        let text = format!("{keys:?} {:?}", keys.client);
        assert_eq!(text, "Keys(***) DirectionKeys(***)");
    }
}
