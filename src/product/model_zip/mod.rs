//! A product model as a zip package, in the format of offline profiles:
//!
//! ```text
//! profile/devicetype-capability.json             {"devices": [{the product, its services by name}]}
//! service/<name>/profile/servicetype-capability.json   {"services": [{one service}]}
//! ```
//!
//! Packages in the field differ: the files lie at the root, in a folder around all, or without the
//! inner `profile` folder; one file describes several services; UTF-8 begins with a byte order
//! mark. So files are known by their names, wherever they lie, and services by their `serviceType`.
//! Field names are those of the v5 API in camel case. `protocolType` LWM2M is CoAP of the v5 API.
//!
//! Written packages hold what the format has no field for in fields of their own (`serviceId` in a
//! service, `industry`, `description`, `dataFormat` of a device, `defaultValue` of a property), so
//! that what is written reads back as it was. Not taken over: `manufacturerId`, `omCapability`.

mod archive;
mod fields;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use archive::{ENTRIES_MAX, UNPACKED_MAX};
pub use read::read;
pub use write::write;

use super::profile::Profile;

/// Mistakes told of one package.
const MISTAKES_MAX: usize = 20;

/// What a package says of a product.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// `model` of the format, else the device type.
    pub name: String,
    pub device_type: String,
    /// As the v5 API writes it.
    pub protocol_type: String,
    /// Where the package does not say: binary for CoAP, json for all others.
    pub data_format: String,
    pub manufacturer_name: Option<String>,
    pub industry: Option<String>,
    pub description: Option<String>,
    pub profile: Profile,
}

/// Why bytes are not a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    #[error("is no zip archive: {0}")]
    NotZip(String),
    #[error("can't be unpacked: {0}")]
    Damaged(String),
    #[error("has {got} entries, takes up to {max}", max = ENTRIES_MAX)]
    Entries { got: usize },
    #[error("is larger than {max} bytes when unpacked", max = UNPACKED_MAX)]
    Unpacked,
    #[error("has two entries of the same name")]
    Duplicate,
    #[error("the entry {0} is encrypted, takes plain ones")]
    Encrypted(String),
    #[error("the entry {0} is a link, takes files and folders")]
    Link(String),
    #[error("the entry {0} has no name inside of the package")]
    Name(String),
    /// All that is wrong in its files, up to a bound.
    #[error("{}", told(.mistakes, *.untold))]
    Mistakes {
        mistakes: Vec<Mistake>,
        /// How many more there are.
        untold: usize,
    },
}

impl PackageError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotZip(_) => "not_zip",
            Self::Damaged(_) => "damaged",
            Self::Entries { .. } => "entries",
            Self::Unpacked => "unpacked",
            Self::Duplicate => "duplicate",
            Self::Encrypted(_) => "encrypted",
            Self::Link(_) => "link",
            Self::Name(_) => "name",
            Self::Mistakes { .. } => "mistakes",
        }
    }
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {path}: {message}")]
pub struct Mistake {
    /// As in the package.
    pub file: String,
    /// `services[0].properties[1].dataType`
    pub path: String,
    /// What it got and what it takes.
    pub message: String,
}

fn told(mistakes: &[Mistake], untold: usize) -> String {
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let mut text = told.join("; ");
    if untold > 0 {
        text.push_str(&format!("; and {untold} more"));
    }
    text
}
