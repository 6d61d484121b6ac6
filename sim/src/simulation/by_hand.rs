//! Faults that a test causes itself, at the moment that it chooses.

use std::time::Duration;

use super::{Simulation, injector};
use crate::fault::{ClientId, FaultKind, MemberId, Parties, Party, Pending};

/// A fault that lasts as long as this lives: dropped, it heals.
///
/// What was lost meanwhile stays lost. When the run ends, so do all faults.
#[must_use = "dropping the guard heals the fault at once"]
pub struct FaultGuard {
    simulation: Simulation,
    faults: Vec<u64>,
}

impl FaultGuard {
    /// Ends the fault now. The same as dropping the guard, but says so.
    pub fn heal(self) {}

    /// Lets the fault go on to the end of the run.
    pub fn keep(mut self) {
        self.faults.clear();
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        // A run that panics is over.
        if !std::thread::panicking() {
            for number in self.faults.drain(..) {
                injector::lift(&self.simulation, number);
            }
        }
    }
}

impl std::fmt::Debug for FaultGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultGuard").finish_non_exhaustive()
    }
}

/// # Faults by hand
///
/// A plan strikes at times that it has drawn. Where a test knows better when to
/// strike, it does so itself: what lasts does so until its [`FaultGuard`] is dropped.
/// Faults by hand and faults of the plan add up, and neither ends the other.
///
/// All of these panic when they name a member that the cluster does not have, or a
/// client that is no process where one is needed: a fault that strikes nobody would
/// make a test that proves nothing.
impl Simulation {
    /// Nothing passes between one side and the other, in either direction; among
    /// themselves both sides talk. Members and clients may be on either side.
    ///
    /// ```
    /// use etcd_sim::{Party, Simulation};
    ///
    /// let simulated = Simulation::builder().members(3).run(|simulation| async move {
    ///     let leader = simulation.leader().unwrap();
    ///     let others = simulation.members().without(Party::Member(leader));
    ///     let partition = simulation.partition(Party::Member(leader), others);
    ///     simulation.sleep(std::time::Duration::from_secs(5)).await;
    ///     assert_ne!(simulation.leader(), Some(leader));
    ///     drop(partition); // heals
    /// });
    /// simulated.unwrap();
    /// ```
    pub fn partition(&self, one: impl Into<Parties>, other: impl Into<Parties>) -> FaultGuard {
        self.cut(one.into(), other.into(), false)
    }

    /// What `from` sends to `to` is lost; what `to` sends arrives.
    pub fn partition_one_way(
        &self,
        from: impl Into<Parties>,
        to: impl Into<Parties>,
    ) -> FaultGuard {
        self.cut(from.into(), to.into(), true)
    }

    /// Nothing passes between these and everybody else that there is now: all other
    /// members, and all other clients that have a connection.
    pub fn isolate(&self, parties: impl Into<Parties>) -> FaultGuard {
        let parties = parties.into();
        let others = self.everybody().without(parties.clone());
        self.cut(parties, others, false)
    }

    /// Messages between any of these and any of those take `by` longer, and up to
    /// `jitter` more, drawn for each message.
    pub fn delay(
        &self,
        between: impl Into<Parties>,
        and: impl Into<Parties>,
        by: Duration,
        jitter: Duration,
    ) -> FaultGuard {
        let (these, those) = (between.into(), and.into());
        let links = these
            .iter()
            .flat_map(|this| those.iter().map(move |that| (this, that)));
        let delays = links.map(|between| FaultKind::DelayLink {
            between,
            by_ms: millis(by),
            jitter_ms: millis(jitter),
            for_ms: 0,
        });
        self.hold_all(delays)
    }

    /// These processes stand still while time runs on. Of a client, everything that
    /// [`spawn`](Simulation::spawn) has started does; see there.
    pub fn pause(&self, parties: impl Into<Parties>) -> FaultGuard {
        let pauses = parties
            .into()
            .into_vec()
            .into_iter()
            .map(|party| match party {
                Party::Client(client) => FaultKind::PauseClient { client, for_ms: 0 },
                Party::Member(member) => FaultKind::PauseMember { member, for_ms: 0 },
            });
        self.hold_all(pauses)
    }

    /// These processes die. When the guard is dropped they start again: a member with
    /// what it had committed, a client from the beginning of its program.
    pub fn crash(&self, parties: impl Into<Parties>) -> FaultGuard {
        let crashes = parties
            .into()
            .into_vec()
            .into_iter()
            .map(|party| match party {
                Party::Client(client) => FaultKind::RestartClient { client, down_ms: 0 },
                Party::Member(member) => FaultKind::CrashMember {
                    member,
                    down_ms: None,
                },
            });
        self.hold_all(crashes)
    }

    /// The member is told to stop in good order ([`FaultKind::StopMember`]). When the guard
    /// is dropped it starts again, once it has ended.
    pub fn stop(&self, member: MemberId) -> FaultGuard {
        self.hold(FaultKind::StopMember { member, down_ms: 0 })
    }

    /// The connections of this client break, and new ones are refused.
    pub fn refuse(&self, client: ClientId) -> FaultGuard {
        self.hold(FaultKind::Refuse { client, for_ms: 0 })
    }

    /// The member applies late what is committed: serializable reads there are old,
    /// and its watches late.
    pub fn lag(&self, member: MemberId, by: Duration) -> FaultGuard {
        self.hold(FaultKind::LagMember {
            member,
            by_ms: millis(by),
            for_ms: 0,
        })
    }

