//! Following who leads.

use std::fmt;
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream;

use super::standing::Standing;
use super::{Inner, Leader};
use crate::error::Error;

/// What an [`Observer`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Somebody leads; or the leader has another value.
    Leader(Leader),
    /// Nobody leads.
    Vacant,
}

/// Tells who leads, and each change of that.
///
/// What is told is derived from the *state* of the keys at one revision after
/// another, not from single events: so nobody is called the leader who was not, terms
/// and values never go back, and it is said when nobody leads. What passes quickly may
/// be skipped, the last never is.
///
/// It never ends by itself. A watch that breaks or is compacted is repaired by reading
/// again.
///
/// ```no_run
/// # async fn example(session: etcd_recipes::Session) -> Result<(), etcd_recipes::Error> {
/// use etcd_recipes::election::{Election, Observation};
///
/// let mut observer = Election::new(&session, "scheduler")?.observe();
/// loop {
///     match observer.next().await? {
///         Observation::Leader(leader) => println!("term {}: {:?}", leader.term, leader.value),
///         Observation::Vacant => println!("nobody"),
///     }
/// }
/// # }
/// ```
pub struct Observer {
    inner: Arc<Inner>,
    /// What was told last.
    told: Option<Standing>,
    #[cfg(feature = "harness")]
    go: Option<super::fault::GoObserver>,
}

impl Observer {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            #[cfg(feature = "harness")]
            go: super::fault::GoObserver::of(&inner),
            inner,
            told: None,
        }
    }

    /// The first time: who leads now, read from etcd, so no older than the call. Then
    /// waits until that has changed.
    ///
    /// Can be cancelled by dropping it; nothing is lost then.
    ///
    /// # Errors
    ///
    /// [Refused](Error::is_refused) when the user may not read or watch the election;
    /// the first time also what else a read can fail with. The next call tries again.
    pub async fn next(&mut self) -> Result<Observation, Error> {
        #[cfg(feature = "harness")]
        if let Some(go) = &mut self.go {
            let standing = go.next(&self.inner).await?;
            return Ok(self.tell(standing));
        }
        let standing = match &self.told {
            None => self.inner.ask().await?,
            Some(told) => self.change_from(told).await?,
        };
        Ok(self.tell(standing))
    }

    /// The revision as of which the last observation holds; 0 before the first.
    pub fn revision(&self) -> i64 {
        self.told.as_ref().map_or(0, |told| told.revision)
    }

    /// The observations as a stream that never ends; an error is followed by another
    /// try.
    pub fn into_stream(self) -> impl Stream<Item = Result<Observation, Error>> + Send {
        stream::unfold(self, |mut observer| async move {
            let next = observer.next().await;
            Some((next, observer))
        })
    }

    async fn change_from(&self, told: &Standing) -> Result<Standing, Error> {
        // A copy that lags behind what was told is older, however different it is.
        let changed = self.inner.mirror.wait(told.revision + 1, |view| {
            let standing = Standing::of_view(view, |key| self.inner.is_candidate(key));
            (standing.leader != told.leader).then_some(standing)
        });
        changed.await
    }

    fn tell(&mut self, standing: Standing) -> Observation {
        let observation = match &standing.leader {
            Some(leader) => Observation::Leader(leader.clone()),
            None => Observation::Vacant,
        };
        self.told = Some(standing);
        observation
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer")
            .field("name", &self.inner.name.as_str())
            .field("told", &self.told.as_ref().map(|told| told.revision))
            .finish_non_exhaustive()
    }
}
