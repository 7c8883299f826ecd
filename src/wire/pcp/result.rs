//! Result codes: what a device says of a request, and what the platform says.

use super::frame::Code;

/// What a device says. Which codes a message may have differs, so a byte is read for a message;
/// what is not listed for it is kept as it came, and means an internal error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultCode {
    Ok,
    InUse,
    PoorSignal,
    Newest,
    LowBattery,
    NoSpace,
    TimedOut,
    CheckFailed,
    UnsupportedType,
    OutOfMemory,
    InstallFailed,
    Internal,
    /// Not listed for its message.
    Unlisted(u8),
}

impl ResultCode {
    const LISTED: [Self; 12] = [
        Self::Ok,
        Self::InUse,
        Self::PoorSignal,
        Self::Newest,
        Self::LowBattery,
        Self::NoSpace,
        Self::TimedOut,
        Self::CheckFailed,
        Self::UnsupportedType,
        Self::OutOfMemory,
        Self::InstallFailed,
        Self::Internal,
    ];

    /// What `byte` says in a message of this code.
    pub fn read(code: Code, byte: u8) -> Self {
        let listed = Self::LISTED.into_iter().find(|one| one.to_u8() == byte);
        match listed {
            Some(result) if result.is_listed(code) => result,
            Some(_) | None => Self::Unlisted(byte),
        }
    }

    pub const fn to_u8(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::InUse => 1,
            Self::PoorSignal => 2,
            Self::Newest => 3,
            Self::LowBattery => 4,
            Self::NoSpace => 5,
            Self::TimedOut => 6,
            Self::CheckFailed => 7,
            Self::UnsupportedType => 8,
            Self::OutOfMemory => 9,
            Self::InstallFailed => 0x0a,
            Self::Internal => 0x7f,
            Self::Unlisted(byte) => byte,
        }
    }

    const fn is_listed(self, code: Code) -> bool {
        match self {
            Self::Ok => true,
            Self::InUse | Self::LowBattery | Self::OutOfMemory => {
                matches!(code, Code::NewVersion | Code::Execute | Code::Upgraded)
            }
            Self::NoSpace => !matches!(code, Code::QueryVersion | Code::Fragment),
            Self::PoorSignal | Self::Newest => matches!(code, Code::NewVersion),
            Self::TimedOut | Self::CheckFailed | Self::UnsupportedType => {
                matches!(code, Code::Downloaded)
            }
            Self::InstallFailed => matches!(code, Code::Upgraded),
            Self::Internal => matches!(code, Code::NewVersion | Code::Upgraded),
            Self::Unlisted(_) => false,
        }
    }

    /// What operators read; never reworded.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::InUse => "device in use",
            Self::PoorSignal => "poor signal",
            Self::Newest => "already newest",
            Self::LowBattery => "low battery",
            Self::NoSpace => "no space",
            Self::TimedOut => "timed out",
            Self::CheckFailed => "package check failed",
            Self::UnsupportedType => "package type unsupported",
            Self::OutOfMemory => "out of memory",
            Self::InstallFailed => "install failed",
            Self::Internal | Self::Unlisted(_) => "internal",
        }
    }
}

/// What the platform says to a request of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Ok,
    /// Nothing is upgraded here, or not to this version.
    NoTask,
    /// The package has no such fragment.
    NoFragment,
    Unlisted(u8),
}

impl Verdict {
    pub const fn from_u8(byte: u8) -> Self {
        match byte {
            0 => Self::Ok,
            0x80 => Self::NoTask,
            0x81 => Self::NoFragment,
            _ => Self::Unlisted(byte),
        }
    }

    pub const fn to_u8(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::NoTask => 0x80,
            Self::NoFragment => 0x81,
            Self::Unlisted(byte) => byte,
        }
    }

    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoTask => "no such upgrade task",
            Self::NoFragment => "no such fragment",
            Self::Unlisted(_) => "internal",
        }
    }
}
