//! The checkers of objects give the verdict of a search through all orders, on many small
//! random histories with operations of unknown outcome; their witnesses prove it with
//! nothing to spare; and the orders that they find are orders.

mod support;

use std::collections::BTreeMap;

use etcd_checker::history::Json;
use serde_json::{Value, json};
use support::naive::{Agreement, Naive, agree};
use support::{Op, Random};

const HISTORIES: usize = 20_000;

#[track_caller]
fn assert_varied(agreement: &Agreement) {
    let total = agreement.valid + agreement.violations;
    assert!(agreement.valid * 5 > total, "{agreement:?}");
    assert!(agreement.violations * 10 > total, "{agreement:?}");
    assert!(agreement.with_pending * 20 > total, "{agreement:?}");
}

/// One of two keys, or none where there is only one register.
fn keyed(key: Option<&str>, value: Value) -> Value {
    match key {
        Some(key) => json!({"key": key, "value": value}),
        None => value,
    }
}

fn key_of(argument: &Value) -> String {
    argument["key"].as_str().unwrap_or_default().to_owned()
}

fn value_of(argument: &Value) -> &Value {
    argument.get("key").map_or(argument, |_| &argument["value"])
}

struct Registers;

impl Naive for Registers {
    type State = BTreeMap<String, String>;
    const MODEL: &'static str = "cas-register";

    fn parameters(random: &mut Random) -> Value {
        [json!({}), json!({"initial": 1}), json!({"initial": "2"})][random.below(3)].clone()
    }

    fn initial(_: &Value) -> Self::State {
        BTreeMap::new()
    }

    fn draw(random: &mut Random, parameters: &Value, _: usize) -> (&'static str, Value) {
        // The parameter decides how the whole history is written.
        let key = match parameters["initial"] {
            Value::Null => Some(["a", "b"][random.below(2)]),
            _ => None,
        };
        let value = |random: &mut Random| json!(random.below(3));
        match random.below(3) {
            0 => ("read", keyed(key, Value::Null)),
            1 => ("write", keyed(key, value(random))),
            _ => ("cas", keyed(key, json!([value(random), value(random)]))),
        }
    }

    fn act(
        parameters: &Value,
        state: &Self::State,
        f: &str,
        argument: &Value,
        _: usize,
    ) -> Vec<(Self::State, Value)> {
        let key = key_of(argument);
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let initial = text(&parameters["initial"]);
        let before = state.get(&key).unwrap_or(&initial);
        let mut after = state.clone();
        let value = value_of(argument);
        let answer = match f {
            "read" => match before.parse::<u64>() {
                Ok(number) => json!(number),
                Err(_) => Value::Null,
            },
            "write" => {
                after.insert(key, text(value));
                Value::Null
            }
            _ if *before == text(&value[0]) => {
                after.insert(key, text(&value[1]));
                json!(true)
            }
            _ => json!(false),
        };
        vec![(after, answer)]
    }

    fn alter(random: &mut Random, op: &mut Op) {
        match op.f {
            "read" => op.result = Json::from(random.below(3) as u64),
            "cas" => op.result = Json::new(&random.one_in(2)).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn registers() {
    assert_varied(&agree::<Registers>(HISTORIES));
}

struct Map;

impl Naive for Map {
    type State = BTreeMap<String, String>;
    const MODEL: &'static str = "kv";

    fn parameters(random: &mut Random) -> Value {
        [json!({}), json!({"absent": ""})][random.below(2)].clone()
    }

    fn initial(_: &Value) -> Self::State {
        BTreeMap::new()
    }

    fn draw(random: &mut Random, _: &Value, _: usize) -> (&'static str, Value) {
        let key = Some(["a", "b"][random.below(2)]);
        let value = ["x", "y"][random.below(2)];
        match random.below(6) {
            0 | 1 => ("get", json!({"key": key})),
            2 => ("put", keyed(key, json!(value))),
            3 => ("append", keyed(key, json!(value))),
            4 => ("delete", json!({"key": key})),
            _ => {
                let old = [json!("x"), json!("xy"), Value::Null][random.below(3)].clone();
                ("cas", keyed(key, json!([old, value])))
            }
        }
    }

    fn act(
        parameters: &Value,
        state: &Self::State,
        f: &str,
        argument: &Value,
        _: usize,
    ) -> Vec<(Self::State, Value)> {
        let key = key_of(argument);
        let absent = &parameters["absent"];
        let before = state
            .get(&key)
            .map_or_else(|| absent.clone(), |value| json!(value));
        let mut after = state.clone();
        let value = &argument["value"];
        let answer = match f {
            "get" => before,
            "put" => {
                after.insert(key, value.as_str().unwrap().to_owned());
                Value::Null
            }
            "append" => {
                after
                    .entry(key)
                    .or_default()
                    .push_str(value.as_str().unwrap());
                Value::Null
            }
            "delete" => {
                after.remove(&key);
                Value::Null
            }
            _ => {
                let old = if value[0].is_null() {
                    absent
                } else {
                    &value[0]
                };
                let matched = before == *old;
                if matched {
                    after.insert(key, value[1].as_str().unwrap().to_owned());
                }
                json!(matched)
            }
        };
        vec![(after, answer)]
    }

    fn alter(random: &mut Random, op: &mut Op) {
        match op.f {
            "get" => op.result = Json::from(["x", "y", "xy", "yx", ""][random.below(5)]),
            "cas" => op.result = Json::new(&random.one_in(2)).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn maps() {
    assert_varied(&agree::<Map>(HISTORIES));
}
