//! Deliberately broken twins of the election. They exist to show that the tests
//! catch them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use etcd_client::{
    Client, Event, EventType, KeyValue, PutOptions, TxnOp, WatchOptions, WatchResponse, WatchStream,
};
use futures_util::future::poll_fn;

use super::standing::{Leader, Standing};
use super::{Election, Inner, Leadership};
use crate::error::Error;
use crate::hold::{Claim, Hold};
use crate::keys::Name;
use crate::request::revision_of;
use crate::runtime;
use crate::session::Session;
use crate::watch::View;

/// What is wrong with an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionFault {
    /// A campaign waits until all older keys are gone, whatever becomes of its own,
    /// and whatever becomes of its session (Go).
    TrustsThePredecessor,
    /// A campaign whose request is not answered, or whose wait ends early, leaves its
    /// key behind (Go).
    LeaksCandidates,
    /// An observer follows one key at a time, takes the first put after it found the
    /// election empty, says nothing when nobody leads, and ends silently with its
    /// watch (Go).
    ObservesKeys,
    /// A leadership that is resumed reads every key that begins with the name (Go).
    ResumesWithoutSeparator,
    /// A proclamation puts the key without comparing, and without the lease.
    ProclaimsUnguarded,
    /// `run` asks etcd once a second whether the lease lives, and does not look at the
    /// clock.
    CancelsLate,
}

impl Election {
    /// Makes the election a broken one.
    #[doc(hidden)]
    #[must_use]
    pub fn fault(self, fault: ElectionFault) -> Self {
        let inner = &*self.inner;
        let prefix = inner.prefix.clone();
        Self::broken(&inner.session, inner.name.clone(), prefix, fault)
    }

    fn broken(session: &Session, name: Name, prefix: String, fault: ElectionFault) -> Self {
        Self {
            inner: Arc::new(Inner {
                session: session.clone(),
                mirror: session.mirror(&prefix),
                name,
                prefix,
                fault: Some(fault),
            }),
        }
    }

    /// Resumes without asking, and under a prefix without its last character.
    #[doc(hidden)]
    pub async fn resume_without_separator(
        session: &Session,
        name: impl Into<String>,
        key: impl Into<String>,
        term: i64,
    ) -> Result<Leadership, Error> {
        let name = Name::new(name)?;
        let turn = session.turn(&name.children()).await;
        let prefix = name.as_str().to_owned();
        let fault = ElectionFault::ResumesWithoutSeparator;
        let election = Self::broken(session, name, prefix, fault);
        let hold = Claim::new(session, key).with_turn(turn).into_hold(term);
        Ok(election.leadership(hold, term, term))
    }

    pub(super) fn cancels_late(&self) -> bool {
        self.inner.has(ElectionFault::CancelsLate)
    }

    pub(super) async fn stand_and_leak(&self, value: Vec<u8>) -> Result<Leadership, Error> {
        let inner = &*self.inner;
        let turn = inner.turn().await?;
        let key = inner.key();
        let txn = inner.entry_txn(&key, &value);
        let requests = inner.session.requests();
        let answer = requests.write(inner.why("campaign in"), txn).await?;
        let entry = inner.entry(&answer, &key, &value)?;
        let hold = Claim::new(&inner.session, &key)
            .with_turn(turn)
            .into_hold(entry.term);
        let mut leak = Leak(Some(hold));
        let hold = leak.0.as_ref().expect("it is taken below");
        if !entry.has_value {
            super::leadership::proclaim(hold, "campaign in", value).await?;
        }
        let led_at = if entry.is_first {
            entry.revision
        } else {
            inner.wait_until_first(hold, entry.term).await?
        };
        let hold = leak.0.take().expect("nobody else takes it");
        Ok(self.leadership(hold, led_at, entry.mod_revision))
    }
}

/// Leaves the key behind when it is dropped.
struct Leak(Option<Hold>);

impl Drop for Leak {
    fn drop(&mut self) {
        if let Some(hold) = self.0.take() {
            hold.leave();
        }
    }
}

impl Inner {
    pub(super) fn has(&self, fault: ElectionFault) -> bool {
        self.fault == Some(fault)
    }

    /// Waits until no older key is there.
    pub(super) async fn wait_for_those_before(
        &self,
        hold: &Hold,
        since: i64,
    ) -> Result<i64, Error> {
        let term = hold.fencing_token();
        let none_before = |view: &View| {
            let mut candidates = view.keys.iter().filter(|(key, _)| self.is_candidate(key));
            let older = candidates.any(|(_, entry)| entry.create_revision < term);
            (!older).then_some(view.revision)
        };
        self.mirror.wait(since, none_before).await
    }
}

