//! Random ids and secrets, from the operating system.

use crate::store::StoreError;

/// `N` random bytes, as hex.
pub(in crate::app) fn random_hex<const N: usize>() -> Result<String, StoreError> {
    let mut bytes = [0_u8; N];
    fill(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// So many random letters and digits, each as likely as any other.
pub(in crate::app) fn random_word(len: usize) -> Result<String, StoreError> {
    let mut word = String::with_capacity(len);
    while word.len() < len {
        let mut bytes = [0_u8; 64];
        fill(&mut bytes)?;
        let legal = bytes.iter().copied().filter(u8::is_ascii_alphanumeric);
        word.extend(legal.take(len.saturating_sub(word.len())).map(char::from));
    }
    Ok(word)
}

fn fill(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes).map_err(|e| StoreError::Io(format!("no random numbers: {e}")))
}

/// A number from the operating system.
pub(in crate::app) fn os_random() -> u64 {
    loop {
        match getrandom::u64() {
            Ok(number) => return number,
            // Only before the kernel has gathered any, early in a machine's boot.
            Err(e) => crate::bug!("no randomness from the operating system: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_length_and_differ() {
        let word = random_word(32).unwrap();
        assert_eq!(word.len(), 32);
        assert!(word.bytes().all(|b| b.is_ascii_alphanumeric()), "{word}");
        assert_ne!(word, random_word(32).unwrap());
        assert_eq!(random_word(0).unwrap(), "");
    }
}
