//! Keeping a watch open: it is opened again whenever it breaks or falls silent,
//! until etcd refuses it.

use std::time::Duration;

use etcd_client::{Client, Event, WatchClient, WatchFilterType, WatchOptions};
use etcd_client::{WatchResponse, WatchStream};

use super::PrefixWatchOptions;
use crate::error::{self, Error};
use crate::runtime;
use crate::telemetry;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Range {
    /// All keys that begin with this.
    Prefix(String),
    /// This key alone.
    Key(String),
}

impl Range {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Prefix(text) | Self::Key(text) => text,
        }
    }
}

/// Who follows a watch: learns its events, and says where to resume.
pub(super) trait Follower: Send + Sync {
    /// The revision to open the watch at; 0 for "from now on".
    fn resume_at(&self) -> i64;

    /// The stream was opened and etcd has confirmed it: every event after the
    /// revision that [`resume_at`](Self::resume_at) said will come, or, for 0,
    /// every event after `revision`.
    fn opened(&self, revision: i64) -> impl Future<Output = Next> + Send {
        let _ = revision;
        async { Next::Follow }
    }

    /// Whether events may be late because etcd has not caught up with the watch.
    fn is_behind(&self) -> bool {
        false
    }

    /// Looks for itself at what events may be about to tell.
    fn look(&self) -> impl Future<Output = Next> + Send {
        async { Next::Follow }
    }

    /// Events, in order. All of one revision come together unless the watch asked
    /// for fragments.
    fn take(&self, events: &[Event]);

    /// Everything before this revision is gone from etcd.
    fn compacted(&self, compact_revision: i64) -> Next;

    /// etcd cancelled the watch for another reason.
    fn cancelled(&self) -> Next;

    /// It makes no sense to open the watch again.
    fn refused(&self, error: Error);
}

/// What to do with the stream.
pub(super) enum Next {
    /// Go on with this one.
    Follow,
    /// Open another one.
    OpenAgain,
    /// Give up, for this reason.
    GiveUp(Error),
}

/// A watch that is to last.
pub(super) struct Lasting {
    client: WatchClient,
    range: Range,
    options: PrefixWatchOptions,
    whole_revisions: bool,
}

/// Why a stream ended.
enum End {
    /// Open another one.
    Again { heard: bool, why: String },
    /// It makes no sense to open another one.
    Refused(Error),
}

impl End {
    fn again(heard: bool, why: impl Into<String>) -> Self {
        let why = why.into();
        Self::Again { heard, why }
    }

    fn of(next: Next, heard: bool, why: &str) -> Option<Self> {
        match next {
            Next::Follow => None,
            Next::OpenAgain => Some(Self::again(heard, why)),
            Next::GiveUp(error) => Some(Self::Refused(error)),
        }
    }
}

impl Lasting {
    pub(super) fn new(client: &Client, range: Range, options: PrefixWatchOptions) -> Self {
        Self {
            client: client
                .watch_client()
                // How large an answer may be is for etcd to decide.
                .max_decoding_message_size(usize::MAX),
            range,
            options,
            whole_revisions: false,
        }
    }

    /// Takes all events of a revision in one answer, however large.
    pub(super) fn whole_revisions(mut self) -> Self {
        self.whole_revisions = true;
        self
    }

    pub(super) fn range(&self) -> &Range {
        &self.range
    }

    pub(super) fn puts_only(&self) -> bool {
        self.options.puts_only
    }

