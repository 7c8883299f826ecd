//! On-disk forms of firmware and software packages. Rules of `records.rs`; `version` comes first, so
//! that guards read it alone. The bytes of a package lie beside the database (`package_files.rs`).
//!
//! A package has a name: product, type and version text. The row of a name tells which package has it now,
//! and binds it to one SHA-256 for ever: a device that goes on with a download after the package was
//! deleted and uploaded again must never put two files together.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::ids::{AppId, PackageId, ProductId};
use crate::base::time::Timestamp;

/// A firmware or software package. With texts at their limits in ASCII its row has 8 KB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub package_id: PackageId,
    pub seq: u64,
    pub app_id: AppId,
    pub package_type: PackageType,
    pub product_id: ProductId,
    pub module_name: Option<String>,
    /// What a device reports after the upgrade.
    pub package_version: String,
    /// Versions that a device may come from; empty: any.
    pub support_source_versions: Vec<String>,
    pub description: Option<String>,
    pub custom_info: Option<String>,
    /// As the caller gave it: where its file is, for applications that keep files elsewhere.
    pub file_location: Option<Value>,
    /// `None`: nothing was uploaded yet; no device can get it.
    pub file: Option<PackageFile>,
    /// What the file was called where it came from.
    pub file_name: Option<String>,
    /// Which of the operator's keys signed the file.
    pub signed_by: Option<String>,
    /// Bytes of one PCP fragment, of software.
    pub fragment_size: u16,
    pub created_at: Timestamp,
}

impl PackageRecord {
    pub fn name(&self) -> PackageName {
        PackageName {
            product_id: self.product_id.clone(),
            package_type: self.package_type,
            package_version: self.package_version.clone(),
        }
    }

    /// PCP fragments of its file; `None` for firmware, and without a file.
    pub fn fragments(&self) -> Option<u64> {
        match self.package_type {
            PackageType::Firmware => None,
            PackageType::Software => {
                let size = self.file?.size;
                Some(size.div_ceil(u64::from(self.fragment_size.max(1))))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PackageType {
    /// Fetched by LwM2M Object 5.
    Firmware,
    /// Fetched by PCP.
    Software,
}

impl PackageType {
    /// The word of the v5 API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Firmware => "firmwarePackage",
            Self::Software => "softwarePackage",
        }
    }
}

/// The bytes of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFile {
    pub sha256: FileHash,
    pub size: u64,
}

/// The SHA-256 of a file: its name in the data directory, as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileHash(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl FileHash {
    /// Reads what `Display` wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 64 || !text.bytes().all(digits) {
            return None;
        }
        let mut bytes = [0; 32];
        for (to, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *to = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a device knows a package by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackageName {
    pub product_id: ProductId,
    pub package_type: PackageType,
    pub package_version: String,
}

/// Who has a [`PackageName`] now, and the file that it means for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageNameRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    /// `None`: its package was deleted.
    pub package_id: Option<PackageId>,
    /// `None`: no file was uploaded yet.
    pub sha256: Option<FileHash>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_come_back_and_nothing_else_is_one() {
        let hash = FileHash(std::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap()));
        let text = hash.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(FileHash::parse(&text), Some(hash));
        let wrong = [
            "".to_owned(),
            text.to_uppercase(),
            format!("{text}0"),
            text.replacen('0', "+", 1),
            "é".repeat(32),
        ];
        for text in wrong {
            assert_eq!(FileHash::parse(&text), None, "{text}");
        }
    }
}
