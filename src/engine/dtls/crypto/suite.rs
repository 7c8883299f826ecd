//! The cipher suites: all with pre-shared keys, AES-128 and SHA-256 (RFC 6655, RFC 5487).

/// How records are protected, under the code and name of the IANA registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// Counter with CBC-MAC, tag of 8 bytes: what LwM2M demands.
    Ccm8,
    /// Counter with CBC-MAC, tag of 16 bytes.
    Ccm,
    /// Galois/Counter mode, tag of 16 bytes.
    Gcm,
    /// CBC with HMAC-SHA256, in either order.
    CbcSha256,
}

impl Suite {
    /// All of them, the one to like best first.
    pub const ALL: [Self; 4] = [Self::Ccm8, Self::Ccm, Self::Gcm, Self::CbcSha256];

    pub const fn code(self) -> u16 {
        match self {
            Self::Ccm8 => 0xc0a8,
            Self::Ccm => 0xc0a4,
            Self::Gcm => 0x00a8,
            Self::CbcSha256 => 0x00ae,
        }
    }

    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.code() == code)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ccm8 => "TLS_PSK_WITH_AES_128_CCM_8",
            Self::Ccm => "TLS_PSK_WITH_AES_128_CCM",
            Self::Gcm => "TLS_PSK_WITH_AES_128_GCM_SHA256",
            Self::CbcSha256 => "TLS_PSK_WITH_AES_128_CBC_SHA256",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// How many bytes of the key schedule it takes (RFC 5246 6.3): for each direction a MAC key of
    /// 32 and a key of 16, or a key of 16 and a salt of 4.
    pub const fn key_block_len(self) -> usize {
        match self {
            Self::Ccm8 | Self::Ccm | Self::Gcm => 2 * (16 + 4),
            Self::CbcSha256 => 2 * (32 + 16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_code(suite.code()), Some(suite));
            assert_eq!(Suite::from_name(suite.name()), Some(suite));
        }
        assert_eq!(Suite::from_code(0x00ff), None);
        assert_eq!(Suite::from_name("TLS_PSK_WITH_NULL_SHA"), None);
    }
}
