//! Sets that only grow, and lose nothing: Jepsen's `set-full`.
//!
//! # The question
//!
//! Clients `add` elements to a set, and `read` the whole. Elements may take their time to be
//! seen, and may even come and go; but is there none that was there and is lost?
//!
//! ```text
//! add a            |-----|
//! read -> a                  |-----|
//! read -> {}                          |-----|       a is not seen at once: no harm yet
//! read -> {}                                  |--|  the last that anybody saw: it is lost
//! ```
//!
//! That is less than linearizability, which the model [`set`] asks for: there
//! the first read that misses an element is wrong.
//!
//! # The answer
//!
//! An element is *known* from the moment when its addition or a read that has it returned.
//! Of the reads, in the order of their invocations, look at the last that has the element
//! and the last of all that did not return before the element was added. It is lost when
//! the latter is another one, and began after the element was known: O(n log n), for n
//! elements in all reads together.
//!
//! # Pending operations
//!
//! An addition of unknown outcome is known once a read has the element. Reads of unknown
//! outcome say nothing. An addition that failed did not happen: nobody can have read the element
//! unless another one added it. Jepsen asks less of these, as of elements that nobody added.
//!
//! # Evidence
//!
//! The last read, and what proves that the element had been there: its addition, if that was
//! acknowledged before; else a read that has it, with the addition without which nobody could
//! have read it.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use crate::history::{History, HistoryError, Operation, Outcome};
use crate::keyed::{Keyed, unknown_operation};
use crate::linearization::Linearization;
use crate::names::Names;
use crate::object;
use crate::search::Budget;
use crate::set;
use crate::verdict::{Class, Kind, Summary, Verdict, Violation, count};

pub(crate) const LOST: Kind = Kind {
    name: "lost-element",
    meaning: "an element that was added is gone",
};
pub(crate) const TWICE: Kind = Kind {
    name: "duplicate-element",
    meaning: "a set has an element twice",
};
pub(crate) const PHANTOM: Kind = Kind {
    name: "phantom-element",
    meaning: "an element that nobody had begun to add, or whose addition failed",
};

/// Decides whether no element of the sets is lost.
///
/// Operations: `add` with an element; `read`, whose result is the list of all elements.
/// With several sets, values are objects `{"key": .., "value": ..}`.
///
/// Nothing is known, and the verdict is unknown, when no read saw any element for good.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History) -> Result<Verdict, HistoryError> {
    let operations = history.operations();
    let mut sets = Sets::default();
    for operation in &operations {
        sets.take(operation)?;
    }
    let mut is_any_stable = false;
    let mut lost = Vec::new();
    for set in &mut sets.sets {
        if let Some(violation) = set.impossible_read(&sets.elements) {
            return Ok(Verdict::Violation(violation));
        }
        set.look_at_reads();
        let lasts = set.lasts();
        for (element, history) in set.in_order() {
            match set.fate(*element, history, &lasts) {
                Fate::Stable => is_any_stable = true,
                Fate::Lost(loss) => lost.push((*element, loss)),
                Fate::NeverRead => {}
            }
        }
    }
    Ok(if let Some((element, first)) = lost.first() {
        let mut violation = first.violation(sets.elements.text(*element));
        let others = lost.len() as u64 - 1;
        if others > 0 {
            let also = format!("{} lost too", is_or_are(others));
            violation.also.push(also);
        }
        Verdict::Violation(violation)
    } else if is_any_stable {
        Verdict::Valid(Summary::of(&operations))
    } else {
        let reason = "no read has any element that later ones have too, so nothing is known of \
                      what was added";
        Verdict::Unknown {
            reason: reason.to_owned(),
        }
    })
}

/// An order in which a [`set`] that has every element from its addition on gives the answers.
/// This model asks for less, so a valid history need not have one.
///
/// # Errors
/// As [`check`].
pub(crate) fn linearization(
    history: &History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    let verdict = check(history)?;
    if !verdict.is_valid() {
        return Ok(Linearization::of_no_valid(&verdict));
    }
    let order = object::linearization::<set::Sets<'_>>(history, budget)?;
    Ok(order.map_or_else(|| Linearization::none(NO_ORDER), Linearization::Order))
}

