//! Objects in their plainest form.

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::Json;
use serde_json::{Value, json};

use super::naive::Naive;
use super::{Op, Random};

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

/// That hold one of so many values.
pub struct Registers<const VALUES: usize>;

impl<const VALUES: usize> Naive for Registers<VALUES> {
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
        let value = |random: &mut Random| json!(random.below(VALUES));
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
            "read" => op.result = Json::from(random.below(VALUES) as u64),
            "cas" => op.result = Json::new(&random.one_in(2)).unwrap(),
            _ => {}
        }
    }
}

pub struct Map;

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

pub struct Mutexes;

fn owner_of(argument: &Value, client: usize) -> String {
    match &argument["owner"] {
        Value::Null => format!("client {client}"),
        owner => owner.as_str().unwrap().to_owned(),
    }
}

impl Naive for Mutexes {
    /// By lock: who holds it, and how often.
    type State = BTreeMap<String, (String, u32)>;
    const MODEL: &'static str = "mutex";

    fn parameters(random: &mut Random) -> Value {
        let drawn = [
            json!({}),
            json!({"owners": true}),
            json!({"owners": true, "reentrant": true}),
        ];
        drawn[random.below(3)].clone()
    }

    fn initial(_: &Value) -> Self::State {
        BTreeMap::new()
    }

    fn draw(random: &mut Random, parameters: &Value, _: usize) -> (&'static str, Value) {
        let f = ["acquire", "acquire", "try-acquire", "release", "release"][random.below(5)];
        let argument = match random.below(6) {
            0 => json!({"lock": "a"}),
            1 if parameters["owners"] == true => json!({"owner": "client 0"}),
            _ => Value::Null,
        };
        (f, argument)
    }

    fn act(
        parameters: &Value,
        state: &Self::State,
        f: &str,
        argument: &Value,
        client: usize,
    ) -> Vec<(Self::State, Value)> {
        let lock = argument["lock"].as_str().unwrap_or_default().to_owned();
        let owner = match parameters["owners"] {
            Value::Bool(true) => owner_of(argument, client),
            _ => "anybody".to_owned(),
        };
        let mut after = state.clone();
        let held = state.get(&lock);
        let times = match held {
            None => Some(1),
            Some((holder, times)) if *holder == owner && parameters["reentrant"] == true => {
                Some(times + 1)
            }
            Some(_) => None,
        };
        match (f, times, held) {
            ("release", _, Some((holder, times))) if *holder == owner => {
                match times {
                    1 => after.remove(&lock),
                    _ => after.insert(lock, (owner, times - 1)),
                };
                vec![(after, Value::Null)]
            }
            ("release", ..) => vec![],
            (_, Some(times), _) => {
                after.insert(lock, (owner, times));
                let answer = if f == "acquire" {
                    Value::Null
                } else {
                    json!(true)
                };
                vec![(after, answer)]
            }
            ("acquire", ..) => vec![],
            _ => vec![(after, json!(false))],
        }
    }

    fn alter(random: &mut Random, op: &mut Op) {
        if op.f == "try-acquire" {
            op.result = Json::new(&random.one_in(2)).unwrap();
        } else {
            let f = ["acquire", "release"][random.below(2)];
            (op.f, op.result) = (f, Json::NULL);
        }
    }
}

pub struct RwLocks;

impl Naive for RwLocks {
    /// Who is inside, and whether to write.
    type State = Vec<(String, bool)>;
    const MODEL: &'static str = "rwlock";

    fn parameters(random: &mut Random) -> Value {
        [json!({}), json!({"owners": true})][random.below(2)].clone()
    }

    fn initial(_: &Value) -> Self::State {
        Vec::new()
    }

    fn draw(random: &mut Random, _: &Value, _: usize) -> (&'static str, Value) {
        let f = ["acquire", "acquire", "try-acquire", "release", "release"][random.below(5)];
        let mode = ["read", "read", "write"][random.below(3)];
        (f, json!({"mode": mode}))
    }

    fn act(
        parameters: &Value,
        state: &Self::State,
        f: &str,
        argument: &Value,
        client: usize,
    ) -> Vec<(Self::State, Value)> {
        let owner = match parameters["owners"] {
            Value::Bool(true) => owner_of(argument, client),
            _ => "anybody".to_owned(),
        };
        let writes = argument["mode"] == "write";
        let mut after = state.clone();
        let is_free = !state.iter().any(|(_, other)| writes || *other);
        if f == "release" {
            let Some(place) = state
                .iter()
                .position(|held| *held == (owner.clone(), writes))
            else {
                return vec![];
            };
            after.remove(place);
            return vec![(after, Value::Null)];
        }
        if is_free {
            after.push((owner, writes));
            after.sort();
            let answer = if f == "acquire" {
                Value::Null
            } else {
                json!(true)
            };
            return vec![(after, answer)];
        }
        match f {
            "acquire" => vec![],
            _ => vec![(after, json!(false))],
        }
    }

