//! Bytes <-> values: total functions without state, borrowed where that can be.

pub mod coap;
pub mod dtls;
pub mod lwm2m;
pub mod pcp;
