//! What an operator sets under `[packages]`.

use serde::Deserialize;

use super::signature::SigningKey;

/// Bounds of packages, and who must have signed them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Of one file.
    pub size_max_mb: u64,
    /// Of all files.
    pub total_max_mb: u64,
    pub count_max: usize,
    /// Uploads at the same time.
    pub uploads_max: usize,
    /// Memory for files that devices are fetching.
    pub cache_mb: u64,
    /// The host in the URIs that devices get: most of them take the path alone.
    pub coap_host: String,
    /// Bytes of a CoAP block when the device names no size.
    pub coap_block: u32,
    /// How long a token for a download lasts when its maker says nothing.
    pub token_s: u64,
    /// Ed25519 public keys, in base64: 32 bytes, or what stands between the lines of a PEM file.
    pub keys: Vec<String>,
    /// Refuse files that none of the keys has signed.
    pub require_signature: bool,
}

/// A firmware of an NB-IoT module has some 500 KB, software of a device far less; blocks of 512 bytes fit the
/// buffers of every module.
impl Default for Settings {
    fn default() -> Self {
        Self {
            size_max_mb: 64,
            total_max_mb: 4096,
            count_max: 1000,
            uploads_max: 4,
            cache_mb: 64,
            coap_host: "localhost".to_owned(),
            coap_block: 512,
            token_s: 86_400,
            keys: Vec::new(),
            require_signature: false,
        }
    }
}

/// Longest life of a token for a download: the 24 h that a device may sleep, thirty times.
pub const TOKEN_S_MAX: u64 = 30 * 86_400;

impl Settings {
    /// Errors: the field, what it is, and what it takes.
    pub fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        let wrong = |field, got: &dyn ToString, takes| Err((field, got.to_string(), takes));
        let bounds = [
            (
                "packages.size_max_mb",
                self.size_max_mb,
                1024,
                "1 to 1024 MB",
            ),
            (
                "packages.total_max_mb",
                self.total_max_mb,
                1 << 20,
                "1 to 1048576 MB",
            ),
            (
                "packages.count_max",
                self.count_max as u64,
                100_000,
                "1 to 100000",
            ),
            (
                "packages.uploads_max",
                self.uploads_max as u64,
                64,
                "1 to 64",
            ),
            ("packages.cache_mb", self.cache_mb, 65_536, "1 to 65536 MB"),
            (
                "packages.token_s",
                self.token_s,
                TOKEN_S_MAX,
                "1 to 2592000 seconds",
            ),
        ];
        for (field, value, max, takes) in bounds {
            if !(1..=max).contains(&value) {
                return wrong(field, &value, takes);
            }
        }
        if !(16..=1024).contains(&self.coap_block) || !self.coap_block.is_power_of_two() {
            let takes = "16, 32, 64, 128, 256, 512 or 1024";
            return wrong("packages.coap_block", &self.coap_block, takes);
        }
        if let Some(key) = self
            .keys
            .iter()
            .find(|key| SigningKey::parse(key).is_none())
        {
            let takes = "Ed25519 public keys in base64, of 32 bytes or as in a PEM file";
            return wrong("packages.keys", key, takes);
        }
        if self.require_signature && self.keys.is_empty() {
            let takes = "false while packages.keys is empty: nothing could be uploaded";
            return wrong("packages.require_signature", &true, takes);
        }
        Ok(())
    }
}