    fn alter(random: &mut Random, op: &mut Op) {
        if op.f == "try-acquire" {
            op.result = Json::new(&random.one_in(2)).unwrap();
        } else {
            let mode = ["read", "write"][random.below(2)];
            op.invoke = Json::new(&json!({"mode": mode})).unwrap();
        }
    }
}

pub struct Semaphores;

impl Naive for Semaphores {
    type State = BTreeMap<String, u64>;
    const MODEL: &'static str = "semaphore";

    fn parameters(random: &mut Random) -> Value {
        json!({"permits": 1 + random.below(3)})
    }

    fn initial(_: &Value) -> Self::State {
        BTreeMap::new()
    }

    fn draw(random: &mut Random, _: &Value, _: usize) -> (&'static str, Value) {
        let f = ["acquire", "acquire", "try-acquire", "release", "release"][random.below(5)];
        let permits = [Value::Null, json!(1), json!(2)][random.below(3)].clone();
        let argument = match random.below(6) {
            0 => json!({"key": "a", "value": permits}),
            _ => permits,
        };
        (f, argument)
    }

    fn act(
        parameters: &Value,
        state: &Self::State,
        f: &str,
        argument: &Value,
        _: usize,
    ) -> Vec<(Self::State, Value)> {
        let key = match argument {
            Value::Object(_) => key_of(argument),
            _ => String::new(),
        };
        let number = match argument {
            Value::Object(fields) => fields["value"].as_u64().unwrap_or(1),
            other => other.as_u64().unwrap_or(1),
        };
        let out = state.get(&key).copied().unwrap_or(0);
        let mut after = state.clone();
        if f == "release" {
            let Some(left) = out.checked_sub(number) else {
                return vec![];
            };
            after.insert(key, left);
            return vec![(after, Value::Null)];
        }
        if out + number <= parameters["permits"].as_u64().unwrap() {
            after.insert(key, out + number);
            let answer = if f == "acquire" {
                Value::Null
            } else {
                json!(true)
            };
            return vec![(after, answer)];
        }
        match f {
            "acquire" => vec![],
            _ => vec![(after, json!(false))],
        }
    }

    fn alter(random: &mut Random, op: &mut Op) {
        if op.f == "try-acquire" {
            op.result = Json::new(&random.one_in(2)).unwrap();
        } else {
            op.invoke = Json::from(1 + random.below(3) as u64);
        }
    }
}

pub struct Counters;

impl Naive for Counters {
    type State = i64;
    const MODEL: &'static str = "counter";

    fn parameters(random: &mut Random) -> Value {
        [json!({}), json!({"initial": 5})][random.below(2)].clone()
    }

    fn initial(parameters: &Value) -> i64 {
        parameters["initial"].as_i64().unwrap_or(0)
    }

    fn draw(random: &mut Random, _: &Value, _: usize) -> (&'static str, Value) {
        let number = json!([1, 1, 2, -1][random.below(4)]);
        match random.below(6) {
            0 | 1 => ("read", Value::Null),
            2 => ("add", number),
            3 => (["increment", "decrement"][random.below(2)], Value::Null),
            4 => ("add-and-get", number),
            _ => ("get-and-add", number),
        }
    }

    fn act(_: &Value, state: &i64, f: &str, argument: &Value, _: usize) -> Vec<(i64, Value)> {
        let number = argument.as_i64().unwrap_or(0);
        let after = state + number;
        vec![match f {
            "read" => (*state, json!(state)),
            "increment" => (state + 1, Value::Null),
            "decrement" => (state - 1, Value::Null),
            "add" => (after, Value::Null),
            "add-and-get" => (after, json!(after)),
            _ => (after, json!(state)),
        }]
    }

    fn alter(random: &mut Random, op: &mut Op) {
        if let Ok(number) = op.result.parse::<i64>() {
            op.result = Json::from(number + random.below(5) as i64 - 2);
        }
    }
}

pub struct Sets;

impl Naive for Sets {
    type State = BTreeSet<u64>;
    const MODEL: &'static str = "set";

    /// The parameter says whether anybody reads the whole; the checker ignores it.
    fn parameters(random: &mut Random) -> Value {
        json!({"whole": random.one_in(2)})
    }

    fn initial(_: &Value) -> Self::State {
        BTreeSet::new()
    }

    fn draw(random: &mut Random, parameters: &Value, _: usize) -> (&'static str, Value) {
        let element = json!(random.below(3));
        match random.below(6) {
            0 | 1 if parameters["whole"] == true => ("read", Value::Null),
            0 | 1 => ("contains", element),
            2 => ("remove", element),
            _ => ("add", element),
        }
    }

