//! Each request of etcd, sent and recorded.

use std::borrow::Cow;
use std::future::Future;

use etcd_checker::etcd::message::{
    Compact, Compare, Delete, DeleteResult, KeyValue, Lease, LeaseResult, OpResult, Put, PutResult,
    Range, RangeResult, Refusal, Refused, Relation, Span, Target, Txn, TxnOp, TxnResult,
};
use etcd_checker::history::Evidence;
use etcd_client::{
    CompareOp, DeleteOptions, GetOptions, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions,
    TxnOpResponse,
};
use serde::Serialize;

use super::super::{Actor, OpenOperation};
use super::{REQUEST_DEADLINE, Run};
use crate::request::revision_of;
use crate::{Error, error, runtime};

/// Sends requests for one client.
pub(in super::super) struct Requester<'a> {
    run: &'a Run,
    actor: &'a Actor,
}

/// Whether an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Came {
    /// With this revision in its header; 0 when it was refused.
    Yes(i64),
    No,
}

impl<'a> Requester<'a> {
    pub(in super::super) fn new(run: &'a Run, actor: &'a Actor) -> Self {
        Requester { run, actor }
    }

    pub(super) async fn range(&self, request: Range<'static>) -> Came {
        let open = self.actor.invoke("range", &request);
        let mut client = self.actor.etcd().kv_client();
        let key = self.run.absolute(&request.span.key);
        let answer = client.get(key, Some(self.get_options(&request)));
        let answer = match limited(answer).await {
            Ok(answer) => answer,
            Err(trouble) => return self.failed(open, trouble, false),
        };
        let revision = revision_of(answer.header());
        let result = self.range_result(&request, &answer);
        self.done(open, revision, result)
    }

    pub(super) async fn put(&self, request: Put<'static>) -> Came {
        let open = self.actor.invoke("put", &request);
        let mut client = self.actor.etcd().kv_client();
        let key = self.run.absolute(&request.key);
        let answer = client.put(key, request.value.as_ref(), Some(put_options(&request)));
        let answer = match limited(answer).await {
            Ok(answer) => answer,
            Err(trouble) => return self.failed(open, trouble, true),
        };
        let revision = revision_of(answer.header());
        let prev = answer.prev_key().map(|kv| self.key_value(kv, false));
        self.done(open, revision, PutResult { prev })
    }

    pub(super) async fn delete(&self, request: Delete<'static>) -> Came {
        let open = self.actor.invoke("delete", &request);
        let mut client = self.actor.etcd().kv_client();
        let key = self.run.absolute(&request.span.key);
        let answer = client.delete(key, Some(self.delete_options(&request)));
        let answer = match limited(answer).await {
            Ok(answer) => answer,
            Err(trouble) => return self.failed(open, trouble, true),
        };
        let revision = revision_of(answer.header());
        self.done(open, revision, self.delete_result(&answer))
    }

    pub(in super::super) async fn txn(&self, request: Txn<'static>) -> Came {
        self.txn_of_conditions(request).await.0
    }

