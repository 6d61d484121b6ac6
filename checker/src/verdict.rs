//! What a checker says about a history.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::history::{Event, History, Operation, Outcome};
use crate::search::Others;
use crate::told;

/// The answer of a checker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// There is an order of the operations that explains everything that the
    /// clients saw.
    Valid(Summary),
    /// There is none, and this is why.
    Violation(Violation),
    /// The checker cannot tell.
    Unknown {
        /// What is missing, as a sentence.
        reason: String,
    },
}

impl Verdict {
    /// Whether the history keeps its model's promise.
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid(_))
    }

    /// The violation, if that is the verdict.
    pub fn violation(&self) -> Option<&Violation> {
        match self {
            Self::Violation(violation) => Some(violation),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid(summary) => write!(f, "valid: {summary}"),
            Self::Violation(violation) => violation.fmt(f),
            Self::Unknown { reason } => write!(f, "unknown: {reason}"),
        }
    }
}

/// What a valid history consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The number of operations.
    pub operations: u64,
    /// How they ended, by operation.
    pub by_operation: BTreeMap<String, Counts>,
    /// What is worth knowing although it breaks no promise, each a sentence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The strongest guarantee that the history shows; only where the model knows
    /// several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<Guarantee>,
    /// Which consistency models hold and which do not; only of transactions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Box<Isolation>>,
}

/// Which consistency models a history of transactions satisfies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Isolation {
    /// The models that were asked for.
    pub required: Vec<&'static str>,
    /// The strongest that hold. None of them follows from another.
    pub strongest: Vec<&'static str>,
    /// The weakest that do not hold.
    pub not: Vec<&'static str>,
    /// Those that do not hold because a model in `not`, which they imply, does not.
    pub also_not: Vec<&'static str>,
    /// The anomalies that were found. Milder ones that follow from others are left out.
    pub anomalies: Vec<CountedAnomaly>,
}

/// An anomaly of which a history has at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CountedAnomaly {
    /// Its name.
    pub name: &'static str,
    /// How many were noticed. Of cycles one is shown, whatever their number.
    pub seen: u64,
}

/// A guarantee that a history shows, such as an isolation level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Guarantee {
    /// Its name, as the literature has it. Names are stable.
    pub name: &'static str,
    /// What it means, in a few words.
    pub meaning: &'static str,
    /// Whether it is certain that no stronger one holds.
    pub is_exact: bool,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = if self.is_exact { "" } else { " or stronger" };
        write!(f, "{}{or} ({})", self.name, self.meaning)
    }
}

/// How operations of one kind ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// They happened.
    pub ok: u64,
    /// They did not happen.
    pub fail: u64,
    /// Nobody knows.
    pub info: u64,
    /// Their clients were still waiting at the end.
    pub open: u64,
}

impl Counts {
    fn all(&self) -> u64 {
        self.ok + self.fail + self.info + self.open
    }
}

impl Summary {
    /// Of so many operations of each name.
    pub(crate) fn of_counts<'n>(counted: impl IntoIterator<Item = (&'n str, Counts)>) -> Self {
        let counted = counted
            .into_iter()
            .map(|(f, counts)| (f.to_owned(), counts));
        let by_operation: BTreeMap<String, Counts> =
            counted.filter(|(_, counts)| counts.all() > 0).collect();
        Self {
            operations: by_operation.values().map(Counts::all).sum(),
            by_operation,
            ..Self::default()
        }
    }

    pub(crate) fn of<'h>(operations: impl IntoIterator<Item = impl Borrow<Operation<'h>>>) -> Self {
        // There are few names, and one look-up for each operation takes its time.
        let mut counted: Vec<(Operation<'_>, Counts)> = Vec::new();
        for operation in operations {
            let operation = operation.borrow();
            let is_it = |(named, _): &(Operation<'_>, Counts)| named.has_name_of(operation);
            let place = counted.iter().position(is_it);
            let place = place.unwrap_or_else(|| {
                counted.push((*operation, Counts::default()));
                counted.len() - 1
            });
            let counts = &mut counted[place].1;
            match operation.outcome() {
                Outcome::Ok => counts.ok += 1,
                Outcome::Fail => counts.fail += 1,
                Outcome::Info => counts.info += 1,
                Outcome::Open => counts.open += 1,
            }
        }
        Self::of_counts(counted.iter().map(|(named, counts)| (named.f(), *counts)))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", count(self.operations, "operation"))?;
        for (index, (name, counts)) in self.by_operation.iter().enumerate() {
            write!(f, "{} {name}: {counts}", if index == 0 { ";" } else { "," })?;
        }
        if let Some(guarantee) = &self.guarantee {
            write!(f, "; strongest level: {guarantee}")?;
        }
        for note in &self.notes {
            write!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ok,
            fail,
            info,
            open,
        } = self;
        write!(f, "{ok} ok")?;
        for (number, name) in [(fail, "failed"), (info, "unknown"), (open, "open")] {
            if *number > 0 {
                write!(f, " {number} {name}")?;
            }
        }
        Ok(())
    }
}

/// A broken promise, with the operations that prove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What sort of promise is broken.
    pub class: Class,
    /// The name of the violation.
    pub kind: Kind,
    /// What happened, in plain words.
    pub sentence: String,
    /// The operations that prove it, in the order of their invocations, whatever came of all
    /// the others.
    ///
    /// Each is needed: for its answer, without which the rest would not prove it; or for its
    /// invocation, without which the history would not show this violation, but none or another
    /// one. For their invocations are needed the enqueue of a value that was served too early,
    /// and writes that others saw where nothing else tells of versions (`list-append`,
    /// `rw-register`, an `add` of `set-full` that nobody acknowledged).
    ///
    /// Some are listed to be seen: of transactions with revisions those who wrote what the
    /// others read, and of queues the dequeue that got a value in the end. `docs/history-format.md`
    /// in the repository says exactly what holds of which model.
    pub witness: Vec<WitnessOperation>,
    /// What the operations that are not in the witness may have done: it proves it
    /// whatever that was.
    #[serde(skip_serializing_if = "Others::is_at_any_time")]
    pub others: Others,
    /// What else is wrong in the same history, each a sentence.
    pub also: Vec<String>,
    /// The strongest guarantee that the history shows all the same; only where the
    /// model knows several, and none when it shows not even the weakest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<Guarantee>,
    /// Which consistency models hold and which do not; only of transactions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Box<Isolation>>,
}

