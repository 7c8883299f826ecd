//! Whose a node id or a peer is.

use super::Ingress;
use crate::base::ids::{DeviceId, NodeId};
use crate::base::peer::Peer;
use crate::store::StoreError;

impl Ingress {
    /// The store is asked, not the directory: a device counts from the moment it was created.
    pub(super) fn by_node(&self, node: &NodeId) -> Result<Option<DeviceId>, StoreError> {
        self.store.device_by_node(node)
    }

    /// Whose a peer is: the DTLS identity, or the unsecured device that registered from there.
    pub(super) fn by_peer(&self, peer: Peer) -> Result<Option<DeviceId>, StoreError> {
        match peer {
            Peer::Plain(address) => Ok(self.directory.by_address(address)),
            Peer::Secured(device) => self.store.device_by_seq(device),
        }
    }

    pub(super) fn node_of(&self, peer: Peer) -> Result<Option<NodeId>, StoreError> {
        let Some(device_id) = self.by_peer(peer)? else {
            return Ok(None);
        };
        let device = self.store.device(&device_id)?;
        Ok(device.map(|device| device.node_id))
    }
}
