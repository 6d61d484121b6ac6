//! What a client asks for next.

use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_checker::etcd::message::{Compare, Delete, Put, Range, Relation, Target, Txn, TxnOp};
use rand::RngExt as _;

use super::super::Actor;
use super::Run;
use super::requests::{Came, Requester, span};
use crate::runtime;

/// How long after a refusal all keys are read again.
const READ_AGAIN: Duration = Duration::from_millis(50);

/// Which requests a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Mix {
    /// All of them.
    Everything,
    /// Mostly those that change something.
    Writes,
}

/// A request, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Read,
    Put,
    PutWithLease,
    Delete,
    DeleteRange,
    PutMany,
    CompareAndPut,
    ReadMany,
    Grant,
    Revoke,
    KeepAlive,
    TimeToLive,
    Compact,
}

/// How often each step is taken, of all the requests of a mix.
fn weights(mix: Mix) -> &'static [(Step, u32)] {
    match mix {
        Mix::Everything => &[
            (Step::Read, 34),
            (Step::Put, 16),
            (Step::PutWithLease, 8),
            (Step::Delete, 6),
            (Step::DeleteRange, 2),
            (Step::PutMany, 8),
            (Step::CompareAndPut, 8),
            (Step::ReadMany, 4),
            (Step::Grant, 4),
            (Step::Revoke, 3),
            (Step::KeepAlive, 3),
            (Step::TimeToLive, 2),
            (Step::Compact, 2),
        ],
        Mix::Writes => &[
            (Step::Read, 4),
            (Step::Put, 40),
            (Step::PutWithLease, 6),
            (Step::Delete, 20),
            (Step::DeleteRange, 3),
            (Step::PutMany, 16),
            (Step::CompareAndPut, 4),
            (Step::Grant, 3),
            (Step::Revoke, 2),
            (Step::Compact, 2),
        ],
    }
}

impl Run {
    /// Sends one request; whether an answer came.
    pub(in super::super) async fn step(&self, actor: &mut Actor, mix: Mix) -> bool {
        let step = self.draw_step(actor, mix);
        let came = match step {
            Step::Read => {
                let request = self.draw_range(actor);
                Requester::new(self, actor).range(request).await
            }
            Step::Put => {
                let request = self.draw_put(actor, 0);
                Requester::new(self, actor).put(request).await
            }
            Step::PutWithLease => {
                let lease = self.draw_lease(actor);
                let request = self.draw_put(actor, lease);
                Requester::new(self, actor).put(request).await
            }
            Step::Delete | Step::DeleteRange => {
                let request = self.draw_delete(actor, step == Step::DeleteRange);
                let came = Requester::new(self, actor).delete(request).await;
                if let Came::Yes(revision) = came {
                    self.shared.deleted.store(revision, Ordering::Relaxed);
                }
                came
            }
            Step::PutMany | Step::CompareAndPut | Step::ReadMany => {
                let request = self.draw_txn(actor, step);
                Requester::new(self, actor).txn(request).await
            }
            Step::Grant => {
                let number = i64::try_from(self.number()).unwrap_or(i64::MAX);
                let lease = self.shared.lease_base.saturating_add(number);
                let came = Requester::new(self, actor).grant(lease).await;
                self.leases().push(lease);
                came
            }
            Step::Revoke => {
                let lease = self.draw_lease(actor);
                // Others may still try to use it.
                if actor.rng().random_bool(0.5) {
                    self.leases().retain(|other| *other != lease);
                }
                Requester::new(self, actor).revoke(lease).await
            }
            Step::KeepAlive => {
                let lease = self.draw_lease(actor);
                Requester::new(self, actor).keep_alive(lease).await
            }
            Step::TimeToLive => {
                let lease = self.draw_lease(actor);
                Requester::new(self, actor).time_to_live(lease).await
            }
            Step::Compact => {
                let back = actor.rng().random_range(-1..=6);
                let mut revision = self.back_from_latest(back);
                // Right at a deletion it is most delicate: that goes, and must be told.
                let deleted = self.shared.deleted.load(Ordering::Relaxed);
                if deleted > 0 && actor.rng().random_bool(0.5) {
                    revision = deleted;
                }
                Requester::new(self, actor).compact(revision).await
            }
        };
        came != Came::No
    }

