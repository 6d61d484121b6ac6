//! Registers that transactions read and write several at a time.
//!
//! # The question
//!
//! Each transaction reads and writes some registers. Is there an order of all transactions,
//! each at some instant between its invocation and its return, in which every read returns
//! what was written last? That is strict serializability.
//!
//! ```text
//! w x 1, w y 1       |-----|
//! r x -> 1, r y -> 1         |-----|
//! r x -> 0, r y -> 1            |-----|       there never was such a state
//! ```
//!
//! # The answer
//!
//! Registers that no transaction connects are independent of each other, so each such group
//! is checked by itself. Its state is the values of its registers, and a
//! [search](crate::search) remembers where it has been: O(n 2^k) at worst, for k
//! transactions that overlap and write.
//!
//! Where many transactions overlap, the model `rw-register` infers more from values
//! that are written once; here values may repeat.
//!
//! # Pending operations
//!
//! A transaction of unknown outcome may take effect at any time after its invocation, or
//! never. What it read is not known. That is exact.

mod impossible;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::history::{Event, EventKind, History, HistoryError, Operation, Process, Text};
use crate::keyed::{parameters, text, unknown_operation};
use crate::names::Names;
use crate::object::{self, Object};
use crate::read_write::{self, Action, Listed};
use crate::search::{
    Aspect, Budget, Call, Failure, Kept, Named, Others, Reduced, Sequential, nearest,
};
use crate::verdict::Verdict;

/// Decides whether the transactions on registers are strictly serializable.
///
/// Operations: `txn`, whose value is a list of `["r", key, value]` and `["w", key, value]`,
/// or `"read"` and `"write"`; what a read returned stands in the completion. The header's
/// parameters may have `initial`, the value of every register at first, null when left out.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    object::check::<MultiRegister<'_>>(history, budget)
}

/// What registers there are, and which of them belong together.
pub(crate) struct MultiRegister<'h> {
    keys: Names<'h>,
    values: Names<'h>,
    initial: u32,
    /// The group of each key, and its place in that group.
    places: Vec<(u32, u32)>,
    /// How many registers each group has.
    sizes: Vec<u32>,
}

/// How many transactions are suspected, those next to where the search was stuck.
const LOOKS_MAX: usize = 64;

/// The number of `null`.
const NULL: u32 = 0;

const EXPECTED: &str = "a list of [\"r\", key, value] and [\"w\", key, value]";

/// What a transaction does to one register. Values are numbers of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Micro {
    Read { place: u32 },
    Write { place: u32, value: u32 },
}

/// The reads and writes of a transaction, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Txn {
    group: u32,
    micro: Vec<Micro>,
}

impl Micro {
    fn place(&self) -> u32 {
        match *self {
            Self::Read { place } | Self::Write { place, .. } => place,
        }
    }
}

impl Txn {
    /// The places that it reads, in order.
    fn reads(&self) -> impl Iterator<Item = u32> {
        self.micro.iter().filter_map(|micro| match *micro {
            Micro::Read { place } => Some(place),
            Micro::Write { .. } => None,
        })
    }

    /// The places that it writes, and what.
    fn writes(&self) -> impl Iterator<Item = (u32, u32)> {
        self.micro.iter().filter_map(|micro| match *micro {
            Micro::Write { place, value } => Some((place, value)),
            Micro::Read { .. } => None,
        })
    }

    /// What it does to one register.
    fn of_place(&self, place: u32) -> Self {
        let of_place = self.micro.iter().filter(|micro| micro.place() == place);
        Self {
            group: self.group,
            micro: of_place.copied().collect(),
        }
    }

    /// Whether it read what it had read or written before.
    fn is_consistent(&self, output: &[u32]) -> bool {
        let mut held: BTreeMap<u32, u32> = BTreeMap::new();
        let mut seen = output.iter();
        self.micro.iter().all(|micro| match *micro {
            Micro::Write { place, value } => {
                held.insert(place, value);
                true
            }
            Micro::Read { place } => {
                let seen = seen.next();
                seen.is_none_or(|seen| held.insert(place, *seen).is_none_or(|held| held == *seen))
            }
        })
    }

    /// What it read of one register, of all that it read.
    fn reads_of(&self, place: u32, output: &[u32]) -> Vec<u32> {
        let reads = self.reads().zip(output);
        let of_place = reads.filter(|(other, _)| *other == place);
        of_place.map(|(_, value)| *value).collect()
    }
}

/// What the registers of a group hold, by their places.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    group: u32,
    values: Arc<[u32]>,
}

fn listed(event: &Event) -> Result<Vec<Listed<'_, &RawValue>>, HistoryError> {
    read_write::listed(event, EXPECTED)
}

#[derive(Deserialize, Default)]
struct Parameters<'h> {
    #[serde(borrow, default)]
    initial: Option<&'h RawValue>,
}

