//! Looks through fjall's journals before fjall does, which takes whatever it can't read as the end.
//!
//! A journal is a row of batches; each is durable before the next one begins. So what is broken at the very end
//! is a batch that nobody was told of: it is cut off, which fjall itself does for some of the ways to break it
//! and refuses to open for others. What is broken anywhere else is damage, and opening would lose what
//! follows.
//!
//! A batch, all numbers little-endian: 1, number of items (4 bytes), sequence number (8); for each item 2, kind (1),
//! compression (1), keyspace (8), length of key (2), of value (4), of value as it is here (4), key, value, or 4 and a keyspace (8) that was
//! cleared; at last 3, XXH3 of the items as they are here (8), `FJL` and 3. A new journal is long and empty: zeros
//! follow the last batch. (fjall 3.1, `src/journal`.)

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";

/// From the tag of a batch to that of its first item.
const HEAD_LEN: usize = 13;

/// Longer than any batch: the committer ends one at 4 MB of rows and the commit that went over.
const BATCH_LEN_MAX: usize = 16 * 1024 * 1024;

/// Why journals can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{journal} is damaged at byte {at}, and what follows was acknowledged")]
    Damaged { journal: String, at: u64 },
}

/// The journals in a directory, the oldest first.
pub(super) fn journals(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Reads all journals and cuts a broken batch off the end of the newest.
pub(super) fn mend(dir: &Path) -> Result<(), JournalError> {
    let journals = journals(dir)?;
    let Some((newest, older)) = journals.split_last() else {
        return Ok(());
    };
    for path in older {
        if let Some((at, _)) = broken(path)? {
            return Err(damaged(path, at));
        }
    }
    let Some((at, rest)) = broken(newest)? else {
        return Ok(());
    };
    if rest.len() > BATCH_LEN_MAX || goes_on(&rest) {
        return Err(damaged(newest, at));
    }
    tracing::warn!(
        journal = %newest.display(), at, bytes = rest.len(),
        "cut off a batch that was never whole: nothing of it was acknowledged"
    );
    let file = File::options().write(true).open(newest)?;
    file.set_len(at)?;
    file.sync_all()?;
    Ok(())
}

fn damaged(path: &Path, at: u64) -> JournalError {
    let journal = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    JournalError::Damaged { journal, at }
}

/// Where the whole batches end, and what follows there, if that is more than zeros.
fn broken(path: &Path) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut reader = BufReader::with_capacity(64 * 1024, File::open(path)?);
    let mut at = 0;
    while batch(&mut reader)? {
        at = reader.stream_position()?;
    }
    let mut file = reader.into_inner();
    file.seek(SeekFrom::Start(at))?;
    let mut rest = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut zeros = 0;
    loop {
        let read = file.read(&mut chunk)?;
        let Some(chunk) = chunk.get(..read).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        // Zeros at the end are kept as a number: most of a journal that is new.
        match chunk.iter().rposition(|byte| *byte != 0) {
            None => zeros += read,
            Some(last) => {
                rest.resize(rest.len() + zeros, 0);
                rest.extend(chunk.iter().take(last + 1));
                zeros = read - last - 1;
            }
        }
    }
    Ok((!rest.is_empty()).then_some((at, rest)))
}

/// Whether a whole batch follows somewhere.
fn goes_on(rest: &[u8]) -> bool {
    (1..rest.len()).any(|from| {
        let Some(mut tail) = rest.get(from..) else {
            return false;
        };
        let begins =
            tail.first() == Some(&START) && matches!(tail.get(HEAD_LEN), Some(&(ITEM | CLEAR)));
        begins && batch(&mut tail).is_ok_and(|whole| whole)
    })
}

/// Reads one batch; whether there is a whole one.
fn batch(from: &mut impl Read) -> io::Result<bool> {
    match read_batch(from) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        outcome => outcome,
    }
}

fn read_batch(from: &mut impl Read) -> io::Result<bool> {
    let [tag] = take::<1>(from)?;
    if tag != START {
        return Ok(false);
    }
    let items = u32::from_le_bytes(take(from)?);
    let _seq: [u8; 8] = take(from)?;
    let mut hasher = Xxh3::new();
    for _ in 0..items {
        let tag: [u8; 1] = take(from)?;
        hasher.update(&tag);
        let whole = match tag {
            [ITEM] => item(from, &mut hasher)?,
            [CLEAR] => hash(from, 8, &mut hasher)?,
            _ => false,
        };
        if !whole {
            return Ok(false);
        }
    }
    let [tag] = take::<1>(from)?;
    let sum = u64::from_le_bytes(take(from)?);
    let trailer: [u8; 4] = take(from)?;
    Ok(tag == END && sum == hasher.digest() && trailer == TRAILER)
}

