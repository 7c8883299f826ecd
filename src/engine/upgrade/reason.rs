//! Why an upgrade ended as it did, in the words that operators and programs know: the platform's
//! own texts, and those of LwM2M Object 5's update results (OMA LwM2M 1.0.2, E.6).

use crate::engine::sota::Failure;

/// Why an upgrade of a device failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It did not show itself for a day.
    OnlineTimeout,
    VersionTimeout,
    /// Neither its coverage nor its cell could be learnt.
    CellTimeout,
    StartTimeout,
    DownloadTimeout,
    /// The order to install was not taken.
    UpdateTimeout,
    /// It was taken, and no result came.
    ResultTimeout,
    /// The result came, and the version could not be read.
    CheckTimeout,
    NotOnline,
    /// It has another upgrade under way.
    Conflict,
    /// Its version is none that the package is for.
    NotSupported {
        version: String,
    },
    /// It says that all went well, and has this version.
    OtherVersion {
        version: String,
    },
    /// An update result of Object 5 that stands for a failure.
    Object5(u8),
    /// A result of PCP other than 0, with its meaning.
    Pcp {
        code: u8,
        meaning: &'static str,
    },
    /// It answered a request that has to succeed with this CoAP code.
    Refused {
        what: &'static str,
        code: String,
    },
    /// The package has gone, or the device's product takes no such upgrades any more.
    NoPackage,
    /// It began again and again without getting further.
    Quarantined {
        times: u8,
    },
}

impl Reason {
    /// What operators read. The texts of the platform and of Object 5 are never reworded.
    pub fn text(&self) -> String {
        let fixed = match self {
            Self::OnlineTimeout => "Waiting for the device online timeout",
            Self::VersionTimeout => "Waiting for report device firmware version timeout",
            Self::CellTimeout => "Waiting for report cellId timeout",
            Self::StartTimeout => "Waiting for device start download package timeout",
            Self::DownloadTimeout => "Waiting for device downloaded package timeout",
            Self::UpdateTimeout => "Waiting for device start to update timeout",
            Self::ResultTimeout => "Wait for the device to report upgrade result timeout",
            Self::CheckTimeout => "Updating timeout and query device version for check timeout",
            Self::NotOnline => "Device Abnormal is not online",
            Self::Conflict => "Task Conflict",
            Self::NotSupported { version } => {
                return format!(
                    "The package does not support the device's version {version:?}: see its \
                     support_source_versions"
                );
            }
            Self::OtherVersion { version } => {
                return format!(
                    "The device reports success, and has version {version:?}, not the package's"
                );
            }
            Self::Object5(code) => return object5_text(*code),
            Self::Pcp { meaning, code } => return format!("{meaning} (PCP result {code:#04x})"),
            Self::Refused { what, code } => {
                return format!("The device answered {code} to {what}");
            }
            Self::NoPackage => "The package is not there any more",
            Self::Quarantined { times } => {
                return format!("The device failed {times} times without getting further");
            }
        };
        fixed.to_owned()
    }

    /// Stable word for rows and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::OnlineTimeout => "online_timeout",
            Self::VersionTimeout => "version_timeout",
            Self::CellTimeout => "cell_timeout",
            Self::StartTimeout => "start_timeout",
            Self::DownloadTimeout => "download_timeout",
            Self::UpdateTimeout => "update_timeout",
            Self::ResultTimeout => "result_timeout",
            Self::CheckTimeout => "check_timeout",
            Self::NotOnline => "not_online",
            Self::Conflict => "conflict",
            Self::NotSupported { .. } => "not_supported",
            Self::OtherVersion { .. } => "other_version",
            Self::Object5(_) => "object5",
            Self::Pcp { .. } => "pcp",
            Self::Refused { .. } => "refused",
            Self::NoPackage => "no_package",
            Self::Quarantined { .. } => "quarantined",
        }
    }

    /// Whether the same may go well another time.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::NotSupported { .. } | Self::NoPackage | Self::Quarantined { .. } => false,
            Self::OnlineTimeout
            | Self::VersionTimeout
            | Self::CellTimeout
            | Self::StartTimeout
            | Self::DownloadTimeout
            | Self::UpdateTimeout
            | Self::ResultTimeout
            | Self::CheckTimeout
            | Self::NotOnline
            | Self::Conflict
            | Self::OtherVersion { .. }
            | Self::Object5(_)
            | Self::Pcp { .. }
            | Self::Refused { .. } => true,
        }
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::StartTimeout => Self::StartTimeout,
            Failure::DownloadTimeout => Self::DownloadTimeout,
            Failure::UpdateTimeout => Self::UpdateTimeout,
            Failure::ResultTimeout => Self::ResultTimeout,
            Failure::CheckTimeout => Self::CheckTimeout,
            Failure::OtherVersion(version) => Self::OtherVersion {
                version: version.to_string(),
            },
            Failure::Refused(result) => Self::Pcp {
                code: result.to_u8(),
                meaning: result.meaning(),
            },
        }
    }
}

/// 5/0/5, and for what is not listed the number.
fn object5_text(code: u8) -> String {
    let text = match code {
        2 => "Not enough storage for the new firmware package",
        3 => "Out of memory during downloading process",
        4 => "Connection lost during downloading process",
        5 => "Integrity check failure for new downloaded package",
        6 => "Unsupported package type",
        7 => "Invalid URI",
        8 => "Firmware update failed",
        9 => "Unsupported protocol",
        10 => "Firmware update cancelled",
        11 => "Firmware update deferred",
        _ => return format!("Update result {code}, which Object 5 does not list"),
    };
    text.to_owned()
}
