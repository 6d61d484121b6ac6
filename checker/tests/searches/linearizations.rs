//! An object that does the operations of a linearization one after the other answers each as
//! the history says: on many small random histories, and on those of `histories/`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use etcd_checker::history::Process;
use etcd_checker::search::Budget;
use etcd_checker::{
    Consistency, History, Model, Options, Verdict, check, check_with, check_within,
};

use crate::support;
use crate::support::Random;
use crate::support::busy::plain::busy_plain_register;
use crate::support::busy::with_unknown;
use crate::support::corpus;
use crate::support::elections as support_elections;
use crate::support::locks::{Service, locks};
use crate::support::replay;

/// Some of them without what is known about the ends of keys.
#[test]
fn locks_are_granted_used_and_freed_in_the_order() {
    let mut random = Random(5);
    let (mut valid, mut silent, mut expired) = (0, 0, 0);
    for number in 0..20_000 {
        let service = Service::draw(&mut random);
        let mut history = locks(&mut random, service);
        if number % 4 == 0 {
            let (header, mut events) = history.into_parts();
            events.retain(|event| event.process() != Process::Nemesis);
            history = History::new(header, events).unwrap();
        }
        let model = Model::of(&history).unwrap();
        if !check(&history, model).unwrap().is_valid() {
            continue;
        }
        let order = replay::order_of(&history, model);
        let of_one = replay::lock::replay(&history, &order);
        valid += 1;
        silent += of_one.0;
        expired += of_one.1;
    }
    println!("{valid} valid, {silent} unlocks of unknown outcome, {expired} leases ended");
    assert!(valid > 12_000 && silent > 1_000 && expired > 1_000);
}

#[test]
fn leaders_lead_in_the_order() {
    let mut random = Random(6);
    let (mut valid, mut silent) = (0, 0);
    for number in 0..30_000 {
        let mut ops = support_elections::real_run(&mut random);
        if number % 2 == 0 {
            support_elections::falsify(&mut random, &mut ops);
        }
        if support_elections::has_equal_times(&ops) {
            continue;
        }
        let history = support::history("election", "{}", &ops);
        if !check(&history, Model::Election).unwrap().is_valid() {
            continue;
        }
        let order = replay::order_of(&history, Model::Election);
        silent += replay::election::replay(&history, &order);
        valid += 1;
    }
    println!("{valid} valid, {silent} operations of unknown outcome");
    assert!(valid > 15_000 && silent > 1_000, "{valid}, {silent}");
}

/// Where each value is written once there is an order that takes no search, however many
/// operations overlap, of unknown outcome or not.
#[test]
fn registers_written_once_are_read_in_the_order() {
    let mut random = Random(14);
    let busy = busy_plain_register(&mut random, 20_000, 40);
    let unknown = with_unknown(&mut random, busy.clone(), "read", 20);
    for history in [busy, unknown] {
        let budget = Budget {
            memory_bytes: 1 << 10,
            ..Budget::default()
        };
        let verdict = check_within(&history, Model::Register, &budget).unwrap();
        assert!(verdict.is_valid(), "{verdict}");
        replay::register::replay(&history, &replay::order_of(&history, Model::Register));
    }
}

#[test]
fn recorded_histories_replay() {
    let mut replayed = std::collections::BTreeMap::new();
    for file in corpus::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../histories")) {
        let history = History::read_from(BufReader::new(File::open(&file).unwrap())).unwrap();
        let model = Model::of(&history).unwrap();
        let replay: fn(&History, &[usize]) = match model {
            Model::Mutex | Model::RwLock if has_tokens(&history) => |history, order| {
                replay::lock::replay(history, order);
            },
            Model::Transactions | Model::ListAppend | Model::RwRegister | Model::Stm => {
                |history, order| {
                    let model = strongest(history).expect("it is serializable");
                    replay::transactions::replay(history, order, model);
                }
            }
            Model::Barrier => |history, order| {
                replay::barrier::replay(history, order);
            },
            Model::CyclicBarrier => replay::barrier::replay_cyclic,
            Model::DoubleBarrier => |history, order| {
                replay::barrier::replay_double(history, order);
            },
            Model::Election => |history, order| {
                replay::election::replay(history, order);
            },
            Model::Etcd => |history, order| {
                replay::etcd::replay(history, order);
            },
            _ => continue,
        };
        let has_order = match model {
            Model::Transactions | Model::ListAppend | Model::RwRegister | Model::Stm => {
                strongest(&history).is_some()
            }
            _ => check(&history, model).unwrap().is_valid(),
        };
        if has_order {
            println!("{}", file.display());
            replay(&history, &replay::order_of(&history, model));
            *replayed.entry(model.name()).or_insert(0) += 1;
        }
    }
    println!("{replayed:?}");
    for model in [
        "mutex",
        "rwlock",
        "election",
        "etcd",
        "barrier",
        "cyclic-barrier",
        "double-barrier",
        "transactions",
        "stm",
        "list-append",
        "rw-register",
    ] {
        assert!(replayed.contains_key(model), "{model}: {replayed:?}");
    }
}

/// The strongest model with a serial order that holds.
fn strongest(history: &History) -> Option<Consistency> {
    let models = [
        Consistency::StrictSerializable,
        Consistency::StrongSessionSerializable,
        Consistency::Serializable,
    ];
    let model = Model::of(history).unwrap();
    if model == Model::Stm {
        let is_valid = check(history, model).unwrap().is_valid();
        return is_valid.then_some(Consistency::StrictSerializable);
    }
    models.into_iter().find(|required| {
        let options = Options {
            consistency: vec![*required],
            ..Options::default()
        };
        let verdict = check_with(history, model, &options).unwrap();
        matches!(verdict, Verdict::Valid(_))
    })
}

fn has_tokens(history: &History) -> bool {
    history
        .events()
        .iter()
        .any(|event| event.f().ends_with("lock"))
}
