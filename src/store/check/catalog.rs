//! What applications arrange around devices, and the audit log: each row lies under its own key and belongs to
//! something that is there.

use super::Walk;
use crate::base::ids::AppId;
use crate::store::StoreError;
use crate::store::catalog::{
    AppRecord, AuditRecord, CertificateRecord, FileContent, FileRecord, GroupRecord, SubtaskRecord,
    TaskRecord,
};
use crate::store::keys::{self, Table};
use crate::store::kv::Kv;
use crate::store::{rows, sealed};

impl<E: Kv> Walk<'_, E> {
    pub(super) fn catalog(
        &mut self,
        table: Table,
        key: &[u8],
        row: &[u8],
    ) -> Result<(), StoreError> {
        match table {
            Table::Apps => {
                if let Some(app) = self.record::<AppRecord>(key, row)? {
                    self.lies_under(key, &keys::app(&app.app_id));
                }
            }
            Table::Groups => {
                if let Some(group) = self.record::<GroupRecord>(key, row)? {
                    self.lies_under(key, &keys::group(&group.group_id));
                    self.in_app(key, &group.app_id)?;
                }
            }
            Table::Tasks => {
                if let Some(task) = self.record::<TaskRecord>(key, row)? {
                    self.lies_under(key, &keys::task(task.seq));
                    self.in_app(key, &task.app_id)?;
                }
            }
            Table::Subtasks => {
                let sealer = self.sealer;
                self.record_with::<SubtaskRecord>(key, row, &|whole| match sealer {
                    Some(sealer) => sealed::decode_subtask(key, whole, sealer),
                    None => rows::decode_beside(whole),
                })?;
                self.in_task(key)?;
            }
            Table::Files => {
                if let Some(file) = self.record::<FileRecord>(key, row)? {
                    self.lies_under(key, &keys::file(&file.file_id));
                }
                self.belongs(key, Table::Contents)?;
            }
            Table::Contents => {
                let sealer = self.sealer;
                self.record_with::<FileContent>(key, row, &|whole| match sealer {
                    Some(sealer) => sealed::decode_content(key, whole, sealer),
                    None => rows::split_sealed(whole).map(|_| FileContent { bytes: Vec::new() }),
                })?;
                self.belongs(key, Table::Files)?;
            }
            Table::Certificates => {
                if let Some(one) = self.record::<CertificateRecord>(key, row)? {
                    self.lies_under(key, &keys::certificate(&one.certificate_id));
                    self.in_app(key, &one.app_id)?;
                }
            }
            _ => {
                if let Some(audit) = self.record::<AuditRecord>(key, row)? {
                    self.lies_under(key, &keys::audit(audit.at, audit.seq));
                }
            }
        }
        Ok(())
    }

    pub(super) fn lies_under(&mut self, key: &[u8], own: &[u8]) {
        if key != own {
            self.mistake(key, format!("holds {}", keys::show(own)));
        }
    }

    pub(super) fn in_app(&mut self, key: &[u8], app: &AppId) -> Result<(), StoreError> {
        if self.engine.get(&keys::app(app))?.is_none() {
            self.mistake(key, format!("there is no resource space {app}"));
        }
        Ok(())
    }

    /// A version of a codec belongs to a product that is there.
    pub(super) fn codec_version(&mut self, key: &[u8]) -> Result<(), StoreError> {
        match keys::split_codec_version(key) {
            None => self.mistake(key, "the key is not product id and seq"),
            Some((product, _)) if self.engine.get(&keys::product(&product))?.is_none() => {
                self.mistake(key, format!("there is no product {product}"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn in_task(&mut self, key: &[u8]) -> Result<(), StoreError> {
        match keys::split_subtask(key) {
            None => self.mistake(key, "the key is not task seq and index"),
            Some((seq, _)) if self.engine.get(&keys::task(seq))?.is_none() => {
                self.mistake(key, format!("there is no batch task with seq {seq}"));
            }
            Some(_) => {}
        }
        Ok(())
    }
}
