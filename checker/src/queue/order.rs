//! Order: what was enqueued first leaves first.

use super::extract::{Queue, Role};
use crate::verdict::{Class, Kind, Violation, count};

const ORDER: Kind = Kind {
    name: "VOrd",
    meaning: "values left in another order than they were enqueued",
};
const LOST: Kind = Kind {
    name: "VOrd-lost",
    meaning: "values were overtaken and never left the queue",
};

/// Two values that left in the wrong order.
///
/// Of all values whose enqueue has returned, remember the one whose dequeue is invoked last.
/// Whatever is enqueued from here on must not have been dequeued by then.
#[derive(Default)]
pub(super) struct Overtaken {
    latest: Option<(usize, usize)>,
}

impl Overtaken {
    /// Goes on by an event; the two values, if they show here.
    pub(super) fn step(&mut self, queue: &Queue<'_>, role: Role) -> Option<(usize, usize)> {
        match role {
            Role::EnqueueReturned(item) if queue.values.items[item].is_dequeued() => {
                let invoked = queue.values.items[item].dequeue_invoked();
                self.latest = self.latest.max(Some((invoked, item)));
            }
            Role::EnqueueInvoked(item) => {
                let returned = queue.values.items[item].dequeue_returned();
                let first = self.latest.filter(|(invoked, _)| *invoked > returned);
                return first.map(|(_, first)| (first, item));
            }
            _ => {}
        }
        None
    }
}

pub(super) fn overtaken(queue: &Queue<'_>, first: usize, second: usize) -> Violation {
    let (a, b) = (queue.values.show(first), queue.values.show(second));
    let sentence = format!("{b} was enqueued only after {a} was acknowledged, yet left first");
    let dequeues = [first, second].map(|item| queue.values.dequeue(item));
    let dequeues = dequeues.into_iter().flatten();
    let witness = [queue.values.enqueue(first), queue.values.enqueue(second)]
        .into_iter()
        .chain(dequeues);
    Violation::new(Class::Safety, ORDER, sentence, witness)
}

/// Values that were overtaken and that nobody got, more of them than the dequeues
/// of unknown outcome can have taken.
///
/// `overtaken` is A(m) of the module's documentation, and `overtaker` the value whose enqueue
/// was invoked at m.
pub(super) struct Lost {
    lost: u32,
    pending: u32,
    lost_before_enqueue: Vec<u32>,
    overtaken: u32,
}

/// Where values turn out to be [`Lost`].
#[derive(Clone, Copy)]
pub(super) struct Overtaker {
    item: usize,
    /// How many dequeues of unknown outcome there were by then.
    pending: usize,
}

impl Lost {
    pub(super) fn new(queue: &Queue<'_>) -> Self {
        Self {
            lost: 0,
            pending: 0,
            lost_before_enqueue: vec![0; queue.values.items.len()],
            overtaken: 0,
        }
    }

    /// Goes on by an event; who overtook them, if it shows here.
    pub(super) fn step(&mut self, queue: &Queue<'_>, role: Role) -> Option<Overtaker> {
        match role {
            Role::EnqueueReturned(item) if !queue.values.items[item].is_dequeued() => {
                self.lost += 1;
            }
            Role::EnqueueInvoked(item) if self.lost > 0 => {
                self.lost_before_enqueue[item] = self.lost;
            }
            Role::PendingDequeueInvoked => self.pending += 1,
            Role::DequeueReturned(item) if self.lost > 0 => {
                let before = self.lost_before_enqueue[item];
                self.overtaken = self.overtaken.max(before);
                return (self.overtaken > self.pending).then_some(Overtaker {
                    item,
                    pending: self.pending as usize,
                });
            }
            _ => {}
        }
        None
    }
}

pub(super) fn lost_values(queue: &Queue<'_>, overtaker: Overtaker) -> Violation {
    let Overtaker {
        item: overtaker,
        pending,
    } = overtaker;
    let lost = first_lost(queue, pending + 1);
    let names: Vec<String> = lost.iter().map(|item| queue.values.show(*item)).collect();
    let were = if lost.len() == 1 { "was" } else { "were" };
    let mut sentence = format!(
        "{} {were} acknowledged before {} was enqueued, which has been dequeued, but nobody ever got {}",
        list(&names),
        queue.values.show(overtaker),
        if lost.len() == 1 {
            "the former"
        } else {
            "them"
        },
    );
    sentence += &excuse(pending);
    let enqueues = lost.iter().map(|item| queue.values.enqueue(*item));
    let witness = enqueues
        .chain([queue.values.enqueue(overtaker)])
        .chain(queue.values.dequeue(overtaker));
    Violation::new(Class::Safety, LOST, sentence, witness)
}

/// The first values to be acknowledged of those that nobody got.
pub(super) fn first_lost(queue: &Queue<'_>, number: usize) -> Vec<usize> {
    let is_lost = |item: &usize| !queue.values.items[*item].is_dequeued();
    let returned = queue.roles().filter_map(|role| match role {
        Role::EnqueueReturned(item) => Some(item),
        _ => None,
    });
    returned.filter(is_lost).take(number).collect()
}

/// What the dequeues of unknown outcome can explain.
pub(crate) fn excuse(pending: usize) -> String {
    match pending {
        0 => String::new(),
        1 => "; the only dequeue of unknown outcome can have taken but one of them".to_owned(),
        _ => format!(
            "; the {} of unknown outcome can have taken but {pending} of them",
            count(pending as u64, "dequeue")
        ),
    }
}

/// `a, b and c`; the middle of a long list is left out.
pub(crate) fn list(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first, second, .., last] if names.len() > 5 => {
            format!("{first}, {second} ... {last} ({} values)", names.len())
        }
        [some @ .., last] => format!("{} and {last}", some.join(", ")),
    }
}
