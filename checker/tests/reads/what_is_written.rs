//! A recorded history, written and read, is the same history, and the same history
//! is always the same bytes.

use std::borrow::Cow;

use etcd_checker::History;
use etcd_checker::history::{Evidence, Header, Json, Recorder, Source};
use expect_test::expect;
use proptest::prelude::*;

fn write(history: &History) -> String {
    let mut bytes = Vec::new();
    history.write_to(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_history_looks_like_this() {
    let source = Source::Simulation {
        seed: u64::MAX,
        plan: Json::new(&["x"]).unwrap(),
    };
    let mut recorder = Recorder::new(Header::new("queue", "fifo-queue", source));
    let enqueue = recorder.invoke(10, 1, "enqueue", "a\n\"b\"");
    let first = recorder.invoke(12, 2, "dequeue", Json::NULL);
    let second = recorder.invoke(12, 2, "dequeue", Json::NULL);
    recorder.ok(enqueue, 20, "a\n\"b\"", Evidence::revision(17));
    recorder.nemesis(21, "client-killed", 2_u64);
    recorder.crash(2, 21, "the client was killed");
    recorder.ok(first, 22, "late answers are ignored", Evidence::NONE);
    let third = recorder.invoke(5, 2, "dequeue", Json::NULL);
    recorder.fail(third, 30, "etcdserver: no leader");
    let fourth = recorder.invoke(31, 2, "dequeue", Json::NULL);
    recorder.info(second, 32, "so are late errors");
    recorder.ok(
        fourth,
        33,
        "a\n\"b\"",
        Evidence {
            revision: Some(18),
            mod_revision: Some(17),
        },
    );
    recorder.nemesis(40, "liveness-deadline", Json::NULL);
    let history = recorder.finish();
    let text = write(&history);
    expect![[r#"
        {"format":"etcd-recipes-history","version":1,"workload":"queue","model":"fifo-queue","source":{"kind":"simulation","seed":18446744073709551615,"plan":["x"]},"parameters":{}}
        {"time":10,"process":0,"client":1,"type":"invoke","f":"enqueue","value":"a\n\"b\""}
        {"time":12,"process":1,"client":2,"type":"invoke","f":"dequeue","value":null}
        {"time":12,"process":2,"client":2,"type":"invoke","f":"dequeue","value":null}
        {"time":20,"process":0,"client":1,"type":"ok","f":"enqueue","value":"a\n\"b\"","revision":17}
        {"time":21,"process":"nemesis","type":"info","f":"client-killed","value":2}
        {"time":21,"process":1,"client":2,"type":"info","f":"dequeue","value":null,"error":"the client was killed"}
        {"time":21,"process":2,"client":2,"type":"info","f":"dequeue","value":null,"error":"the client was killed"}
        {"time":21,"process":3,"client":2,"type":"invoke","f":"dequeue","value":null}
        {"time":30,"process":3,"client":2,"type":"fail","f":"dequeue","value":null,"error":"etcdserver: no leader"}
        {"time":31,"process":3,"client":2,"type":"invoke","f":"dequeue","value":null}
        {"time":33,"process":3,"client":2,"type":"ok","f":"dequeue","value":"a\n\"b\"","revision":18,"mod_revision":17}
        {"time":40,"process":"nemesis","type":"info","f":"liveness-deadline","value":null}
    "#]]
    .assert_eq(&text);
    assert_eq!(History::read_from(text.as_bytes()).unwrap(), history);
}

/// What a test tells a recorder.
#[derive(Clone, Debug)]
enum Call {
    Invoke {
        client: u64,
        f: String,
        value: Option<String>,
    },
    Ok {
        operation: prop::sample::Index,
        value: Option<String>,
        revision: Option<i64>,
    },
    Fail {
        operation: prop::sample::Index,
        error: String,
    },
    Info {
        operation: prop::sample::Index,
        error: String,
    },
    Crash {
        client: u64,
    },
    Nemesis {
        f: String,
        value: u64,
    },
}

fn call() -> impl Strategy<Value = Call> {
    let text = || proptest::option::of(".*");
    let operation = any::<prop::sample::Index>;
    let f = || prop_oneof![Just("enqueue".to_owned()), Just("txn".to_owned()), ".{0,5}"];
    let invoke = (0..4_u64, f(), text());
    let ok = (operation(), text(), proptest::option::of(0..i64::MAX));
    prop_oneof![
        4 => invoke.prop_map(|(client, f, value)| Call::Invoke { client, f, value }),
        3 => ok.prop_map(|(operation, value, revision)| Call::Ok { operation, value, revision }),
        1 => (operation(), ".*").prop_map(|(operation, error)| Call::Fail { operation, error }),
        1 => (operation(), ".*").prop_map(|(operation, error)| Call::Info { operation, error }),
        1 => (0..4_u64).prop_map(|client| Call::Crash { client }),
        1 => (f(), any::<u64>()).prop_map(|(f, value)| Call::Nemesis { f, value }),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    let plan = proptest::option::of(".*").prop_map(Json::from);
    prop_oneof![
        (any::<u64>(), plan).prop_map(|(seed, plan)| Source::Simulation { seed, plan }),
        (proptest::collection::vec(".*", 0..3), ".*", ".*").prop_map(
            |(endpoints, etcd_version, prefix)| Source::Live {
                endpoints,
                etcd_version,
                prefix
            }
        ),
        ".*".prop_map(|description| Source::Other { description }),
    ]
}

fn record(workload: &str, source: Source, calls: Vec<(u64, Call)>) -> History {
    let mut recorder = Recorder::new(Header::new(workload, "fifo-queue", source));
    let mut operations = Vec::new();
    for (time, call) in calls {
        let pick =
            |index: prop::sample::Index| (!operations.is_empty()).then(|| *index.get(&operations));
        match call {
            Call::Invoke { client, f, value } => {
                operations.push(recorder.invoke(time, client, Cow::Owned(f), value));
            }
            Call::Ok {
                operation,
                value,
                revision,
            } => {
                let evidence = Evidence {
                    revision,
                    mod_revision: None,
                };
                pick(operation)
                    .into_iter()
                    .for_each(|id| recorder.ok(id, time, value.clone(), evidence));
            }
            Call::Fail { operation, error } => pick(operation)
                .into_iter()
                .for_each(|id| recorder.fail(id, time, &error)),
            Call::Info { operation, error } => pick(operation)
                .into_iter()
                .for_each(|id| recorder.info(id, time, &error)),
            Call::Crash { client } => recorder.crash(client, time, "crash"),
            Call::Nemesis { f, value } => recorder.nemesis(time, f, value),
        }
    }
    recorder.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_recorded_reads_back(
        workload in ".*",
        source in source(),
        calls in proptest::collection::vec((0..1_000_u64, call()), 0..60),
    ) {
        let history = record(&workload, source, calls);
        let text = write(&history);
        let read = History::read_from(text.as_bytes()).unwrap();
        prop_assert_eq!(&read, &history);
        prop_assert_eq!(write(&read), text);
        let (header, events) = history.clone().into_parts();
        prop_assert_eq!(History::new(header, events).unwrap(), history);
    }
}
