//! The address of a subscriber: `http` or `https`, host, port, path and query (RFC 9110 §4.2).
//! Errors: [`TargetError`] says what is wrong with an URL.

use hyper::Uri;
use rustls::pki_types::ServerName;

/// Why text is no address to push to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("is no URL: {0}")]
    Malformed(String),
    #[error("takes http://… or https://…")]
    Scheme,
    #[error("has no host")]
    NoHost,
    #[error("has a user name: takes none")]
    UserInfo,
}

impl TargetError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Scheme => "scheme",
            Self::NoHost => "no_host",
            Self::UserInfo => "user_info",
        }
    }
}

/// Where pushes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    is_https: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    path: String,
}

impl Target {
    /// Reads an URL.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let uri: Uri = url
            .parse()
            .map_err(|e: hyper::http::uri::InvalidUri| TargetError::Malformed(e.to_string()))?;
        let is_https = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(TargetError::Scheme),
        };
        let authority = uri.authority().ok_or(TargetError::NoHost)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::UserInfo);
        }
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() {
            return Err(TargetError::NoHost);
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if is_https => 443,
            None => 80,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let rooted = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        };
        Ok(Self {
            is_https,
            host: host.to_ascii_lowercase(),
            port,
            path: rooted,
        })
    }

    pub const fn is_https(&self) -> bool {
        self.is_https
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `host`, or `host:port` where the port is not the scheme's.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.is_https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Host and port as one name of the server: two services on one machine are two servers.
    pub fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The host as TLS takes it.
    pub fn server_name(&self) -> Result<ServerName<'static>, String> {
        let name = ServerName::try_from(self.host.clone());
        name.map_err(|_| format!("{:?} is neither a DNS name nor an address", self.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let cases = [
            ("http://a.example", "a.example:80 a.example /"),
            ("HTTPS://A.example/x?y=1", "a.example:443 a.example /x?y=1"),
            ("https://a:8443", "a:8443 a:8443 /"),
            ("http://[::1]:8080/p", "::1:8080 [::1]:8080 /p"),
            ("http://127.0.0.1:80?q", "127.0.0.1:80 127.0.0.1 /?q"),
            ("ftp://a", "error: scheme"),
            ("/path", "error: scheme"),
            ("a.example", "error: scheme"),
            ("http://u:p@a/", "error: user_info"),
            ("http://", "error: malformed"),
            ("http://:80/", "error: no_host"),
            ("http://a b/", "error: malformed"),
            ("", "error: malformed"),
        ];
        for (url, want) in cases {
            let got = match Target::parse(url) {
                Ok(t) => format!("{} {} {}", t.server(), t.authority(), t.path()),
                Err(e) => format!("error: {}", e.kind()),
            };
            assert_eq!(got, want, "{url}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_target_or_an_error(text in "\\PC*") {
            if let Ok(target) = Target::parse(&text) {
                proptest::prop_assert!(!target.host().is_empty());
                proptest::prop_assert!(target.path().starts_with('/'));
            }
            drop(Target::parse(&format!("http://{text}")));
        }
    }
}
