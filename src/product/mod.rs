//! What a product is: its model, its settings, its codec, and the check of values against the
//! model.

pub mod check;
pub mod codec;
pub mod decimal;
pub mod model_zip;
pub mod profile;
pub mod report;
pub mod settings;
