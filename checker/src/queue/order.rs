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
/// One pass over the events: of all values whose enqueue has returned, remember
/// the one whose dequeue is invoked last. Whatever is enqueued from here on must
/// not have been dequeued by then.
pub(super) fn find_overtaken(queue: &Queue<'_>) -> Option<Violation> {
    let mut latest: Option<(usize, usize)> = None;
    for role in &queue.roles {
        match *role {
            Role::EnqueueReturned(item) if queue.items[item as usize].dequeue.is_some() => {
                latest = latest.max(Some((queue.dequeue_invoked(item as usize), item as usize)));
            }
            Role::EnqueueInvoked(item) => {
                let returned = queue.dequeue_returned(item as usize);
                if let Some((_, first)) = latest.filter(|(invoked, _)| *invoked > returned) {
                    return Some(overtaken(queue, first, item as usize));
                }
            }
            _ => {}
        }
    }
    None
}

fn overtaken(queue: &Queue<'_>, first: usize, second: usize) -> Violation {
    let (a, b) = (queue.show(first), queue.show(second));
    let sentence = format!("{b} was enqueued only after {a} was acknowledged, yet left first");
    let dequeues = queue
        .dequeue(first)
        .into_iter()
        .chain(queue.dequeue(second));
    let witness = [queue.enqueue(first), queue.enqueue(second)]
        .into_iter()
        .chain(dequeues);
    Violation::new(Class::Safety, ORDER, sentence, witness)
}

/// Values that were overtaken and that nobody got, more of them than the dequeues
/// of unknown outcome can have taken.
///
/// One pass over the events. `overtaken` is A(m) of the module's documentation, and
/// `overtaker` the value whose enqueue was invoked at m.
pub(super) fn find_lost(queue: &Queue<'_>) -> Option<Violation> {
    let (mut lost, mut pending) = (0, 0);
    let mut lost_before_enqueue = vec![0_usize; queue.items.len()];
    let mut overtaken = 0;
    for (index, role) in queue.roles.iter().enumerate() {
        match *role {
            Role::EnqueueReturned(item) if queue.items[item as usize].dequeue.is_none() => {
                lost += 1;
            }
            Role::EnqueueInvoked(item) => lost_before_enqueue[item as usize] = lost,
            Role::PendingDequeueInvoked => pending += 1,
            Role::DequeueReturned(item) => {
                overtaken = overtaken.max(lost_before_enqueue[item as usize]);
                if overtaken > pending {
                    return Some(lost_values(queue, item as usize, index, pending));
                }
            }
            _ => {}
        }
    }
    None
}

fn lost_values(queue: &Queue<'_>, overtaker: usize, index: usize, pending: usize) -> Violation {
    let lost = first_lost(queue, pending + 1);
    let names: Vec<String> = lost.iter().map(|item| queue.show(*item)).collect();
    let were = if lost.len() == 1 { "was" } else { "were" };
    let mut sentence = format!(
        "{} {were} acknowledged before {} was enqueued, which has been dequeued, but nobody ever got {}",
        list(&names),
        queue.show(overtaker),
        if lost.len() == 1 {
            "the former"
        } else {
            "them"
        },
    );
    sentence += &excuse(pending);
    let enqueues = lost.iter().map(|item| queue.enqueue(*item));
    let unknown = queue
        .pending_dequeues
        .iter()
        .map(|operation| &queue.operations[*operation]);
    let unknown = unknown.filter(|operation| operation.invoked < index);
    let witness = enqueues
        .chain(unknown)
        .chain([queue.enqueue(overtaker)])
        .chain(queue.dequeue(overtaker));
    Violation::new(Class::Safety, LOST, sentence, witness)
}

/// The first values to be acknowledged of those that nobody got.
pub(super) fn first_lost(queue: &Queue<'_>, number: usize) -> Vec<usize> {
    let is_lost = |item: &usize| queue.items[*item].dequeue.is_none();
    let returned = queue.roles.iter().filter_map(|role| match role {
        Role::EnqueueReturned(item) => Some(*item as usize),
        _ => None,
    });
    returned.filter(is_lost).take(number).collect()
}

/// What the dequeues of unknown outcome can explain.
pub(super) fn excuse(pending: usize) -> String {
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