const NO_ORDER: &str = "no element is lost, which is all that this model asks for, but no order of \
                        all additions and reads was found: elements took their time to be seen, or \
                        the search ran out of its budget";

fn is_or_are(others: u64) -> String {
    let verb = if others == 1 { "is" } else { "are" };
    format!("{} {verb}", count(others, "other element"))
}

#[derive(Default)]
struct Sets<'h, 'o> {
    names: Names<'h>,
    elements: Names<'h>,
    sets: Vec<Set<'o>>,
}

/// What happened to one set.
#[derive(Default)]
struct Set<'o> {
    elements: FxHashMap<u32, Element<'o>>,
    /// Additions that failed, the first of each element.
    failed: FxHashMap<u32, &'o Operation<'o>>,
    reads: Vec<Read<'o>>,
}

/// What is known of an element.
struct Element<'o> {
    /// Its first addition.
    added: &'o Operation<'o>,
    /// The one that was acknowledged first, if any was.
    acknowledged: &'o Operation<'o>,
    /// The event by which it was known to be there.
    known: usize,
    /// The last read that has it.
    last_present: Option<usize>,
}

/// A read, and what it has, in the order of numbers.
struct Read<'o> {
    operation: &'o Operation<'o>,
    elements: Vec<u32>,
}

/// What became of an element.
enum Fate<'o> {
    /// Some read has it, and all those that begin later.
    Stable,
    /// It was there, and no read that begins later has it.
    Lost(Loss<'o>),
    /// It need not have been there.
    NeverRead,
}

struct Loss<'o> {
    proof: Proof<'o>,
    last_absent: &'o Operation<'o>,
    /// Whether any read has it.
    was_seen: bool,
}

/// What proves that an element was there before the last read began.
enum Proof<'o> {
    /// This addition of it was acknowledged by then.
    Added(&'o Operation<'o>),
    /// Somebody had begun to add it, and this read has it.
    Read {
        added: &'o Operation<'o>,
        present: &'o Operation<'o>,
    },
}

impl<'h: 'o, 'o> Sets<'h, 'o> {
    fn take(&mut self, operation: &'o Operation<'h>) -> Result<(), HistoryError> {
        let event = operation.invoke;
        let mut keyed = Keyed::of(event)?;
        let name = self.names.number(keyed.key.take().unwrap_or_default());
        while self.sets.len() <= name as usize {
            self.sets.push(Set::default());
        }
        match event.f() {
            "add" => {
                let text = keyed.text().unwrap_or(Cow::Borrowed("null"));
                let number = self.elements.number(text);
                let set = &mut self.sets[name as usize];
                if operation.outcome() == Outcome::Fail {
                    set.failed.entry(number).or_insert(operation);
                    return Ok(());
                }
                let known = operation.returned();
                let elements = &mut set.elements;
                let element = elements.entry(number).or_insert(Element {
                    added: operation,
                    acknowledged: operation,
                    known,
                    last_present: None,
                });
                if known < element.acknowledged.returned() {
                    element.acknowledged = operation;
                }
                element.known = element.known.min(known);
            }
            "read" => {
                let Some(ok) = operation.ok() else {
                    return Ok(());
                };
                let list = set::list(ok)?.into_iter();
                let mut elements: Vec<u32> = list.map(|text| self.elements.number(text)).collect();
                elements.sort_unstable();
                let read = Read {
                    operation,
                    elements,
                };
                self.sets[name as usize].reads.push(read);
            }
            _ => return Err(unknown_operation(event, "set-full", "add and read")),
        }
        Ok(())
    }
}

impl<'o> Set<'o> {
    /// A read that no set can give.
    fn impossible_read(&self, names: &Names<'_>) -> Option<Violation> {
        for read in &self.reads {
            let process = read.operation.process();
            let twice = read.elements.windows(2).find(|pair| pair[0] == pair[1]);
            if let Some([element, ..]) = twice {
                let text = names.text(*element);
                let sentence = format!("process {process} read the element {text} twice at once");
                let witness = [read.operation];
                return Some(Violation::new(Class::Safety, TWICE, sentence, witness));
            }
            let is_phantom = |element: &&u32| {
                let element = self.elements.get(element);
                element.is_none_or(|element| element.added.invoked > read.operation.completed)
            };
            if let Some(element) = read.elements.iter().find(is_phantom) {
                let text = names.text(*element);
                let later = self.elements.get(element).map(|element| element.added);
                let added = later.or_else(|| self.failed.get(element).copied());
                let sentence = match (later, added) {
                    (Some(_), _) => {
                        format!("process {process} read {text} before anybody began to add it")
                    }
                    (None, Some(_)) => {
                        format!("process {process} read {text}, whose addition had failed")
                    }
                    (None, None) => format!("process {process} read {text}, which nobody added"),
                };
                let witness = added.into_iter().chain([read.operation]);
                return Some(Violation::new(Class::Safety, PHANTOM, sentence, witness));
            }
        }
        None
    }

