//! Integration tests, one binary: fixture tables, contracts, journeys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
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
mod store;