/// An item behind its tag.
fn item(from: &mut impl Read, hasher: &mut Xxh3) -> io::Result<bool> {
    let head: [u8; 20] = take(from)?;
    hasher.update(&head);
    let [
        _kind,
        _compression,
        _keyspace @ ..,
        k0,
        k1,
        _,
        _,
        _,
        _,
        v0,
        v1,
        v2,
        v3,
    ] = head;
    let key = u64::from(u16::from_le_bytes([k0, k1]));
    let value = u64::from(u32::from_le_bytes([v0, v1, v2, v3]));
    hash(from, key + value, hasher)
}

/// Hashes so many bytes; whether they were there. Nothing is kept, since the length may be any.
fn hash(from: &mut impl Read, len: u64, hasher: &mut Xxh3) -> io::Result<bool> {
    let mut from = from.take(len);
    let mut chunk = [0; 4096];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(from.limit() == 0),
            read => hasher.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}

fn take<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A batch as fjall writes it.
    fn whole(seq: u64, rows: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut items = Vec::new();
        for (key, value) in rows {
            items.extend([ITEM, 0, 0]);
            items.extend(1_u64.to_le_bytes());
            items.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
            let len = u32::try_from(value.len()).unwrap().to_le_bytes();
            items.extend([len, len].concat());
            items.extend([*key, value].concat());
        }
        let mut sum = Xxh3::new();
        sum.update(&items);
        let count = u32::try_from(rows.len()).unwrap().to_le_bytes();
        let mut batch = vec![START];
        batch.extend([&count[..], &seq.to_le_bytes(), &items, &[END]].concat());
        batch.extend([&sum.digest().to_le_bytes()[..], &TRAILER].concat());
        batch
    }

    fn three() -> [Vec<u8>; 3] {
        let long = vec![7; 10_000];
        [
            whole(1, &[(b"a", b"first")]),
            whole(2, &[(b"b", &long), (b"c", b"second")]),
            whole(3, &[(b"d", b"third"), (b"e", b"")]),
        ]
    }

    /// Mends a directory with these journals; the error, and how long the newest is then.
    fn mended(journals: &[Vec<u8>]) -> (Option<String>, usize) {
        let dir = tempfile::tempdir().unwrap();
        for (number, bytes) in journals.iter().enumerate() {
            fs::write(dir.path().join(format!("{number}.jnl")), bytes).unwrap();
        }
        let error = mend(dir.path()).err().map(|e| e.to_string());
        let newest = format!("{}.jnl", journals.len() - 1);
        (error, fs::read(dir.path().join(newest)).unwrap().len())
    }

    #[test]
    fn whole_journals_stay_as_they_are() {
        let journal = three().concat();
        let padded = [journal.clone(), vec![0; 100_000]].concat();
        for newest in [journal.clone(), padded.clone(), vec![0; 5000], vec![]] {
            let len = newest.len();
            assert_eq!(
                mended(&[journal.clone(), padded.clone(), newest]),
                (None, len)
            );
        }
    }

    #[test]
    fn a_broken_end_is_cut_off() {
        let [first, second, third] = three();
        let before = [first, second].concat();
        for at in 0..third.len() {
            let cut = third.get(..at).unwrap().to_vec();
            let padded = [cut.clone(), vec![0; 9000]].concat();
            // A page that never reached the disk, before others that did.
            let mut holed = third.clone();
            *holed.get_mut(at).unwrap() ^= 0x55;
            // The sum doesn't cover the sequence number.
            let is_seen = !(5..HEAD_LEN).contains(&at);
            for end in [cut, padded].into_iter().chain(is_seen.then_some(holed)) {
                let was = before.len() + end.len();
                let is_empty = end.iter().all(|byte| *byte == 0);
                let (error, len) = mended(&[before.clone(), [before.clone(), end].concat()]);
                assert_eq!(error, None, "{at}");
                assert_eq!(len, if is_empty { was } else { before.len() }, "{at}");
            }
        }
    }

    #[test]
    fn damage_before_a_whole_batch_is_told() {
        let [first, second, third] = three();
        let sound = [first.clone(), second.clone(), third].concat();
        for at in (first.len()..first.len() + second.len()).step_by(17) {
            let mut bad = sound.clone();
            *bad.get_mut(at).unwrap() ^= 0x55;
            let (error, len) = mended(&[bad.clone()]);
            let want = format!("0.jnl is damaged at byte {}", first.len());
            assert!(error.is_some_and(|e| e.starts_with(&want)), "{at}");
            assert_eq!(len, bad.len());
        }
        // An older journal was closed: nothing may be missing of it.
        let cut = sound.get(..sound.len() - 1).unwrap().to_vec();
        let (error, _) = mended(&[cut, sound]);
        assert!(error.is_some_and(|e| e.starts_with("0.jnl is damaged")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_mended_or_told(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            mended(std::slice::from_ref(&bytes));
            let (error, _) = mended(&[[three().concat(), bytes].concat()]);
            prop_assert_eq!(error, None);
        }
    }
}
