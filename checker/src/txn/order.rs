//! A serial order of the transactions, where there is one.

use super::certificate;
use super::choice::Choice;
use super::extract::Txns;
use super::model::{Commits, Model};
use crate::isolation::findings::Findings;
use crate::isolation::serial::{self, SERIAL};
use crate::isolation::{Consistency, Order};
use crate::linearization::Linearization;

const SEVERAL: &str = "reads of absent keys can be explained in several ways, so the order of the \
                       transactions is not known";

/// The order of the strongest model that holds.
pub(super) fn of(txns: &Txns<'_>) -> Linearization {
    let mut held = SERIAL
        .into_iter()
        .filter_map(|(model, order)| Some((explained(txns, model)?, order)));
    if let Some((commits, order)) = held.next() {
        let order = order_of(txns, &commits, order);
        return order.map_or(Linearization::none(SEVERAL), Linearization::Order);
    }
    match super::evidence(txns, &[]) {
        Ok((evidence, _)) => serial::none(&evidence),
        Err(violation) => Linearization::none(violation.sentence),
    }
}

/// Who made which revision, if that can be so that the model holds.
fn explained(txns: &Txns<'_>, model: Consistency) -> Option<Commits> {
    let (evidence, commits) = super::evidence(txns, &[model]).ok()?;
    commits.filter(|_| evidence.satisfies(model))
}

/// The operations in the order of their revisions if that explains everything, or else each
/// behind all that it must come behind.
fn order_of(txns: &Txns<'_>, commits: &Commits, order: Order) -> Option<Vec<usize>> {
    let model = Model::of(txns, commits, &mut Findings::default());
    let Some(instants) = certificate::instants(txns, &model) else {
        return Choice::of(txns, commits).serial_order(order);
    };
    let nodes = model.nodes.iter().zip(instants);
    let known = nodes.filter_map(|(node, instant)| {
        let operation = txns.txns[node.txn?].operation;
        Some((instant, node.invoked, operation))
    });
    // Of those of which nothing is known, the earliest made the earliest revisions.
    let blank = model.unexplained.keys().zip(&txns.blank);
    let blank = blank.map(|(revision, operation)| {
        let invoked = txns.operations[*operation].invoked;
        (revision.saturating_mul(2), invoked, *operation)
    });
    let mut placed: Vec<(i64, usize, usize)> = known.chain(blank).collect();
    placed.sort_unstable();
    Some(
        placed
            .into_iter()
            .map(|(.., operation)| operation)
            .collect(),
    )
}
