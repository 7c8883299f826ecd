//! Simulated devices: an independent stack (coap-lite) that shares no protocol code with the server.
