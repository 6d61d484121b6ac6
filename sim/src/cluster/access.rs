//! Who may do what, and whether anybody may: users, tokens, alarms.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_client::proto::{
    PbAlarmMember, PbAlarmRequest, PbDeleteRequest, PbPutRequest, PbTxnOpRequest, PbTxnRequest,
    PbTxnRequestOp,
};

use super::command::{Command, Done, Executed, Outcome, Refused, Request};
use super::consensus::MemberId;
use super::error::ClusterError;
use super::state::{State, age};
use crate::auth::{Access, AuthCommand, AuthError, AuthOutcome, Caller};
use crate::executor::SimTime;
use crate::seed::mix;
use crate::store::LeaseId;
use crate::version::{Checks, Version};

/// The alarms of etcd's `rpc.proto`: none in particular, a full database, members
/// that disagree.
pub(crate) const NONE: i32 = 0;
pub(crate) const NO_SPACE: i32 = 1;
pub(crate) const CORRUPT: i32 = 2;

/// What can be done with alarms.
const GET: i32 = 0;
const ACTIVATE: i32 = 1;
const DEACTIVATE: i32 = 2;

/// The alarms that were raised, and for which member
/// (`server/etcdserver/api/v3alarm`).
#[derive(Debug, Default)]
pub(crate) struct Alarms(BTreeSet<(i32, u64)>);

impl Alarms {
    pub(crate) fn raised(&self, alarm: i32) -> bool {
        self.0.iter().any(|(raised, _)| *raised == alarm)
    }

    pub(crate) fn of(&self, alarm: i32) -> Vec<PbAlarmMember> {
        let all = self.0.iter();
        let asked = all.filter(|(raised, _)| alarm == NONE || *raised == alarm);
        asked.copied().map(message).collect()
    }
}

fn message((alarm, member_id): (i32, u64)) -> PbAlarmMember {
    PbAlarmMember { member_id, alarm }
}

impl State {
    /// Whether a request may be carried out (`applierV3` and what is put around it
    /// in etcd's `server/etcdserver/apply_auth.go`, `corrupt.go` and `apply.go`).
    pub(super) fn permits(&self, request: &Request, now: SimTime) -> Result<(), Refused> {
        let Request { command, caller } = request;
        if self.auth.is_enabled() {
            self.permits_caller(command, caller.as_ref(), age(now))?;
        }
        let is_of_store = !matches!(
            command,
            Command::Alarm(_) | Command::Auth(_) | Command::Member(_)
        );
        if is_of_store && (self.alarms.raised(CORRUPT) || self.is_corrupt(now)) {
            return Err(ClusterError::Corrupt.into());
        }
        if command.needs_space() && self.alarms.raised(NO_SPACE) {
            return Err(ClusterError::NoSpace.into());
        }
        Ok(())
    }

    fn permits_caller(
        &self,
        command: &Command,
        caller: Option<&Caller>,
        now: Duration,
    ) -> Result<(), AuthError> {
        match command {
            Command::Put(put) => self.permits_put(put, caller, now),
            Command::Delete(delete) => self.permits_delete(delete, caller),
            Command::Txn(txn) => self.permits_txn(txn, caller, now),
            Command::Revoke(id) => self.permits_lease(*id, caller, now),
            Command::Auth(command) => self.auth.permits_command(caller, command),
            Command::Compact(_)
            | Command::Grant { .. }
            | Command::Expire(_)
            | Command::Alarm(_)
            | Command::Member(_) => Ok(()),
        }
    }

    fn permits_put(
        &self,
        put: &PbPutRequest,
        caller: Option<&Caller>,
        now: Duration,
    ) -> Result<(), AuthError> {
        self.auth.permits(caller, Access::Write, &put.key, b"")?;
        // Else the user could have keys deleted that it may not write.
        self.permits_lease(LeaseId(put.lease), caller, now)?;
        match put.prev_kv {
            true => self.auth.permits(caller, Access::Read, &put.key, b""),
            false => Ok(()),
        }
    }

    /// The previous values are read.
    fn permits_delete(
        &self,
        delete: &PbDeleteRequest,
        caller: Option<&Caller>,
    ) -> Result<(), AuthError> {
        let (key, end) = (&delete.key, &delete.range_end);
        self.auth.permits(caller, Access::Write, key, end)?;
        match delete.prev_kv {
            true => self.auth.permits(caller, Access::Read, key, end),
            false => Ok(()),
        }
    }

