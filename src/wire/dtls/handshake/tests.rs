//! What parsers make of written, bent and arbitrary messages.
