//! What an answer is taken for: what must not differ between two etcds.

use std::collections::BTreeMap;
use std::fmt;

use etcd_client::proto::{
    PbCompactionResponse, PbDeleteResponse, PbHashKvResponse, PbLeaseGrantResponse,
    PbLeaseKeepAliveResponse, PbLeaseLeasesResponse, PbLeaseRevokeResponse,
    PbLeaseTimeToLiveResponse, PbPutResponse, PbRangeResponse, PbResponseHeader, PbTxnResponse,
    PbWatchResponse,
};
use similar::{ChangeTag, TextDiff};
use tonic::Status;

/// How exact the time that a lease has left must be, in seconds.
const TTL_GRAIN: i64 = 100;

/// What an etcd answered to one step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Answer(String),
    Refusal(String),
    /// The answers to each watch of a stream, in order; -1 stands for none.
    Watches(BTreeMap<i64, Vec<String>>),
}

impl Outcome {
    pub(crate) fn of(answer: &impl fmt::Debug) -> Outcome {
        Outcome::Answer(format!("{answer:#?}"))
    }

    pub(crate) fn refusal(status: &Status) -> Outcome {
        Outcome::Refusal(format!("{:?}: {}", status.code(), status.message()))
    }

    /// How many answers of watches there are.
    pub(crate) fn watch_answers(&self) -> usize {
        match self {
            Outcome::Watches(watches) => watches.values().map(Vec::len).sum(),
            _ => 0,
        }
    }

    /// Whether a watch was created that has said nothing since. A watch may have been asked for
    /// under the id that those have in answers that were refused: what was refused says nothing
    /// of it.
    pub(crate) fn has_silent_watch(&self) -> bool {
        let is_refused =
            |text: &&String| text.contains("created: true") && text.contains("canceled: true");
        let is_created =
            |text: &String| text.contains("created: true") && text.contains("canceled: false");
        match self {
            Outcome::Watches(watches) => watches
                .values()
                .filter_map(|answers| answers.iter().rev().find(|text| !is_refused(text)))
                .any(is_created),
            _ => false,
        }
    }

    /// The same with one text for another.
    pub(crate) fn replace(self, from: &str, to: &str) -> Outcome {
        let change = |text: String| match text.contains(from) {
            true => text.replace(from, to),
            false => text,
        };
        match self {
            Outcome::Answer(text) => Outcome::Answer(change(text)),
            Outcome::Refusal(text) => Outcome::Refusal(change(text)),
            Outcome::Watches(watches) => {
                let change_all = |texts: Vec<String>| texts.into_iter().map(change).collect();
                let watches = watches.into_iter();
                Outcome::Watches(watches.map(|(id, texts)| (id, change_all(texts))).collect())
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Answer(text) => f.write_str(text),
            Outcome::Refusal(text) => write!(f, "refused: {text}"),
            Outcome::Watches(watches) => {
                for (id, answers) in watches {
                    writeln!(f, "watch {id}:")?;
                    for answer in answers {
                        writeln!(f, "{answer}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The lines in which two outcomes differ, with their surroundings: `-` is what the
/// simulated etcd said, `+` what the real one did.
pub(crate) fn diff(simulated: &Outcome, real: &Outcome) -> String {
    let (simulated, real) = (simulated.to_string(), real.to_string());
    let diff = TextDiff::from_lines(&simulated, &real);
    let mut text = String::new();
    for group in diff.grouped_ops(3) {
        if !text.is_empty() {
            text.push_str("      ...\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            text.push_str(&format!("    {sign} {}\n", cut(change.value().trim_end())));
        }
    }
    text
}

/// Long values are cut.
fn cut(line: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    if line.chars().count() <= CHARACTERS_MAX {
        return line.to_owned();
    }
    let begin: String = line.chars().take(CHARACTERS_MAX).collect();
    format!("{begin}.. ({} characters)", line.chars().count())
}

/// A message without what differs between two clusters by nature.
pub(crate) trait Even {
    fn even(&mut self);
}

/// Ids and terms differ; that they are present must not.
pub(crate) fn even_header(header: &mut Option<PbResponseHeader>) {
    if let Some(header) = header {
        header.cluster_id = header.cluster_id.min(1);
        header.member_id = header.member_id.min(1);
        header.raft_term = header.raft_term.min(1);
    }
}

macro_rules! even_headers {
    ($($message:ty),*) => {
        $(impl Even for $message {
            fn even(&mut self) {
                even_header(&mut self.header);
            }
        })*
    };
}

even_headers!(
    PbRangeResponse,
    PbHashKvResponse,
    PbPutResponse,
    PbDeleteResponse,
    PbTxnResponse,
    PbCompactionResponse,
    PbLeaseGrantResponse,
    PbLeaseRevokeResponse,
    PbLeaseKeepAliveResponse,
    PbLeaseLeasesResponse,
    PbWatchResponse,
    NestedTxnResponse
);

/// The time that is left runs; the order of the keys is open in etcd.
impl Even for PbLeaseTimeToLiveResponse {
    fn even(&mut self) {
        even_header(&mut self.header);
        self.keys.sort();
        if self.ttl > 0 {
            self.ttl = (self.ttl + TTL_GRAIN / 2) / TTL_GRAIN * TTL_GRAIN;
        }
    }
}

/// The answer to a transaction that is nested too deep for a decoder: what it holds
/// is left as it is.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NestedTxnResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<PbResponseHeader>,
    #[prost(bool, tag = "2")]
    succeeded: bool,
    #[prost(bytes = "vec", repeated, tag = "3")]
    responses: Vec<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn a_watch_of_the_id_of_refusals_is_silent_whatever_is_refused() {
        let text =
            |created: bool, canceled: bool| format!("created: {created}\ncanceled: {canceled}");
        let heard = |answers: &[(bool, bool)]| {
            let texts = answers
                .iter()
                .map(|(created, canceled)| text(*created, *canceled));
            Outcome::Watches([(-1, texts.collect())].into())
        };
        assert!(heard(&[(true, false)]).has_silent_watch());
        assert!(heard(&[(true, false), (true, true)]).has_silent_watch());
        assert!(!heard(&[(true, true)]).has_silent_watch());
        assert!(!heard(&[(true, false), (false, false), (true, true)]).has_silent_watch());
    }
}
