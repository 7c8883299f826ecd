//! Integration tests, one binary: fixture tables, contracts, journeys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod api;
mod api_devices;
mod api_products;
mod store;
