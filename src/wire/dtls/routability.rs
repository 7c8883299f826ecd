//! Messages of the return routability check (RFC 9853), the content of records of type 27: who
//! moved to a new address shows that it hears what is sent there.
//!
//! ```text
//!  byte 0        message type: 0 path_challenge, 1 path_response, 2 path_drop
//!  bytes 1..9    cookie, chosen by the challenger and sent back as it came
//! ```
//!
//! A message of any other type is to be passed over in silence: [`RoutabilityError::Type`].

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutabilityType {
    /// Asks for the cookie back.
    PathChallenge,
    /// Gives it back.
    PathResponse,
    /// Says that its sender does not want the path that the challenge came on.
    PathDrop,
}

/// Why bytes are not a message that is known here. Never fatal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoutabilityError {
    #[error("{len} bytes, a message has 9")]
    Length { len: usize },
    #[error("message type {0} is not known, 0 to 2 are")]
    Type(u8),
}

impl RoutabilityError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Length { .. } => "length",
            Self::Type(_) => "type",
        }
    }
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutabilityCheck {
    pub msg_type: RoutabilityType,
    pub cookie: [u8; 8],
}

impl RoutabilityCheck {
    /// Reads the content of a record.
    pub fn parse(input: &[u8]) -> Result<Self, RoutabilityError> {
        let length = RoutabilityError::Length { len: input.len() };
        let (number, cookie) = input.split_first().ok_or(length)?;
        let msg_type = match *number {
            0 => RoutabilityType::PathChallenge,
            1 => RoutabilityType::PathResponse,
            2 => RoutabilityType::PathDrop,
            other => return Err(RoutabilityError::Type(other)),
        };
        let cookie = cookie.try_into().map_err(|_| length)?;
        Ok(Self { msg_type, cookie })
    }

    /// The content of a record.
    pub const fn to_bytes(self) -> [u8; 9] {
        let number = match self.msg_type {
            RoutabilityType::PathChallenge => 0,
            RoutabilityType::PathResponse => 1,
            RoutabilityType::PathDrop => 2,
        };
        let [a, b, c, d, e, f, g, h] = self.cookie;
        [number, a, b, c, d, e, f, g, h]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_messages_and_names_what_is_wrong() {
        let response = RoutabilityCheck::parse(&[1, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(response.msg_type, RoutabilityType::PathResponse);
        assert_eq!(response.cookie, [1, 2, 3, 4, 5, 6, 7, 8]);
        let kind = |bytes: &[u8]| RoutabilityCheck::parse(bytes).unwrap_err().kind();
        assert_eq!(kind(&[]), "length");
        assert_eq!(kind(&[0; 8]), "length");
        assert_eq!(kind(&[0; 10]), "length");
        assert_eq!(kind(&[3; 9]), "type");
        assert_eq!(kind(&[255]), "type");
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(bytes in prop::collection::vec(0..5_u8, 0..12)) {
            if let Ok(message) = RoutabilityCheck::parse(&bytes) {
                prop_assert_eq!(&message.to_bytes()[..], bytes);
            }
        }
    }
}
