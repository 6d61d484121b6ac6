//! The order of etcd's revisions, as an order of operations.

use super::explanation;
use super::facts::{By, Facts};
use super::log::Log;
use super::order::Order;
use super::solve::Placed;
use crate::history::{History, HistoryError};
use crate::linearization::Linearization;

/// All writes that happened and all linearizable requests that were answered, by revision; at
/// one revision what took it, and then the others as they began.
///
/// That respects real time and explains their answers: the proof is the [module](super)'s.
/// Serializable reads and watches say a revision too, but need not be in real time, so they are
/// not part of it. Nor are compactions, and ends of leases that nobody asked for: with those,
/// keys go between two operations.
pub(crate) fn linearization(history: &History) -> Result<Linearization, HistoryError> {
    let log = Log::of(history)?;
    Ok(match explanation(&log)? {
        Ok(placed) => Linearization::Order(in_order(&log, &placed)),
        Err(verdict) => Linearization::of_no_valid(&verdict),
    })
}

fn in_order(log: &Log<'_>, placed: &[Placed]) -> Vec<usize> {
    let revokes = revokes_with_keys(log);
    let answered = log.entries.iter().enumerate();
    let answered = answered.filter(|(_, entry)| entry.is_linearizable() && entry.header() > 0);
    let mut order: Vec<_> = answered
        .map(|(index, entry)| {
            let takes_it = entry.wrote() || revokes.binary_search(&index).is_ok();
            (entry.header(), !takes_it, entry.operation.invoked, index)
        })
        .collect();
    order.extend(placed.iter().map(|Placed { entry, revision }| {
        let invoked = log.operation(*entry).invoked;
        (*revision, false, invoked, *entry)
    }));
    order.sort_unstable();
    order.into_iter().map(|(.., index)| index).collect()
}

/// The revocations that took a revision of their own, as only those do that find keys.
fn revokes_with_keys(log: &Log<'_>) -> Vec<usize> {
    let facts = Facts::of(log, &Order::of(log));
    let changes = facts.changes.iter().flatten();
    let mut revokes: Vec<usize> = changes
        .filter(|change| matches!(change.effect, super::facts::Effect::End(_)))
        .filter_map(|change| match change.by {
            By::Entry(entry) => Some(entry),
            By::EndOf(_) => None,
        })
        .collect();
    revokes.sort_unstable();
    revokes.dedup();
    revokes
}
