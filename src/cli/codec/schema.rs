//! `strait codec schema`: the JSON schema of `codec.toml`. An editor with TOML and JSON schema
//! support completes and checks a codec that begins with `#:schema ./codec.schema.json`.

use std::io::{self, Write};

use crate::cli::codec::PASS;
use crate::product::codec::table::schema;

pub(super) fn print(out: &mut impl Write) -> io::Result<u8> {
    out.write_all(schema::text().as_bytes())?;
    Ok(PASS)
}