    /// Reads every key; whether an answer came.
    pub(in super::super) async fn read_all(&self, actor: &Actor) -> bool {
        let request = self.range_of(self.all());
        let has_come = Requester::new(self, actor).range(request).await != Came::No;
        if !has_come {
            // Who is refused is so at once, and would ask a thousand times a second.
            runtime::sleep(READ_AGAIN).await;
        }
        has_come
    }

    /// Writes every key, in one revision; which one, if an answer came.
    pub(in super::super) async fn put_all(&self, actor: &Actor) -> Option<i64> {
        let put = |key| self.put_of(self.key(key), 0, false);
        let success = (0..self.shared.keys).map(put).map(TxnOp::Put).collect();
        self.write(actor, Vec::new(), success).await
    }

    /// Deletes every key, in one revision, unless one has changed since this revision
    /// put them all; which one, if an answer says that it was done.
    pub(in super::super) async fn delete_all(&self, actor: &Actor, put: i64) -> Option<i64> {
        let delete = Delete {
            span: self.all(),
            prev_kv: true,
        };
        let unchanged = |key| Compare(Target::Mod, self.key(key).into(), Relation::Equal, put);
        let compare = (0..self.shared.keys).map(unchanged).collect();
        self.write(actor, compare, vec![TxnOp::Delete(delete)])
            .await
    }

    async fn write(
        &self,
        actor: &Actor,
        compare: Vec<Compare<'static>>,
        success: Vec<TxnOp<'static>>,
    ) -> Option<i64> {
        let txn = Txn {
            compare,
            success,
            failure: Vec::new(),
        };
        match Requester::new(self, actor).txn_of_conditions(txn).await {
            (Came::Yes(revision), true) => Some(revision),
            _ => None,
        }
    }

    fn draw_step(&self, actor: &mut Actor, mix: Mix) -> Step {
        let can = |step: Step| match step {
            Step::Compact => self.shared.compacts,
            Step::PutWithLease | Step::Revoke | Step::KeepAlive | Step::TimeToLive => {
                !self.leases().is_empty()
            }
            _ => true,
        };
        let weights: Vec<_> = weights(mix).iter().filter(|(step, _)| can(*step)).collect();
        let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
        let mut ticket = actor.rng().random_range(0..total);
        for (step, weight) in weights {
            if ticket < *weight {
                return *step;
            }
            ticket -= weight;
        }
        unreachable!("the ticket lies below the total")
    }

    fn draw_key(&self, actor: &mut Actor) -> String {
        self.key(actor.rng().random_range(0..self.shared.keys))
    }

