//! Where pushes go: `http` and `https` URLs (RFC 9110 §4.2) with a host, without user and password,
//! and without a fragment, which no server ever sees. A problem tells what is wrong, and what is taken.

use std::net::Ipv6Addr;

use hyper::Uri;

/// Characters of a URL: what clients and servers agree to handle.
pub(super) const URL_MAX: usize = 2048;

/// Characters of a host name (RFC 1035 §3.1).
const HOST_MAX: usize = 253;

/// A URL that pushes can go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) is_secured: bool,
}

impl Address {
    pub(super) fn read(url: &str) -> Result<Self, String> {
        const TAKES: &str = "takes http://host/path or https://host/path";
        let len = url.chars().count();
        if len > URL_MAX {
            return Err(format!("got {len} characters, takes up to {URL_MAX}"));
        }
        if url.contains('#') {
            return Err(format!("has a fragment, {TAKES} without one"));
        }
        let graphic = |c: char| c.is_ascii_graphic();
        if let Some(found) = url.chars().find(|c| !graphic(*c)) {
            return Err(format!("has the character {found:?}, {TAKES} in ASCII"));
        }
        let uri: Uri = url.parse().map_err(|_| format!("is no URL, {TAKES}"))?;
        let is_secured = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("is no URL of http or https, {TAKES}")),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(format!("has a user or a password, {TAKES} without them"));
        }
        let (host, port) = split_port(authority);
        if !is_host(host) {
            return Err(format!("has no host, {TAKES}"));
        }
        if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
            return Err("has no port behind the colon, takes 1 to 65535".to_owned());
        }
        Ok(Self { is_secured })
    }
}

/// Host and what is behind its colon.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let behind = authority.rfind(']').unwrap_or(0);
    match authority.rfind(':').filter(|at| *at >= behind) {
        Some(at) => match authority.split_at_checked(at) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => (authority, None),
        },
        None => (authority, None),
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => {
            let address = rest.strip_suffix(']').map(str::parse::<Ipv6Addr>);
            matches!(address, Some(Ok(_)))
        }
        None => is_name(host),
    }
}

/// The host name of a text that may have a port behind it, as the v5 API's own example of a
/// certificate's name has. `None`: it is none.
pub(super) fn name_of(text: &str) -> Option<&str> {
    let (host, port) = split_port(text);
    let is_port = port.is_none_or(|port| matches!(port.parse::<u16>(), Ok(1..)));
    (is_port && is_name(host)).then_some(host)
}

/// Labels of letters, digits, `-` and `_` with dots between them; an IPv4 address is one, too.
fn is_name(host: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(legal);
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= HOST_MAX && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_judged() {
        let long = format!("http://h/{}", "a".repeat(URL_MAX - 9));
        let longer = format!("{long}a");
        let cases = [
            ("http://h", Ok(false)),
            ("https://push.example.org:8443/a/b?c=d", Ok(true)),
            ("HTTPS://EXAMPLE.org/", Ok(true)),
            ("http://127.0.0.1:80/", Ok(false)),
            ("https://[::1]:9/x", Ok(true)),
            ("https://[2001:db8::7]/", Ok(true)),
            ("http://a_b.internal./", Ok(false)),
            (&long, Ok(false)),
            (&longer, Err("got 2049 characters, takes up to 2048")),
            ("", Err("is no URL")),
            ("push.example.org", Err("is no URL of http or https")),
            ("/path", Err("is no URL of http or https")),
            ("ftp://h/", Err("is no URL of http or https")),
            ("http://", Err("is no URL")),
            ("http:///path", Err("is no URL")),
            ("http://:80/", Err("has no host")),
            ("http://.h/", Err("has no host")),
            ("http://[::g]/", Err("")),
            ("http://u@h/", Err("has a user or a password")),
            ("http://u:p@h/", Err("has a user or a password")),
            ("http://h/#top", Err("has a fragment")),
            ("http://h:0/", Err("has no port")),
            ("http://h:/", Err("has no port")),
            ("http://h:65536/", Err("")),
            ("http://h:x/", Err("")),
            ("http://h/ö", Err("has the character 'ö'")),
            ("http://h/a b", Err("has the character ' '")),
            ("http://h/\r\nX: y", Err("has the character '\\r'")),
        ];
        for (url, want) in cases {
            let got = Address::read(url);
            match want {
                Ok(is_secured) => assert_eq!(got, Ok(Address { is_secured }), "{url}"),
                Err(want) => {
                    let got = got.unwrap_err();
                    assert!(got.starts_with(want), "{url}: {got}");
                }
            }
        }
    }

    #[test]
    fn names_may_have_a_port() {
        let cases = [
            ("push.example.org", Some("push.example.org")),
            ("push.example.org:8443", Some("push.example.org")),
            ("10.0.0.1:1", Some("10.0.0.1")),
            ("push:", None),
            ("push:0", None),
            ("push:x", None),
            (":8443", None),
            ("a..b", None),
            ("a/b", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(name_of(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "\\PC{0,40}", port in any::<u32>()) {
            drop(Address::read(&text));
            name_of(&text);
            drop(Address::read(&format!("http://{text}")));
            let taken = Address::read(&format!("http://h:{port}")).is_ok();
            prop_assert_eq!(taken, (1..=65535).contains(&port));
        }
    }
}
