//! A campaign in one cell, in virtual time: devices at three coverage levels share the airtime of one
//! carrier, block by block, while somebody else decides who may download when ([`campaign::Gate`]).
//!
//! - [`radio`] what blocks and fragments cost
//! - [`bound`] the shortest time that any schedule needs
//! - [`campaign`] devices, attempts, retries, sleep; discrete events from a seed

pub mod bound;
pub mod campaign;
pub mod radio;

#[cfg(test)]
mod tests;
