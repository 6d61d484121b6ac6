//! One leader among many candidates, for as long as its session lives.
//!
//! See [`Election`] for what it promises and what it does not, and
//! [`Election::run`] for the way that is hard to get wrong.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use etcd_client::{
    Compare, CompareOp, GetOptions, KeyValue, PutOptions, SortOrder, SortTarget, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};

use crate::error::Error;
use crate::hold::{Claim, Hold, stand_back};
use crate::keys::Name;
use crate::request::{Purpose, revision_of};
use crate::session::{Session, Turn};
use crate::telemetry::{self, Call};
use crate::watch::{Mirror, View};

#[cfg(feature = "harness")]
mod fault;
mod leadership;
mod observer;
mod run;
mod standing;

#[cfg(feature = "harness")]
#[doc(hidden)]
pub use self::fault::ElectionFault;
pub use self::leadership::Leadership;
pub use self::observer::{Observation, Observer};
pub use self::standing::Leader;
use self::standing::Standing;

/// An election that sessions of a cluster stand in; the one that came first leads.
///
/// ```
/// # async fn example(session: etcd_recipes::Session) -> Result<(), etcd_recipes::Error> {
/// use etcd_recipes::Election;
/// use etcd_recipes::etcd_client::TxnOp;
///
/// let election = Election::new(&session, "scheduler")?;
/// let leadership = election.campaign("10.0.0.7:9000").await?;
/// println!("leading, term {}", leadership.term());
/// // Applied only while this term lasts.
/// leadership.txn().and_then([TxnOp::put("scheduler/plan", "7", None)]).commit().await?;
/// leadership.proclaim("10.0.0.7:9001").await?;
/// leadership.resign().await?;
/// # Ok(())
/// # }
/// # let run = etcd_sim::Simulation::builder().run(|simulation| async move {
/// #     let client = simulation.client(0).await.unwrap();
/// #     example(etcd_recipes::Session::new(&client).await.unwrap()).await.unwrap();
/// # });
/// # run.unwrap();
/// ```
///
/// # What it promises
///
/// - At each revision of etcd at most one candidate is the leader: the one whose key
///   was created first of those that exist. Its *term* is that create revision;
///   terms rise from leader to leader.
/// - [`campaign`](Self::campaign) returns only when this candidate's own key was seen
///   alive and first, as of one revision. A candidate whose session ends while it
///   waits gets an error at once, never the lead.
/// - A campaign that fails, or whose future is dropped, leaves no candidate behind
///   that could win later: the key is withdrawn in the background, also one that a
///   request with a lost answer creates after all.
/// - A leader that resigns or dies is replaced by the next in the order of arrival;
///   who dies is replaced when its lease ends. Who waits needs no request for that.
/// - [`observe`](Self::observe) tells who leads, and when nobody does, in the order of
///   the terms; it never ends by itself.
/// - [`run`](Self::run) does not let two of its closures run at the same time, as long
///   as all clocks run at about the same rate.
/// - Another election never matters, not even one whose name begins with this one's
///   (`jobs`, `jobs2` and `jobs/x`).
///
/// # What it does not promise
///
/// *That a leader knows at once that it no longer is.* A process that stands still,
/// for longer than its lease, is replaced and does not notice before it goes on; what
/// it sends then arrives late. Write through the leader's guarded
/// [`txn`](crate::Hold::txn), which etcd refuses in that case, or hand the term, as a
/// [fencing token](crate::Hold::fencing_token), to whatever is written to, and let it
/// refuse smaller ones.
///
/// # Keys
///
/// `name/<lease in lower hexadecimal>`, with the lease, and the proposal as value: those
/// of etcd's Go `concurrency.Election` and of its election service, so programs in both
/// languages may stand in one election. Keys below the name that do not look so are
/// left out of account.
///
/// The transactions are Go's, with one addition: that of a campaign also reads the first
/// candidate, so that an uncontended campaign is one request.
///
/// # Cost
///
/// An uncontended campaign is one request, and so are a proclamation and a resignation.
/// Who has to wait opens, once for each session and name (or once for all sessions that
/// share [`Watches`](crate::Watches)), a lasting watch and reads the candidates; further
/// waits and observers need no further watch, and a hand-over no request.
#[derive(Clone)]
pub struct Election {
    inner: Arc<Inner>,
}