    /// Also whether the conditions held; false if no answer came.
    pub(super) async fn txn_of_conditions(&self, request: Txn<'static>) -> (Came, bool) {
        let open = self.actor.invoke("txn", &request);
        let mut client = self.actor.etcd().kv_client();
        let compares: Vec<_> = request.compare.iter().map(|c| self.compare(c)).collect();
        let ops = |ops: &[TxnOp<'_>]| ops.iter().map(|op| self.txn_op(op)).collect::<Vec<_>>();
        let txn = etcd_client::Txn::new()
            .when(compares)
            .and_then(ops(&request.success))
            .or_else(ops(&request.failure));
        let answer = match limited(client.txn(txn)).await {
            Ok(answer) => answer,
            Err(trouble) => {
                let writes = |op: &TxnOp<'_>| !matches!(op, TxnOp::Range(_));
                let writes = request.success.iter().chain(&request.failure).any(writes);
                return (self.failed(open, trouble, writes), false);
            }
        };
        let revision = revision_of(answer.header());
        let succeeded = answer.succeeded();
        let answers = answer.op_responses();
        let pairs = request.branch(succeeded).iter().zip(&answers);
        let results = pairs.filter_map(|(op, answer)| self.op_result(op, answer));
        let results = results.collect();
        let came = self.done(open, revision, TxnResult { succeeded, results });
        (came, succeeded)
    }

    pub(super) async fn grant(&self, lease: i64) -> Came {
        let ttl = self.run.shared.ttl_s;
        let open = self.actor.invoke("grant", Lease { lease, ttl });
        let mut client = self.actor.etcd().lease_client();
        let options = LeaseGrantOptions::new().with_id(lease);
        let answer = match limited(client.grant(ttl, Some(options))).await {
            Ok(answer) => answer,
            Err(trouble) => return self.failed(open, trouble, true),
        };
        let revision = revision_of(answer.header());
        let ttl = answer.ttl();
        self.done(open, revision, lease_result(ttl, Vec::new()))
    }

    pub(super) async fn revoke(&self, lease: i64) -> Came {
        let open = self.actor.invoke("revoke", Lease { lease, ttl: 0 });
        let mut client = self.actor.etcd().lease_client();
        match limited(client.revoke(lease)).await {
            Ok(answer) => self.done(open, revision_of(answer.header()), ()),
            Err(trouble) => self.failed(open, trouble, true),
        }
    }

    /// Renews a lease twice on one stream; the answer to the first renewal tells the
    /// client's library only that there is such a lease.
    pub(super) async fn keep_alive(&self, lease: i64) -> Came {
        let open = self.actor.invoke("keep-alive", Lease { lease, ttl: 0 });
        let mut client = self.actor.etcd().lease_client();
        let renewal = async {
            let (mut keeper, mut answers) = client.keep_alive(lease).await?;
            keeper.keep_alive().await?;
            answers.message().await
        };
        match limited(renewal).await {
            Ok(Some(answer)) => {
                let revision = revision_of(answer.header());
                self.done(open, revision, lease_result(answer.ttl(), Vec::new()))
            }
            Ok(None) => {
                open.unknown("the stream ended");
                Came::No
            }
            Err(Trouble::Etcd(error)) if error::is_lease_not_found(&error) => {
                open.ok(lease_result(0, Vec::new()), Evidence::NONE);
                Came::Yes(0)
            }
            Err(trouble) => self.failed(open, trouble, false),
        }
    }

    pub(super) async fn time_to_live(&self, lease: i64) -> Came {
        let open = self.actor.invoke("time-to-live", Lease { lease, ttl: 0 });
        let mut client = self.actor.etcd().lease_client();
        let options = LeaseTimeToLiveOptions::new().with_keys();
        let answer = match limited(client.time_to_live(lease, Some(options))).await {
            Ok(answer) => answer,
            Err(trouble) => return self.failed(open, trouble, false),
        };
        let keys = answer
            .keys()
            .iter()
            .map(|key| self.run.relative(key).into());
        let result = lease_result(answer.ttl(), keys.collect());
        self.done(open, revision_of(answer.header()), result)
    }

    pub(super) async fn compact(&self, revision: i64) -> Came {
        let open = self.actor.invoke("compact", Compact { revision });
        let mut client = self.actor.etcd().kv_client();
        match limited(client.compact(revision, None)).await {
            Ok(answer) => self.done(open, revision_of(answer.header()), ()),
            Err(trouble) => self.failed(open, trouble, true),
        }
    }

    pub(super) fn done(&self, open: OpenOperation, revision: i64, result: impl Serialize) -> Came {
        self.run.saw(revision);
        open.ok(result, Evidence::revision(revision));
        Came::Yes(revision)
    }

    /// No answer, or a refusal. Some refusals are facts about etcd's state, and so
    /// are answers.
    pub(super) fn failed(&self, open: OpenOperation, trouble: Trouble, is_write: bool) -> Came {
        const WHAT: &str = "send a request to";
        const WHERE: &str = "etcd";
        let error = match trouble {
            Trouble::Etcd(error) => match refusal(&error) {
                Some(refused) => {
                    open.ok(Refused { refused }, Evidence::NONE);
                    return Came::Yes(0);
                }
                None if is_write => Error::mutation(WHAT, WHERE, error),
                None => Error::read(WHAT, WHERE, error),
            },
            Trouble::Deadline if is_write => {
                Error::mutation_deadline(WHAT, WHERE, REQUEST_DEADLINE)
            }
            Trouble::Deadline => Error::deadline(WHAT, WHERE, REQUEST_DEADLINE, None),
        };
        open.failed(&error, ());
        Came::No
    }

    fn get_options(&self, request: &Range<'_>) -> GetOptions {
        let mut options = GetOptions::new().with_limit(request.limit);
        if let Some(end) = &request.span.end {
            options = options.with_range(self.run.absolute(end));
        }
        if let Some(revision) = request.revision {
            options = options.with_revision(revision);
        }
        if request.serializable {
            options = options.with_serializable();
        }
        if request.count_only {
            options = options.with_count_only();
        }
        if request.keys_only {
            options = options.with_keys_only();
        }
        options
    }

    fn delete_options(&self, request: &Delete<'_>) -> DeleteOptions {
        let mut options = DeleteOptions::new();
        if let Some(end) = &request.span.end {
            options = options.with_range(self.run.absolute(end));
        }
        if request.prev_kv {
            options = options.with_prev_key();
        }
        options
    }

    fn compare(&self, compare: &Compare<'_>) -> etcd_client::Compare {
        let Compare(target, key, relation, operand) = compare;
        let key = self.run.absolute(key);
        let relation = match relation {
            Relation::Equal => CompareOp::Equal,
            Relation::NotEqual => CompareOp::NotEqual,
            Relation::Greater => CompareOp::Greater,
            Relation::Less => CompareOp::Less,
        };
        match target {
            Target::Version => etcd_client::Compare::version(key, relation, *operand),
            Target::Create => etcd_client::Compare::create_revision(key, relation, *operand),
            Target::Mod => etcd_client::Compare::mod_revision(key, relation, *operand),
            Target::Lease => etcd_client::Compare::lease(key, relation, *operand),
        }
    }

    fn txn_op(&self, op: &TxnOp<'_>) -> etcd_client::TxnOp {
        match op {
            TxnOp::Range(range) => {
                let key = self.run.absolute(&range.span.key);
                etcd_client::TxnOp::get(key, Some(self.get_options(range)))
            }
            TxnOp::Put(put) => {
                let key = self.run.absolute(&put.key);
                etcd_client::TxnOp::put(key, put.value.as_ref(), Some(put_options(put)))
            }
            TxnOp::Delete(delete) => {
                let key = self.run.absolute(&delete.span.key);
                etcd_client::TxnOp::delete(key, Some(self.delete_options(delete)))
            }
        }
    }

    fn op_result(&self, op: &TxnOp<'_>, answer: &TxnOpResponse) -> Option<OpResult<'static>> {
        Some(match (op, answer) {
            (TxnOp::Range(range), TxnOpResponse::Get(answer)) => {
                OpResult::Range(self.range_result(range, answer))
            }
            (TxnOp::Put(_), TxnOpResponse::Put(answer)) => OpResult::Put(PutResult {
                prev: answer.prev_key().map(|kv| self.key_value(kv, false)),
            }),
            (TxnOp::Delete(_), TxnOpResponse::Delete(answer)) => {
                OpResult::Delete(self.delete_result(answer))
            }
            _ => return None,
        })
    }

    fn range_result(
        &self,
        request: &Range<'_>,
        answer: &etcd_client::GetResponse,
    ) -> RangeResult<'static> {
        let kvs = answer.kvs().iter();
        RangeResult {
            kvs: kvs
                .map(|kv| self.key_value(kv, request.keys_only))
                .collect(),
            count: answer.count(),
            more: answer.more(),
        }
    }

    fn delete_result(&self, answer: &etcd_client::DeleteResponse) -> DeleteResult<'static> {
        let prev = answer.prev_kvs().iter();
        DeleteResult {
            deleted: answer.deleted(),
            prev: prev.map(|kv| self.key_value(kv, false)).collect(),
        }
    }

