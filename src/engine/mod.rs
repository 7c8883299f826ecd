//! State machines: no async, no clock or randomness of their own, no I/O.

pub mod blockwise;