impl<'h> Object<'h> for MultiRegister<'h> {
    fn of(history: &'h History) -> Result<Self, HistoryError> {
        let parameters: Parameters<'h> = parameters(history)?;
        let mut registers = Self {
            keys: Names::default(),
            values: Names::reserving_zero(),
            initial: NULL,
            places: Vec::new(),
            sizes: Vec::new(),
        };
        registers.initial = registers.value(parameters.initial.and_then(|raw| text(raw.get())));
        registers.group(history)?;
        Ok(registers)
    }

    fn call(&mut self, operation: &Operation<'h>) -> Result<(Txn, Option<Vec<u32>>), HistoryError> {
        let event = operation.invoke;
        if event.f() != "txn" {
            return Err(unknown_operation(event, "multi-register", "txn"));
        }
        let mut micro = Vec::new();
        let mut group = 0;
        for Listed(action, Text(key), value) in listed(event)? {
            let place;
            (group, place) = self.places[self.keys.number(key) as usize];
            micro.push(match action {
                Action::Read => Micro::Read { place },
                Action::Write => Micro::Write {
                    place,
                    value: self.value(text(value.get())),
                },
            });
        }
        let answer = operation
            .ok()
            .map(|ok| self.answer(&micro, ok))
            .transpose()?;
        Ok((Txn { group, micro }, answer))
    }

    fn named(&self, calls: &[Call<Txn, Vec<u32>>], failure: &Failure) -> Named {
        Named {
            kind: self.kind(calls, failure),
            clause: self.impossible(calls, failure),
        }
    }
}

impl<'h> MultiRegister<'h> {
    fn value(&mut self, text: Option<Cow<'h, str>>) -> u32 {
        text.map_or(NULL, |text| self.values.number(text))
    }

    /// Puts keys that a transaction has in common into one group.
    fn group(&mut self, history: &'h History) -> Result<(), HistoryError> {
        let mut parents: Vec<u32> = Vec::new();
        let invoked = |event: &&Event| {
            event.process() != Process::Nemesis && event.kind() == EventKind::Invoke
        };
        for event in history.events().iter().filter(invoked) {
            if event.f() != "txn" {
                return Err(unknown_operation(event, "multi-register", "txn"));
            }
            let mut first = None;
            for Listed(_, Text(key), _) in listed(event)? {
                let key = self.keys.number(key);
                if key as usize == parents.len() {
                    parents.push(key);
                }
                let root = root(&mut parents, key);
                let other = *first.get_or_insert(root);
                let other = self::root(&mut parents, other);
                parents[root as usize] = other;
            }
        }
        let mut groups = vec![u32::MAX; parents.len()];
        for key in 0..parents.len() {
            let root = root(&mut parents, key as u32) as usize;
            if groups[root] == u32::MAX {
                groups[root] = self.sizes.len() as u32;
                self.sizes.push(0);
            }
            let size = &mut self.sizes[groups[root] as usize];
            self.places.push((groups[root], *size));
            *size += 1;
        }
        Ok(())
    }

    /// Whether it is what was asked; what a write wrote may be left out.
    fn repeats(&mut self, told: &Listed<'h, &'h RawValue>, asked: &Micro) -> bool {
        let Listed(action, Text(key), value) = told;
        let key = self.keys.known(key);
        let place = key.map(|key| self.places[key as usize].1);
        match *asked {
            Micro::Read { place: of } => *action == Action::Read && place == Some(of),
            Micro::Write {
                place: of,
                value: wanted,
            } => {
                let value = text(value.get());
                *action == Action::Write
                    && place == Some(of)
                    && value.is_none_or(|value| self.values.number(value) == wanted)
            }
        }
    }

    /// What the reads returned, in order.
    fn answer(&mut self, asked: &[Micro], ok: &'h Event) -> Result<Vec<u32>, HistoryError> {
        let told = listed(ok)?;
        let fits = told.len() == asked.len()
            && (told.iter().zip(asked)).all(|(told, asked)| self.repeats(told, asked));
        if !fits {
            let problem = crate::history::Problem::Value {
                f: ok.f().to_string(),
                expected: "what was asked, with the values of the reads",
                detail: "it reads and writes something else than the invocation".to_owned(),
            };
            return Err(HistoryError::at(ok.line(), problem));
        }
        let reads = told
            .into_iter()
            .filter(|Listed(action, ..)| *action == Action::Read);
        Ok(reads
            .map(|Listed(_, _, value)| self.value(text(value.get())))
            .collect())
    }
}

/// The key that stands for the group of another, with shorter ways for the next time.
fn root(parents: &mut [u32], mut key: u32) -> u32 {
    while parents[key as usize] != key {
        let next = parents[parents[key as usize] as usize];
        parents[key as usize] = next;
        key = next;
    }
    key
}

