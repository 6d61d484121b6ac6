//! Transactions, one after the other.

use std::collections::BTreeMap;

use etcd_checker::history::{Operation, Outcome};
use etcd_checker::{Consistency, History};
use serde_json::{Value, json};

use super::super::linearization::{complete, in_order_with};
use super::value;

/// Does the transactions one after the other, and compares what they read, as far as they
/// know. Returns how many of unknown outcome were among them.
///
/// # Panics
/// When that is not what the history says, or contradicts what the model promises of time.
pub fn replay(history: &History, order: &[usize], model: Consistency) -> usize {
    let is_lists = history.header().model == "list-append";
    let parameters: Value = serde_json::from_str(history.header().parameters.as_str()).unwrap();
    let initial = parameters["initial"].as_array().into_iter().flatten();
    let initial = initial.map(|of_key| (text(&of_key[0]), of_key[1].clone()));
    let mut store: BTreeMap<String, Value> = initial.collect();
    let mut silent = 0;
    for operation in transactions(history, order, model) {
        let is_known = operation.outcome() == Outcome::Ok;
        silent += usize::from(!is_known);
        let completion = operation.completion.map(value);
        let completion = completion.filter(|told| !told.is_null());
        let micro = completion.unwrap_or_else(|| value(operation.invoke));
        for micro in micro.as_array().into_iter().flatten() {
            let of_key = store.entry(text(&micro[1])).or_default();
            match micro[0].as_str().unwrap() {
                "append" if of_key.is_null() => *of_key = json!([micro[2]]),
                "append" => of_key.as_array_mut().unwrap().push(micro[2].clone()),
                "w" => *of_key = micro[2].clone(),
                _ if !is_known => {}
                _ if is_lists && of_key.is_null() => {
                    let is_empty = micro[2].as_array().is_none_or(Vec::is_empty);
                    assert!(is_empty, "{operation:?}");
                }
                _ => assert_eq!(micro[2], *of_key, "{operation:?}"),
            }
        }
    }
    silent
}

fn transactions<'h>(
    history: &'h History,
    order: &[usize],
    model: Consistency,
) -> Vec<Operation<'h>> {
    let belongs = |operation: &Operation<'_>| operation.invoke.f() == "txn";
    if model == Consistency::StrictSerializable {
        return in_order_with(history, order, belongs);
    }
    let transactions = complete(history, order, belongs);
    if model == Consistency::StrongSessionSerializable {
        let mut last = BTreeMap::new();
        for operation in &transactions {
            let before = last.insert(operation.process(), operation.invoked);
            assert!(before < Some(operation.invoked), "{operation:?}");
        }
    }
    transactions
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
