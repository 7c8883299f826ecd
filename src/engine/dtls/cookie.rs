//! Stateless cookies (RFC 6347 §4.2.1): HMAC-SHA256 over the client's address and its hello but for
//! the cookie itself, cut to 16 bytes, under a secret that changes. Cookies of the secret before
//! are still good, so that one is never refused within its lifetime.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hmac::Mac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Random, crypto};
use crate::wire::dtls::handshake::HelloPrefix;

pub(super) const COOKIE_LEN: usize = 16;

#[derive(Debug)]
pub(super) struct Cookies {
    lifetime: Duration,
    changed_at: Instant,
    current: Zeroizing<[u8; 32]>,
    former: Zeroizing<[u8; 32]>,
}

impl Cookies {
    pub(super) fn new(lifetime: Duration, now: Instant, random: &mut dyn Random) -> Self {
        Self {
            lifetime,
            changed_at: now,
            current: fresh(random),
            former: fresh(random),
        }
    }

    /// Changes the secret when its time has come.
    pub(super) fn turn(&mut self, now: Instant, random: &mut dyn Random) {
        let age = now.saturating_duration_since(self.changed_at);
        if age < self.lifetime {
            return;
        }
        let current = std::mem::replace(&mut self.current, fresh(random));
        // Nothing older than two lifetimes is good, however long no hello came.
        self.former = if age < self.lifetime * 2 {
            current
        } else {
            fresh(random)
        };
        self.changed_at = now;
    }

    /// The cookie of a hello from this address.
    pub(super) fn bake(&self, address: SocketAddr, hello: &HelloPrefix<'_>) -> [u8; COOKIE_LEN] {
        mac(&self.current, address, hello)
    }

    pub(super) fn is_good(&self, address: SocketAddr, hello: &HelloPrefix<'_>) -> bool {
        let of = |secret| -> bool {
            let want = mac(secret, address, hello);
            want.ct_eq(hello.cookie).into()
        };
        hello.cookie.len() == COOKIE_LEN && (of(&self.current) || of(&self.former))
    }
}

fn fresh(random: &mut dyn Random) -> Zeroizing<[u8; 32]> {
    let mut secret = Zeroizing::new([0; 32]);
    random.fill(secret.as_mut());
    secret
}

fn mac(secret: &[u8; 32], address: SocketAddr, hello: &HelloPrefix<'_>) -> [u8; COOKIE_LEN] {
    let mut mac = crypto::keyed(secret);
    match address.ip() {
        IpAddr::V4(ip) => mac.update(&ip.octets()),
        IpAddr::V6(ip) => mac.update(&ip.octets()),
    }
    mac.update(&address.port().to_be_bytes());
    mac.update(&hello.version.to_be_bytes());
    mac.update(&hello.random);
    // Each with its length: one field's end must not pass for another's beginning.
    let suites = hello.cipher_suites.as_bytes();
    for field in [hello.session_id, suites, hello.compression_methods] {
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field);
    }
    let sum = mac.finalize().into_bytes();
    let mut cookie = [0; COOKIE_LEN];
    for (to, from) in cookie.iter_mut().zip(sum) {
        *to = from;
    }
    cookie
}
