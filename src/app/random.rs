//! Random ids and secrets, from the operating system.

use crate::store::StoreError;

/// `N` random bytes, as hex.
pub(in crate::app) fn random_hex<const N: usize>() -> Result<String, StoreError> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(|e| StoreError::Io(format!("no random numbers: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