/// What is said of a witness of which it is not certain that none can be spared.
pub(crate) const MAY_BE_FEWER: &str =
    "perhaps fewer of these operations prove it; finding out would have taken too long";

impl Violation {
    pub(crate) fn new<'h>(
        class: Class,
        kind: Kind,
        sentence: String,
        witness: impl IntoIterator<Item = impl Borrow<Operation<'h>>>,
    ) -> Self {
        let shown = witness.into_iter();
        let shown = shown.map(|operation| WitnessOperation::of(operation.borrow()));
        let mut witness: Vec<WitnessOperation> = shown.collect();
        witness.sort_by_key(|operation| operation.event);
        witness.dedup_by_key(|operation| operation.event);
        Self {
            class,
            kind,
            sentence,
            witness,
            others: Others::default(),
            also: Vec::new(),
            guarantee: None,
            isolation: None,
        }
    }
}

impl Verdict {
    /// The same, of this history, with what it quotes no longer than a person reads.
    pub(crate) fn in_history(mut self, history: &History) -> Self {
        let cut = |sentence: &mut String| {
            if let Cow::Owned(cut) = told::sentence(sentence, told::SENTENCE_MAX) {
                *sentence = cut;
            }
        };
        match &mut self {
            Self::Valid(summary) => summary.notes.iter_mut().for_each(cut),
            Self::Unknown { reason } => cut(reason),
            Self::Violation(violation) => {
                cut(&mut violation.sentence);
                violation.also.iter_mut().for_each(cut);
                for told in &mut violation.witness {
                    told.timed_by(history);
                }
            }
        }
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} violation: {}", self.class, self.kind)?;
        write!(f, "{}", self.sentence)?;
        for sentence in &self.also {
            write!(f, "\nalso: {sentence}")?;
        }
        for operation in &self.witness {
            write!(f, "\n  {operation}")?;
        }
        Ok(())
    }
}

/// What sort of promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Something happened that must not.
    Safety,
    /// Something that must happen did not, in the time that was allowed.
    Liveness,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safety => "safety",
            Self::Liveness => "liveness",
        })
    }
}

/// The name of a violation, as the literature has it, and what it means.
///
/// Names are stable: programs may compare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Kind {
    /// The name, such as `VOrd` or `lost-update`.
    pub name: &'static str,
    /// What it means, in a few words.
    pub meaning: &'static str,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.meaning)
    }
}

/// An operation that proves a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessOperation {
    /// Index of the event that began it among the history's events.
    pub event: usize,
    /// The process.
    pub process: u64,
    /// The client behind it, when the history says.
    pub client: Option<u64>,
    /// When it was invoked.
    pub invoked: Moment,
    /// When it completed; none when it was still open at the end.
    pub completed: Option<Moment>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it did and what came of it.
    pub description: String,
    /// Whether the times are some that the history says. If not, they only number its events.
    pub is_timed: bool,
    /// Whether times are told to the nanosecond: to the microsecond most would be the same.
    pub is_fine: bool,
}

/// A place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Line of the file, counted from 1.
    pub line: usize,
    /// Nanoseconds since the start of the run.
    pub time_ns: u64,
}

impl Serialize for WitnessOperation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Place {
            line: usize,
            time_ns: Option<u64>,
        }
        #[derive(Serialize)]
        struct Shown<'w> {
            process: u64,
            client: Option<u64>,
            invoked: Place,
            completed: Option<Place>,
            outcome: Outcome,
            description: &'w str,
        }
        let place = |moment: Moment| Place {
            line: moment.line,
            time_ns: self.is_timed.then_some(moment.time_ns),
        };
        Shown {
            process: self.process,
            client: self.client,
            invoked: place(self.invoked),
            completed: self.completed.map(place),
            outcome: self.outcome,
            description: &self.description,
        }
        .serialize(serializer)
    }
}

