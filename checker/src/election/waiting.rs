//! Liveness: who waits although there is nothing left to wait for.
//!
//! A candidate may wait for as long as another one leads, and an observer for as
//! long as nothing changes. At the mark that says "everything had the time to
//! finish", a candidate is stuck when the one before it is nobody's any more: its
//! client is dead, or was told that its campaign failed; or when it is itself the
//! first. An observer is stuck when the last that it was told is not what holds.

use serde::Deserialize;

use crate::history::{History, Operation, Outcome, Process};
use crate::liveness::{Deadline, STUCK};
use crate::verdict::{Class, Kind, Violation, count};

use super::extract::{Answer, Call, Election};
use super::record::State;

const ZOMBIE: Kind = Kind {
    name: "zombie-candidate",
    meaning: "a key that nobody leads with stays first and lets nobody else lead",
};
const DEAD_LEADER: Kind = Kind {
    name: "dead-leader",
    meaning: "a leader's process died, and nobody took its place",
};
const LEFT_BEHIND: Kind = Kind {
    name: "observer-left-behind",
    meaning: "an observer was never told of a change",
};

/// An operation that had to finish and did not.
pub(super) fn find_stuck(election: &Election<'_>, history: &History) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let last = election.record.state_at(election.record.covered);
    let waiting = Waiting {
        election,
        history,
        deadline,
        last,
    };
    let mut stuck = election.iter().filter_map(|(index, operation, call)| {
        let is_overdue =
            operation.outcome() == Outcome::Open && operation.invoked < waiting.deadline.index;
        is_overdue.then(|| waiting.why_stuck(index, &operation, &call))?
    });
    let mut violation = stuck.next()?;
    let others = stuck.count();
    if others > 0 {
        violation.also.push(format!(
            "{} had not finished either",
            count(others as u64, "other operation")
        ));
    }
    Some(violation)
}

struct Waiting<'e, 'h> {
    election: &'e Election<'h>,
    history: &'h History,
    deadline: Deadline,
    /// The state at the end of the record.
    last: State,
}

