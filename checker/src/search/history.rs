//! Calls that come from a history, and what is said about them.

use super::minimal::{self, Failed};
use super::{Budget, Call, Failure, Found, Limit, Others, Sequential, search};
use crate::history::{History, HistoryError, Operation, Outcome};
use crate::verdict::{
    Class, Kind, MAY_BE_FEWER, Summary, Verdict, Violation, count, describe, that_failed,
};

/// What every object can do wrong.
pub(crate) const NON_LINEARIZABLE: Kind = Kind {
    name: "non-linearizable",
    meaning: "no order of the operations explains their results",
};

/// What an object says of a failure.
pub(crate) struct Named {
    pub(crate) kind: Kind,
    /// What was wrong with the refuted operation; else the states are named that it met.
    pub(crate) clause: Option<String>,
}

/// The calls of a history.
pub struct Calls<'h, I, O> {
    /// All operations, in the order of their invocations.
    pub operations: Vec<Operation<'h>>,
    /// Those that may have taken effect.
    pub calls: Vec<Call<I, O>>,
    /// The operation of each call, by its index.
    pub operation_of: Vec<usize>,
    /// Those that failed: they did nothing, which may be what proves a violation.
    pub failed: Vec<FailedCall<I, O>>,
}

/// A call that failed.
pub struct FailedCall<I, O> {
    /// What was asked.
    pub call: Call<I, O>,
    /// The index of its operation.
    pub operation: usize,
}

impl<'h, I, O> Calls<'h, I, O> {
    /// Calls of the operations: of those that may have taken effect, and of those that failed.
    ///
    /// `parse` says what an operation asked, and what came of it, as far as it matters;
    /// the latter only counts for those that are `ok`.
    ///
    /// # Errors
    /// The first that `parse` gives.
    pub fn of(
        history: &'h History,
        mut parse: impl FnMut(&Operation<'h>) -> Result<(I, Option<O>), HistoryError>,
    ) -> Result<Self, HistoryError> {
        let operations = history.operations();
        let mut calls = Vec::with_capacity(operations.len());
        let mut operation_of = Vec::with_capacity(operations.len());
        let mut failed = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            let (input, output) = parse(operation)?;
            let outcome = operation.outcome();
            let is_over = matches!(outcome, Outcome::Ok | Outcome::Fail);
            let call = Call {
                input,
                output: output.filter(|_| outcome == Outcome::Ok),
                invoked: operation.invoked as u64,
                returned: is_over.then_some(operation.completed as u64),
            };
            if outcome == Outcome::Fail {
                failed.push(FailedCall {
                    call,
                    operation: index,
                });
            } else {
                calls.push(call);
                operation_of.push(index);
            }
        }
        Ok(Self {
            operations,
            calls,
            operation_of,
            failed,
        })
    }

    /// The verdict of a search.
    pub fn verdict<M>(&self, model: &M, budget: &Budget) -> Verdict
    where
        M: Sequential<Input = I, Output = O> + ?Sized,
    {
        self.verdict_named(model, None, budget, |_| Named {
            kind: NON_LINEARIZABLE,
            clause: None,
        })
    }

    /// The verdict of a search, where a violation gets a name of its own. A model that is
    /// `plain` tells more of the states that the refuted operation can have met.
    pub(crate) fn verdict_named<M>(
        &self,
        model: &M,
        plain: Option<&M>,
        budget: &Budget,
        name: impl Fn(&Failure) -> Named,
    ) -> Verdict
    where
        M: Sequential<Input = I, Output = O> + ?Sized,
    {
        match search(model, &self.calls, budget) {
            Found::Linearizable(_) => Verdict::Valid(Summary::of(&self.operations)),
            Found::NotLinearizable(mut failure) => {
                let plain =
                    plain.and_then(|plain| minimal::meets(plain, &self.calls, &failure, budget));
                failure.meets = plain.unwrap_or(failure.meets);
                let failed = minimal::needed(model, &self.calls, &self.failed, &failure, budget);
                Verdict::Violation(self.violation(&failure, name(&failure), &failed))
            }
            Found::Unknown(limit) => Verdict::Unknown {
                reason: self.reason(limit),
            },
        }
    }

    /// The operations that took effect, by their index, in an order that explains all
    /// results; none when there is none, or none was found.
    pub fn linearization<M>(&self, model: &M, budget: &Budget) -> Option<Vec<usize>>
    where
        M: Sequential<Input = I, Output = O> + ?Sized,
    {
        match search(model, &self.calls, budget) {
            Found::Linearizable(order) => {
                Some(order.iter().map(|call| self.operation_of[*call]).collect())
            }
            Found::NotLinearizable(_) | Found::Unknown(_) => None,
        }
    }