impl Leadership {
    pub(super) async fn proclaim_unguarded(&self, value: Vec<u8>) -> Result<i64, Error> {
        let requests = self.hold.session().requests();
        let put = TxnOp::put(self.hold.key(), value, Some(PutOptions::new()));
        let txn = etcd_client::Txn::new().and_then([put]);
        let answer = requests
            .write(self.election.inner.why("proclaim in"), txn)
            .await?;
        Ok(revision_of(answer.header()))
    }
}

/// Cancels the work when etcd, asked once a second, says that the lease is gone; who
/// is cut off is not told.
pub(super) async fn while_leading_for_too_long<T>(
    leadership: &Leadership,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    const TICK: Duration = Duration::from_secs(1);
    let expired = async {
        let session = leadership.session();
        let mut leases = session.client().lease_client();
        loop {
            runtime::sleep(TICK).await;
            let asked = leases.time_to_live(session.lease_id(), None);
            if let Ok(Ok(answer)) = runtime::timeout(TICK, asked).await
                && answer.ttl() <= 0
            {
                return;
            }
        }
    };
    let mut expired = std::pin::pin!(expired);
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        expired.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// An observer in the manner of Go.
pub(super) struct GoObserver {
    client: Client,
    /// The leader's key, as long as it is followed.
    followed: Option<WatchStream>,
    ended: bool,
}

/// Something went wrong: the stream of observations ends without a word.
struct Ended;

impl GoObserver {
    pub(super) fn of(inner: &Inner) -> Option<Self> {
        inner.has(ElectionFault::ObservesKeys).then(|| Self {
            client: inner.session.client().clone(),
            followed: None,
            ended: false,
        })
    }

    pub(super) async fn next(&mut self, inner: &Inner) -> Result<Standing, Error> {
        if !self.ended
            && let Ok(standing) = self.follow(inner).await
        {
            return Ok(standing);
        }
        self.ended = true;
        std::future::pending().await
    }

    async fn follow(&mut self, inner: &Inner) -> Result<Standing, Ended> {
        loop {
            let Some(stream) = &mut self.followed else {
                return self.find_leader(inner).await;
            };
            let answer = next_message(stream).await?;
            for event in answer.events() {
                match (event.event_type(), event.kv()) {
                    (EventType::Put, Some(kv)) => return Ok(standing(kv)),
                    _ => self.followed = None,
                }
            }
        }
    }

    async fn find_leader(&mut self, inner: &Inner) -> Result<Standing, Ended> {
        let found = inner.ask().await.map_err(|_| Ended)?;
        let (leader, revision) = match found.leader {
            Some(leader) => (leader, found.revision),
            None => {
                let leader = self.first_put(inner, found.revision + 1).await?;
                let revision = leader.mod_revision;
                (leader, revision)
            }
        };
        let options = WatchOptions::new().with_start_revision(revision + 1);
        self.followed = Some(self.watch(leader.key.as_bytes(), options).await?);
        Ok(Standing {
            leader: Some(leader),
            revision,
        })
    }

    /// The first put of the batch, whatever the rest of the batch says.
    async fn first_put(&self, inner: &Inner, since: i64) -> Result<Leader, Ended> {
        let options = WatchOptions::new().with_prefix().with_start_revision(since);
        let mut stream = self.watch(inner.prefix.as_bytes(), options).await?;
        loop {
            let answer = next_message(&mut stream).await?;
            let puts = answer.events().iter();
            let puts = puts.filter(|event| event.event_type() == EventType::Put);
            let mut leaders = puts.filter_map(Event::kv).filter_map(Leader::of);
            if let Some(leader) = leaders.find(|leader| inner.is_candidate(&leader.key)) {
                return Ok(leader);
            }
        }
    }

    async fn watch(&self, key: &[u8], options: WatchOptions) -> Result<WatchStream, Ended> {
        let mut client = self.client.watch_client();
        client.watch(key, Some(options)).await.map_err(|_| Ended)
    }
}

async fn next_message(stream: &mut WatchStream) -> Result<WatchResponse, Ended> {
    match stream.message().await {
        Ok(Some(answer)) if !answer.canceled() => Ok(answer),
        _ => Err(Ended),
    }
}

fn standing(kv: &KeyValue) -> Standing {
    Standing {
        leader: Leader::of(kv),
        revision: kv.mod_revision(),
    }
}
