//! Loads and checks the configuration.