impl<'h> Waiting<'_, 'h> {
    fn why_stuck(
        &self,
        index: usize,
        operation: &Operation<'h>,
        call: &Call<'h>,
    ) -> Option<Violation> {
        match call {
            Call::Watch => None,
            Call::Campaign { .. } | Call::Run => self.candidate(index, operation),
            Call::Observe { stream, .. } => self.observer(operation, stream),
            _ => Some(self.violation(STUCK, operation, "", None)),
        }
    }

    fn candidate(&self, index: usize, operation: &Operation<'h>) -> Option<Violation> {
        let Some((leader, _)) = self.last.leader else {
            let why = ", although nobody led";
            return Some(self.violation(STUCK, operation, why, None));
        };
        let term = self.election.record.term(leader);
        let number = term.number;
        let proposer = self.election.proposers.get(&term.values[0].value);
        let Some(proposer) = proposer.copied() else {
            let why = format!(", behind term {number}, which nobody campaigned for");
            return Some(self.violation(STUCK, operation, &why, None));
        };
        if proposer == index {
            // A run that leads may work for as long as it likes.
            if self.has_acted(number) {
                return None;
            }
            let why = format!(
                ", although its own key was the first since revision {}: it missed that those \
                 before it had gone",
                self.last.from
            );
            return Some(self.violation(STUCK, operation, &why, None));
        }
        let holder = self.election.operations.get(proposer);
        let process = holder.process();
        let since = term.leads_from;
        if self.is_dead(&holder) {
            let why = format!(
                ": it waits behind term {number}, first since revision {since}, whose process \
                 {process} has died; its key outlived it, as keys without a lease do"
            );
            return Some(self.violation(DEAD_LEADER, operation, &why, Some(holder)));
        }
        let (whose, witness) = self.nobody_leads_with(number, holder)?;
        let why = format!(
            ": it waits behind term {number}, first since revision {since}, {whose}; nobody leads \
             with that key, and nobody withdrew it"
        );
        Some(self.violation(ZOMBIE, operation, &why, Some(witness)))
    }

    /// Why nobody leads with this term although its key is there, and what shows
    /// it. None when its client may lead.
    fn nobody_leads_with(
        &self,
        number: i64,
        holder: Operation<'h>,
    ) -> Option<(String, Operation<'h>)> {
        let process = holder.process();
        let f = holder.invoke.f();
        match holder.outcome() {
            Outcome::Fail | Outcome::Info => {
                let whose = format!("whose {f} by process {process} had ended with an error");
                return Some((whose, holder));
            }
            Outcome::Ok if f == "run" => {
                let whose = format!("whose {f} by process {process} had returned");
                return Some((whose, holder));
            }
            _ => {}
        }
        let resigned = self.election.iter().find(|(_, operation, call)| {
            matches!(call, Call::Resign { term } if *term == number)
                && operation.outcome() != Outcome::Open
        });
        resigned.map(|(_, operation, _)| {
            let whose = format!("from which process {} had resigned", operation.process());
            (whose, operation)
        })
    }

    /// Whether somebody led with this term.
    fn has_acted(&self, number: i64) -> bool {
        self.election.iter().any(|(_, _, call)| match call {
            Call::Act { term } | Call::Write { term } | Call::Proclaim { term, .. } => {
                term == number
            }
            _ => false,
        })
    }

    /// Whether the client's process died after this operation began.
    fn is_dead(&self, operation: &Operation<'h>) -> bool {
        #[derive(Deserialize)]
        struct Struck {
            client: Option<u64>,
        }
        let Some(client) = operation.invoke.client() else {
            return false;
        };
        let later = &self.history.events()[operation.invoked..];
        later.iter().any(|event| {
            event.process() == Process::Nemesis
                && matches!(event.f(), "client-kill" | "client-restart")
                && event
                    .value()
                    .parse::<Struck>()
                    .is_ok_and(|struck| struck.client == Some(client))
        })
    }

    fn observer(&self, operation: &Operation<'h>, stream: &str) -> Option<Violation> {
        let told = self
            .election
            .iter()
            .filter_map(|(_, told, call)| match call {
                Call::Observe {
                    stream: of,
                    answer: Some(answer),
                } if of == stream => Some((told, answer)),
                _ => None,
            });
        let Some((told, answer)) = told.last() else {
            let why = ", although the first answer needs no change".to_owned();
            return Some(self.violation(STUCK, operation, &why, None));
        };
        let known = match &answer {
            Answer::Vacant => "that nobody leads".to_owned(),
            Answer::Leader(leader) => {
                format!("that term {} leads with `{}`", leader.term, leader.value)
            }
        };
        let holds = match (&answer, self.last.leader) {
            (Answer::Vacant, None) => return None,
            (_, None) => "nobody leads".to_owned(),
            (Answer::Leader(leader), Some((term, value))) => {
                let term = self.election.record.term(term);
                let now = &term.values[value].value;
                if leader.term == term.number && leader.value == *now {
                    return None;
                }
                format!("term {} leads with `{now}`", term.number)
            }
            (Answer::Vacant, Some((term, _))) => {
                format!("term {} leads", self.election.record.term(term).number)
            }
        };
        let why = format!(
            ": observer `{stream}` was last told {known}, but since revision {} {holds}",
            self.last.from
        );
        Some(self.violation(LEFT_BEHIND, operation, &why, Some(told)))
    }

    fn violation(
        &self,
        kind: Kind,
        operation: &Operation<'h>,
        why: &str,
        other: Option<Operation<'h>>,
    ) -> Violation {
        let sentence = self.deadline.sentence(operation) + why;
        let witness = std::iter::once(*operation).chain(other);
        Violation::new(Class::Liveness, kind, sentence, witness)
    }
}