    /// Keeps the watch open until it is refused.
    pub(super) async fn follow(&self, follower: &impl Follower) {
        const FIRST_PAUSE: Duration = Duration::from_millis(10);
        const LONGEST_PAUSE: Duration = Duration::from_secs(2);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.follow_once(follower).await {
                End::Refused(error) => {
                    tracing::warn!(range = self.range.as_str(), %error, "the watch was refused");
                    follower.refused(error);
                    return;
                }
                End::Again { heard, why } => {
                    if heard {
                        pause = FIRST_PAUSE;
                    }
                    telemetry::watch_opened_again();
                    tracing::debug!(
                        range = self.range.as_str(),
                        why,
                        revision = follower.resume_at(),
                        "the watch ended and is opened again"
                    );
                    runtime::sleep(runtime::jittered(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Opens one stream and follows it to its end.
    async fn follow_once(&self, follower: &impl Follower) -> End {
        let limit = self.options.silence_limit;
        let revision = follower.resume_at();
        let mut stream = match runtime::timeout(limit, self.open(revision)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.end_of(false, error),
            Err(runtime::Elapsed) => return End::again(false, "no answer when opening it"),
        };
        tracing::trace!(
            range = self.range.as_str(),
            revision,
            "the watch was opened"
        );
        let mut heard_anything = false;
        let mut last_heard = runtime::now();
        let mut looks = Looks::default();
        loop {
            let look = looks.next(follower);
            let interval = look.unwrap_or(self.options.progress_interval);
            match runtime::timeout(interval, stream.message()).await {
                Ok(Ok(Some(response))) => {
                    heard_anything = true;
                    if let Some(end) = self.take(follower, &response).await {
                        return end;
                    }
                    last_heard = runtime::now();
                }
                Ok(Ok(None)) => return End::again(heard_anything, "etcd closed it"),
                Ok(Err(error)) => return self.end_of(heard_anything, error),
                Err(runtime::Elapsed) if look.is_some() => {
                    if let Some(end) = End::of(follower.look().await, true, "it begins anew") {
                        return end;
                    }
                }
                Err(runtime::Elapsed) => {
                    let silent = runtime::now().saturating_duration_since(last_heard);
                    if silent >= limit {
                        return End::again(heard_anything, "silence");
                    }
                    // A stream that takes no more requests is noticed as silence.
                    let asked = runtime::timeout(limit - silent, stream.request_progress()).await;
                    if let Ok(Err(error)) = asked {
                        return self.end_of(heard_anything, error);
                    }
                }
            }
        }
    }

    async fn open(&self, revision: i64) -> Result<WatchStream, etcd_client::Error> {
        let mut options = WatchOptions::new();
        if matches!(self.range, Range::Prefix(_)) {
            options = options.with_prefix();
        }
        if !self.whole_revisions {
            options = options.with_fragment();
        }
        if revision > 0 {
            options = options.with_start_revision(revision);
        }
        if self.options.puts_only {
            options = options.with_filters([WatchFilterType::NoDelete]);
        }
        let mut client = self.client.clone();
        client.watch(self.range.as_str(), Some(options)).await
    }

    /// Takes note of an answer. Returns the end of the stream if it is one.
    async fn take(&self, follower: &impl Follower, response: &WatchResponse) -> Option<End> {
        if response.canceled() {
            return Some(self.cancelled(follower, response));
        }
        let revision = response
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        if response.created()
            && let Some(end) = End::of(follower.opened(revision).await, false, "it begins anew")
        {
            return Some(end);
        }
        if !response.events().is_empty() {
            follower.take(response.events());
        }
        None
    }

    fn cancelled(&self, follower: &impl Follower, response: &WatchResponse) -> End {
        let compacted = response.compact_revision();
        if compacted > 0 {
            tracing::debug!(
                range = self.range.as_str(),
                revision = compacted,
                "the watch fell behind a compaction; what was missed is read"
            );
            let next = follower.compacted(compacted);
            let end = End::of(next, true, "compacted");
            return end.unwrap_or_else(|| End::again(true, "compacted"));
        }
        let reason = response.cancel_reason();
        if is_permission_denied(reason) {
            return End::Refused(Error::watch_refused(self.range.as_str(), reason));
        }
        // An expired token, for one, is renewed by the client at the next read.
        match follower.cancelled() {
            Next::GiveUp(error) => End::Refused(error),
            Next::Follow | Next::OpenAgain => End::again(false, reason),
        }
    }

    fn end_of(&self, heard: bool, error: etcd_client::Error) -> End {
        let text = error::brief(&error);
        if is_permission_denied(&text) {
            return End::Refused(Error::read("watch", self.range.as_str(), error));
        }
        End::again(heard, text)
    }
}

/// When to look for oneself while etcd has not caught up with a watch: soon, then
/// less and less often, until etcd certainly has. It does so every 100 ms
/// (`watchResyncPeriod` in `server/storage/mvcc/watchable_store.go`).
#[derive(Default)]
struct Looks {
    count: u32,
}

impl Looks {
    const FIRST: Duration = Duration::from_millis(2);
    const COUNT: u32 = 7;

    fn next(&mut self, follower: &impl Follower) -> Option<Duration> {
        if self.count == Self::COUNT || !follower.is_behind() {
            return None;
        }
        self.count += 1;
        Some(Self::FIRST * (1 << (self.count - 1)))
    }
}

fn is_permission_denied(text: &str) -> bool {
    // Watch puts the whole status into its reason, so the text is a part.
    text.contains("etcdserver: permission denied")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Behind(bool);

    impl Follower for Behind {
        fn resume_at(&self) -> i64 {
            0
        }

        fn is_behind(&self) -> bool {
            self.0
        }

        fn take(&self, _: &[Event]) {}

        fn compacted(&self, _: i64) -> Next {
            Next::Follow
        }

        fn cancelled(&self) -> Next {
            Next::Follow
        }

        fn refused(&self, _: Error) {}
    }

    #[test]
    fn who_is_behind_looks_soon_and_until_etcd_has_caught_up() {
        let mut looks = Looks::default();
        let all = std::iter::from_fn(|| looks.next(&Behind(true)));
        let millis: Vec<u128> = all.map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [2, 4, 8, 16, 32, 64, 128]);
        assert_eq!(Looks::default().next(&Behind(false)), None);
    }
}
