//! The order of etcd's revisions, as an order of operations.

use rustc_hash::FxHashMap;

use super::explanation;
use super::log::Log;
use super::solve::Placed;
use crate::history::{History, HistoryError};
use crate::linearization::Linearization;
use crate::search::Budget;

/// All writes that happened and all linearizable requests that were answered, by revision; at
/// one revision what took it, and then the others as they began.
///
/// That respects real time and explains their answers: the proof is the [module](super)'s.
/// Serializable reads and watches say a revision too, but need not be in real time, so they are
/// not part of it. Nor are compactions, and ends of leases that nobody asked for: with those,
/// keys go between two operations.
pub(crate) fn linearization(
    history: &History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    let log = Log::of(history, budget)?;
    Ok(match explanation(&log)? {
        Ok(placed) => Linearization::Order(in_order(&log, &placed)),
        Err(found) => Linearization::of_no_valid(&found.verdict),
    })
}

fn in_order(log: &Log<'_>, placed: &[Placed]) -> Vec<usize> {
    let places = placed.iter().map(|placed| (placed.entry, placed.revision));
    let places: FxHashMap<usize, i64> = places.collect();
    let entries = log.entries.iter().enumerate();
    let mut order: Vec<_> = entries
        .filter_map(|(index, entry)| {
            let answered = (entry.is_linearizable() && entry.header() > 0).then(|| entry.header());
            let place = places.get(&index).copied();
            let takes_it = place.is_some() || entry.wrote();
            let revision = place.or(answered)?;
            Some((revision, !takes_it, entry.operation.invoked, index))
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(.., index)| index).collect()
}
