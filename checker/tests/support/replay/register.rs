//! A register without keys.

use etcd_checker::History;
use serde_json::Value;

use super::super::linearization::in_order;
use super::asked_and_told;

/// Does the operations in this order.
///
/// # Panics
/// When a read was answered otherwise.
pub fn replay(history: &History, order: &[usize]) {
    let mut value = Value::Null;
    for operation in in_order(history, order) {
        let (asked, told) = asked_and_told(&operation);
        match operation.invoke.f() {
            "write" => value = asked,
            _ => assert_eq!(told, value),
        }
    }
}
