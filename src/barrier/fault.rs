//! Deliberately broken twins of the barrier. They exist to show that the tests
//! catch them.

use std::time::Duration;

use etcd_client::{Client, EventType, GetResponse, WatchClient, WatchOptions, WatchStream};

use super::{BarrierOptions, Inner};
use crate::error::Error;
use crate::request::revision_of;
use crate::runtime;

/// What is wrong with a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarrierFault {
    /// A wait takes the end of its watch for a release, as etcd's Go recipe.
    DeadWatchIsRelease,
    /// A wait watches from "now" instead of from the revision at which it saw the
    /// barrier: it misses a release in between.
    WaitFromNow,
    /// A barrier that is held with a session is not attached to its lease.
    OutlivesItsHolder,
}

impl BarrierOptions {
    /// Makes the barrier a broken one.
    #[doc(hidden)]
    pub fn fault(mut self, fault: Option<BarrierFault>) -> Self {
        self.fault = fault;
        self
    }
}

const SILENCE: Duration = Duration::from_secs(5);

/// A fault, and what its code needs.
pub(super) struct Broken {
    fault: BarrierFault,
    watch: WatchClient,
}

impl Broken {
    pub(super) fn new(fault: BarrierFault, client: &Client) -> Self {
        Self {
            fault,
            watch: client.watch_client(),
        }
    }

    /// The wait, if that is what is broken.
    pub(super) async fn wait(
        &self,
        inner: &Inner,
        standing: &GetResponse,
    ) -> Option<Result<(), Error>> {
        match self.fault {
            BarrierFault::DeadWatchIsRelease => {
                let revision = revision_of(standing.header()) + 1;
                self.deletion(inner, revision).await;
                Some(Ok(()))
            }
            BarrierFault::WaitFromNow => {
                while !self.deletion(inner, 0).await {
                    runtime::sleep(runtime::jittered(inner.requests.deadline() / 50)).await;
                }
                Some(Ok(()))
            }
            BarrierFault::OutlivesItsHolder => None,
        }
    }

    /// Whether the key was deleted; false if the watch ended first.
    async fn deletion(&self, inner: &Inner, revision: i64) -> bool {
        loop {
            let followed = runtime::timeout(SILENCE, self.open(inner, revision)).await;
            let Ok(Some(mut stream)) = followed else {
                if followed.is_ok() {
                    return false;
                }
                continue;
            };
            // A stream that has fallen silent is opened again, by Go's client too.
            while let Ok(next) = runtime::timeout(SILENCE, stream.message()).await {
                let Ok(Some(answer)) = next else {
                    return false;
                };
                let is_deletion = |e: &etcd_client::Event| e.event_type() == EventType::Delete;
                if answer.events().iter().any(is_deletion) {
                    return true;
                }
                if answer.canceled() {
                    return false;
                }
            }
        }
    }

    async fn open(&self, inner: &Inner, revision: i64) -> Option<WatchStream> {
        let options = WatchOptions::new().with_start_revision(revision);
        let mut client = self.watch.clone();
        let opened = client.watch(inner.name.as_str(), Some(options)).await;
        opened.ok()
    }
}

impl Inner {
    pub(super) fn forgets_the_lease(&self) -> bool {
        let broken = self.fault.as_ref().map(|broken| broken.fault);
        broken == Some(BarrierFault::OutlivesItsHolder)
    }
}
