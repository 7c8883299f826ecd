//! The hellos of a client that can do one thing: TLS_PSK_WITH_AES_128_CCM_8, with the extended
//! master secret when the server can (RFC 5246 §7.4.1, RFC 6347 §4.2.1, RFC 7627 §5.1).
//!
//! ```text
//! ClientHello         version(2) random(32) session(1 + n) cookie(1 + n) suites(2 + n)
//!                     compressions(1 + n) extensions(2 + n)
//! HelloVerifyRequest  version(2) cookie(1 + n)
//! ServerHello         version(2) random(32) session(1 + n) suite(2) compression(1) extensions(2 + n)
//! ```

const VERSION: [u8; 2] = [0xfe, 0xfd];
const SUITE: [u8; 2] = [0xc0, 0xa8];
/// Says that renegotiation is safe, without an extension (RFC 5746 §3.3).
const SIGNALLING_SUITE: [u8; 2] = [0x00, 0xff];
const EXTENDED_MASTER_SECRET: [u8; 2] = [0, 23];

/// The body of a ClientHello; a cookie has at most 255 bytes.
pub(super) fn client_hello(random: &[u8; 32], cookie: &[u8]) -> Vec<u8> {
    let [.., cookie_len] = cookie.len().to_be_bytes();
    let mut out = Vec::with_capacity(64 + cookie.len());
    out.extend(VERSION);
    out.extend(random);
    out.extend([0, cookie_len]);
    out.extend(cookie);
    out.extend([0, 4]);
    out.extend(SUITE);
    out.extend(SIGNALLING_SUITE);
    out.extend([1, 0]);
    out.extend([0, 4]);
    out.extend(EXTENDED_MASTER_SECRET);
    out.extend([0, 0]);
    out
}

/// The cookie of a HelloVerifyRequest.
pub(super) fn cookie(body: &[u8]) -> Option<&[u8]> {
    let (_, rest) = body.split_at_checked(2)?;
    let (len, rest) = rest.split_first()?;
    rest.get(..usize::from(*len))
}

/// What matters of a ServerHello.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerHello {
    pub(super) random: [u8; 32],
    pub(super) extended_master_secret: bool,
}

/// Reads a ServerHello; `None` when it is broken or chose what was not offered.
pub(super) fn server_hello(body: &[u8]) -> Option<ServerHello> {
    let (version, rest) = body.split_first_chunk::<2>()?;
    let (random, rest) = rest.split_first_chunk::<32>()?;
    let (session_len, rest) = rest.split_first()?;
    let (_, rest) = rest.split_at_checked(usize::from(*session_len))?;
    let (suite, rest) = rest.split_first_chunk::<2>()?;
    let (compression, rest) = rest.split_first()?;
    if *version != VERSION || *suite != SUITE || *compression != 0 {
        return None;
    }
    let mut extended_master_secret = false;
    let mut extensions = rest.get(2..).unwrap_or_default();
    while let Some((kind, rest)) = extensions.split_first_chunk::<2>() {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (_, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        extended_master_secret |= *kind == EXTENDED_MASTER_SECRET;
        extensions = rest;
    }
    Some(ServerHello {
        random: *random,
        extended_master_secret,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(suite: [u8; 2], extensions: &[u8]) -> Vec<u8> {
        let mut out = VERSION.to_vec();
        out.extend([9; 32]);
        out.extend([0]);
        out.extend(suite);
        out.push(0);
        out.extend(extensions);
        out
    }

    #[test]
    fn only_what_was_offered_is_taken() {
        let cases: [(&[u8], Option<bool>); 4] = [
            (&[], Some(false)),
            (&[0, 4, 0, 23, 0, 0], Some(true)),
            (&[0, 9, 0xff, 1, 0, 1, 0, 0, 23, 0, 0], Some(true)),
            (&[0, 4, 0, 23, 0, 9], None),
        ];
        for (extensions, want) in cases {
            let got = server_hello(&answer(SUITE, extensions));
            let got = got.map(|hello| hello.extended_master_secret);
            assert_eq!(got, want, "{extensions:?}");
        }
        assert_eq!(server_hello(&answer([0xc0, 0xa4], &[])), None);
        assert_eq!(cookie(&[0xfe, 0xff, 2, 7, 8]), Some(&[7, 8][..]));
        assert_eq!(cookie(&[0xfe, 0xff, 3, 7, 8]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            server_hello(&bytes);
            cookie(&bytes);
        }
    }
}
