//! Bytes <-> values: total functions without state, borrowed where that can be.

pub mod coap;
pub mod lwm2m;
