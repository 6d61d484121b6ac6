//! What recipes tell about themselves: spans of [`tracing`](https://docs.rs/tracing) and, with
//! the feature `metrics`, counters and histograms on the [`metrics`](https://docs.rs/metrics)
//! facade. Nothing here is to be called: install a subscriber and a recorder.
//!
//! # Spans
//!
//! Each operation, its waits included, is a span `etcd_recipe` of the level `DEBUG` with these
//! fields; those that do not apply, or are not known in the end, are left out:
//!
//! | field | what |
//! |---|---|
//! | `recipe`, `operation` | what is done: `mutex`, `lock` |
//! | `name` | the name that the recipe was made with |
//! | `lease` | the lease of the session, in hexadecimal digits as etcdctl shows it |
//! | `token` | the fencing token of what is held now; of an election the term |
//! | `revision` | the revision at which it was done: taken, put, committed, let in |
//!
//! Events within it, also of the level `DEBUG`, tell of its steps: it waits in line, somebody
//! was faster, a watch was opened again.
//!
//! # Metrics
//!
//! | metric | labels | what |
//! |---|---|---|
//! | `etcd_recipes_operations_total` | `recipe`, `operation`, `outcome` | operations that ended; the outcome is `ok` or the kind of the error |
//! | `etcd_recipes_operation_seconds` | `recipe`, `operation` | how long they took, waiting included, whatever their outcome |
//! | `etcd_recipes_sessions_lost_total` | `reason` | sessions that were lost: `expired`, `gone`, `closed` |
//! | `etcd_recipes_watches_opened_again_total` | | lasting watches that broke or fell silent |
//! | `etcd_recipes_stm_attempts` | | attempts per committed transaction |
//!
//! Recipes are called as the `etcd-recipes` command calls them: `mutex`, `rwlock`,
//! `election`, `queue`, `priority-queue`, `reliable-queue`, `barrier`,
//! `double-barrier`, `cyclic-barrier`, `stm`. Operations are called after their
//! methods; those that only look at something are not counted. Of a transaction
//! `aborted` is an outcome, too. An operation whose future is dropped is not
//! counted.

use std::time::Duration;

use tracing::Instrument as _;

use crate::error::{Error, ErrorKind};
use crate::runtime;
use crate::session::Loss;

/// An operation of a recipe, for its span and its metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The recipe: "mutex".
    pub(crate) recipe: &'static str,
    /// The operation: "lock".
    pub(crate) operation: &'static str,
    /// The name that the recipe was made with; empty where it has none.
    pub(crate) name: &'a str,
    /// The lease of the session, where there is one.
    pub(crate) lease: Option<i64>,
}

/// Does `work` inside a span, and counts it.
pub(crate) fn observed<T>(
    call: Call<'_>,
    work: impl Future<Output = Result<T, Error>>,
) -> impl Future<Output = Result<T, Error>> {
    observed_with(call, work, outcome_of)
}

/// As [`observed`], for errors of another kind.
pub(crate) fn observed_with<T, E>(
    call: Call<'_>,
    work: impl Future<Output = Result<T, E>>,
    outcome_of: impl FnOnce(&E) -> &'static str,
) -> impl Future<Output = Result<T, E>> {
    // On the heap, so that the future that callers nest stays small.
    let work = Box::pin(work);
    async move {
        let span = tracing::debug_span!(
            "etcd_recipe",
            recipe = call.recipe,
            operation = call.operation,
            name = (!call.name.is_empty()).then_some(call.name),
            lease = call.lease.map(|lease| format!("{lease:x}")),
            token = tracing::field::Empty,
            revision = tracing::field::Empty,
        );
        let start = runtime::now();
        let result = work.instrument(span).await;
        let took = runtime::now().saturating_duration_since(start);
        counted(call, result.as_ref().err().map_or("ok", outcome_of), took);
        result
    }
}

/// Says in the span of the operation at which revision it was done.
pub(crate) fn done_at(revision: i64) {
    tracing::Span::current().record("revision", revision);
}

/// Says in the span of the operation what is held now, and since when that is known.
pub(crate) fn held(token: i64, revision: i64) {
    tracing::Span::current().record("token", token);
    done_at(revision);
}

/// What an operation that ended with this error counts as.
pub(crate) fn outcome_of(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::OutcomeUnknown => "unknown",
        ErrorKind::Refused => "refused",
        ErrorKind::NotSent => "not_sent",
        ErrorKind::DeadlineElapsed => "deadline",
        ErrorKind::SessionLost => "session_lost",
        ErrorKind::NotHeld => "not_held",
        ErrorKind::TooManyClients => "too_many_clients",
        _ => "error",
    }
}

#[cfg(feature = "metrics")]
fn counted(call: Call<'_>, outcome: &'static str, took: Duration) {
    let Call {
        recipe, operation, ..
    } = call;
    metrics::counter!("etcd_recipes_operations_total", "recipe" => recipe, "operation" => operation, "outcome" => outcome)
        .increment(1);
    metrics::histogram!("etcd_recipes_operation_seconds", "recipe" => recipe, "operation" => operation)
        .record(took);
}

#[cfg(not(feature = "metrics"))]
fn counted(_: Call<'_>, _: &'static str, _: Duration) {}

/// A session was lost.
pub(crate) fn session_lost(loss: Loss) {
    #[cfg(feature = "metrics")]
    {
        let reason = match loss {
            Loss::Expired => "expired",
            Loss::Gone => "gone",
            Loss::Closed => "closed",
        };
        metrics::counter!("etcd_recipes_sessions_lost_total", "reason" => reason).increment(1);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = loss;
}

/// A lasting watch has to be opened again.
pub(crate) fn watch_opened_again() {
    #[cfg(feature = "metrics")]
    metrics::counter!("etcd_recipes_watches_opened_again_total").increment(1);
}

/// A transaction of the STM committed after this many attempts.
pub(crate) fn stm_attempts(attempts: u32) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("etcd_recipes_stm_attempts").record(attempts);
    #[cfg(not(feature = "metrics"))]
    let _ = attempts;
}