    /// What a failure of the search means to people.
    fn violation(
        &self,
        failure: &Failure,
        Named { kind, clause }: Named,
        failed: &Failed,
    ) -> Violation {
        let operation = |call: usize| &self.operations[self.operation_of[call]];
        let refuted = operation(failure.refuted);
        let others = match failure.others {
            Others::InTheirTimeSince(time) => Others::InTheirTimeSince(self.line_at(time)),
            others => others,
        };
        let failures = failed.calls.iter();
        let failures: Vec<&Operation<'h>> = failures
            .map(|call| &self.operations[self.failed[*call].operation])
            .collect();
        let is_alone = failure.witness.len() + failures.len() == 1;
        let sentence = format!(
            "`{}` by process {} cannot be: {}{}{}",
            describe(refuted),
            refuted.process(),
            given(is_alone, others),
            clause.unwrap_or_else(|| met(&failure.meets, self.last_before(failure))),
            that_failed(&failures),
        );
        let witness = failure.witness.iter().map(|call| operation(*call));
        let witness = witness.chain(failures);
        let mut violation = Violation::new(Class::Safety, kind, sentence, witness);
        violation.others = others;
        if !failure.is_minimal || !failed.is_minimal {
            violation.also.push(MAY_BE_FEWER.to_owned());
        }
        violation
    }

    /// The line of the completion of this time.
    fn line_at(&self, time: u64) -> u64 {
        let is_it = |operation: &&Operation<'_>| operation.completed as u64 == time;
        let operation = self.operations.iter().find(is_it);
        let completion = operation.and_then(|operation| operation.completion);
        completion.map_or(0, |completion| completion.line() as u64)
    }

    /// The operation of the witness that began last of those that had returned before the
    /// refuted one began.
    fn last_before(&self, failure: &Failure) -> Option<&Operation<'h>> {
        let refuted = &self.calls[failure.refuted];
        let others = failure
            .witness
            .iter()
            .map(|call| (call, &self.calls[*call]));
        let before = others.filter(|(_, call)| {
            let returned = call.returned;
            returned.is_some_and(|returned| returned < refuted.invoked)
        });
        let (last, _) = before.max_by_key(|(_, call)| call.invoked)?;
        Some(&self.operations[self.operation_of[*last]])
    }

    fn reason(&self, limit: Limit) -> String {
        let pending = self.calls.iter().filter(|call| call.returned.is_none());
        let mut reason =
            format!("the search for an order did not end within {limit} that it was given");
        let pending = pending.count();
        if pending > 0 {
            let pending = count(pending as u64, "operation");
            reason += &format!(
                "; {pending} of unknown outcome may have taken effect at any time, or never"
            );
        }
        reason
    }
}

/// What is said of the other operations before it is said what cannot be.
pub(crate) fn given(is_alone: bool, others: Others) -> String {
    let listed = if is_alone {
        "whatever"
    } else {
        "given the other operations that are listed, and whatever"
    };
    let rest = if is_alone {
        "the other operations"
    } else {
        "the rest"
    };
    match others {
        Others::AtAnyTime => format!("{listed} {rest} did, "),
        Others::InTheirTime => format!("{listed} came of {rest} while they went on, "),
        Others::InTheirTimeSince(line) => {
            let and_listed = if is_alone {
                ","
            } else {
                " and the other operations that are listed,"
            };
            format!(
                "given what had ended before line {line}{and_listed} and whatever came of the \
                 rest while they went on, "
            )
        }
    }
}

/// In which states the object can have been. Where those are too many, or not known, what was
/// certainly before says more.
fn met(states: &[String], before: Option<&Operation<'_>>) -> String {
    match (states, before) {
        (states, _) if (1..=SHOWN_MAX).contains(&states.len()) => {
            format!("it can only have met {}", states.join(" or "))
        }
        (_, Some(before)) => format!(
            "nothing can have led to a state that allows it after `{}` by process {}, which had \
             returned before it began",
            describe(before),
            before.process()
        ),
        ([], None) => "it met no state that allows it".to_owned(),
        (states, None) => {
            let shown = states[..SHOWN_MAX].join(", ");
            format!("it can have met many states, such as {shown}, and none that allows it")
        }
    }
}

/// How many states are named in a sentence.
const SHOWN_MAX: usize = 4;

/// Decides whether a history is that of an object.
///
/// `parse` says of each operation what it asked, and what came of it; see
/// [`Calls::of`].
///
/// # Errors
/// The first that `parse` gives.
pub fn check_history<'h, M: Sequential + ?Sized>(
    history: &'h History,
    model: &M,
    parse: impl FnMut(&Operation<'h>) -> Result<(M::Input, Option<M::Output>), HistoryError>,
    budget: &Budget,
) -> Result<Verdict, HistoryError> {
    Ok(Calls::of(history, parse)?.verdict(model, budget))
}