struct Inner {
    session: Session,
    name: Name,
    /// What the keys of all candidates begin with.
    prefix: String,
    mirror: Mirror,
    #[cfg(feature = "harness")]
    fault: Option<ElectionFault>,
}

/// What the transaction of a campaign found.
struct Entry {
    term: i64,
    /// When the key got the value that it has.
    mod_revision: i64,
    /// Whether that is the value that was asked for.
    has_value: bool,
    /// Whether the key was the first candidate's.
    is_first: bool,
    /// The revision of all this.
    revision: i64,
}

impl Election {
    /// The election called `name`, for this session. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [Invalid name](Error::is_invalid_name) if the name is empty, ends with
    /// `/`, has an empty part or a NUL.
    pub fn new(session: &Session, name: impl Into<String>) -> Result<Self, Error> {
        let name = Name::new(name)?;
        let prefix = name.children();
        Ok(Self {
            inner: Arc::new(Inner {
                session: session.clone(),
                mirror: session.mirror(&prefix),
                name,
                prefix,
                #[cfg(feature = "harness")]
                fault: None,
            }),
        })
    }

    /// The election's name.
    pub fn name(&self) -> &str {
        self.inner.name.as_str()
    }

    /// The session that stands in it.
    pub fn session(&self) -> &Session {
        &self.inner.session
    }

    /// Stands as a candidate with this value, and waits until it leads.
    ///
    /// Tasks that share the session take turns: one of them is a candidate at a
    /// time. If the session stands already (a key that was
    /// [detached](Leadership::detach), or written by a Go program with this lease),
    /// that candidacy goes on with the new value.
    ///
    /// Can be cancelled by dropping it; the candidacy is then withdrawn in the
    /// background. A future that is kept must be polled: one that is neither polled
    /// nor dropped holds up the other tasks of its session.
    ///
    /// # Errors
    ///
    /// [Session lost](Error::is_session_lost), as soon as it is; [not
    /// held](Error::is_not_held) if the candidate's key was deleted while it waited;
    /// [refused](Error::is_refused); [not sent](Error::is_not_sent). Whatever the error,
    /// this candidate does not lead and will not. Unknown outcomes of the first
    /// request are resolved by asking again until etcd answers; only changing the
    /// value of a key that existed can end with [one](Error::is_outcome_unknown).
    pub async fn campaign(&self, value: impl Into<Vec<u8>>) -> Result<Leadership, Error> {
        let value = value.into();
        telemetry::observed(self.inner.call("campaign"), self.stand(value)).await
    }

    async fn stand(&self, value: Vec<u8>) -> Result<Leadership, Error> {
        let inner = &*self.inner;
        #[cfg(feature = "harness")]
        if inner.has(ElectionFault::LeaksCandidates) {
            return self.stand_and_leak(value).await;
        }
        let turn = inner.turn().await?;
        let stands = |key: &str, _: &_| inner.is_candidate(key);
        stand_back(&inner.session, &inner.mirror, stands).await?;
        let (hold, entry) = inner.enter(turn, &value).await?;
        self.lead(hold, &entry, value).await
    }

    /// What is left to do once the key is there.
    async fn lead(&self, hold: Hold, entry: &Entry, value: Vec<u8>) -> Result<Leadership, Error> {
        let inner = &*self.inner;
        let mod_revision = if entry.has_value {
            entry.mod_revision
        } else {
            let proclaimed = leadership::proclaim(&hold, "campaign in", value);
            inner.session.while_alive(proclaimed).await?
        };
        let led_at = if entry.is_first {
            entry.revision
        } else {
            inner.wait_until_first(&hold, entry.mod_revision).await?
        };
        tracing::debug!(
            key = hold.key(),
            term = hold.fencing_token(),
            revision = led_at,
            "leading"
        );
        telemetry::held(hold.fencing_token(), led_at);
        Ok(self.leadership(hold, led_at, mod_revision))
    }

