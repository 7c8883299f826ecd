//! Simulated devices and a load generator: an independent CoAP and LwM2M client stack (coap-lite
//! for messages, webrtc-dtls for sessions) that shares no protocol code with the server, so that each checks the other.
//!
//! - [`cell`] campaigns in one cell in virtual time: shared airtime, coverage levels, sleep
//! - [`message`] CoAP messages as the device builds and reads them
//! - [`device`] one device as a state machine without sockets or clock
//! - [`upgrade`] how it upgrades its software and firmware, well or badly
//! - [`tlv`] the bodies of its objects
//! - [`link`] loss, duplicates and delay of its radio
//! - [`session`] the DTLS session of a secured device (webrtc-dtls)
//! - [`payload`] plausible bytes of the sample products
//! - [`fleet`] many devices over real sockets
//! - [`rest`] the little HTTP client that creates products and devices
//! - [`load`] the load generator: byte templates, closed and open loop

pub mod cell;
pub mod device;
pub mod fleet;
pub mod link;
pub mod load;
pub mod message;
pub mod payload;
pub mod rest;
pub mod session;
pub mod tlv;
pub mod upgrade;