impl Sequential for MultiRegister<'_> {
    type State = Held;
    type Input = Txn;
    type Output = Vec<u32>;
    type Part = u32;

    fn part(&self, txn: &Txn) -> u32 {
        txn.group
    }

    fn initial(&self, group: &u32) -> Held {
        let size = self.sizes.get(*group as usize).copied().unwrap_or(0);
        Held {
            group: *group,
            values: vec![self.initial; size as usize].into(),
        }
    }

    fn step(
        &self,
        state: &Held,
        txn: &Txn,
        output: Option<&Vec<u32>>,
    ) -> impl IntoIterator<Item = Held> {
        let mut next = state.clone();
        let mut seen = output.map(|output| output.iter());
        for micro in &txn.micro {
            match *micro {
                Micro::Write { place, value } => {
                    Arc::make_mut(&mut next.values)[place as usize] = value;
                }
                Micro::Read { place } => {
                    let seen = seen.as_mut().and_then(Iterator::next);
                    if seen.is_some_and(|seen| *seen != next.values[place as usize]) {
                        return None;
                    }
                }
            }
        }
        Some(next)
    }

    fn only_reads(&self, txn: &Txn, _: Option<&Vec<u32>>) -> bool {
        let is_read = |micro: &Micro| matches!(micro, Micro::Read { .. });
        txn.micro.iter().all(is_read)
    }

    /// Those that contradict themselves, and those that read what nobody else writes.
    fn suspects(&self, calls: &[Call<&Txn, &Vec<u32>>], stuck: usize) -> Vec<Vec<usize>> {
        let all = calls.iter().flat_map(|call| call.input.writes());
        let written: FxHashSet<(u32, u32)> = all.collect();
        let is_known = |read: (u32, u32)| read.1 == self.initial || written.contains(&read);
        let is_wrong = |call: &Call<&Txn, &Vec<u32>>| {
            call.output.is_some_and(|output| {
                let mut reads = call.input.reads().zip(output.iter().copied());
                !call.input.is_consistent(output) || !reads.all(is_known)
            })
        };
        let wrong: Vec<usize> = (0..calls.len())
            .filter(|call| is_wrong(&calls[*call]))
            .collect();
        let nearest = nearest(&wrong, stuck, LOOKS_MAX, |call| calls[call].returned);
        nearest.into_iter().map(|call| vec![call]).collect()
    }

    /// A transaction of unknown outcome of whose writes nobody has read any may as well not have
    /// happened: what was there before is overwritten without having been read too.
    fn what_matters(&self, calls: &[Call<&Txn, &Vec<u32>>], _: Others) -> Vec<Kept<Vec<u32>>> {
        let read: FxHashSet<(u32, u32)> = calls
            .iter()
            .filter_map(|call| Some((call.input, call.output?)))
            .flat_map(|(txn, output)| txn.reads().zip(output.iter().copied()))
            .collect();
        let matters = |call: &Call<&Txn, &Vec<u32>>| {
            call.returned.is_some() || call.input.writes().any(|write| read.contains(&write))
        };
        let kept = calls.iter().enumerate().filter(|(_, call)| matters(call));
        kept.map(|(index, _)| Kept::as_it_is(index)).collect()
    }

    /// One register alone.
    fn aspects(
        &self,
        calls: &[Call<&Txn, &Vec<u32>>],
        _: usize,
    ) -> impl Iterator<Item = Aspect<Txn, Vec<u32>>> {
        let mut by_place: BTreeMap<u32, Vec<Reduced<Txn, Vec<u32>>>> = BTreeMap::new();
        for (index, call) in calls.iter().enumerate() {
            let mut places: Vec<u32> = call.input.micro.iter().map(Micro::place).collect();
            places.sort_unstable();
            places.dedup();
            for place in places {
                let reduced = Reduced {
                    call: index,
                    input: call.input.of_place(place),
                    output: call.output.map(|output| call.input.reads_of(place, output)),
                };
                by_place.entry(place).or_default().push(reduced);
            }
        }
        let aspects = by_place.into_iter();
        aspects.map(|(number, calls)| Aspect { number, calls })
    }

    fn show_aspect(&self, place: u32, state: &Held) -> String {
        let key = self.key(state.group, place);
        let value = self.show_value(state.values[place as usize]);
        format!("`{key} = {value}`")
    }

    fn heap_bytes(&self, state: &Held) -> usize {
        size_of_val::<[u32]>(&state.values) + 2 * size_of::<usize>()
    }

    fn show(&self, state: &Held) -> String {
        let is_held = |(_, (group, _)): &(u32, &(u32, u32))| *group == state.group;
        let keys = (0..).zip(&self.places).filter(is_held);
        let held = keys.map(|(key, (_, place))| {
            let value = self.show_value(state.values[*place as usize]);
            format!("{} = {value}", self.keys.text(key))
        });
        format!("`{}`", held.collect::<Vec<_>>().join(", "))
    }
}

impl MultiRegister<'_> {
    /// The register at a place of a group.
    fn key(&self, group: u32, place: u32) -> &str {
        let is_it = |(of, other): &(u32, u32)| (*of, *other) == (group, place);
        let key = self.places.iter().position(is_it);
        key.map_or("", |key| self.keys.text(key as u32))
    }

    fn show_value(&self, value: u32) -> &str {
        match value {
            NULL => "null",
            value => self.values.text(value),
        }
    }
}
