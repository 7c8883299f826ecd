//! The bytes of packages for those who fetch them, whatever the way: by PCP fragment, by CoAP block, by
//! HTTP range. Files are read in chunks, and the chunks that are asked for stay in memory, all
//! together in a bound: what a fleet downloads at the same time is read from disk once.
//!
//! A read is at most one chunk's read from disk on the caller's thread, tens of microseconds where the system has
//! the file in its own cache. Errors: [`FilesError`].

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;

use crate::app::upgrading::Image;
use crate::store::package_files::{FilesError, PackageFiles};
use crate::store::packages::{FileHash, PackageFile};

/// Bytes of a chunk: over a hundred fragments, and one read of the disk.
const CHUNK: u64 = 64 * 1024;

/// Files that are open at the same time, beyond those that somebody still reads.
const OPEN_MAX: usize = 64;

/// Every file that can be fetched.
#[derive(Debug)]
pub struct Shelf {
    files: PackageFiles,
    cache: Arc<Mutex<Cache>>,
    open: Mutex<HashMap<FileHash, Arc<Volume>>>,
}

impl Shelf {
    /// `cache_bytes`: of chunks in memory.
    pub fn new(files: PackageFiles, cache_bytes: u64) -> Self {
        Self {
            files,
            cache: Arc::new(Mutex::new(Cache::new(cache_bytes))),
            open: Mutex::default(),
        }
    }

    pub const fn files(&self) -> &PackageFiles {
        &self.files
    }

    /// The file, which must be there in its size.
    pub fn open(&self, file: PackageFile) -> Result<Arc<Volume>, FilesError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(volume) = open.get(&file.sha256) {
            return Ok(Arc::clone(volume));
        }
        let volume = Arc::new(Volume {
            source: self.files.open(file)?,
            path: self.files.path(file.sha256).display().to_string(),
            file,
            cache: Arc::clone(&self.cache),
            whole: Mutex::default(),
        });
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        open.insert(file.sha256, Arc::clone(&volume));
        Ok(volume)
    }

    /// Lets go of a file that is being deleted or was written anew.
    pub fn forget(&self, file: FileHash) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&file);
    }
}

/// The file of one package.
#[derive(Debug)]
pub struct Volume {
    file: PackageFile,
    source: File,
    path: String,
    cache: Arc<Mutex<Cache>>,
    /// All of it, while somebody has it.
    whole: Mutex<Weak<Vec<u8>>>,
}

/// The bytes of [`Image::whole`], as `Bytes` owns them.
struct Whole(Arc<Vec<u8>>);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Volume {
    /// Bytes in all.
    pub const fn size(&self) -> u64 {
        self.file.size
    }

    /// Names the bytes: the same for the same file, over restarts.
    pub fn etag(&self) -> [u8; 8] {
        let mut etag = [0; 8];
        for (to, from) in etag.iter_mut().zip(self.file.sha256.0) {
            *to = from;
        }
        etag
    }

    /// Up to `len` bytes from `offset`; fewer at the end, none behind it. Without a copy, where they lie in
    /// one chunk.
    pub fn read(&self, offset: u64, len: usize) -> Result<Bytes, FilesError> {
        let left = self.file.size.saturating_sub(offset);
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        let first = self.within_chunk(offset, len)?;
        if first.len() == len {
            return Ok(first);
        }
        let mut joined = BytesMut::with_capacity(len);
        joined.extend_from_slice(&first);
        while joined.len() < len {
            let at = offset.saturating_add(joined.len() as u64);
            let part = self.within_chunk(at, len.saturating_sub(joined.len()))?;
            if part.is_empty() {
                break;
            }
            joined.extend_from_slice(&part);
        }
        Ok(joined.freeze())
    }

    /// Fragment number `index` of those of `size` bytes; `None` behind the last.
    pub fn fragment(&self, index: u32, size: u16) -> Result<Option<Bytes>, FilesError> {
        let offset = u64::from(index).saturating_mul(u64::from(size));
        if size == 0 || offset >= self.file.size {
            return Ok(None);
        }
        self.read(offset, usize::from(size)).map(Some)
    }

    /// All of it, in order.
    pub fn reader(self: &Arc<Self>) -> Reader {
        Reader {
            volume: Arc::clone(self),
            at: 0,
        }
    }