    fn in_order(&self) -> Vec<(&u32, &Element<'o>)> {
        let mut elements: Vec<_> = self.elements.iter().collect();
        elements.sort_by_key(|(_, element)| element.added.invoked);
        elements
    }

    /// Puts reads into the order of their invocations, and notes what they say.
    fn look_at_reads(&mut self) {
        self.reads.sort_by_key(|read| read.operation.invoked);
        for (index, read) in self.reads.iter().enumerate() {
            for number in &read.elements {
                if let Some(element) = self.elements.get_mut(number) {
                    element.known = element.known.min(read.operation.completed);
                    element.last_present = Some(index);
                }
            }
        }
    }

    /// Reads of which none that began later returned later, the last first.
    fn lasts(&self) -> Vec<usize> {
        let mut lasts: Vec<usize> = Vec::new();
        for (index, read) in self.reads.iter().enumerate().rev() {
            let later = lasts
                .last()
                .map(|last| self.reads[*last].operation.completed);
            if later.is_none_or(|later| later < read.operation.completed) {
                lasts.push(index);
            }
        }
        lasts
    }

    fn fate(&self, number: u32, element: &Element<'o>, lasts: &[usize]) -> Fate<'o> {
        // A read that returned before the element was added says nothing of it.
        let is_before =
            |last: &usize| self.reads[*last].operation.completed < element.added.invoked;
        let Some(last) = lasts.get(lasts.partition_point(is_before)) else {
            return Fate::NeverRead;
        };
        let last_absent = self.reads[*last].operation;
        if element.last_present == Some(*last) {
            return Fate::Stable;
        }
        if element.known > last_absent.invoked {
            return Fate::NeverRead;
        }
        Fate::Lost(Loss {
            proof: self.proof(number, element, last_absent.invoked),
            last_absent,
            was_seen: element.last_present.is_some(),
        })
    }

    /// What proves that an element was there by some moment, by which it was known.
    fn proof(&self, number: u32, element: &Element<'o>, by: usize) -> Proof<'o> {
        let Element {
            added,
            acknowledged,
            last_present,
            ..
        } = *element;
        if acknowledged.returned() <= by {
            return Proof::Added(acknowledged);
        }
        let reads = last_present.map_or(&[][..], |last| &self.reads[..=last]);
        let has_it = |read: &&Read<'_>| {
            read.operation.completed <= by && read.elements.binary_search(&number).is_ok()
        };
        match reads.iter().rev().find(has_it) {
            Some(read) => Proof::Read {
                added,
                present: read.operation,
            },
            None => Proof::Added(acknowledged),
        }
    }
}

impl Loss<'_> {
    fn violation(&self, element: &str) -> Violation {
        let absent = self.last_absent.process();
        let sentence = match self.proof {
            Proof::Read { present, .. } => format!(
                "{element} was there when process {} read it, and the last read, by process \
                 {absent}, has it no more",
                present.process()
            ),
            Proof::Added(_) if self.was_seen => format!(
                "the addition of {element} was acknowledged, and the last read, by process \
                 {absent}, has it no more"
            ),
            Proof::Added(_) => format!(
                "the addition of {element} was acknowledged, but no read has it, the last by \
                 process {absent}"
            ),
        };
        let (added, present) = match self.proof {
            Proof::Added(added) => (added, None),
            Proof::Read { added, present } => (added, Some(present)),
        };
        let witness = [added].into_iter().chain(present);
        let witness = witness.chain([self.last_absent]);
        Violation::new(Class::Safety, LOST, sentence, witness)
    }
}
