//! Who may join a cluster and who may leave it.

use super::command::{Executed, Outcome};
use super::consensus::MemberId;
use super::roster::{Change, Roster, RosterError};
use super::state::State;
use crate::executor::SimTime;

impl State {
    /// The list of members as far as a member knows it.
    pub(crate) fn roster(&self, member: MemberId) -> &Roster {
        let applied = self.members[member].applied;
        let known = self.rosters.partition_point(|(index, _)| *index <= applied);
        &self.rosters[known - 1].1
    }

    /// Whether a member lets a change pass (`mayAddMember` and so on in etcd's
    /// `server/etcdserver/server.go`). A change that would cost the quorum does not.
    pub(crate) fn may_change(
        &self,
        member: MemberId,
        change: &Change,
        now: SimTime,
    ) -> Result<(), RosterError> {
        let roster = self.roster(member);
        match change {
            Change::Add(added) => {
                if !added.is_learner && !is_ready_to_add(roster) {
                    return Err(RosterError::NotEnoughStarted);
                }
                self.is_healthy_to_add(member, now)
            }
            Change::Remove(id) => self.may_remove(member, *id, now),
            Change::Update { .. } => Ok(()),
            Change::Promote(id) => {
                let is_unstarted = roster.find(*id).is_some_and(|m| m.process.is_none());
                if is_unstarted {
                    return Err(RosterError::LearnerNotReady);
                }
                Ok(())
            }
        }
    }

    fn is_healthy_to_add(&self, member: MemberId, now: SimTime) -> Result<(), RosterError> {
        let profile = self.store.options().version.profile();
        let voting = self.roster(member).voting().count();
        let connected = self.consensus.connected_for_long(member, now);
        let is_healthy = if profile.adds_while_one_is_down {
            voting == 1 || connected > voting.div_ceil(2)
        } else {
            connected == voting
        };
        if is_healthy {
            Ok(())
        } else {
            Err(RosterError::Unhealthy)
        }
    }

    fn may_remove(&self, member: MemberId, id: u64, now: SimTime) -> Result<(), RosterError> {
        let roster = self.roster(member);
        let removed = roster.find(id);
        if removed.is_some_and(|removed| removed.is_learner) {
            return Ok(());
        }
        if !is_ready_to_remove(roster, id) {
            return Err(RosterError::NotEnoughStarted);
        }
        let process = removed.and_then(|removed| removed.process);
        let is_active = process.is_some_and(|process| self.consensus.is_connected(process));
        if !is_active && process != Some(member) {
            return Ok(());
        }
        let voting = roster.voting().count();
        let connected = self.consensus.connected_for_long(member, now);
        if connected < 2 + voting.saturating_sub(1) / 2 {
            return Err(RosterError::Unhealthy);
        }
        Ok(())
    }

    pub(super) fn execute_member(&mut self, change: Change, now: SimTime) -> Executed {
        let revision = self.store.revision();
        let mut roster = self.newest_roster().clone();
        let adds_voter = matches!(&change, Change::Add(added) if added.votes);
        let removed = match roster.change(change) {
            Ok(removed) => removed,
            Err(refused) => return Executed::refused(refused, revision),
        };
        let members = roster.members().to_vec();
        self.rosters.push((self.executed, roster));
        if adds_voter {
            self.consensus.add_voter(now);
        }
        match removed {
            Some(removed) if removed.process.is_some() => {
                self.removed.extend(removed.process);
                self.consensus
                    .remove(removed.process.unwrap_or_default(), now);
            }
            Some(removed) if removed.votes => self.consensus.remove_voter(now),
            _ => {}
        }
        Executed {
            outcome: Ok(Outcome::Members(members)),
            applied: Some(revision),
            revision,
        }
    }

    fn newest_roster(&self) -> &Roster {
        let (_, newest) = self.rosters.last().expect("there is one at the start");
        newest
    }
}

/// Whether those that have started are a quorum with one more member
/// (`IsReadyToAddVotingMember`). One member alone may have a second one.
fn is_ready_to_add(roster: &Roster) -> bool {
    let (voting, started) = count(roster, None);
    voting == 1 && started == 1 || started > voting.div_ceil(2)
}

/// Whether those that have started are a quorum without this member
/// (`IsReadyToRemoveVotingMember`).
fn is_ready_to_remove(roster: &Roster, id: u64) -> bool {
    let (voting, started) = count(roster, Some(id));
    started > voting / 2
}

/// How many members vote, and how many of them have started.
fn count(roster: &Roster, but: Option<u64>) -> (usize, usize) {
    let voting = roster.voting().filter(|member| Some(member.id) != but);
    let has_started: Vec<bool> = voting.map(|member| member.process.is_some()).collect();
    let started = has_started.iter().filter(|started| **started).count();
    (has_started.len(), started)
}
