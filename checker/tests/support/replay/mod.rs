//! Objects that do the operations of a linearization one after the other, as simply as can be.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by tests, of which each needs some"
)]

pub mod barrier;
pub mod election;
pub mod etcd;
pub mod lock;
pub mod register;
pub mod transactions;

use etcd_checker::history::{Event, Operation};
use etcd_checker::search::Budget;
use etcd_checker::{History, Linearization, Model, linearization};
use serde_json::Value;

/// The linearization of a valid history.
///
/// # Panics
/// When there is none.
pub fn order_of(history: &History, model: Model) -> Vec<usize> {
    match linearization(history, model, &Budget::default()).unwrap() {
        Linearization::Order(order) => order,
        Linearization::None { reason } => panic!("{reason}"),
    }
}

/// What an event says.
pub fn value(event: &Event) -> Value {
    serde_json::from_str(event.value().as_str()).unwrap()
}

/// What was asked, and what was answered; null if nothing was.
pub fn asked_and_told(operation: &Operation<'_>) -> (Value, Value) {
    let told = operation.ok().map_or(Value::Null, value);
    (value(operation.invoke), told)
}