impl WitnessOperation {
    /// The operation as verdicts show it.
    pub fn of(operation: &Operation<'_>) -> Self {
        let moment = |event: &Event| Moment {
            line: event.line(),
            time_ns: event.time(),
        };
        Self {
            event: operation.event(),
            process: operation.process(),
            client: operation.invoke.client(),
            invoked: moment(operation.invoke),
            completed: operation.completion.map(moment),
            outcome: operation.outcome(),
            description: describe(operation),
            is_timed: true,
            is_fine: false,
        }
    }
}

impl WitnessOperation {
    /// The same of a history that may have no times.
    #[must_use]
    pub fn in_history(mut self, history: &History) -> Self {
        self.timed_by(history);
        self
    }

    fn timed_by(&mut self, history: &History) {
        self.is_timed = history.has_times();
        self.is_fine = history.has_fine_times();
    }

    /// The time of a moment in seconds, to the microsecond or, where times are fine, to the
    /// nanosecond.
    pub fn seconds(&self, moment: Moment) -> impl fmt::Display + use<> {
        let digits = if self.is_fine { 9 } else { 6 };
        in_seconds(moment.time_ns, digits)
    }

    /// Where it stands, such as `lines 4-7` or `line 4`.
    fn lines(&self) -> String {
        let begun = self.invoked.line;
        match self.completed {
            Some(completed) if completed.line == begun => format!("line {begun}"),
            Some(completed) => format!("lines {begun}-{}", completed.line),
            None => format!("lines {begun}-end"),
        }
    }
}

impl fmt::Display for WitnessOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines())?;
        if self.is_timed {
            write!(f, "  {} - ", self.seconds(self.invoked))?;
            match self.completed {
                Some(completed) => write!(f, "{}", self.seconds(completed))?,
                None => f.write_str("...")?,
            }
        }
        write!(f, "  process {}", self.process)?;
        if let Some(client) = self.client {
            write!(f, " (client {client})")?;
        }
        write!(f, "  {}", self.description)
    }
}

/// A time of the run in seconds, to the microsecond.
pub(crate) struct Seconds(pub(crate) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_seconds(self.0, 6))
    }
}

/// So many nanoseconds in seconds, with so many digits behind the point.
fn in_seconds(ns: u64, digits: u32) -> String {
    let fraction = ns % 1_000_000_000 / 10_u64.pow(9 - digits);
    let digits = digits as usize;
    format!("{}.{fraction:0digits$} s", ns / 1_000_000_000)
}

/// `1 value`, `2 values`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// How much of a value is shown, in bytes.
const SHOWN_MAX: usize = 1_000;

/// A value that a person can still read.
fn shortened(mut text: String) -> String {
    if text.len() <= SHOWN_MAX {
        return text;
    }
    let left_out = text.len() - SHOWN_MAX;
    let end = (0..=SHOWN_MAX)
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text + &format!("... ({left_out} bytes more)")
}

/// The value of an event for people. The empty text is one that can be seen.
fn shown(event: &Event) -> String {
    let text = shortened(event.value_text());
    if text.is_empty() {
        r#""""#.to_owned()
    } else {
        text
    }
}

/// What an operation asked, in short.
pub(crate) fn asked(operation: &Operation<'_>) -> String {
    let mut text = told::part(operation.invoke.f()).into_owned();
    if !operation.invoke.value().is_null() {
        text += &format!(" {}", shown(operation.invoke));
    }
    text
}

/// What is said after a sentence of those that must have failed for it.
pub(crate) fn that_failed(failed: &[&Operation<'_>]) -> String {
    match failed {
        [] => String::new(),
        [one] => format!("; `{}` by process {} failed", asked(one), one.process()),
        [one, others @ ..] => {
            let others = count(others.len() as u64, "other operation");
            let (one, process) = (asked(one), one.process());
            format!("; `{one}` by process {process} and {others} that are listed failed")
        }
    }
}

/// What an operation did, in one line.
pub(crate) fn describe(operation: &Operation<'_>) -> String {
    let mut text = asked(operation);
    let Some(completion) = operation.completion else {
        return text + " -> still open at the end";
    };
    text += &format!(" -> {}", completion.kind());
    // What was read, if anything, stands in the answer alone.
    let repeats = completion.value() == operation.invoke.value()
        && completion.value_text() == operation.invoke.value_text();
    // A dequeue that returns null found the queue empty, and a read found nothing; other nulls
    // say nothing.
    let is_null = operation.outcome() == Outcome::Ok && completion.value().is_null();
    if is_null && completion.f() == "dequeue" {
        text += " (empty)";
    } else if is_null && matches!(completion.f(), "read" | "get") {
        text += " null";
    } else if !completion.value().is_null() && !repeats {
        text += &format!(" {}", shown(completion));
    }
    if let Some(revision) = completion.revision() {
        text += &format!(" @{revision}");
    }
    if let Some(error) = &completion.error() {
        text += &format!(" ({})", told::sentence(error, SHOWN_MAX));
    }
    text
}
