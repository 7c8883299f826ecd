//! Between the shards and those who look over all devices: packages in, news out.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{News, Package, Packages};

/// News that wait; a shard that has more waits.
const NEWS: usize = 4096;

/// A set of packages that does not change.
#[derive(Debug, Default)]
pub struct FixedPackages(pub HashMap<String, Arc<Package>>);

impl Packages for FixedPackages {
    fn find(&self, package_id: &str) -> Option<Arc<Package>> {
        self.0.get(package_id).cloned()
    }
}

/// What a shard has of upgrades.
pub struct Upgrades {
    packages: Arc<dyn Packages>,
    news: mpsc::Sender<News>,
}

impl Upgrades {
    /// The shards' end, and what they tell.
    pub fn new(packages: Arc<dyn Packages>) -> (Arc<Self>, mpsc::Receiver<News>) {
        let (news, told) = mpsc::channel(NEWS);
        (Arc::new(Self { packages, news }), told)
    }

    pub fn find(&self, package_id: &str) -> Option<Arc<Package>> {
        self.packages.find(package_id)
    }

    /// Tells what is durable now.
    pub async fn tell(&self, news: Vec<News>) {
        for news in news {
            // Closed when the server stops: everything is in the devices' rows.
            drop(self.news.send(news).await);
        }
    }
}
