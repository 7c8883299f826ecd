//! Whether what a commit has read still holds, as the batch leaves it.

use super::Kv;
use super::draft::Draft;
use crate::store::catalog::AppRecord;
use crate::store::records::{CodecRecord, ProductRecord, SettingsRecord};
use crate::store::sealed::SessionHead;
use crate::store::{Guard, StoreError, keys};

impl<E: Kv> Draft<'_, E> {
    pub(super) fn holds(&mut self, guard: &Guard) -> Result<bool, StoreError> {
        Ok(match guard {
            Guard::DeviceAbsent(id) => self.device_mark(id)?.is_none(),
            Guard::DeviceVersion(id, version) => self
                .device_mark(id)?
                .is_some_and(|mark| mark.version == *version),
            Guard::DeviceSeq(id, seq) => self.device_mark(id)?.is_some_and(|mark| mark.seq == *seq),
            Guard::NodeFree(node) => self.read(&keys::node(node))?.is_none(),
            Guard::StateVersion(id, version) => {
                self.state_mark(id)?.map_or(0, |mark| mark.version) == *version
            }
            Guard::SessionNumber(device, number) => {
                let session = self.record::<SessionHead>(&keys::session(*device))?;
                session.map(|session| session.number) == *number
            }
            Guard::SessionUpTo(device, number) => {
                let session = self.record::<SessionHead>(&keys::session(*device))?;
                session.is_none_or(|session| session.number <= *number)
            }
            Guard::ProductAbsent(id) => self.read(&keys::product(id))?.is_none(),
            Guard::ProductExists(id) => {
                self.is_there(keys::product(id), |record: &ProductRecord| record.deleting)?
            }
            Guard::AppVersion(id, version) => self.version(&keys::app(id))? == *version,
            Guard::AppExists(id) => {
                self.is_there(keys::app(id), |record: &AppRecord| record.deleting)?
            }
            Guard::GroupVersion(id, version) => self.version(&keys::group(id))? == *version,
            Guard::TaskVersion(seq, version) => self.version(&keys::task(*seq))? == *version,
            Guard::CertificateVersion(id, version) => {
                self.version(&keys::certificate(id))? == *version
            }
            Guard::ForwardingVersion(key, version) => {
                self.version(&keys::forwarding(key))? == *version
            }
            Guard::PackageVersion(id, version) => self.version(&keys::package(id))? == *version,
            Guard::PackageNameVersion(name, version) => {
                self.version(&keys::package_name(name))? == *version
            }
            Guard::ProductVersion(id, version) => self
                .record::<ProductRecord>(&keys::product(id))?
                .is_some_and(|record| record.version == *version),
            Guard::ProductUnused(id) => self.is_unused(id)?,
            Guard::SettingsVersion(id, version) => {
                let settings = self.record::<SettingsRecord>(&keys::settings(id))?;
                settings.map_or(0, |settings| settings.version) == *version
            }
            Guard::CodecTag(id, tag) => {
                let codec = self.record::<CodecRecord>(&keys::codec(id))?;
                codec.map(|codec| codec.etag) == *tag
            }
        })
    }
}
