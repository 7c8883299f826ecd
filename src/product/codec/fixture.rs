//! Fixtures: bytes and what they mean, one format for every kind of codec.
