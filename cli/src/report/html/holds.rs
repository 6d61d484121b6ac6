//! Who was told that it holds something, and until when it believed that: from an
//! answer to the operation that gives it back.

use std::collections::BTreeMap;

use etcd_checker::Model;
use etcd_checker::history::{Event, Operation};
use serde::Deserialize;

use super::bands::{Band, Kind};
use super::data::Lanes;

/// The bands of a model that has something to hold.
pub(super) fn of(model: Model, operations: &[Operation<'_>], lanes: &Lanes) -> Vec<Band> {
    let read: for<'h> fn(&Operation<'h>) -> Vec<Step<'h>> = match model {
        Model::Mutex | Model::RwLock => lock,
        Model::Election => election,
        Model::ReliableQueue => claim,
        _ => return Vec::new(),
    };
    let mut holds = Holds::default();
    let mut steps: Vec<(usize, Step<'_>)> = Vec::new();
    for operation in operations {
        for step in read(operation) {
            let event = match &step {
                Step::Begins { .. } => operation.completed,
                Step::Ends { .. } => operation.invoked,
            };
            steps.push((event, step));
        }
    }
    steps.sort_by_key(|(event, _)| *event);
    for (_, step) in steps {
        holds.take(step, lanes);
    }
    holds.bands
}

/// Something is held from an answer on, or no longer from a question on.
enum Step<'h> {
    Begins {
        what: String,
        label: String,
        operation: Operation<'h>,
        answer: &'h Event,
    },
    Ends {
        what: String,
        time: u64,
    },
}

#[derive(Default)]
struct Holds {
    bands: Vec<Band>,
    /// Places of the bands without an end.
    open: BTreeMap<String, usize>,
}

impl Holds {
    fn take(&mut self, step: Step<'_>, lanes: &Lanes) {
        match step {
            Step::Begins {
                what,
                label,
                operation,
                answer,
            } => {
                self.open.insert(what, self.bands.len());
                self.bands.push(Band {
                    lane: Some(lanes.operation(&operation)),
                    from: answer.time(),
                    to: None,
                    kind: Kind::Hold,
                    label,
                    line: answer.line(),
                });
            }
            Step::Ends { what, time } => {
                if let Some(place) = self.open.remove(&what) {
                    self.bands[place].to = Some(time);
                }
            }
        }
    }
}

fn begins<'h>(operation: &Operation<'h>, what: String, label: String) -> Option<Step<'h>> {
    Some(Step::Begins {
        what,
        label,
        operation: *operation,
        answer: operation.ok()?,
    })
}

fn ends<'h>(operation: &Operation<'h>, what: String) -> Step<'h> {
    let time = operation.invoke.time();
    Step::Ends { what, time }
}

/// `lock` and `try-lock` answer a token, which `unlock` gives back.
fn lock<'h>(operation: &Operation<'h>) -> Vec<Step<'h>> {
    #[derive(Deserialize)]
    struct Asked {
        lock: String,
        token: Option<i64>,
        mode: Option<String>,
    }
    let Ok(asked) = operation.invoke.value().parse::<Asked>() else {
        return Vec::new();
    };
    match operation.invoke.f() {
        "lock" | "try-lock" => {
            let token = operation.ok().map(|answer| answer.value().parse::<i64>());
            let Some(Ok(token)) = token else {
                return Vec::new();
            };
            let mode = asked
                .mode
                .map_or_else(String::new, |mode| format!(", to {mode}"));
            let label = format!("holds {}{mode}, token {token}", asked.lock);
            begins(operation, token.to_string(), label)
                .into_iter()
                .collect()
        }
        "unlock" => asked
            .token
            .map(|token| ends(operation, token.to_string()))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// `campaign` answers a term, which `resign` ends.
fn election<'h>(operation: &Operation<'h>) -> Vec<Step<'h>> {
    #[derive(Deserialize)]
    struct Term {
        term: i64,
    }
    match operation.invoke.f() {
        "campaign" => {
            let term = operation.ok().map(|answer| answer.value().parse::<Term>());
            let Some(Ok(Term { term })) = term else {
                return Vec::new();
            };
            let label = format!("was told that it leads, term {term}");
            begins(operation, term.to_string(), label)
                .into_iter()
                .collect()
        }
        "resign" => match operation.invoke.value().parse::<Term>() {
            Ok(Term { term }) => vec![ends(operation, term.to_string())],
            Err(_) => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// `claim` answers pairs of a value and a revision, which `acknowledge` and
/// `release` give back.
fn claim<'h>(operation: &Operation<'h>) -> Vec<Step<'h>> {
    type Pair = (serde_json::Value, i64);
    match operation.invoke.f() {
        "claim" => {
            let claimed = operation
                .ok()
                .map(|answer| answer.value().parse::<Vec<Pair>>());
            let Some(Ok(claimed)) = claimed else {
                return Vec::new();
            };
            let step = |(value, revision): Pair| {
                let label = format!("has {value}, claimed at revision {revision}");
                begins(operation, format!("{value} {revision}"), label)
            };
            claimed.into_iter().filter_map(step).collect()
        }
        "acknowledge" | "release" => match operation.invoke.value().parse::<Pair>() {
            Ok((value, revision)) => vec![ends(operation, format!("{value} {revision}"))],
            Err(_) => Vec::new(),
        },
        _ => Vec::new(),
    }
}