    fn leadership(&self, hold: Hold, led_at: i64, mod_revision: i64) -> Leadership {
        Leadership {
            hold,
            election: self.clone(),
            led_at,
            mod_revision: AtomicI64::new(mod_revision),
        }
    }

    /// Takes up a leadership that this session has already: one that was
    /// [detached](Leadership::detach), or that a Go program began with this lease.
    ///
    /// Asks etcd whether the key is still the one of that term, whether it belongs
    /// to this session, and whether it is first.
    ///
    /// # Errors
    ///
    /// [Not held](Error::is_not_held) if one of these is not so: nobody leads through
    /// this call. An [invalid name](Error::is_invalid_name) if the key is none of this
    /// election, an invalid option if this session campaigns or leads here through
    /// another handle, [session lost](Error::is_session_lost), and whatever a read can
    /// fail with.
    pub async fn resume(
        session: &Session,
        name: impl Into<String>,
        key: impl Into<String>,
        term: i64,
    ) -> Result<Leadership, Error> {
        let election = Self::new(session, name)?;
        let (inner, key) = (&*election.inner, key.into());
        telemetry::observed(inner.call("resume"), inner.resume(&election, key, term)).await
    }

    /// Who leads now; none when nobody does. A linearizable read.
    ///
    /// # Errors
    ///
    /// Those of a read: [refused](Error::is_refused), [not sent](Error::is_not_sent),
    /// or not answered in time.
    pub async fn leader(&self) -> Result<Option<Leader>, Error> {
        let standing = telemetry::observed(self.inner.call("leader"), self.inner.ask());
        Ok(standing.await?.leader)
    }

    /// Who leads, and the revision of that answer.
    #[cfg(feature = "harness")]
    pub(crate) async fn leader_as_of(&self) -> Result<(Option<Leader>, i64), Error> {
        let standing = self.inner.ask().await?;
        Ok((standing.leader, standing.revision))
    }

    /// Follows who leads. Nothing is sent before the first
    /// [`next`](Observer::next). The observer needs the connection, not the session:
    /// it goes on when the session is lost.
    pub fn observe(&self) -> Observer {
        Observer::new(self.inner.clone())
    }
}

impl Inner {
    /// The turn of this task among those that share the session.
    async fn turn(&self) -> Result<Turn, Error> {
        let turn = async { Ok(self.session.turn(&self.prefix).await) };
        self.session.while_alive(turn).await
    }

    fn key(&self) -> String {
        self.name.lease_key(self.session.lease_id())
    }

    /// Puts this session's key among the candidates.
    async fn enter(&self, turn: Turn, value: &[u8]) -> Result<(Hold, Entry), Error> {
        let key = self.key();
        let mut claim = Claim::new(&self.session, &key).with_turn(turn);
        let answer = claim
            .send(self.why("campaign in"), self.entry_txn(&key, value))
            .await?;
        let entry = self.entry(&answer, &key, value)?;
        Ok((claim.into_hold(entry.term), entry))
    }

    /// Does the same when it is done twice.
    fn entry_txn(&self, key: &str, value: &[u8]) -> Txn {
        let leased = PutOptions::new().with_lease(self.session.lease_id());
        let first = || TxnOp::get(self.prefix.as_str(), Some(first_candidate()));
        Txn::new()
            .when([Compare::create_revision(key, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key, value, Some(leased)), first()])
            .or_else([TxnOp::get(key, None), first()])
    }

    fn entry(&self, answer: &TxnResponse, key: &str, value: &[u8]) -> Result<Entry, Error> {
        let unreadable = || Error::unreadable_answer("campaign in", self.name.as_str());
        let revision = revision_of(answer.header());
        let mut responses = answer.op_responses().into_iter();
        let (own, first) = (responses.next(), responses.next());
        let Some(TxnOpResponse::Get(first)) = first else {
            return Err(unreadable());
        };
        let is_own = |kv: &KeyValue| kv.key() == key.as_bytes();
        let is_first = first.kvs().first().is_some_and(is_own);
        match own {
            Some(TxnOpResponse::Put(_)) => Ok(Entry {
                term: revision,
                mod_revision: revision,
                has_value: true,
                is_first,
                revision,
            }),
            Some(TxnOpResponse::Get(own)) => {
                let own = own.kvs().first().ok_or_else(unreadable)?;
                if own.lease() != self.session.lease_id() {
                    let reason = "the candidate's key has another lease than its name says";
                    return Err(Error::foreign_data(key, reason));
                }
                Ok(Entry {
                    term: own.create_revision(),
                    mod_revision: own.mod_revision(),
                    has_value: own.value() == value,
                    is_first,
                    revision,
                })
            }
            _ => Err(unreadable()),
        }
    }