    /// A version of a key as histories have it.
    pub(super) fn key_value(
        &self,
        kv: &etcd_client::KeyValue,
        without_value: bool,
    ) -> KeyValue<'static> {
        let value = (!without_value).then(|| {
            let text = String::from_utf8_lossy(kv.value()).into_owned();
            Cow::Owned(text)
        });
        KeyValue(
            self.run.relative(kv.key()).into(),
            value,
            kv.create_revision(),
            kv.mod_revision(),
            kv.version(),
            kv.lease(),
        )
    }
}

fn put_options(request: &Put<'_>) -> PutOptions {
    let options = PutOptions::new().with_lease(request.lease);
    if request.prev_kv {
        options.with_prev_key()
    } else {
        options
    }
}

fn lease_result(ttl: i64, keys: Vec<Cow<'static, str>>) -> LeaseResult<'static> {
    LeaseResult { ttl, keys }
}

/// One key, or the keys up to another one.
pub(super) fn span(key: String, end: Option<String>) -> Span<'static> {
    Span {
        key: key.into(),
        end: end.map(Cow::Owned),
    }
}

/// Why there is no answer.
pub(super) enum Trouble {
    Etcd(etcd_client::Error),
    Deadline,
}

pub(super) async fn limited<T>(
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, Trouble> {
    match runtime::timeout(REQUEST_DEADLINE, request).await {
        Ok(answer) => answer.map_err(Trouble::Etcd),
        Err(runtime::Elapsed) => Err(Trouble::Deadline),
    }
}

fn refusal(error: &etcd_client::Error) -> Option<Refusal> {
    if error::is_compacted(error) {
        Some(Refusal::Compacted)
    } else if error::is_future_revision(error) {
        Some(Refusal::Future)
    } else if error::is_lease_not_found(error) {
        Some(Refusal::LeaseNotFound)
    } else if error::is_lease_taken(error) {
        Some(Refusal::LeaseExists)
    } else {
        None
    }
}
