//! CoAP messages (RFC 7252, 7641, 7959).
