//! Leading without holding anything: campaign, work, and begin anew after a loss.

#[cfg(feature = "harness")]
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Election, Leadership};
use crate::error::{self, Error};
use crate::runtime;
use crate::session::{Loss, Session, SessionState};

/// The pause after the first failure; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Election {
    /// Campaigns with `value`, runs the closure while it leads, and returns what the
    /// closure returns, after resigning.
    ///
    /// When the leadership ends before the closure is done, the closure's future is
    /// dropped, and all begins anew: with a new session if the old one is lost, another
    /// campaign, and another call of the closure.
    ///
    /// ```
    /// # async fn example(session: etcd_recipes::Session) -> Result<(), etcd_recipes::Error> {
    /// use etcd_recipes::Election;
    /// use etcd_recipes::etcd_client::TxnOp;
    ///
    /// let election = Election::new(&session, "scheduler")?;
    /// let passes = election
    ///     .run("10.0.0.7:9000", async |leadership| {
    ///         for pass in 0..100 {
    ///             let plan = TxnOp::put("scheduler/plan", format!("{pass}"), None);
    ///             leadership.txn().and_then([plan]).commit().await?;
    ///         }
    ///         Ok::<_, etcd_recipes::Error>(100)
    ///     })
    ///     .await??;
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
    /// The closure's future is dropped a tenth of the time to live (at most a second)
    /// *before* the lease can end: the deadline counts from when the last keep-alive
    /// that was answered was sent. It is looked at before each poll, so a process that
    /// stood still does not take one step more. So the futures of two calls, anywhere,
    /// do not make progress at the same time, as long as the clocks of the clients and
    /// of etcd run at about the same rate. It is also dropped when the leader's key is
    /// gone, deleted by somebody.
    ///
    /// That covers what the future does while it is polled. It does not cover what it
    /// has sent, nor tasks or threads that it has spawned, nor one that blocks without
    /// an await point: what must not go wrong is written through
    /// [`txn`](crate::Hold::txn), which etcd refuses when the term is over.
    ///
    /// A clone of the leadership that outlives the closure's future is a mistake, but
    /// keeps nothing: the key is deleted all the same.
    ///
    /// # Ending it
    ///
    /// The closure ends it by returning, errors of its own included: whatever it returns
    /// is returned. Dropping the future of `run` ends it at any time and withdraws the
    /// candidacy in the background. So does closing the session that the election was
    /// made with, until it has been replaced by a new one.
    ///
    /// # Errors
    ///
    /// What cannot pass: [refused](Error::is_refused) for lack of permission and the
    /// like, [session lost](Error::is_session_lost) when the session was closed. Everything
    /// else, such as an etcd that cannot be reached, is tried again, after pauses of up
    /// to 5 s, for as long as it takes.
    pub async fn run<T, F, Fut>(&self, value: impl Into<Vec<u8>>, mut lead: F) -> Result<T, Error>
    where
        F: FnMut(Arc<Leadership>) -> Fut,
        Fut: Future<Output = T>,
    {
        let value = value.into();
        let mut election = self.clone();
        let mut pause = FIRST_PAUSE;
        loop {
            match election.campaign(value.clone()).await {
                Ok(leadership) => {
                    pause = FIRST_PAUSE;
                    let leadership = Arc::new(leadership);
                    let work = async { lead(leadership.clone()).await };
                    let done = while_leading(&leadership, work).await;
                    give_up(leadership, done.is_some()).await;
                    if let Some(output) = done {
                        return Ok(output);
                    }
                    election.session().until_certain().await;
                }
                Err(error) => {
                    election.check_passing(&error)?;
                    tracing::debug!(%error, "campaigns again");
                    wait(&mut pause).await;
                }
            }
            election = election.with_live_session(&mut pause).await?;
        }
    }

    /// The same election, in a new session if this one is lost.
    async fn with_live_session(self, pause: &mut Duration) -> Result<Self, Error> {
        loop {
            match self.session().state() {
                SessionState::Lost(Loss::Closed) => {
                    self.session().check()?;
                }
                SessionState::Lost(_) => match self.session().reopen().await {
                    Ok(session) => return self.in_session(&session),
                    Err(error) => {
                        self.check_passing(&error)?;
                        wait(pause).await;
                    }
                },
                _ => return Ok(self),
            }
        }
    }

    fn in_session(&self, session: &Session) -> Result<Self, Error> {
        let election = Self::new(session, self.name())?;
        #[cfg(feature = "harness")]
        let election = match self.inner.fault {
            Some(fault) => election.fault(fault),
            None => election,
        };
        Ok(election)
    }

    /// An error that another attempt would meet again.
    fn check_passing(&self, error: &Error) -> Result<(), Error> {
        use crate::error::ErrorKind;
        let is_final = match error.kind() {
            ErrorKind::Refused => !is_passing_refusal(error),
            ErrorKind::SessionLost => {
                matches!(self.session().state(), SessionState::Lost(Loss::Closed))
            }
            ErrorKind::InvalidName | ErrorKind::InvalidOption | ErrorKind::ForeignData => true,
            _ => false,
        };
        if is_final { Err(error.clone()) } else { Ok(()) }
    }
}

/// Whether etcd said no for a reason that goes away.
fn is_passing_refusal(error: &Error) -> bool {
    error.etcd_error().is_some_and(|source| {
        matches!(
            error::brief(source).as_str(),
            "etcdserver: too many requests"
                | "etcdserver: no leader"
                | "etcdserver: not leader"
                | "etcdserver: unhealthy cluster"
                | "etcdserver: invalid auth token"
                | "etcdserver: revision of auth store is old"
        )
    })
}

async fn wait(pause: &mut Duration) {
    runtime::sleep(runtime::jittered(*pause)).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

/// The result of the work, if the leadership lasts until it is done.
async fn while_leading<T>(leadership: &Leadership, work: impl Future<Output = T>) -> Option<T> {
    #[cfg(feature = "harness")]
    if leadership.election.cancels_late() {
        let work = pin!(work);
        return super::fault::while_leading_for_too_long(leadership, work).await;
    }
    let session = leadership.session();
    session.while_certain(key_gone(leadership), work).await
}

async fn key_gone(leadership: &Leadership) {
    let term = leadership.term();
    let mirror = &leadership.election.inner.mirror;
    let gone = mirror.wait(term, |view| {
        (!view.holds(leadership.key(), term)).then_some(())
    });
    if let Err(error) = gone.await {
        // Then the lease alone tells.
        tracing::debug!(%error, "the leader's key cannot be watched");
        std::future::pending::<()>().await;
    }
}

/// Resigns as well as can be: nobody is interested in how that ended.
async fn give_up(leadership: Arc<Leadership>, resign: bool) {
    // The closure may have kept a clone. Then dropping would not resign.
    let resigned = match Arc::try_unwrap(leadership) {
        Ok(leadership) if resign => leadership.resign().await,
        Ok(leadership) => {
            drop(leadership);
            Ok(())
        }
        Err(kept) => {
            let delete = kept.txn().and_then([kept.delete_op()]);
            delete.commit().await.map(drop)
        }
    };
    if let Err(error) = resigned {
        tracing::debug!(%error, "the leader's key is left to the background");
    }
}
