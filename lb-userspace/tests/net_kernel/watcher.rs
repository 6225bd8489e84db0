//! What a tracker publishes, watched from one view to the next.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_userspace::net::{Tracker, View};
use tokio::sync::watch;

/// Follows the published views, and fails as soon as a next hop that was there is gone.
pub struct Watcher {
    views: watch::Receiver<Arc<View>>,
    hops_ever: BTreeSet<IpAddr>,
    /// These may go.
    pub no_longer_wanted: BTreeSet<IpAddr>,
}

impl Watcher {
    /// A tracker of these targets, and who watches it.
    pub async fn start(targets: BTreeSet<IpAddr>) -> (Tracker, Self) {
        let (tracker, views) = Tracker::start(targets).await.expect("start");
        (tracker, Self { views, hops_ever: BTreeSet::new(), no_longer_wanted: BTreeSet::new() })
    }

    /// The view of this moment.
    pub fn look(&mut self) -> Arc<View> {
        let view = self.views.borrow_and_update().clone();
        for known in self.hops_ever.difference(&self.no_longer_wanted) {
            assert!(view.hops.contains_key(known), "the next hop of {known} disappeared");
        }
        self.hops_ever.extend(view.hops.keys());
        view
    }

    /// Waits until a view pleases, and tells how long that took.
    pub async fn until(&mut self, what: &str, limit: Duration, pleases: impl Fn(&View) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let view = self.look();
            if pleases(&view) {
                println!("{what}: {:?}", began.elapsed());
                return began.elapsed();
            }
            let left = limit.checked_sub(began.elapsed()).unwrap_or_default();
            match tokio::time::timeout(left, self.views.changed()).await {
                Ok(changed) => changed.expect("the tracker lives"),
                Err(_) => panic!("{what}: not within {limit:?}; last view: {view:#?}"),
            }
        }
    }

    /// Keeps looking for so long.
    pub async fn during(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(changed) =
            tokio::time::timeout(end - Instant::now().min(end), self.views.changed()).await
        {
            changed.expect("the tracker lives");
            self.look();
        }
    }
}
