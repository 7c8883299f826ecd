//! Sockets: moves bytes, decides nothing.
