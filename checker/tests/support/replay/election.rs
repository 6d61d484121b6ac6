//! An election, one operation after the other.

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::History;
use etcd_checker::history::{Operation, Outcome};
use serde_json::{Value, json};

use super::super::linearization::in_order_with;
use super::asked_and_told;

/// What the keys of the candidates tell, besides the operations.
#[derive(Default)]
struct Keys {
    /// The term of each value.
    terms: BTreeMap<String, i64>,
    /// The terms that ended.
    ended: BTreeSet<i64>,
    /// Those whose candidates have no operation that says that they lead.
    silent: BTreeSet<i64>,
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

impl Keys {
    fn of(history: &History) -> Self {
        let mut keys = Self::default();
        let mut first = BTreeMap::new();
        for watch in history
            .operations()
            .iter()
            .filter(|op| op.invoke.f() == "watch")
        {
            let (_, changes) = asked_and_told(watch);
            for change in changes.as_array().into_iter().flatten() {
                let term = change["term"].as_i64().unwrap();
                if change["value"].is_null() {
                    keys.ended.insert(term);
                } else {
                    keys.terms.insert(text(&change["value"]), term);
                    first.entry(term).or_insert(text(&change["value"]));
                }
            }
        }
        for operation in history.operations() {
            let is_silent = operation.invoke.f() == "run"
                || operation.invoke.f() == "campaign" && operation.outcome() == Outcome::Fail;
            if is_silent {
                let value = text(&asked_and_told(&operation).0);
                let of_value = keys.terms.get(&value).copied();
                keys.silent
                    .extend(of_value.filter(|term| first[term] == value));
            }
        }
        keys
    }
}

/// Who leads, with which value.
#[derive(Default)]
struct Election {
    leader: Option<(i64, String)>,
    /// The last term that began.
    last: i64,
}

impl Election {
    fn leads(&self, term: i64) -> bool {
        self.leader
            .as_ref()
            .is_some_and(|(leader, _)| *leader == term)
    }

    /// A leader goes, with its lease.
    fn vacate(&mut self, keys: &Keys) {
        if let Some((term, _)) = self.leader.take() {
            assert!(keys.ended.contains(&term), "term {term} did not end");
        }
    }

    fn begin(&mut self, keys: &Keys, term: i64, value: String) {
        self.vacate(keys);
        assert!(self.last < term, "{term} leads after {}", self.last);
        self.last = term;
        self.leader = Some((term, value));
    }

    /// A term of which no operation says that it began.
    fn begin_silently(&mut self, keys: &Keys, term: i64, value: &str) {
        if !self.leads(term) && keys.silent.contains(&term) {
            self.begin(keys, term, value.to_owned());
        }
    }
}

fn belongs(operation: &Operation<'_>) -> bool {
    !matches!(operation.invoke.f(), "observe" | "run" | "watch")
}

/// Does the operations one after the other. Returns how many of unknown outcome were among
/// them.
///
/// # Panics
/// When that is not what the history says.
pub fn replay(history: &History, order: &[usize]) -> usize {
    let keys = Keys::of(history);
    let mut election = Election::default();
    let mut silent = 0;
    for operation in in_order_with(history, order, belongs) {
        silent += usize::from(operation.outcome() != Outcome::Ok);
        let (asked, told) = asked_and_told(&operation);
        let term = asked["term"].as_i64();
        match operation.invoke.f() {
            "campaign" => {
                let value = text(&asked);
                let term = told["term"].as_i64().unwrap_or_else(|| keys.terms[&value]);
                if election.leads(term) {
                    election.leader = Some((term, value));
                } else {
                    election.begin(&keys, term, value);
                }
            }
            "proclaim" => {
                let term = term.unwrap();
                election.begin_silently(&keys, term, "");
                assert!(election.leads(term), "{operation:?}");
                election.leader = Some((term, text(&asked["value"])));
            }
            "resign" => {
                let term = term.unwrap();
                if election.leads(term) {
                    election.leader = None;
                } else {
                    assert!(keys.ended.contains(&term), "{operation:?}");
                }
            }
            "act" | "write" => {
                let term = term.unwrap();
                election.begin_silently(&keys, term, "");
                assert!(election.leads(term), "{operation:?}");
            }
            "leader" if told.is_null() => election.vacate(&keys),
            "leader" => {
                let (term, value) = (told["term"].as_i64().unwrap(), text(&told["value"]));
                election.begin_silently(&keys, term, &value);
                let is_known = !keys.silent.contains(&term);
                let leader = election.leader.clone();
                if is_known {
                    assert_eq!(leader, Some((term, value)), "{operation:?}");
                } else {
                    assert_eq!(leader.map(|(term, _)| json!(term)), Some(json!(term)));
                }
            }
            _ => {}
        }
    }
    silent
}
