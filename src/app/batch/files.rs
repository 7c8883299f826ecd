//! Files for batch tasks: uploaded, listed, read and deleted. A task keeps nothing of its file but
//! the id: its rows are subtasks from the start.

use std::sync::Arc;

use super::sheet::{self, Sheet};
use super::{BatchError, Batches};
use crate::app::product::random_hex;
use crate::base::ids::{AppId, FileId};
use crate::store::catalog::{FileContent, FileRecord};
use crate::store::{Change, Commit, StoreError};

/// A file to keep.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// The space of who uploads it; `None`: of a caller for all spaces.
    pub app_id: Option<AppId>,
    pub file_name: String,
    pub bytes: Vec<u8>,
}

impl Batches {
    /// Keeps a file that is a spreadsheet or CSV.
    pub async fn add_file(self: &Arc<Self>, new: NewFile) -> Result<FileRecord, BatchError> {
        let this = Arc::clone(self);
        let work = async move { this.add_file_now(new).await };
        match self.parts.tasks.finish("batch file", work).await {
            Some(result) => result,
            None => Err(StoreError::Closed.into()),
        }
    }

    async fn add_file_now(&self, new: NewFile) -> Result<FileRecord, BatchError> {
        sheet::Kind::of(&new.bytes)?;
        // Closed never happens: the semaphore lives as long as the service.
        let _turn = self.one_file.acquire().await.ok();
        let max = self.parts.settings.files_max;
        if self.parts.store.files()?.len() >= max {
            return Err(BatchError::Limit {
                what: "the number of files",
                max,
                remedy: "delete some; tasks made from them go on",
            });
        }
        let id = random_hex::<12>()?;
        let record = FileRecord {
            file_id: FileId::parse(&id).map_err(|e| BatchError::invalid("file_id", e))?,
            seq: self.parts.store.allocate_seq()?,
            app_id: new.app_id,
            file_name: new.file_name,
            uploaded_at: self.parts.clock.now(),
        };
        let content = FileContent { bytes: new.bytes };
        let put = Change::PutFile(Box::new(record.clone()), Box::new(content));
        self.commit(vec![put]).await?;
        Ok(record)
    }

    /// The files of this space (`None`: all), newest first.
    pub fn files(&self, space: Option<&AppId>) -> Result<Vec<FileRecord>, BatchError> {
        let mut files = self.parts.store.files()?;
        let leaving = self.parts.store.leaving();
        files.retain(|file| {
            let own = file.app_id.as_ref();
            (space.is_none() || own == space) && own.is_none_or(|app| !leaving.apps.contains(app))
        });
        Ok(files)
    }

    pub async fn delete_file(&self, id: &FileId, space: Option<&AppId>) -> Result<(), BatchError> {
        self.file(id, space)?;
        let guards = Vec::new();
        let changes = vec![Change::DeleteFile(id.clone())];
        let commit = self.parts.store.commit(Commit { guards, changes });
        Ok(commit.await.map_err(super::create::of_commit)?)
    }

    fn file(&self, id: &FileId, space: Option<&AppId>) -> Result<FileRecord, BatchError> {
        let files = self.files(space)?;
        let found = files.into_iter().find(|file| file.file_id == *id);
        found.ok_or_else(|| BatchError::NoFile(id.clone()))
    }

    /// The table in a file. One is read at a time: unpacked, they are large.
    pub async fn sheet(&self, id: &FileId, space: Option<&AppId>) -> Result<Sheet, BatchError> {
        self.file(id, space)?;
        let content = self.parts.store.file_content(id)?;
        let content = content.ok_or_else(|| BatchError::NoFile(id.clone()))?;
        let turn = self.one_file.acquire().await.ok();
        let read = tokio::task::spawn_blocking(move || sheet::read(&content.bytes)).await;
        drop(turn);
        // The library may panic over what it did not expect.
        Ok(read.unwrap_or(Err(sheet::SheetError::Broken))?)
    }
}
