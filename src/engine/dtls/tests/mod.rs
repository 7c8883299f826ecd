//! The engine against a client whose every byte the test sees.

mod any;
mod client;
mod crash;
mod crossing;
mod handshakes;
mod hazards;
mod lossy;
mod moving;
mod order;
mod world;
