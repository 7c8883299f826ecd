//! Integration tests, one binary: fixture tables, contracts, and whole parts against each other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed"
)]

mod api;
mod api_audit;
mod api_auth;
mod api_batch;
mod api_batch_files;
mod api_batch_input;
mod api_certificates;
mod api_codec;
mod api_commands;
mod api_device_bad_input;
mod api_device_lists;
mod api_device_states;
mod api_devices;
mod api_events;
mod api_groups;
mod api_history;
mod api_http;
mod api_model;
mod api_openapi;
mod api_packages;
mod api_policies;
mod api_products;
mod api_push_certificates;
mod api_pushes;
mod api_routing_sql;
mod api_rules;
mod api_search;
mod api_secrets;
mod api_server;
mod api_server_hostile;
mod api_shadow;
mod api_signatures;
mod api_spaces;
mod api_tags;
mod bad_input;
mod campaigns;
#[path = "../../src/engine/dtls/tests/client.rs"]
#[allow(dead_code, reason = "the engine's own tests use more of it")]
mod client;
mod codec_cli;
mod codec_docs;
mod codec_hostile;
mod codec_import;
mod codec_live;
mod codec_mistakes;
mod codec_replay;
mod codec_schema;
mod codecs;
mod codecs_sent;
mod conformity;
mod credentials_cli;
mod devices;
mod ops_files;
mod ops_guide;
mod pcp;
mod pushes;
mod registration;
#[path = "../sim/server.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod server;
mod settings_docs;
mod signer;
mod store;
mod tail;
#[cfg(feature = "wasm")]
mod wasm;
#[cfg(not(feature = "wasm"))]
mod wasm_absent;
mod wire_tables;

// As `client` names them, which is also part of the library's own tests.
use strait::{engine, wire};
