//! State machines: plain functions of (state, now, input). No async, no clock or randomness of
//! their own, no I/O.

#![deny(clippy::wildcard_enum_match_arm)]

pub mod admission;
pub mod batch;
pub mod blockwise;
pub mod command;
pub mod dtls;
pub mod exchange;
pub mod limit;
pub mod observe;
pub mod presence;
pub mod queue;
pub mod registration;
pub mod shadow;
pub mod sota;
pub mod upgrade;