    /// One key, several, or all.
    pub(super) fn draw_span(
        &self,
        actor: &mut Actor,
    ) -> etcd_checker::etcd::message::Span<'static> {
        let keys = self.shared.keys;
        match actor.rng().random_range(0..4) {
            0 => self.all(),
            1 => {
                let from = actor.rng().random_range(0..keys);
                let to = actor.rng().random_range(from..keys) + 1;
                span(self.key(from), Some(self.key(to)))
            }
            _ => span(self.draw_key(actor), None),
        }
    }

    fn all(&self) -> etcd_checker::etcd::message::Span<'static> {
        span(self.key(0), Some(self.key(self.shared.keys)))
    }

    fn range_of(&self, span: etcd_checker::etcd::message::Span<'static>) -> Range<'static> {
        Range {
            span,
            revision: None,
            serializable: false,
            limit: 0,
            count_only: false,
            keys_only: false,
        }
    }

    fn draw_range(&self, actor: &mut Actor) -> Range<'static> {
        let mut range = self.range_of(self.draw_span(actor));
        match actor.rng().random_range(0..10) {
            0..=2 => range.serializable = true,
            3..=4 => {
                let back = actor.rng().random_range(-2..=8);
                range.revision = Some(self.back_from_latest(back));
                range.serializable = actor.rng().random_bool(0.3);
            }
            _ => {}
        }
        match actor.rng().random_range(0..8) {
            0 => range.count_only = true,
            1 => range.keys_only = true,
            2 => range.limit = actor.rng().random_range(1..=2),
            _ => {}
        }
        range
    }

    fn draw_put(&self, actor: &mut Actor, lease: i64) -> Put<'static> {
        let prev_kv = actor.rng().random_bool(0.3);
        self.put_of(self.draw_key(actor), lease, prev_kv)
    }

    fn put_of(&self, key: String, lease: i64, prev_kv: bool) -> Put<'static> {
        Put {
            key: key.into(),
            value: self.value().into(),
            lease,
            prev_kv,
        }
    }

    fn draw_delete(&self, actor: &mut Actor, is_range: bool) -> Delete<'static> {
        let span = if is_range {
            self.draw_span(actor)
        } else {
            span(self.draw_key(actor), None)
        };
        Delete {
            span,
            prev_kv: actor.rng().random_bool(0.5),
        }
    }

    fn draw_lease(&self, actor: &mut Actor) -> i64 {
        let leases = self.leases();
        if leases.is_empty() {
            return self.shared.lease_base.saturating_add(i64::from(u32::MAX));
        }
        // Mostly one of the last: those live.
        let newest = leases.len() - 1;
        let back = actor.rng().random_range(0..leases.len().min(4));
        leases[newest - back]
    }

    fn draw_txn(&self, actor: &mut Actor, step: Step) -> Txn<'static> {
        let key = self.draw_key(actor);
        let mut txn = Txn {
            compare: Vec::new(),
            success: Vec::new(),
            failure: Vec::new(),
        };
        let read = |key: String| TxnOp::Range(self.range_of(span(key, None)));
        match step {
            Step::ReadMany => {
                let back = actor.rng().random_range(0..=3);
                let mut old = self.range_of(self.draw_span(actor));
                old.revision = (back > 0).then(|| self.back_from_latest(back));
                txn.success = vec![TxnOp::Range(old), read(key)];
            }
            Step::CompareAndPut => {
                let revision = self.latest() - actor.rng().random_range(0..=4);
                let relation = [Relation::Equal, Relation::Less, Relation::Greater];
                let relation = relation[actor.rng().random_range(0..3)];
                let compare = match actor.rng().random_range(0..4) {
                    0 => Compare(Target::Create, key.clone().into(), Relation::Equal, 0),
                    1 => Compare(Target::Version, key.clone().into(), relation, 2),
                    _ => Compare(Target::Mod, key.clone().into(), relation, revision),
                };
                txn.compare = vec![compare];
                txn.success = vec![
                    TxnOp::Put(self.put_of(key.clone(), 0, true)),
                    read(key.clone()),
                ];
                txn.failure = vec![read(key)];
            }
            _ => {
                let lease = match actor.rng().random_bool(0.2) {
                    true if !self.leases().is_empty() => self.draw_lease(actor),
                    _ => 0,
                };
                let first = actor.rng().random_range(0..self.shared.keys);
                let puts = actor.rng().random_range(2..=3).min(self.shared.keys);
                for number in 0..puts {
                    let key = self.key((first + number) % self.shared.keys);
                    txn.success.push(TxnOp::Put(self.put_of(key, lease, false)));
                }
                if puts < self.shared.keys && actor.rng().random_bool(0.3) {
                    let other = self.key((first + puts) % self.shared.keys);
                    let delete = Delete {
                        span: span(other, None),
                        prev_kv: true,
                    };
                    txn.success.push(TxnOp::Delete(delete));
                }
            }
        }
        txn
    }
}
