//! What a client was answered, as text that can be compared.

use std::fmt::Debug;

use etcd_client::Error;

/// The answers of one session, in order.
#[derive(Debug, Default)]
pub(crate) struct Transcript(Vec<(String, String)>);

impl Transcript {
    /// Notes what a request was answered.
    pub(crate) fn note<T: Debug>(&mut self, request: &str, answer: Result<T, Error>) -> Option<T> {
        let (text, answer) = match answer {
            Ok(answer) => (even_out(&format!("{answer:?}")), Some(answer)),
            Err(error) => (refusal(&error), None),
        };
        self.0.push((request.to_owned(), text));
        answer
    }

    /// Notes something that was found out otherwise.
    pub(crate) fn say(&mut self, what: &str, text: impl Debug) {
        self.0.push((what.to_owned(), format!("{text:?}")));
    }

    /// Both sides have the same to say.
    #[track_caller]
    pub(crate) fn assert_same(&self, real: &Transcript) {
        for (number, (ours, theirs)) in self.0.iter().zip(&real.0).enumerate() {
            assert_eq!(
                ours, theirs,
                "answer {number} differs\nsimulated: {ours:#?}\nreal: {theirs:#?}"
            );
        }
        assert_eq!(self.0.len(), real.0.len(), "one of them went on for longer");
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// An error as the client sees it: code and text.
pub(crate) fn refusal(error: &Error) -> String {
    match error {
        Error::GRpcStatus(status) => format!("{:?}: {}", status.code(), status.message()),
        error => format!("{error}"),
    }
}

/// Takes out what differs by nature: ids and terms.
fn even_out(text: &str) -> String {
    let mut rest = text;
    let mut even = String::with_capacity(text.len());
    'all: while !rest.is_empty() {
        for name in ["cluster_id: ", "member_id: ", "raft_term: "] {
            if let Some(after) = rest.strip_prefix(name) {
                even += name;
                rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
                continue 'all;
            }
        }
        let next = rest.chars().next().expect("it is not empty");
        even.push(next);
        rest = &rest[next.len_utf8()..];
    }
    even
}

#[test]
fn what_differs_by_nature_is_taken_out() {
    let text = "Header { cluster_id: 12, member_id: 3, revision: 4, raft_term: 5 }";
    let even = "Header { cluster_id: , member_id: , revision: 4, raft_term:  }";
    assert_eq!(even_out(text), even);
}
