//! Whether a linearization is one.

use std::collections::BTreeSet;

use etcd_checker::History;
use etcd_checker::history::{Operation, Outcome};

/// The operations of a linearization, one after the other.
///
/// # Panics
/// When one is missing that is known to have happened, one is there twice or did not
/// happen, or one comes behind another that had been invoked only after it had returned.
pub fn in_order<'h>(history: &'h History, order: &[usize]) -> Vec<Operation<'h>> {
    in_order_with(history, order, |_| true)
}

/// As [`in_order`], where of the operations that are known to have happened only some belong
/// to the order.
///
/// # Panics
/// As [`in_order`], and when another one is there.
pub fn in_order_with<'h>(
    history: &'h History,
    order: &[usize],
    belongs: impl Fn(&Operation<'_>) -> bool,
) -> Vec<Operation<'h>> {
    let order = complete(history, order, belongs);
    let mut begun = 0;
    for operation in &order {
        begun = begun.max(operation.invoked);
        let is_late = operation.outcome() == Outcome::Ok && operation.completed < begun;
        assert!(
            !is_late,
            "{operation:?} had returned before one in front of it began"
        );
    }
    order
}

/// The operations of an order that need not respect real time.
///
/// # Panics
/// When one is missing that is known to have happened and belongs there, or one is there twice,
/// did not happen, or does not belong there.
pub fn complete<'h>(
    history: &'h History,
    order: &[usize],
    belongs: impl Fn(&Operation<'_>) -> bool,
) -> Vec<Operation<'h>> {
    let operations = history.operations();
    let all: BTreeSet<usize> = order.iter().copied().collect();
    assert_eq!(
        all.len(),
        order.len(),
        "an operation is there twice: {order:?}"
    );
    for (index, operation) in operations.iter().enumerate() {
        match operation.outcome() {
            Outcome::Ok => assert_eq!(
                all.contains(&index),
                belongs(operation),
                "{operation:?} is missing, or does not belong here"
            ),
            Outcome::Fail => assert!(!all.contains(&index), "{operation:?} did not happen"),
            Outcome::Info | Outcome::Open => {}
        }
    }
    order.iter().map(|index| operations[*index]).collect()
}