    /// Waits until the key is the first candidate's; the revision at which it is.
    async fn wait_until_first(&self, hold: &Hold, since: i64) -> Result<i64, Error> {
        #[cfg(feature = "harness")]
        if self.has(ElectionFault::TrustsThePredecessor) {
            return self.wait_for_those_before(hold, since).await;
        }
        let term = hold.fencing_token();
        let decide = |view: &View| {
            if !view.holds(hold.key(), term) {
                return Some(Err(Error::not_held("campaign in", hold.key())));
            }
            let first = standing::first(view, |key| self.is_candidate(key));
            first
                .is_some_and(|(_, entry)| entry.create_revision == term)
                .then_some(Ok(view.revision))
        };
        let waiting = self.mirror.wait(since, decide);
        self.session.while_alive(waiting).await?
    }

    async fn resume(
        &self,
        election: &Election,
        key: String,
        term: i64,
    ) -> Result<Leadership, Error> {
        const OPERATION: &str = "resume";
        if key != self.key() {
            let reason = "it is not the key of this session in this election";
            return Err(Error::invalid_name(&key, reason));
        }
        self.session.check()?;
        let Some(turn) = self.session.try_turn(&self.prefix) else {
            let reason = "this session campaigns or leads here through another handle";
            return Err(Error::invalid_option(OPERATION, &key, reason));
        };
        let standing = self.session.while_alive(self.ask()).await?;
        let leader = standing.leader.filter(|leader| {
            leader.key == key && leader.term == term && leader.lease == self.session.lease_id()
        });
        let Some(leader) = leader else {
            return Err(Error::not_held(OPERATION, &key));
        };
        let hold = Claim::new(&self.session, key)
            .with_turn(turn)
            .into_hold(term);
        Ok(election.leadership(hold, standing.revision, leader.mod_revision))
    }

    /// Reads who leads.
    async fn ask(&self) -> Result<Standing, Error> {
        let answer = self.read(first_candidate()).await?;
        let is_decisive = answer
            .kvs()
            .first()
            .is_none_or(|kv| kv.key_str().is_ok_and(|key| self.is_candidate(key)));
        if is_decisive {
            return Ok(Standing::of_first(&answer));
        }
        // What is first is no candidate; so all must be looked at.
        let answer = self.read(GetOptions::new().with_prefix()).await?;
        Ok(Standing::of_all(&answer, |key| self.is_candidate(key)))
    }

    async fn read(&self, options: GetOptions) -> Result<etcd_client::GetResponse, Error> {
        let requests = self.session.requests();
        let prefix = self.prefix.as_bytes();
        requests
            .range(self.why("ask for the leader of"), prefix, options)
            .await
    }

    /// Whether a key is that of a candidate of this election.
    fn is_candidate(&self, key: &str) -> bool {
        #[cfg(feature = "harness")]
        if self.has(ElectionFault::ResumesWithoutSeparator) {
            return key.starts_with(&self.prefix);
        }
        self.name.lease_of(key).is_some()
    }

    fn why(&self, operation: &'static str) -> Purpose<'_> {
        Purpose {
            operation,
            target: self.name.as_str(),
        }
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        Call {
            recipe: "election",
            operation,
            name: self.name.as_str(),
            lease: Some(self.session.lease_id()),
        }
    }
}

/// The first key under the prefix, by creation.
fn first_candidate() -> GetOptions {
    GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Create, SortOrder::Ascend)
        .with_limit(1)
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election")
            .field("name", &self.name())
            .field("session", &self.session())
            .finish_non_exhaustive()
    }
}
