//! Histories of etcd's requests, written as lines of text.

use etcd_checker::History;
use etcd_checker::history::{Json, Outcome};

use super::{Op, history};

/// Nanoseconds in the unit of the lines.
const MS: u64 = 1_000_000;

/// One operation from a line such as `0-10 put {"key":"a","value":"1"} => {} @2`:
/// from 0 to 10 ms, the request, the answer, its revision. `=> info`, `=> fail` and
/// `=> open` stand for answers that nobody has.
pub fn op(line: &str) -> Op {
    let (request, answer) = line.split_once(" => ").expect("a line has an answer");
    let mut parts = request.trim().splitn(3, ' ');
    let (from, to) = parts.next().unwrap().split_once('-').expect("two times");
    let f = parts.next().expect("an operation").to_owned();
    let invoke = json(parts.next().unwrap_or("null"));
    let (answer, revision) = match answer.rsplit_once(" @") {
        Some((answer, revision)) => (answer, Some(revision.trim().parse().unwrap())),
        None => (answer, None),
    };
    let outcome = match answer.trim() {
        "info" => Outcome::Info,
        "fail" => Outcome::Fail,
        "open" => Outcome::Open,
        _ => Outcome::Ok,
    };
    let result = match outcome {
        Outcome::Ok => json(answer),
        _ => Json::NULL,
    };
    Op {
        f: Box::leak(f.into_boxed_str()),
        invoke,
        result,
        outcome,
        revision,
        invoked: from.parse::<u64>().unwrap() * MS,
        returned: to.parse::<u64>().unwrap() * MS,
    }
}

fn json(text: &str) -> Json {
    Json::new(&serde_json::from_str::<serde_json::Value>(text.trim()).expect(text)).unwrap()
}

pub fn ops(text: &str) -> Vec<Op> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(op).collect()
}

pub fn etcd_history(ops: &[Op]) -> History {
    history("etcd", "{}", ops)
}