    /// What the chunk at `offset` has of the span.
    fn within_chunk(&self, offset: u64, len: usize) -> Result<Bytes, FilesError> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let chunk = self.chunk(offset / CHUNK)?;
        let start = usize::try_from(offset % CHUNK).unwrap_or(usize::MAX);
        let end = start.saturating_add(len).min(chunk.len());
        Ok(match start < end {
            true => chunk.slice(start..end),
            false => Bytes::new(),
        })
    }

    fn chunk(&self, index: u64) -> Result<Bytes, FilesError> {
        let key = (self.file.sha256, index);
        if let Some(known) = self.cache().recall(&key) {
            return Ok(known);
        }
        let offset = index.saturating_mul(CHUNK);
        let len = self.file.size.saturating_sub(offset).min(CHUNK);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        let read = self.source.read_exact_at(&mut bytes, offset);
        read.map_err(|e| FilesError::Damaged {
            path: self.path.clone(),
            reason: format!("it can't be read at byte {offset}: {e}"),
        })?;
        let bytes = Bytes::from(bytes);
        self.cache().remember(key, bytes.clone());
        Ok(bytes)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Image for Volume {
    fn whole(&self) -> Result<Bytes, FilesError> {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = whole.upgrade() {
            return Ok(Bytes::from_owner(Whole(known)));
        }
        let mut bytes = vec![0; usize::try_from(self.file.size).unwrap_or(usize::MAX)];
        let read = self.source.read_exact_at(&mut bytes, 0);
        read.map_err(|e| FilesError::Damaged {
            path: self.path.clone(),
            reason: format!("it can't be read: {e}"),
        })?;
        let bytes = Arc::new(bytes);
        *whole = Arc::downgrade(&bytes);
        Ok(Bytes::from_owner(Whole(bytes)))
    }
}

/// Reads a volume from its beginning.
#[derive(Debug)]
pub struct Reader {
    volume: Arc<Volume>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.volume.read(self.at, out.len());
        let bytes = bytes.map_err(io::Error::other)?;
        for (to, from) in out.iter_mut().zip(&bytes) {
            *to = *from;
        }
        self.at = self.at.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }
}

/// Chunks in two generations: when the younger has half of the bytes it becomes the older, and what was
/// older goes.
#[derive(Debug)]
struct Cache {
    young: HashMap<(FileHash, u64), Bytes>,
    old: HashMap<(FileHash, u64), Bytes>,
    young_bytes: u64,
    half: u64,
}

impl Cache {
    fn new(bytes: u64) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            young_bytes: 0,
            half: bytes / 2,
        }
    }

    fn recall(&mut self, key: &(FileHash, u64)) -> Option<Bytes> {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let (key, bytes) = self.old.remove_entry(key)?;
        self.remember(key, bytes.clone());
        Some(bytes)
    }

    fn remember(&mut self, key: (FileHash, u64), bytes: Bytes) {
        let len = bytes.len() as u64;
        if self.young_bytes.saturating_add(len) > self.half {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        // Two who read it at the same time leave one.
        if self.young.insert(key, bytes).is_none() {
            self.young_bytes = self.young_bytes.saturating_add(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shelf(dir: &tempfile::TempDir, bytes: &[u8], cache: u64) -> (Shelf, PackageFile) {
        let files = PackageFiles::of(dir.path());
        let mut receiving = files.receive().unwrap();
        receiving.write(bytes).unwrap();
        let file = receiving.finish().unwrap();
        (Shelf::new(files, cache), file)
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..len)
            .map(|i| u8::try_from(i * 31 % 251).unwrap())
            .collect()
    }

    #[test]
    fn fragments_join_to_the_file_in_any_cache() {
        let dir = tempfile::tempdir().unwrap();
        for (len, size, cache) in [
            (1, 500, 0),
            (499, 500, 1 << 20),
            (500, 500, 1 << 20),
            (501, 500, 1 << 20),
            (200_000, 500, 0),
            (200_000, 32, 70_000),
            (300_001, 333, 1 << 30),
        ] {
            let bytes = sample(len);
            let (shelf, file) = shelf(&dir, &bytes, cache);
            let volume = shelf.open(file).unwrap();
            let mut joined = Vec::new();
            let mut index = 0;
            while let Some(part) = volume.fragment(index, size).unwrap() {
                assert!(!part.is_empty() && part.len() <= usize::from(size));
                joined.extend_from_slice(&part);
                index += 1;
            }
            assert!(joined == bytes, "{len} in {size}");
            assert_eq!(volume.fragment(u32::MAX, size).unwrap(), None);
            let mut read = Vec::new();
            volume.reader().read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{len} read");
            let held = volume.cache().young_bytes;
            assert!(held <= cache.max(CHUNK), "{held}");
        }
    }

    #[test]
    fn a_file_that_lost_bytes_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (shelf, file) = shelf(&dir, &sample(100_000), 1 << 20);
        let volume = shelf.open(file).unwrap();
        let whole = File::options()
            .write(true)
            .open(shelf.files().path(file.sha256))
            .unwrap();
        whole.set_len(70_000).unwrap();
        assert_eq!(volume.read(0, 10).unwrap().len(), 10);
        assert_eq!(volume.read(99_000, 10).unwrap_err().kind(), "file_damaged");
        shelf.forget(file.sha256);
        assert_eq!(shelf.open(file).unwrap_err().kind(), "file_damaged");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_span_is_what_the_file_has(
            len in 0_usize..200_000,
            spans in prop::collection::vec((0_u64..210_000, 0_usize..70_000), 1..8),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let bytes = sample(len);
            let (shelf, file) = shelf(&dir, &bytes, 150_000);
            let volume = shelf.open(file).unwrap();
            for (offset, span) in spans {
                let start = usize::try_from(offset).unwrap().min(len);
                let want = &bytes[start..len.min(start + span)];
                prop_assert!(volume.read(offset, span).unwrap() == want);
            }
        }
    }
}
