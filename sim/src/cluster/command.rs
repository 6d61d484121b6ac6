//! What can become part of the history, and what comes of it.

use std::time::Duration;

use etcd_client::proto::{
    PbAlarmMember, PbAlarmRequest, PbCompactionRequest, PbCompactionResponse, PbDeleteRequest,
    PbDeleteResponse, PbPutRequest, PbPutResponse, PbTxnOpRequest, PbTxnRequest, PbTxnResponse,
};
use tonic::Status;

use super::error::ClusterError;
use super::roster::{Change, Listed, RosterError};
use crate::auth::{AuthCommand, AuthError, Caller};
use crate::store::{LeaseId, Store, StoreError};

/// What is to become part of the history, and who wants it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Command,
    /// None: somebody without a token.
    pub(crate) caller: Option<Caller>,
}

impl From<Command> for Request {
    fn from(command: Command) -> Request {
        Request {
            command,
            caller: None,
        }
    }
}

/// A request that changes something.
#[derive(Debug)]
pub(crate) enum Command {
    Put(PbPutRequest),
    Delete(PbDeleteRequest),
    Txn(PbTxnRequest),
    Compact(PbCompactionRequest),
    Grant {
        id: LeaseId,
        ttl: i64,
    },
    Revoke(LeaseId),
    Alarm(PbAlarmRequest),
    Auth(AuthCommand),
    Member(Change),
    /// By the leader, of a lease whose time is over. If another leader has extended
    /// it meanwhile it lives on.
    Expire(LeaseId),
}

/// What a request has done.
#[derive(Debug)]
pub(crate) enum Outcome {
    Put(PbPutResponse),
    Delete(PbDeleteResponse),
    Txn(PbTxnResponse),
    Compact(PbCompactionResponse),
    Granted { ttl: i64 },
    Revoked,
    Alarms(Vec<PbAlarmMember>),
    Auth(Done),
    Members(Vec<Listed>),
}

/// What has come of a request about users and roles.
#[derive(Debug)]
pub(crate) enum Done {
    Nothing,
    Status { enabled: bool, revision: u64 },
    Token(String),
    Names(Vec<String>),
    Permissions(Vec<crate::auth::Permission>),
}

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Roster(#[from] RosterError),
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Status {
        match refused {
            Refused::Store(error) => error.into(),
            Refused::Auth(error) => error.into(),
            Refused::Cluster(error) => error.into(),
            Refused::Roster(error) => error.into(),
        }
    }
}

/// What became of a request, and whether it has changed anything.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) outcome: Result<Outcome, Refused>,
    /// The revision of the store after a request that changed something.
    pub(crate) applied: Option<i64>,
    /// The revision of the store after the request.
    pub(crate) revision: i64,
}

impl Executed {
    /// Refused by a store at this revision.
    pub(crate) fn refused(refused: impl Into<Refused>, revision: i64) -> Executed {
        Executed {
            outcome: Err(refused.into()),
            applied: None,
            revision,
        }
    }
}

impl Command {
    /// Whether it would be refused unseen (`server/etcdserver/api/v3rpc/key.go`):
    /// then it is not even proposed.
    pub(super) fn precheck(&self, store: &Store) -> Result<(), StoreError> {
        match self {
            Command::Put(put) => store.precheck_put(put),
            Command::Delete(delete) => store.precheck_delete(delete),
            Command::Txn(txn) => store.precheck_txn(txn),
            Command::Compact(_)
            | Command::Grant { .. }
            | Command::Revoke(_)
            | Command::Expire(_)
            | Command::Alarm(_)
            | Command::Auth(_)
            | Command::Member(_) => Ok(()),
        }
    }

    /// Whether it is about keys alone: nobody else than who asked for it, and watches,
    /// is told.
    pub(super) fn is_of_keys(&self) -> bool {
        matches!(self, Command::Put(_) | Command::Delete(_) | Command::Txn(_))
    }

    /// Whether a full database refuses it: puts, transactions that can put, and
    /// new leases (`applierV3Capped` in etcd's
    /// `server/etcdserver/apply/uber_apply.go`).
    pub(super) fn needs_space(&self) -> bool {
        match self {
            Command::Put(_) | Command::Grant { .. } => true,
            Command::Txn(txn) => can_put(txn),
            Command::Delete(_)
            | Command::Compact(_)
            | Command::Revoke(_)
            | Command::Expire(_)
            | Command::Alarm(_)
            | Command::Auth(_)
            | Command::Member(_) => false,
        }
    }

    /// Does it to the store. A compaction is only marked.
    pub(super) fn execute(self, store: &mut Store, now: Duration) -> Executed {
        let before = store.revision();
        let is_lease = !matches!(
            self,
            Command::Put(_) | Command::Delete(_) | Command::Txn(_) | Command::Compact(_)
        );
        let outcome = match self {
            Command::Put(put) => store.put(put).map(Outcome::Put),
            Command::Delete(delete) => store.delete_range(&delete).map(Outcome::Delete),
            Command::Txn(txn) => store.txn(txn).map(Outcome::Txn),
            Command::Compact(compact) => store.mark_compacted(&compact).map(Outcome::Compact),
            Command::Grant { id, ttl } => {
                let granted = store.lease_grant(now, id, ttl);
                granted.map(|ttl| Outcome::Granted { ttl })
            }
            Command::Revoke(id) => store.lease_revoke(id).map(|()| Outcome::Revoked),
            Command::Expire(id) => {
                let ended = if store.is_expired(now, id) {
                    store.lease_revoke(id)
                } else {
                    Ok(())
                };
                ended.map(|()| Outcome::Revoked)
            }
            Command::Alarm(_) | Command::Auth(_) | Command::Member(_) => {
                unreachable!("the store knows neither alarms nor users nor members")
            }
        };
        let revision = store.revision();
        let changed = revision > before || is_lease && outcome.is_ok();
        Executed {
            outcome: outcome.map_err(Refused::Store),
            applied: changed.then_some(revision),
            revision,
        }
    }
}

/// Whether a full database refuses it. etcd counts what the puts of a transaction take, and not
/// those of transactions within it (`costTxn` in `server/storage/quota.go`): these it takes.
fn can_put(txn: &PbTxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.any(|op| matches!(op.request, Some(PbTxnOpRequest::RequestPut(_))))
}