    fn act(
        _: &Value,
        state: &Self::State,
        f: &str,
        argument: &Value,
        _: usize,
    ) -> Vec<(Self::State, Value)> {
        let element = argument.as_u64().unwrap_or(0);
        let mut after = state.clone();
        let answer = match f {
            "read" => json!(state),
            "contains" => json!(state.contains(&element)),
            "add" => json!(after.insert(element)),
            _ => json!(after.remove(&element)),
        };
        let mut answers = vec![(after.clone(), answer)];
        if f == "add" || f == "remove" {
            // Perhaps nobody is told whether that changed anything.
            answers.push((after, Value::Null));
        }
        answers
    }

    fn alter(random: &mut Random, op: &mut Op) {
        if let Ok(mut whole) = op.result.parse::<BTreeSet<u64>>() {
            let element = random.below(3) as u64;
            if !whole.remove(&element) {
                whole.insert(element);
            }
            op.result = Json::new(&whole).unwrap();
        } else if !op.result.is_null() {
            op.result = Json::new(&random.one_in(2)).unwrap();
        }
    }
}

pub struct Groups;

impl Naive for Groups {
    type State = BTreeMap<String, BTreeSet<String>>;
    const MODEL: &'static str = "membership";

    fn initial(_: &Value) -> Self::State {
        BTreeMap::new()
    }

    fn draw(random: &mut Random, _: &Value, _: usize) -> (&'static str, Value) {
        let member = json!(["x", "y", "z"][random.below(3)]);
        let group = random.one_in(8);
        let value = |value| match group {
            true => json!({"key": "a", "value": value}),
            false => value,
        };
        match random.below(6) {
            0 | 1 => ("members", value(Value::Null)),
            2 => (["leave", "expire"][random.below(2)], value(member)),
            _ => ("join", value(member)),
        }
    }

    fn act(
        _: &Value,
        state: &Self::State,
        f: &str,
        argument: &Value,
        _: usize,
    ) -> Vec<(Self::State, Value)> {
        let is_keyed = argument.is_object();
        let group = if is_keyed {
            key_of(argument)
        } else {
            String::new()
        };
        let member = if is_keyed {
            &argument["value"]
        } else {
            argument
        };
        let member = member.as_str().unwrap_or_default().to_owned();
        let mut after = state.clone();
        let members = after.entry(group).or_default();
        let answer = match f {
            "members" => json!(members),
            "join" => {
                members.insert(member);
                Value::Null
            }
            _ => {
                members.remove(&member);
                Value::Null
            }
        };
        vec![(after, answer)]
    }

    fn alter(random: &mut Random, op: &mut Op) {
        if let Ok(mut whole) = op.result.parse::<BTreeSet<String>>() {
            let member = ["x", "y", "z"][random.below(3)].to_owned();
            if !whole.remove(&member) {
                whole.insert(member);
            }
            op.result = Json::new(&whole).unwrap();
        }
    }
}

pub struct MultiRegisters;

impl Naive for MultiRegisters {
    type State = BTreeMap<String, u64>;
    const MODEL: &'static str = "multi-register";
    // An answer repeats what was asked.
    const ANSWERS_ARE_ALIKE: bool = false;

    fn parameters(random: &mut Random) -> Value {
        [json!({}), json!({"initial": 1})][random.below(2)].clone()
    }

    fn initial(_: &Value) -> Self::State {
        BTreeMap::new()
    }

    fn draw(random: &mut Random, _: &Value, _: usize) -> (&'static str, Value) {
        // Values repeat, and so may keys.
        let micro = (0..1 + random.below(3)).map(|_| {
            let key = ["x", "y", "z"][random.below(3)];
            match random.one_in(2) {
                true => json!(["r", key, null]),
                false => json!(["w", key, random.below(3)]),
            }
        });
        ("txn", Value::Array(micro.collect()))
    }

    fn act(
        parameters: &Value,
        state: &Self::State,
        _: &str,
        argument: &Value,
        _: usize,
    ) -> Vec<(Self::State, Value)> {
        let mut after = state.clone();
        let micro = argument.as_array().unwrap().iter().map(|micro| {
            let (f, key) = (&micro[0], micro[1].as_str().unwrap().to_owned());
            if f == "w" {
                after.insert(key, micro[2].as_u64().unwrap());
                return micro.clone();
            }
            match after.get(&key) {
                Some(held) => json!([f, key, held]),
                None => json!([f, key, parameters["initial"]]),
            }
        });
        let answer = Value::Array(micro.collect());
        vec![(after, answer)]
    }

    fn alter(random: &mut Random, op: &mut Op) {
        let mut micro: Vec<Value> = op.result.parse().unwrap_or_default();
        if let Some(read) = micro.iter_mut().find(|micro| micro[0] == "r") {
            read[2] = json!(random.below(3));
        }
        if !micro.is_empty() {
            op.result = Json::new(&micro).unwrap();
        }
    }
}
