//! PCP, the platform upgrade protocol: messages between platform and device about new software,
//! in the channel of business data. One request, one response, in both directions.
//!
//! ```text
//! | FF FE | reserved 4 bits, version 4 bits (1) | code | checksum 2 | length 2 | data |
//!
//! code  request                                    response
//!  19   to device: nothing                         result, version
//!  20   to device: version, fragment size 2,       result
//!                  fragments 2, check 2
//!  21   to platform: version, index 2              result, index 2, fragment
//!  22   to platform: result                        result
//!  23   to device: nothing                         result
//!  24   to platform: result, version               result
//! ```
//!
//! Numbers are big-endian; a result is one byte, a version 16 of ASCII padded with 00; `length`
//! counts the data. Bytes that are no frame are business data ([`recognise`]); a frame whose data
//! is no message ([`MessageError`]) is PCP all the same, and dropped. Nothing here has state.

pub mod frame;
pub mod framed;
pub mod message;
pub mod package;
pub mod result;

mod checksum;

pub use checksum::checksum;
pub use frame::{Code, Frame, FrameError, recognise};
pub use framed::{FramedError, FramedPackage, Layout, frame_package};
pub use message::{FromDevice, MessageError, ToDevice};
pub use package::{FragmentError, FragmentSize, Version, VersionError, fragment_count};
pub use result::{ResultCode, Verdict};
