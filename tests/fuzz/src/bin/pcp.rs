//! A payload as a frame of the upgrade protocol, in either direction. What is read is written as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strait::wire::pcp::{Frame, FromDevice, ToDevice};

fuzz_target!(|input: &[u8]| {
    if let Ok(frame) = Frame::decode(input) {
        let _messages = (FromDevice::read(&frame), ToDevice::read(&frame));
    }
});
