//! What a transaction cannot have read, whatever the others did.
//!
//! - It contradicts itself: it read something else than it had read or written before.
//! - Nobody wrote the value that it read.
//! - Two values were never there at once. Who wrote one of them wrote the other register too,
//!   and not as it was read; so neither can be the later one.
//!
//! ```text
//! w x 1, w y 1       |-----|
//! r x -> 0, r y -> 1         |-----|       who wrote y = 1 wrote x = 1 with it
//! ```

use std::collections::BTreeMap;

use super::{Micro, MultiRegister, Txn};
use crate::search::{Call, Failure};

type Asked = Call<Txn, Vec<u32>>;

/// What a register holds, by its place in the group.
type Value = (u32, u32);

impl MultiRegister<'_> {
    /// Which of its reads the refuted transaction cannot have made, where it needs no other one
    /// to show it.
    pub(super) fn impossible(&self, calls: &[Asked], failure: &Failure) -> Option<String> {
        if failure.witness != [failure.refuted] {
            return None;
        }
        let refuted = &calls[failure.refuted];
        let output = refuted.output.as_ref()?;
        if let Some(clause) = self.contradiction(&refuted.input, output) {
            return Some(clause);
        }
        let has_begun = |call: &&Asked| Some(call.invoked) <= refuted.returned;
        let others = calls
            .iter()
            .filter(|call| call.input.group == refuted.input.group);
        let others: Vec<&Txn> = others
            .filter(|call| !std::ptr::eq(*call, refuted))
            .filter(has_begun)
            .map(|call| &call.input)
            .collect();
        let met = met(&refuted.input, output);
        let unwritten = met.iter().find(|read| !self.is_possible(&others, **read));
        if let Some(read) = unwritten {
            let read = self.shown(refuted.input.group, *read);
            return Some(format!("nobody who had begun by then writes {read}"));
        }
        let mut pairs = (met.iter().enumerate())
            .flat_map(|(place, one)| met[..place].iter().map(move |other| (*other, *one)));
        pairs.find_map(|(one, other)| self.never_together(&others, refuted.input.group, one, other))
    }

    /// The read that is not what the transaction itself had read or written before.
    fn contradiction(&self, txn: &Txn, output: &[u32]) -> Option<String> {
        let mut held: BTreeMap<u32, (u32, &str)> = BTreeMap::new();
        let mut seen = output.iter();
        for micro in &txn.micro {
            match *micro {
                Micro::Write { place, value } => _ = held.insert(place, (value, "written")),
                Micro::Read { place } => {
                    let seen = *seen.next()?;
                    let before = *held.entry(place).or_insert((seen, "read"));
                    if before.0 != seen {
                        return Some(format!(
                            "it read {} after it had itself {} {}",
                            self.shown(txn.group, (place, seen)),
                            before.1,
                            self.shown(txn.group, (place, before.0)),
                        ));
                    }
                }
            }
        }
        None
    }

    fn is_possible(&self, others: &[&Txn], read: Value) -> bool {
        read.1 == self.initial || others.iter().any(|txn| leaves(txn, read.0) == Some(read.1))
    }

    /// Why two registers never hold these values at once, if they do not.
    fn never_together(
        &self,
        others: &[&Txn],
        group: u32,
        one: Value,
        other: Value,
    ) -> Option<String> {
        if one.1 == self.initial && other.1 == self.initial {
            return None;
        }
        // One of the two was written last, with the other one there or written at once.
        let written = |value: Value, beside: Value| {
            let writers = others
                .iter()
                .filter(|txn| leaves(txn, value.0) == Some(value.1));
            let writers: Vec<&Txn> = writers.copied().collect();
            let spoils = |txn: &&Txn| leaves(txn, beside.0).is_some_and(|left| left != beside.1);
            writers.iter().all(spoils).then_some(writers)
        };
        let [of_one, of_other] = [written(one, other)?, written(other, one)?];
        Some(format!(
            "{} and {} were never there at once: {}, and {}",
            self.shown(group, one),
            self.shown(group, other),
            self.told(group, &of_one, one, other),
            self.told(group, &of_other, other, one),
        ))
    }

    /// Who made a register hold a value.
    fn told(&self, group: u32, writers: &[&Txn], value: Value, beside: Value) -> String {
        let value_shown = self.shown(group, value);
        let key = self.key(group, beside.0);
        let writes = match writers {
            [] => return format!("{value_shown} was so only at first"),
            [txn] => {
                let left = leaves(txn, beside.0).unwrap_or(beside.1);
                let left = self.shown(group, (beside.0, left));
                format!("only one transaction writes {value_shown}, and {left} with it")
            }
            _ => format!("who writes {value_shown} writes `{key}` too, and not so"),
        };
        if value.1 == self.initial {
            format!("{value_shown} was so at first, and {writes}")
        } else {
            writes
        }
    }

    fn shown(&self, group: u32, (place, value): Value) -> String {
        format!("`{} = {}`", self.key(group, place), self.show_value(value))
    }
}

/// What a transaction leaves in a register, if it writes it.
fn leaves(txn: &Txn, place: u32) -> Option<u32> {
    let writes = txn.writes().filter(|(other, _)| *other == place);
    Some(writes.last()?.1)
}

/// What a transaction met: what it read before it wrote there.
fn met(txn: &Txn, output: &[u32]) -> Vec<Value> {
    let mut met: BTreeMap<u32, Option<u32>> = BTreeMap::new();
    let mut seen = output.iter();
    for micro in &txn.micro {
        match micro {
            Micro::Write { place, .. } => _ = met.entry(*place).or_insert(None),
            Micro::Read { place } => {
                let seen = seen.next().copied();
                met.entry(*place).or_insert(seen);
            }
        }
    }
    let met = met.into_iter();
    met.filter_map(|(place, value)| Some((place, value?)))
        .collect()
}
