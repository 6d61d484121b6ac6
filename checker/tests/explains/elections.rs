//! What the election checker says about each kind of violation, and what it refuses.

#![expect(
    clippy::needless_pass_by_value,
    reason = "calls with literals read better"
)]

use etcd_checker::history::{Evidence, Json, OperationId, Recorder};
use etcd_checker::{Verdict, Violation, election};
use serde_json::{Value, json};

use crate::support::header;

struct Run {
    recorder: Recorder,
    time: u64,
}

impl Run {
    fn new() -> Self {
        let recorder = Recorder::new(header("election"));
        Self { recorder, time: 0 }
    }

    fn tick(&mut self) -> u64 {
        self.time += 1_000_000;
        self.time
    }

    fn invoke(&mut self, client: u64, f: &'static str, value: Value) -> OperationId {
        let now = self.tick();
        self.recorder
            .invoke(now, client, f, Json::new(&value).unwrap())
    }

    fn ok(&mut self, operation: OperationId, value: Value, revision: i64) {
        let now = self.tick();
        let evidence = match revision {
            0 => Evidence::NONE,
            revision => Evidence::revision(revision),
        };
        self.recorder
            .ok(operation, now, Json::new(&value).unwrap(), evidence);
    }

    fn done(&mut self, client: u64, f: &'static str, asked: Value, told: Value, revision: i64) {
        let operation = self.invoke(client, f, asked);
        self.ok(operation, told, revision);
    }

    /// Etcd tells of a change: `value` is null when the key was deleted.
    fn key(&mut self, term: i64, revision: i64, value: Value) {
        let change = json!([{"term": term, "revision": revision, "value": value}]);
        self.done(9, "watch", Value::Null, change, revision);
    }

    fn crash(&mut self, client: u64) {
        let now = self.tick();
        let value = Json::new(&json!({"client": client})).unwrap();
        self.recorder.nemesis(now, "client-kill", value);
        self.recorder
            .crash(client, now, "the client's process died");
    }

    fn give_up_waiting(&mut self) {
        let now = self.tick();
        let bound = Json::new(&json!({"bound_ns": 60_000_000_000_u64})).unwrap();
        self.recorder.nemesis(now, "liveness-deadline", bound);
    }

    fn verdict(self) -> Verdict {
        election::check(&self.recorder.finish()).unwrap()
    }

    fn violation(self) -> Violation {
        self.verdict().violation().expect("it is one").clone()
    }
}

#[test]
fn a_campaign_that_does_not_look_at_its_own_key() {
    let mut run = Run::new();
    let first = run.invoke(1, "campaign", json!("a"));
    run.key(5, 5, json!("a"));
    run.ok(first, json!({"term": 5}), 5);
    let second = run.invoke(2, "campaign", json!("b"));
    run.key(6, 6, json!("b"));
    run.key(6, 7, Value::Null);
    run.done(1, "resign", json!({"term": 5}), Value::Null, 0);
    run.key(5, 8, Value::Null);
    run.ok(second, json!({"term": 6}), 8);
    let violation = run.violation();
    assert_eq!(violation.kind.name, "false-leader");
    assert_eq!(
        violation.sentence,
        "process 2 was told that it leads with term 6, but it never did: its key was deleted at \
         revision 7, while term 5 led until revision 8. Nobody had resigned it, so its lease had \
         ended while it waited: who comes back from waiting must look whether its own key is \
         still there"
    );
    // The campaign, and where etcd told of both ends.
    assert_eq!(violation.witness.len(), 3);
}

#[test]
fn an_overlap_is_told_apart_by_what_became_of_the_first_key() {
    let overlap = |first_resigns_later: bool| {
        let mut run = Run::new();
        run.done(1, "campaign", json!("a"), json!({"term": 5}), 5);
        run.key(5, 5, json!("a"));
        let second = run.invoke(2, "campaign", json!("b"));
        run.key(6, 6, json!("b"));
        if first_resigns_later {
            run.ok(second, json!({"term": 6}), 0);
            run.done(1, "act", json!({"term": 5}), Value::Null, 0);
            run.done(1, "resign", json!({"term": 5}), Value::Null, 0);
            run.key(5, 7, Value::Null);
        } else {
            run.key(5, 7, Value::Null);
            run.ok(second, json!({"term": 6}), 7);
            run.done(1, "act", json!({"term": 5}), Value::Null, 0);
        }
        run.violation()
    };
    let both_alive = overlap(true);
    assert_eq!(both_alive.kind.name, "two-leaders", "{both_alive}");
    let expired = overlap(false);
    assert_eq!(expired.kind.name, "outlived-lease", "{expired}");
}

