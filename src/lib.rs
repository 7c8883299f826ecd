//! Strait: a platform server for NB-IoT devices.
//!
//! Layers, lowest first; a module imports only from those that `tests/tidy.rs` allows its layer:
//!
//! - [`base`] words that everyone shares
//! - [`wire`] bytes <-> values: CoAP, LwM2M formats
//! - [`product`] product models, checks, codecs
//! - [`engine`] state machines without async, clock, randomness of their own, or I/O
//! - [`store`] durable state
//! - [`net`] sockets; moves bytes, decides nothing
//! - [`app`] use cases: load, step, commit, act
//! - [`api`] HTTP
//! - [`sim`] simulated devices, an independent stack
//!
//! The two journeys to read first: [`app::uplink`] (a device's bytes become JSON) and
//! [`app::downlink`] (a request goes to a device).

pub mod base;

pub mod wire;

pub mod product;

pub mod engine;

pub mod store;

pub mod net;

pub mod app;

pub mod api;

pub mod sim;

pub mod cli;
pub mod config;
pub mod telemetry;
