//! The program behind `power-cut.sh` and `disk-full.sh`; `cargo test` runs it without arguments,
//! and then it only says so.
//!
//! - `write DIR [flush-only]`: commits uplinks of a few devices until it is killed; prints
//!   `DEVICE VERSION` for each one that is durable. `flush-only` leaves out the sync: the control
//!   that shows that the method finds losses.
//! - `look DIR ACKS`: opens the database and looks up everything in the file of printed lines;
//!   exit code 1 and what is missing when something is.
//! - `full DIR`: DIR is a small file system of its own; fills it and makes room again.
//!
//! `STRAIT_FAULTS_ENGINE` names the engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and this one prints"
)]

mod bent;
mod full;
mod power;

use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["write", dir] => power::write(Path::new(dir), true),
        ["write", dir, "flush-only"] => power::write(Path::new(dir), false),
        ["look", dir, acks] => power::look(Path::new(dir), Path::new(acks)),
        ["full", dir] => full::fill(Path::new(dir)),
        _ => println!("nothing to do: tests/faults/power-cut.sh and disk-full.sh run this"),
    }
}