    /// The member answers nothing, as while it is defragmented. It votes and leads.
    pub fn stall(&self, member: MemberId) -> FaultGuard {
        self.hold(FaultKind::StallMember { member, for_ms: 0 })
    }

    /// The member refuses whatever would change something: "too many requests".
    pub fn overload(&self, member: MemberId) -> FaultGuard {
        self.hold(FaultKind::OverloadMember { member, for_ms: 0 })
    }

    /// The watches of the member hear of nothing, and afterwards of everything at once.
    pub fn hold_events(&self, member: MemberId) -> FaultGuard {
        self.hold(FaultKind::HoldEvents { member, for_ms: 0 })
    }

    /// The leader gives up, and nobody stands for election.
    pub fn lose_leader(&self) -> FaultGuard {
        self.hold(FaultKind::LoseLeader { for_ms: 0 })
    }

    /// Leases end the moment their time is over, not at the leader's next look.
    pub fn expire_at_once(&self) -> FaultGuard {
        self.hold(FaultKind::ExpireAtOnce { for_ms: 0 })
    }

    /// No lease ends.
    pub fn expire_late(&self) -> FaultGuard {
        self.hold(FaultKind::ExpireLate { for_ms: 0 })
    }

    /// The database counts as full: puts and new leases are refused.
    pub fn fill_up(&self) -> FaultGuard {
        self.hold(FaultKind::FillUp { for_ms: 0 })
    }

    /// The alarm is raised that members disagree: nothing is changed any more.
    pub fn corrupt(&self) -> FaultGuard {
        self.hold(FaultKind::Corrupt { for_ms: 0 })
    }

    /// Any fault that lasts, until the guard is dropped; how long it would last in a
    /// plan does not count. What happens in an instant simply happens.
    pub fn hold(&self, kind: FaultKind) -> FaultGuard {
        self.hold_all([kind])
    }

    /// Any fault, now, as if the plan had it. What lasts does so for as long as it says,
    /// and [`healed`](Simulation::healed) does not wait for it.
    pub fn strike(&self, kind: &FaultKind) {
        self.check_parties(kind);
        injector::strike_now(self, kind);
    }

    /// The client's process dies and does not come back. Its requests under way may
    /// still land.
    pub fn kill(&self, client: ClientId) {
        self.strike(&FaultKind::KillClient { client });
    }

    /// The client's connections break, with everything that is on its way.
    pub fn reset(&self, client: ClientId) {
        self.strike(&FaultKind::Reset { client });
    }

    /// The streams of the client's watches break; its other calls do not.
    pub fn break_watches(&self, client: ClientId) {
        self.strike(&FaultKind::BreakWatches { client });
    }

    /// The next message of the client never arrives.
    pub fn lose_next_request(&self, client: ClientId) {
        self.strike(&FaultKind::LoseRequest { client });
    }

    /// The next message to the client never arrives. What it asked for has happened.
    pub fn lose_next_response(&self, client: ClientId) {
        self.strike(&FaultKind::LoseResponse { client });
    }

    /// Another member leads: this one, or any.
    pub fn change_leader(&self, to: Option<MemberId>, pending: Pending) {
        self.strike(&FaultKind::ChangeLeader { to, pending });
    }

    /// Everybody who is logged in at the member has to log in anew.
    pub fn expire_tokens(&self, member: MemberId) {
        self.strike(&FaultKind::ExpireTokens { member });
    }

    /// Another program compacts the history up to the present revision.
    pub fn compact(&self) {
        self.strike(&FaultKind::Compact);
    }

    /// All members.
    pub fn members(&self) -> Parties {
        (0..self.cluster().len()).map(Party::Member).collect()
    }

    /// All members, and all clients that have had a connection.
    pub fn everybody(&self) -> Parties {
        let clients = self.shared.network.clients();
        let clients = clients.into_iter().map(Party::Client);
        self.members()
            .into_vec()
            .into_iter()
            .chain(clients)
            .collect()
    }

    /// The member that leads, if there is one that can do its work.
    pub fn leader(&self) -> Option<MemberId> {
        self.cluster().leader()
    }

    fn cut(&self, from: Parties, to: Parties, one_way: bool) -> FaultGuard {
        self.hold(FaultKind::Cut {
            from: from.into_vec(),
            to: to.into_vec(),
            one_way,
            for_ms: 0,
        })
    }

    fn hold_all(&self, kinds: impl IntoIterator<Item = FaultKind>) -> FaultGuard {
        let faults = kinds.into_iter().map(|kind| {
            let kind = match kind {
                // Who leads is decided now, and comes back when the guard goes.
                FaultKind::RestartMember { .. } => FaultKind::CrashMember {
                    member: self.leader().unwrap_or(0),
                    down_ms: None,
                },
                kind => kind,
            };
            self.check_parties(&kind);
            injector::hold(self, &kind)
        });
        FaultGuard {
            faults: faults.collect(),
            simulation: self.clone(),
        }
    }

    fn check_parties(&self, kind: &FaultKind) {
        let members = self.cluster().len();
        for party in kind.parties() {
            if let Party::Member(member) = party {
                assert!(
                    member < members,
                    "{}: there is no member {member}; the cluster has {members}, counted from 0",
                    kind.name()
                );
            }
        }
        if let FaultKind::PauseClient { client, .. }
        | FaultKind::KillClient { client }
        | FaultKind::RestartClient { client, .. } = *kind
        {
            assert!(
                self.processes().contains_key(&client),
                "{}: client {client} is no process of this run; start it with Simulation::spawn",
                kind.name()
            );
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
