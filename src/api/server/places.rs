//! Who may have a connection: so many in all, and so many of one address, so that no single client keeps all
//! others out.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for connections. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    /// Of one address; 0: as many as there are.
    per_address: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    address: IpAddr,
    places: Places,
}

/// Why there is no place; the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    All,
    Address,
    Descriptors,
}

impl Full {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "connections",
            Self::Address => "address",
            Self::Descriptors => "descriptors",
        }
    }
}

impl Places {
    pub(super) fn new(all: usize, per_address: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all.max(1))),
            per_address,
            taken: Arc::default(),
        }
    }

    pub(super) fn take(&self, address: IpAddr) -> Result<Place, Full> {
        // One client over IPv6 often has a whole /64.
        let address = match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
            v4 @ IpAddr::V4(_) => v4,
        };
        let permit = Arc::clone(&self.all)
            .try_acquire_owned()
            .map_err(|_| Full::All)?;
        let mut taken = self.taken();
        let count = taken.entry(address).or_default();
        if self.per_address > 0 && *count >= self.per_address {
            return Err(Full::Address);
        }
        *count += 1;
        drop(taken);
        Ok(Place {
            _permit: permit,
            address,
            places: self.clone(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// Whether a connection took one of the descriptors that the store needs to go on: it makes and opens files at
/// any time. The system gives the lowest number that is free, so a high one says how few are left.
pub(super) fn is_of_reserve(connection: &impl AsFd) -> bool {
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return false;
    };
    let number = u64::try_from(connection.as_fd().as_raw_fd()).unwrap_or(u64::MAX);
    number >= limit.saturating_sub(reserve(limit))
}

/// The share of the descriptors that connections leave alone.
fn reserve(limit: u64) -> u64 {
    (limit / 16).clamp(16, 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let places = Places::new(5, 2);
        let one = ip("192.0.2.1");
        let held = [places.take(one).unwrap(), places.take(one).unwrap()];
        assert_eq!(places.take(one).unwrap_err(), Full::Address);
        assert_eq!(
            places.take(ip("::ffff:192.0.2.1")).unwrap_err(),
            Full::Address
        );
        let other = places.take(ip("2001:db8::1")).unwrap();
        let same = places.take(ip("2001:db8::ffff:2")).unwrap();
        assert_eq!(places.take(ip("2001:db8::3")).unwrap_err(), Full::Address);
        let last = places.take(ip("192.0.2.2")).unwrap();
        assert_eq!(places.take(ip("192.0.2.3")).unwrap_err(), Full::All);
        drop((held, other, same, last));
        assert!(places.taken().is_empty());
        let unbound = Places::new(5, 0);
        let held: Vec<_> = (0..5).map(|_| unbound.take(one).unwrap()).collect();
        assert_eq!(unbound.take(one).unwrap_err(), Full::All);
        drop(held);
    }
}
