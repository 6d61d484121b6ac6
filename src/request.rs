//! Requests with a deadline, and with errors that say what is known.

use std::time::Duration;

use etcd_client::{Client, GetOptions, GetResponse, KvClient, Txn, TxnResponse};

use crate::error::{self, Error};
use crate::keys::Name;
use crate::runtime;

/// How long a recipe waits for the answer to one request unless told otherwise:
/// 5 seconds.
pub const DEFAULT_REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// The first pause before a read is repeated; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a request is for, to name it in errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose<'a> {
    /// A verb phrase: "enqueue into".
    pub(crate) operation: &'static str,
    pub(crate) target: &'a str,
}

/// Sends requests to the key-value store, each under a deadline.
#[derive(Clone)]
pub(crate) struct Requests {
    client: KvClient,
    deadline: Duration,
}

impl Requests {
    pub(crate) fn new(client: &Client, deadline: Duration) -> Self {
        Self {
            client: client.kv_client(),
            deadline,
        }
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(crate) fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same requests under a deadline of at most `limit`.
    pub(crate) fn limited_to(&self, limit: Duration) -> Self {
        Self {
            client: self.client.clone(),
            deadline: self.deadline.min(limit),
        }
    }

    /// Sends a txn that may change something. Once only: whether it may be sent
    /// again is for the recipe to decide.
    pub(crate) async fn write(&self, why: Purpose<'_>, txn: Txn) -> Result<TxnResponse, Error> {
        let mut client = self.client.clone();
        self.mutation(why, client.txn(txn)).await
    }

    /// Deletes a key, once. Returns how many there were: 0 or 1. etcd is quicker
    /// with this than with a transaction that does the same.
    pub(crate) async fn delete(&self, why: Purpose<'_>, key: &str) -> Result<i64, Error> {
        let mut client = self.client.clone();
        let answer = self.mutation(why, client.delete(key, None)).await?;
        Ok(answer.deleted())
    }

    async fn mutation<T>(
        &self,
        why: Purpose<'_>,
        answer: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Error> {
        match runtime::timeout(self.deadline, answer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(source)) => Err(Error::mutation(why.operation, why.target, source)),
            Err(runtime::Elapsed) => Err(Error::mutation_deadline(
                why.operation,
                why.target,
                self.deadline,
            )),
        }
    }

    /// Reads a range, again after a passing failure, until the deadline.
    pub(crate) async fn range(
        &self,
        why: Purpose<'_>,
        key: &[u8],
        options: GetOptions,
    ) -> Result<GetResponse, Error> {
        self.repeat(why, || {
            let (mut client, options) = (self.client.clone(), options.clone());
            async move { client.get(key, Some(options)).await }
        })
        .await
    }

    /// How many keys lie where the items of a queue do, counted by etcd.
    pub(crate) async fn count_items(&self, name: &Name) -> Result<u64, Error> {
        let why = Purpose {
            operation: "count the items of",
            target: name.as_str(),
        };
        let (start, end) = name.item_range();
        let options = GetOptions::new().with_range(end).with_count_only();
        let answer = self.range(why, start.as_bytes(), options).await?;
        Ok(u64::try_from(answer.count()).unwrap_or(0))
    }

    /// Sends a txn that changes nothing, again after a passing failure, until
    /// the deadline.
    pub(crate) async fn read(&self, why: Purpose<'_>, txn: Txn) -> Result<TxnResponse, Error> {
        self.repeat(why, || {
            let (mut client, txn) = (self.client.clone(), txn.clone());
            async move { client.txn(txn).await }
        })
        .await
    }

    /// Repeats what changes nothing, or nothing more when done twice.
    async fn repeat<T, F>(
        &self,
        why: Purpose<'_>,
        mut request: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let start = runtime::now();
        let mut pause = FIRST_PAUSE;
        let mut last = None;
        loop {
            let left = self
                .deadline
                .saturating_sub(runtime::now().saturating_duration_since(start));
            match runtime::timeout(left, request()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(source)) if error::is_passing(&source) && pause < left => {
                    tracing::debug!(
                        operation = why.operation,
                        name = why.target,
                        error = error::brief(&source),
                        "a read failed and is tried again"
                    );
                    last = Some(source);
                    runtime::sleep(runtime::jittered(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Ok(Err(source)) => return Err(Error::read(why.operation, why.target, source)),
                Err(runtime::Elapsed) => {
                    return Err(Error::deadline(
                        why.operation,
                        why.target,
                        self.deadline,
                        last,
                    ));
                }
            }
        }
    }
}

/// The revision in an answer's header. etcd always sends one.
pub(crate) fn revision_of(header: Option<&etcd_client::ResponseHeader>) -> i64 {
    header.map_or(0, etcd_client::ResponseHeader::revision)
}
