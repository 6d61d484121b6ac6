//! Operations: an invocation and its completion.

use super::name::Known;
use super::{Event, EventKind, History, PerProcess, Process};
use crate::index::{Index, number};

/// One operation of a history.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'h> {
    /// The event that began it.
    pub invoke: &'h Event,
    /// The event that ended it; none when it was open at the end.
    pub completion: Option<&'h Event>,
    /// Index of `invoke` among the history's events.
    pub invoked: usize,
    /// Index of the completion, or [`usize::MAX`] when it is still open.
    pub completed: usize,
    /// What the completion says; looked at far more often than the rest of it.
    outcome: Outcome,
    /// What the invocation is called, if many are called so; likewise.
    name: Option<Known>,
    /// As `invoked` was at first: some who look at a part of a history number its events anew.
    event: u32,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It happened between its events.
    Ok,
    /// It did not happen.
    Fail,
    /// Its client does not know.
    Info,
    /// Its client was still waiting when the history ended.
    Open,
}

impl Outcome {
    /// That of an operation that this event completes.
    fn of(completion: &Event) -> Self {
        match completion.kind() {
            EventKind::Ok => Self::Ok,
            EventKind::Fail => Self::Fail,
            EventKind::Info | EventKind::Invoke => Self::Info,
        }
    }
}

impl<'h> Operation<'h> {
    /// How the operation ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The process. Operations are never the nemesis's.
    pub fn process(&self) -> u64 {
        match self.invoke.process() {
            Process::Number(number) => number,
            Process::Nemesis => unreachable!("the nemesis has no operations"),
        }
    }

    /// Index of the event that began it among those of the whole history, which no other
    /// operation has. Lines are no such thing: several operations may stand on one, and a
    /// history may consist of several files.
    pub(crate) fn event(&self) -> usize {
        self.event as usize
    }

    /// What the operation is called.
    pub(crate) fn f(&self) -> &'h str {
        match self.name {
            Some(known) => known.as_str(),
            None => self.invoke.f(),
        }
    }

    /// Whether both are called the same.
    pub(crate) fn has_name_of(&self, other: &Self) -> bool {
        self.name == other.name && (self.name.is_some() || self.f() == other.f())
    }

    /// The first bytes of the values, mixed.
    #[inline]
    fn first_bytes(&self) -> u8 {
        let first = |event: &Event| event.value().as_str().as_bytes().first().copied();
        let completion = self.completion.and_then(first);
        first(self.invoke).unwrap_or(0) ^ completion.unwrap_or(0)
    }

    /// The completion when the operation is known to have happened.
    pub fn ok(&self) -> Option<&'h Event> {
        self.completion.filter(|_| self.outcome == Outcome::Ok)
    }

    /// The same operation, as if nobody had been told what came of it.
    pub(crate) fn of_unknown_outcome(self) -> Self {
        Self {
            completion: None,
            completed: usize::MAX,
            outcome: Outcome::Open,
            ..self
        }
    }

    /// The index of the event by which the operation had certainly taken effect,
    /// or [`usize::MAX`] when no event tells.
    pub(crate) fn returned(&self) -> usize {
        if self.outcome() == Outcome::Ok {
            self.completed
        } else {
            usize::MAX
        }
    }
}

/// The operations of a history, kept small for those who look at millions of them: most of
/// an [`Operation`] can be had from the events.
pub(crate) struct Operations<'h> {
    events: &'h [Event],
    all: Vec<Kept>,
}

/// What is kept of an operation.
#[derive(Clone, Copy)]
struct Kept {
    invoked: u32,
    completed: Index,
    outcome: Outcome,
    name: Option<Known>,
}

impl<'h> Operations<'h> {
    /// In the order of their invocations.
    pub(crate) fn of(history: &'h History) -> Self {
        let all = history.each_operation(
            |index, event| Kept {
                invoked: number(index),
                completed: Index::NONE,
                outcome: Outcome::Open,
                name: event.known_name(),
            },
            |operation, index, event| {
                operation.completed = Index::of(index);
                operation.outcome = Outcome::of(event);
            },
        );
        let events = &history.events;
        Self { events, all }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The index of the operation that this event began.
    pub(crate) fn invoked_at(&self, event: usize) -> usize {
        let found = (self.all).binary_search_by_key(&event, |kept| kept.invoked as usize);
        found.expect("an operation was invoked there")
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Operation<'h> {
        self.whole(&self.all[index])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Operation<'h>> {
        self.all.iter().map(|kept| self.whole(kept))
    }

    /// Those that are `wanted`, with their indices, for who looks at the value of each. Values
    /// stand all over the memory: those of some operations are fetched together, which takes
    /// hardly longer than to fetch one.
    pub(crate) fn iter_with_values(
        &self,
        wanted: impl Fn(&Operation<'h>) -> bool + Copy,
    ) -> impl Iterator<Item = (usize, Operation<'h>)> {
        /// As many as a processor fetches at a time, or a few more.
        const TOGETHER: usize = 16;
        let chunks = self.all.chunks(TOGETHER).zip((0..).step_by(TOGETHER));
        chunks.flat_map(move |(chunk, first)| {
            let operations = chunk.iter().map(|kept| self.whole(kept));
            let wanted = (first..)
                .zip(operations)
                .filter(move |(_, one)| wanted(one));
            let fetched = wanted.clone().map(|(_, one)| one.first_bytes());
            std::hint::black_box(fetched.fold(0, |all, bytes| all ^ bytes));
            wanted
        })
    }

    #[inline]
    fn whole(&self, kept: &Kept) -> Operation<'h> {
        let completed = kept.completed.get();
        Operation {
            invoke: &self.events[kept.invoked as usize],
            completion: completed.map(|index| &self.events[index]),
            invoked: kept.invoked as usize,
            completed: completed.unwrap_or(usize::MAX),
            outcome: kept.outcome,
            name: kept.name,
            event: kept.invoked,
        }
    }
}

impl History {
    /// The operations in the order of their invocations.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        self.each_operation(
            |index, event| Operation {
                invoke: event,
                completion: None,
                invoked: index,
                completed: usize::MAX,
                outcome: Outcome::Open,
                name: event.known_name(),
                event: number(index),
            },
            |operation, index, event| {
                operation.completion = Some(event);
                operation.completed = index;
                operation.outcome = Outcome::of(event);
            },
        )
    }

    /// What `begin` makes of the invocations, in their order, and `end` then of the
    /// completions.
    fn each_operation<'h, T>(
        &'h self,
        begin: impl Fn(usize, &'h Event) -> T,
        end: impl Fn(&mut T, usize, &'h Event),
    ) -> Vec<T> {
        let mut operations = Vec::with_capacity(self.events.len() / 2 + 1);
        let mut open: PerProcess<Option<usize>> = PerProcess::default();
        for (index, event) in self.events.iter().enumerate() {
            let Process::Number(process) = event.process() else {
                continue;
            };
            if event.kind() == EventKind::Invoke {
                *open.of(process) = Some(operations.len());
                operations.push(begin(index, event));
            } else if let Some(operation) = open.of(process).take() {
                end(&mut operations[operation], index, event);
            }
        }
        operations
    }
}
