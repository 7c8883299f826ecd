//! One datagram as CoAP; of a message every option is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strait::wire::coap::Message;

fuzz_target!(|datagram: &[u8]| {
    if let Ok(message) = Message::parse(datagram) {
        let _all = message.options.unknown_critical(&[]);
        let _seen = (
            message.options.block1(),
            message.options.block2(),
            message.options.no_response(),
        );
    }
});