#[test]
fn two_clients_with_one_term() {
    let mut run = Run::new();
    run.done(1, "campaign", json!("a"), json!({"term": 5}), 5);
    run.key(5, 5, json!("a"));
    run.done(2, "campaign", json!("b"), json!({"term": 5}), 5);
    assert_eq!(run.violation().kind.name, "shared-term");
}

#[test]
fn who_waits_is_stuck_only_behind_a_key_that_nobody_leads_with() {
    let behind = |what: &str| {
        let mut run = Run::new();
        let first = run.invoke(1, "campaign", json!("a"));
        run.key(5, 5, json!("a"));
        match what {
            "zombie" => run.recorder.info(first, run.time, "no answer"),
            _ => run.ok(first, json!({"term": 5}), 5),
        }
        if what == "dead" {
            run.crash(1);
        }
        let _ = run.invoke(2, "campaign", json!("b"));
        run.key(6, 6, json!("b"));
        run.give_up_waiting();
        run.verdict()
    };
    let kind = |verdict: &Verdict| verdict.violation().map(|violation| violation.kind.name);
    assert_eq!(kind(&behind("zombie")), Some("zombie-candidate"));
    assert_eq!(kind(&behind("dead")), Some("dead-leader"));
    assert!(behind("leading").is_valid());
}

#[test]
fn an_observer_that_is_not_told_of_the_last_change() {
    let observed = |told: bool| {
        let mut run = Run::new();
        let campaign = run.invoke(1, "campaign", json!("a"));
        run.key(5, 5, json!("a"));
        run.ok(campaign, json!({"term": 5}), 5);
        run.done(
            3,
            "observe",
            json!("o"),
            json!({"term": 5, "value": "a"}),
            5,
        );
        run.done(1, "resign", json!({"term": 5}), Value::Null, 0);
        run.key(5, 6, Value::Null);
        if told {
            run.done(3, "observe", json!("o"), Value::Null, 6);
        }
        let _ = run.invoke(3, "observe", json!("o"));
        run.give_up_waiting();
        run.verdict()
    };
    assert!(observed(true).is_valid());
    let violation = observed(false).violation().expect("it is one").clone();
    assert_eq!(violation.kind.name, "observer-left-behind", "{violation}");
}

#[test]
fn without_the_record_nothing_is_decided() {
    let mut run = Run::new();
    run.done(1, "campaign", json!("a"), json!({"term": 5}), 5);
    let Verdict::Unknown { reason } = run.verdict() else {
        panic!("there is no record");
    };
    assert_eq!(
        reason,
        "the record of the keys ends at revision 0, but clients were told of revision 5"
    );
}

#[test]
fn histories_that_cannot_be_checked_are_refused_with_the_reason() {
    let refused = |build: &dyn Fn(&mut Run)| {
        let mut run = Run::new();
        build(&mut run);
        election::check(&run.recorder.finish())
            .unwrap_err()
            .to_string()
    };
    let twice = refused(&|run| {
        run.done(1, "campaign", json!("a"), json!({"term": 5}), 5);
        run.done(1, "campaign", json!("a"), json!({"term": 6}), 6);
    });
    assert!(twice.contains("already proposed in line 2"), "{twice}");
    let unborn = refused(&|run| run.key(5, 7, Value::Null));
    assert!(unborn.contains("the key did not exist"), "{unborn}");
    let unknown = refused(&|run| run.done(1, "vote", Value::Null, Value::Null, 0));
    assert!(unknown.contains("knows no operation \"vote\""), "{unknown}");
    let shapeless = refused(&|run| run.done(1, "campaign", json!("a"), Value::Null, 0));
    assert!(shapeless.contains("must be an object"), "{shapeless}");
}