    fn permits_lease(
        &self,
        id: LeaseId,
        caller: Option<&Caller>,
        now: Duration,
    ) -> Result<(), AuthError> {
        self.permits_keys_of(id, caller, Access::Write, now)
    }

    /// Whether a caller may read or write all keys of a lease.
    pub(crate) fn permits_keys_of(
        &self,
        id: LeaseId,
        caller: Option<&Caller>,
        access: Access,
        now: Duration,
    ) -> Result<(), AuthError> {
        let lease = self.store.lease_status(now, id);
        let keys = lease.into_iter().flat_map(|lease| lease.keys);
        for key in keys {
            self.auth.permits(caller, access, &key, b"")?;
        }
        Ok(())
    }

    fn checks(&self) -> Checks {
        self.store.options().version.profile().checks
    }

    /// Older releases do not look into transactions within transactions, nor at leases and
    /// previous values of puts (`checkTxnAuth`).
    pub(crate) fn permits_txn(
        &self,
        txn: &PbTxnRequest,
        caller: Option<&Caller>,
        now: Duration,
    ) -> Result<(), AuthError> {
        for compare in &txn.compare {
            let (key, end) = (&compare.key, &compare.range_end);
            self.auth.permits(caller, Access::Read, key, end)?;
        }
        let mut ops = txn.success.iter().chain(&txn.failure);
        ops.try_for_each(|op| self.permits_op(op, caller, now))
    }

    fn permits_op(
        &self,
        op: &PbTxnRequestOp,
        caller: Option<&Caller>,
        now: Duration,
    ) -> Result<(), AuthError> {
        let permits = |access, key: &[u8], end: &[u8]| self.auth.permits(caller, access, key, end);
        match &op.request {
            Some(PbTxnOpRequest::RequestRange(range)) => {
                permits(Access::Read, &range.key, &range.range_end)
            }
            Some(PbTxnOpRequest::RequestPut(put)) if self.checks().puts_in_transactions => {
                self.permits_put(put, caller, now)
            }
            Some(PbTxnOpRequest::RequestPut(put)) => permits(Access::Write, &put.key, b""),
            Some(PbTxnOpRequest::RequestDeleteRange(delete)) => self.permits_delete(delete, caller),
            Some(PbTxnOpRequest::RequestTxn(txn)) if self.checks().guards_all => {
                self.permits_txn(txn, caller, now)
            }
            Some(PbTxnOpRequest::RequestTxn(_)) | None => Ok(()),
        }
    }

    pub(super) fn execute_auth(&mut self, command: AuthCommand, now: Duration) -> Executed {
        let before = self.auth.revision();
        if command.grants_nothing() && self.checks().refuses_empty_permissions {
            let refused = AuthError::InvalidManagement;
            return Executed::refused(refused, self.store.revision());
        }
        if command.has_long_password() && self.checks().refuses_long_passwords {
            let refused = AuthError::PasswordTooLong;
            return Executed::refused(refused, self.store.revision());
        }
        let outcome = match self.auth.execute(command) {
            Ok(outcome) => outcome,
            Err(refused) => return Executed::refused(refused, self.store.revision()),
        };
        let changed = self.auth.revision() > before
            || matches!(outcome, AuthOutcome::Enabled | AuthOutcome::LoggedIn { .. });
        let done = match outcome {
            AuthOutcome::Status { enabled, revision } => Done::Status { enabled, revision },
            AuthOutcome::Names(names) => Done::Names(names),
            AuthOutcome::Permissions(permissions) => Done::Permissions(permissions),
            AuthOutcome::LoggedIn { user, prefix } => {
                let token = format!("{prefix}.{}", self.raft_index);
                for progress in &mut self.members {
                    progress.tokens.assign(now, token.clone(), user.clone());
                }
                Done::Token(token)
            }
            outcome => {
                for progress in &mut self.members {
                    match &outcome {
                        AuthOutcome::Enabled => progress.tokens.enable(now),
                        AuthOutcome::Disabled => progress.tokens.disable(),
                        AuthOutcome::LoggedOut(user) => progress.tokens.invalidate(user),
                        _ => {}
                    }
                }
                Done::Nothing
            }
        };
        Executed {
            outcome: Ok(Outcome::Auth(done)),
            applied: changed.then_some(self.store.revision()),
            revision: self.store.revision(),
        }
    }

