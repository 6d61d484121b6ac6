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
    let operations = history.operations();
    let all: BTreeSet<usize> = order.iter().copied().collect();
    assert_eq!(
        all.len(),
        order.len(),
        "an operation is there twice: {order:?}"
    );
    for (index, operation) in operations.iter().enumerate() {
        match operation.outcome() {
            Outcome::Ok => assert!(all.contains(&index), "{operation:?} is missing"),
            Outcome::Fail => assert!(!all.contains(&index), "{operation:?} did not happen"),
            Outcome::Info | Outcome::Open => {}
        }
    }
    let order: Vec<Operation<'h>> = order.iter().map(|index| operations[*index]).collect();
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
