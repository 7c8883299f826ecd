//! Table codecs: a declaration of messages and fields (`codec.toml`).