    /// How a token begins that nobody has (`genTokenPrefix` in etcd's
    /// `server/auth/simple_token.go`).
    pub(crate) fn token_prefix(&mut self, member: MemberId) -> String {
        const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let progress = &mut self.members[member];
        progress.tokens_given += 1;
        let identity = progress.identity;
        let mut drawn = mix(identity.cluster_id ^ mix(identity.member_id) ^ progress.tokens_given);
        let mut letter = || {
            drawn = mix(drawn);
            char::from(LETTERS[usize::try_from(drawn % 52).unwrap_or(0)])
        };
        (0..16).map(|_| letter()).collect()
    }

    /// The alarms that were raised, and those of a database that counts as full, and of
    /// members that count as disagreeing, for a while.
    pub(crate) fn alarms_of(&self, alarm: i32, now: SimTime) -> Vec<PbAlarmMember> {
        let mut alarms = self.alarms.of(alarm);
        for raised in self.passing_alarms.iter().copied().map(message) {
            let lasts = match raised.alarm {
                NO_SPACE => self.is_full(now),
                _ => self.is_corrupt(now),
            };
            let is_asked = alarm == NONE || alarm == raised.alarm;
            if lasts && is_asked && !alarms.contains(&raised) {
                alarms.push(raised);
            }
        }
        alarms
    }

    /// Whether members count as disagreeing: not once the alarm was disarmed for all of
    /// them, for nobody compares them again.
    pub(super) fn is_corrupt(&self, now: SimTime) -> bool {
        let mut raised = self.passing_alarms.iter();
        now < self.corrupt_until && raised.any(|(alarm, _)| *alarm == CORRUPT)
    }

    /// A member whose database counts as full raises its own alarm, for somebody has asked
    /// it for room (`quotaAlarmer` in etcd's `server/etcdserver/api/v3rpc/quota.go`).
    pub(super) fn raise_no_space(&mut self, member: MemberId) {
        let id = self.members[member].identity.member_id;
        self.passing_alarms.insert((NO_SPACE, id));
    }

    /// What was carried out has found the databases full. Each member sees that by itself,
    /// and raises its alarm unless there is one (`applyEntryNormal` in etcd's
    /// `server/etcdserver/server.go`).
    pub(super) fn overflow(&mut self, now: SimTime) {
        if self.alarms_of(NO_SPACE, now).is_empty() {
            self.raise(NO_SPACE);
        }
    }

    /// Raises an alarm for all members, whoever has disarmed it before.
    pub(super) fn raise(&mut self, alarm: i32) {
        let ids = self.members.iter().map(|member| member.identity.member_id);
        self.passing_alarms.extend(ids.map(|id| (alarm, id)));
    }

    pub(super) fn execute_alarm(&mut self, request: &PbAlarmRequest, now: SimTime) -> Executed {
        let asked = (request.alarm, request.member_id);
        let (alarms, changed) = match request.action {
            GET => (self.alarms_of(request.alarm, now), false),
            // 3.4 keeps also an alarm of no kind, and of no member it crashes.
            ACTIVATE if asked == (NONE, 0) => (Vec::new(), false),
            ACTIVATE if request.alarm == NONE && self.is_at_least_3_5() => (Vec::new(), false),
            ACTIVATE => (vec![message(asked)], self.alarms.0.insert(asked)),
            DEACTIVATE if self.disarm(asked, now) => (vec![message(asked)], true),
            _ => (Vec::new(), false),
        };
        Executed {
            outcome: Ok(Outcome::Alarms(alarms)),
            applied: changed.then_some(self.store.revision()),
            revision: self.store.revision(),
        }
    }

    fn is_at_least_3_5(&self) -> bool {
        self.store.options().version >= Version::new(3, 5, 0)
    }

    /// Whether there was such an alarm.
    fn disarm(&mut self, alarm: (i32, u64), now: SimTime) -> bool {
        let (of, _) = alarm;
        let is_there = self.alarms_of(of, now).contains(&message(alarm));
        self.alarms.0.remove(&alarm);
        self.passing_alarms.remove(&alarm);
        is_there
    }

    /// A member that was started anew still knows whether requests are checked, but
    /// nobody is logged in there.
    pub(super) fn remember_users(&mut self, member: MemberId, now: SimTime) {
        if self.auth.is_enabled() {
            self.members[member].tokens.enable(age(now));
        }
    }
}
