//! Integration tests, one binary: fixture tables, contracts, and whole parts against each other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed"
)]

mod api;
mod api_codec;
mod api_device_lists;
mod api_device_states;
mod api_devices;
mod api_docs;
mod api_events;
mod api_history;
mod api_http;
mod api_products;
mod codecs;
mod devices;
mod registration;
#[path = "../sim/server.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod server;
mod store;
mod wire;
