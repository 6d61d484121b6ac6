//! Histories of transactions whose versions are inferred: each anomaly by its name, and the
//! models that hold all the same.

use std::collections::BTreeSet;

use etcd_checker::history::{Event, EventKind, Json, Process};
use etcd_checker::search::Budget;
use etcd_checker::verdict::Isolation;
use etcd_checker::{
    Consistency, History, Linearization, Model, Options, Verdict, check_with, linearization,
};

use crate::support;
use crate::support::transactions::{Object, busy_transactions};

/// Transactions in short: `ax1` appends 1 to x, `rx12` reads x as the list of 1 and 2, `wx1`
/// writes 1, and in a register `rx1` reads 1 and `rx_` nothing.
fn micro_operations(model: &str, short: &str) -> serde_json::Value {
    let mut all: Vec<(char, char, String)> = Vec::new();
    for letter in short.chars() {
        match letter {
            'a' | 'r' | 'w' => all.push((letter, ' ', String::new())),
            's'..='z' => all.last_mut().unwrap().1 = letter,
            digit => all.last_mut().unwrap().2.push(digit),
        }
    }
    let all = all.into_iter().map(|(f, key, digits)| {
        let number = |digit: char| digit.to_digit(10);
        let key = key.to_string();
        match (f, model) {
            ('a', _) => serde_json::json!(["append", key, digits.parse::<u32>().unwrap()]),
            ('w', _) => serde_json::json!(["w", key, digits.parse::<u32>().unwrap()]),
            (_, "list-append") => {
                serde_json::json!(["r", key, digits.chars().map(number).collect::<Vec<_>>()])
            }
            _ => serde_json::json!(["r", key, digits.parse::<u32>().ok()]),
        }
    });
    serde_json::Value::Array(all.collect())
}

/// Transactions, each with its process and outcome: `0 ok ax1ry2`. They are done one after
/// the other, or all at once and then each by a process of its own.
fn history(model: &str, at_once: bool, short: &[&str]) -> History {
    let mut events = Vec::new();
    let event = |process: u64, kind: &str, value: &serde_json::Value| {
        let kind = match kind {
            "invoke" => EventKind::Invoke,
            "ok" => EventKind::Ok,
            "fail" => EventKind::Fail,
            _ => EventKind::Info,
        };
        let event = Event::new(0, Process::Number(process), kind, "txn");
        event.with_value(Json::new(value).unwrap())
    };
    let mut ends = Vec::new();
    for (number, short) in (0..).zip(short) {
        let parts: Vec<&str> = short.split(' ').collect();
        let process = if at_once {
            number
        } else {
            parts[0].parse().unwrap()
        };
        let value = micro_operations(model, parts[2]);
        events.push(event(process, "invoke", &value));
        let end = event(process, parts[1], &value);
        if at_once {
            ends.push(end);
        } else {
            events.push(end);
        }
    }
    events.extend(ends);
    History::new(support::header(model), events).unwrap()
}

fn judge(history: &History, consistency: Consistency) -> Verdict {
    let options = Options {
        consistency: vec![consistency],
        ..Options::default()
    };
    let verdict = check_with(history, Model::of(history).unwrap(), &options).unwrap();
    assert_names_are_clear(&verdict);
    verdict
}

/// Each transaction that has a name in a verdict has one, and shares it with nobody.
fn assert_names_are_clear(verdict: &Verdict) {
    let names = names_in(verdict);
    let distinct = |of: fn(&(u32, usize)) -> usize| {
        let all: BTreeSet<usize> = names.iter().map(of).collect();
        all.len()
    };
    let numbers = distinct(|(number, _)| *number as usize);
    assert_eq!(numbers, names.len(), "{names:?} in {verdict}");
    assert_eq!(
        distinct(|(_, line)| *line),
        names.len(),
        "{names:?} in {verdict}"
    );
    let last = names.last().map_or(0, |(number, _)| *number as usize);
    assert_eq!(numbers, last, "none is left out: {names:?} in {verdict}");
}

/// The numbers of the names in a verdict, and their lines: of `T1 by process 0, line 2`.
fn names_in(verdict: &Verdict) -> BTreeSet<(u32, usize)> {
    let sentences: Vec<&String> = match verdict {
        Verdict::Valid(summary) => summary.notes.iter().collect(),
        Verdict::Violation(violation) => {
            let first = std::iter::once(&violation.sentence);
            first.chain(&violation.also).collect()
        }
        _ => Vec::new(),
    };
    let mut names = BTreeSet::new();
    for (name, place) in sentences.into_iter().flat_map(|sentence| {
        sentence
            .match_indices(" by process ")
            .map(move |(at, _)| sentence.split_at(at))
    }) {
        let name = name.rsplit(['(', ' ']).next().unwrap();
        let Some(number) = name.strip_prefix('T') else {
            continue;
        };
        let line = place.split_once(", line ").unwrap().1;
        let line = line
            .split(|letter: char| !letter.is_ascii_digit())
            .next()
            .unwrap();
        names.insert((number.parse().unwrap(), line.parse().unwrap()));
    }
    names
}

/// A process misses its own write, and two transactions miss each other's: first other ones, then
/// one of those that have names already.
#[test]
fn names_go_on_where_the_sentence_ended() {
    let also = |short: &[&str]| {
        let strict = Consistency::StrictSerializable;
        let verdict = judge(&history("rw-register", false, short), strict);
        let violation = verdict.violation().unwrap();
        assert!(
            violation
                .sentence
                .contains("yet T2 was done by the process"),
            "{verdict}"
        );
        violation.also[0].clone()
    };
    assert_eq!(
        also(&["0 ok wz1", "0 ok rz_", "1 ok wx1ry_", "2 ok wy1rx_"]),
        "G2-item, G-update: T3 read `y` as nothing before T4 wrote `1`, yet T4 read `x` as nothing \
         before T3 wrote `1` (T3 by process 1, line 6, T4 by process 2, line 8)"
    );
    assert_eq!(
        also(&["0 ok wx1ry_", "0 ok rx_", "1 ok wy1rx_"]),
        "G2-item, G-update: T1 read `y` as nothing before T3 wrote `1`, yet T3 read `x` as nothing \
         before T1 wrote `1` (T1 by process 0, line 2, T3 by process 1, line 6)"
    );
}

/// What is known of the models, whatever was required.
fn isolation(history: &History) -> Isolation {
    match judge(history, Consistency::StrictSerializable) {
        Verdict::Valid(summary) => *summary.isolation.unwrap(),
        Verdict::Violation(violation) => *violation.isolation.unwrap(),
        Verdict::Unknown { reason } => panic!("{reason}"),
        other => panic!("{other}"),
    }
}

/// Checks which anomalies are found, and which models are the weakest that do not hold.
#[track_caller]
fn assert_shows(history: &History, anomalies: &[&str], not: &[&str]) {
    let found = isolation(history);
    let names: Vec<&str> = found.anomalies.iter().map(|anomaly| anomaly.name).collect();
    assert_eq!(names, anomalies, "of {found:?}");
    assert_eq!(found.not, not, "of {found:?}");
    for model in Consistency::ALL {
        let is_broken = found.not.contains(&model.name()) || found.also_not.contains(&model.name());
        let verdict = judge(history, model);
        assert_eq!(
            verdict.violation().is_some(),
            is_broken,
            "{model}: {verdict}"
        );
    }
}

#[track_caller]
fn lists(short: &[&str], anomalies: &[&str], not: &[&str]) {
    assert_shows(&history("list-append", true, short), anomalies, not);
}

#[track_caller]
fn lists_in_turn(short: &[&str], anomalies: &[&str], not: &[&str]) {
    assert_shows(&history("list-append", false, short), anomalies, not);
}

#[test]
fn cycles_of_lists_have_their_names() {
    let si = "snapshot-isolation";
    lists(
        &["0 ok ax1ay1", "1 ok ax2ay2", "2 ok rx12ry21"],
        &["G0"],
        &["read-uncommitted"],
    );
    lists(
        &["0 ok ax1ry1", "1 ok ax2ay1", "2 ok rx12"],
        &["G1c"],
        &["read-committed"],
    );
    lists(
        &["0 ok ax1ay1", "1 ok ax2ry", "2 ok rx12"],
        &["G-single"],
        &["repeatable-read", "consistent-view"],
    );
    lists(
        &["0 ok ax1at1", "1 ok rx1ry", "2 ok ay1az2", "3 ok rz2rt"],
        &["G-nonadjacent"],
        &[si, "repeatable-read"],
    );
    lists(
        &["0 ok ax1ry", "1 ok ay1rx"],
        &["G2-item", "G-update"],
        &["repeatable-read", "update-serializable"],
    );
}

#[test]
fn cycles_that_need_the_order_of_a_process_have_their_names() {
    lists_in_turn(
        &["0 ok ax1", "1 ok ax2", "1 ok rx1", "2 ok rx12"],
        &["G-single-process"],
        &["strong-session-snapshot-isolation"],
    );
    lists_in_turn(
        &["1 ok rx1ay1", "2 ok ry1", "2 ok ax1"],
        &["G1c-process"],
        &["strong-session-read-committed"],
    );
    lists_in_turn(
        &["0 ok ax2", "0 ok ax1", "1 ok rx12"],
        &["G0-process"],
        &["strong-session-read-uncommitted"],
    );
}

#[test]
fn cycles_that_need_real_time_have_their_names() {
    lists_in_turn(
        &["0 ok ax1", "1 ok ax2", "2 ok rx1", "3 ok rx12"],
        &["G-single-realtime"],
        &["strong-snapshot-isolation"],
    );
    lists_in_turn(
        &["0 ok rx1", "1 ok ax1"],
        &["G1c-realtime"],
        &["strong-read-committed"],
    );
    lists_in_turn(
        &["0 ok ax2", "1 ok ax1", "2 ok rx12"],
        &["G0-realtime"],
        &["strong-read-uncommitted"],
    );
    // The skew of the first two is over before the third sees neither.
    lists_in_turn(
        &["0 ok ax1", "1 ok ry", "2 ok ay1rx"],
        &["G-single-realtime"],
        &["strong-snapshot-isolation"],
    );
}

#[test]
fn what_is_wrong_without_a_cycle_has_its_name() {
    lists(&["0 fail ax1", "1 ok rx1"], &["G1a"], &["read-committed"]);
    lists(
        &["0 fail ax1", "1 ok ax2", "2 ok rx12"],
        &["G1a", "dirty-update"],
        &["read-committed"],
    );
    lists(
        &["0 ok ax1ax2", "1 ok rx1"],
        &["G1b", "G-single"],
        &["read-committed"],
    );
    lists(&["0 ok rx1"], &["garbage-read"], &["read-committed"]);
    lists(&["0 ok rx1ax1"], &["future-read"], &["read-committed"]);
    lists(
        &["0 ok ax1", "1 ok rx11"],
        &["duplicate-elements"],
        &["read-uncommitted"],
    );
    lists(
        &["0 ok ax1ax2", "1 ok rx21"],
        &["torn-append", "G1b"],
        &["read-uncommitted"],
    );
    lists(
        &["0 ok ax1ax2", "1 ok rx2"],
        &["torn-append", "G-single"],
        &["read-uncommitted"],
    );
    lists(
        &["0 ok ax1", "1 ok ax2", "2 ok rx12", "3 ok rx2"],
        &["incompatible-order"],
        &["read-committed"],
    );
    lists(
        &["0 ok ax1rx", "1 ok rx1"],
        &["internal"],
        &["repeatable-read", "read-atomic"],
    );
    lists(
        &["0 ok rxax1", "1 ok rxax2"],
        &["lost-update"],
        &["cursor-stability"],
    );
}

#[test]
fn transactions_of_unknown_outcome_count_when_somebody_saw_them() {
    // Nobody saw it: it may not have happened.
    lists_in_turn(&["0 info ax1", "1 ok rx"], &[], &[]);
    // It was seen, so its other append happened as well.
    lists(
        &["0 info ax1ay1", "1 ok rx1ry"],
        &["G-single", "fractured-read"],
        &["repeatable-read", "consistent-view", "read-atomic"],
    );
    // Who reads may have appended behind the one that it missed.
    lists(
        &["0 ok ax3ay4", "1 ok ax5rx35ryay6", "2 ok ry46"],
        &["G-single", "fractured-read"],
        &["repeatable-read", "consistent-view", "read-atomic"],
    );
    // What it read is not known.
    lists(&["0 info ax2ry", "1 ok ax1ay1", "2 ok rx12ry1"], &[], &[]);
}

/// A large valid history in which one transaction is told something else.
fn planted(object: Object, seed: u64, plant: impl Fn(&str) -> Option<String>) -> Option<History> {
    let history = busy_transactions(&mut support::Random(seed), object, 2_000, 10);
    let (header, mut events) = history.into_parts();
    let middle = events.len() / 2;
    let changed = events[middle..].iter_mut().find_map(|event| {
        let told = (event.kind() == EventKind::Ok).then(|| plant(event.value().as_str()))??;
        let value = serde_json::value::RawValue::from_string(told).unwrap();
        event.set_value(Json::new(&value).unwrap());
        Some(())
    });
    changed?;
    Some(History::new(header, events).unwrap())
}

/// The first read in a transaction that found at least `least` elements, and the rest.
fn list_read(text: &str, least: usize) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("[\"r\",") {
        let open = from + at + text[from + at + 1..].find('[')? + 1;
        let close = open + text[open..].find(']')?;
        if text[open..close].matches(',').count() + 1 >= least {
            return Some((open, close));
        }
        from = close;
    }
    None
}

#[test]
fn a_fault_planted_in_a_large_history_of_lists_is_found() {
    for seed in 0..20 {
        let valid = busy_transactions(&mut support::Random(seed), Object::List, 2_000, 10);
        assert!(judge(&valid, Consistency::StrictSerializable).is_valid());
        // The last elements are not seen, although their transactions returned long ago.
        let stale = planted(Object::List, seed, |text| {
            let (open, close) = list_read(text, 20)?;
            let keep = open + text[open..close].match_indices(',').nth(2)?.0;
            Some(format!("{}{}", &text[..keep], &text[close..]))
        });
        let verdict = judge(&stale.unwrap(), Consistency::StrictSerializable);
        let violation = verdict.violation().expect("a stale read");
        assert!(violation.kind.name.starts_with("G-single"), "{verdict}");
        assert!(violation.witness.len() <= 6, "{verdict}");
        // One element is missing in the middle.
        let lost = planted(Object::List, seed, |text| {
            let (open, close) = list_read(text, 6)?;
            let commas: Vec<usize> = text[open..close]
                .match_indices(',')
                .map(|(at, _)| open + at)
                .collect();
            Some(format!("{}{}", &text[..commas[1]], &text[commas[2]..]))
        });
        let verdict = judge(&lost.unwrap(), Consistency::ReadCommitted);
        assert_eq!(
            verdict.violation().unwrap().kind.name,
            "incompatible-order",
            "{verdict}"
        );
        // One element is there twice.
        let twice = planted(Object::List, seed, |text| {
            let (open, close) = list_read(text, 6)?;
            let first = &text[open + 1..open + text[open..].find(',')?];
            Some(format!("{},{first}{}", &text[..close], &text[close..]))
        });
        let verdict = judge(&twice.unwrap(), Consistency::ReadUncommitted);
        assert_eq!(
            verdict.violation().unwrap().kind.name,
            "duplicate-elements",
            "{verdict}"
        );
    }
}

#[track_caller]
fn registers(short: &[&str], anomalies: &[&str], not: &[&str]) {
    assert_shows(&history("rw-register", true, short), anomalies, not);
}

#[track_caller]
fn registers_in_turn(short: &[&str], anomalies: &[&str], not: &[&str]) {
    assert_shows(&history("rw-register", false, short), anomalies, not);
}

/// As [`registers_in_turn`], with a parameter of the header.
#[track_caller]
fn registers_given(parameter: &str, short: &[&str], anomalies: &[&str], not: &[&str]) {
    let (mut header, events) = history("rw-register", false, short).into_parts();
    header.parameters = Json::new(&serde_json::json!({ parameter: true })).unwrap();
    assert_shows(&History::new(header, events).unwrap(), anomalies, not);
}

#[test]
fn cycles_of_registers_have_their_names() {
    registers(
        &["0 ok wx1ry1", "1 ok wy1rx1"],
        &["G1c"],
        &["read-committed"],
    );
    // Who found nothing comes before all writers.
    registers(
        &["0 ok rx_ry1", "1 ok wy1wx2"],
        &["G-single", "fractured-read"],
        &["repeatable-read", "consistent-view", "read-atomic"],
    );
    // Writes follow reads.
    registers(
        &["0 ok wy1", "1 ok ry1wx1wy2", "2 ok rx1ry1"],
        &["G-single", "fractured-read"],
        &["repeatable-read", "consistent-view", "read-atomic"],
    );
    registers(
        &["0 ok wx1wt1", "1 ok rx1ry_", "2 ok wy1wz2", "3 ok rz2rt_"],
        &["G-nonadjacent"],
        &["snapshot-isolation", "repeatable-read"],
    );
    registers(
        &["0 ok wx1ry_", "1 ok wy1rx_"],
        &["G2-item", "G-update"],
        &["repeatable-read", "update-serializable"],
    );
}

#[test]
fn cycles_of_registers_that_need_an_order_have_their_names() {
    registers_in_turn(
        &["1 ok rx1wy1", "2 ok ry1", "2 ok wx1"],
        &["G1c-process"],
        &["strong-session-read-committed"],
    );
    registers_in_turn(
        &["0 ok rx1", "1 ok wx1"],
        &["G1c-realtime"],
        &["strong-read-committed"],
    );
    registers_in_turn(
        &["0 ok wx1", "1 ok rx_"],
        &["G-single-realtime"],
        &["strong-snapshot-isolation"],
    );
    registers_in_turn(
        &["0 ok wx1", "0 ok rx_"],
        &["G-single-process"],
        &["strong-session-snapshot-isolation"],
    );
    // Each was acknowledged, and then the first came back.
    registers_in_turn(
        &["0 ok wx1", "1 ok wx2", "2 ok rx1"],
        &["G-single-realtime"],
        &["strong-snapshot-isolation"],
    );
    registers_in_turn(
        &["0 ok wx1", "1 ok wx2", "2 ok rx2", "2 ok rx1"],
        &["G-single-realtime"],
        &["strong-snapshot-isolation"],
    );
}

#[test]
fn what_no_cycle_of_facts_shows_is_found_all_the_same() {
    // One of the writers was first, and whichever it was, one of the readers is wrong: the
    // first two read skew, and so do the other two.
    registers(
        &["0 ok wx1wy1", "1 ok wx2wy2", "2 ok rx1ry2", "3 ok rx2ry1"],
        &["G-single", "fractured-read"],
        &["repeatable-read", "consistent-view", "read-atomic"],
    );
}

/// What the models that are asked for say of a history that breaks snapshot isolation.
#[track_caller]
fn assert_weaker(model: &str, short: &[&str], expected: [(Consistency, Option<&str>); 4]) {
    for (asked, kind) in expected {
        let verdict = judge(&history(model, true, short), asked);
        let found = verdict.violation().map(|violation| violation.kind.name);
        assert_eq!(found, kind, "{asked}: {verdict}");
        assert!(!matches!(verdict, Verdict::Unknown { .. }), "{verdict}");
    }
}

const UPDATES: Consistency = Consistency::UpdateSerializable;
const VIEW: Consistency = Consistency::ConsistentView;
const FORWARD: Consistency = Consistency::ForwardConsistentView;
const ATOMIC: Consistency = Consistency::ReadAtomic;

/// Each of two that only read has seen another write first: those that write are serializable
/// with either of them.
#[test]
fn a_long_fork_breaks_no_model_that_is_weaker_than_snapshot_isolation() {
    let holds = [
        (UPDATES, None),
        (FORWARD, None),
        (VIEW, None),
        (ATOMIC, None),
    ];
    let registers = ["0 ok wx1", "1 ok wy1", "2 ok rx1ry_", "3 ok rx_ry1"];
    assert_weaker("rw-register", &registers, holds);
    let lists = ["0 ok ax1", "1 ok ay1", "2 ok rx1ry", "3 ok rxry1"];
    assert_weaker("list-append", &lists, holds);
}

#[test]
fn write_skew_of_transactions_that_write_is_no_update_serializability() {
    let breaks = [
        (UPDATES, Some("G-update")),
        (FORWARD, None),
        (VIEW, None),
        (ATOMIC, None),
    ];
    assert_weaker("rw-register", &["0 ok wx1ry_", "1 ok wy1rx_"], breaks);
    assert_weaker("list-append", &["0 ok ax1ry", "1 ok ay1rx"], breaks);
    // A reader that has seen a third write, and not the one that comes before it.
    let registers = ["0 ok rx_wy1", "1 ok wx1wz1", "2 ok rz1ry_"];
    assert_weaker("rw-register", &registers, breaks);
    assert_weaker(
        "list-append",
        &["0 ok rxay1", "1 ok ax1az1", "2 ok rz1ry"],
        breaks,
    );
}

/// Who has seen an element of a list has seen all before it, whoever appended the last.
#[test]
fn who_was_seen_in_one_list_is_not_missed_in_another() {
    let breaks = [
        (UPDATES, Some("G-single")),
        (FORWARD, Some("G-single")),
        (VIEW, Some("G-single")),
        (ATOMIC, Some("fractured-read")),
    ];
    assert_weaker(
        "list-append",
        &["0 ok ax1ay1", "1 ok ax2", "2 ok rx12ry"],
        breaks,
    );
    let holds = [
        (UPDATES, Some("G-single")),
        (FORWARD, Some("G-single")),
        (VIEW, Some("G-single")),
        (ATOMIC, None),
    ];
    // What was missed is of another transaction than what was seen.
    let lists = ["0 ok ay1", "1 ok ry1ax1", "2 ok rx1ry"];
    assert_weaker("list-append", &lists, holds);
    let registers = ["0 ok wy1", "1 ok ry1wx1", "2 ok rx1ry_"];
    assert_weaker("rw-register", &registers, holds);
}

/// Of two appends that nobody has read one was first: whichever it was, a reader is wrong.
#[test]
fn an_order_of_appends_that_nobody_has_read_is_looked_for() {
    let breaks = [
        (UPDATES, Some("G-single")),
        (FORWARD, Some("G-single")),
        (VIEW, Some("G-single")),
        (ATOMIC, None),
    ];
    let lists = ["0 ok ax1ay1", "1 ok ax2az1", "2 ok ry1rz", "3 ok ryrz1"];
    assert_weaker("list-append", &lists, breaks);
    let registers = ["0 ok wx1wy1", "1 ok wx2wz1", "2 ok ry1rz_", "3 ok ry_rz1"];
    assert_weaker("rw-register", &registers, breaks);
}

/// Two appends to x that nobody has read, and whichever was first, something is wrong.
#[test]
fn what_is_wrong_in_every_order_of_unseen_appends_is_told_as_the_model_has_it() {
    let told = |asked: Consistency, kind: &str, short: &[&str], wrong: &str| {
        let verdict = judge(&history("list-append", true, short), asked);
        let violation = verdict.violation().unwrap_or_else(|| panic!("{verdict}"));
        assert_eq!(violation.kind.name, kind, "{violation}");
        let begin =
            "in whatever order the appends of these transactions happened that nobody has read";
        let sentence = &violation.sentence;
        assert!(
            sentence.starts_with(&format!("{begin}, {wrong}")),
            "{sentence}"
        );
        assert_eq!(violation.witness.len(), short.len(), "{violation}");
    };
    let view = ["0 ok ax1ay1", "1 ok ax2az1", "2 ok ry1rz", "3 ok ryrz1"];
    let missed = "one has seen the effects of another and missed it";
    told(VIEW, "G-single", &view, missed);
    // If the second was first, who has seen the first missed what came before both, and the
    // other way round.
    let updates = [
        "0 ok ax1ay1at1",
        "1 ok ax2az1av1",
        "2 ok as1rv",
        "3 ok ry1rs",
        "4 ok au1rt",
        "5 ok rz1ru",
    ];
    let read = "one has read what no order of those that appended explains";
    told(UPDATES, "G-update", &updates, read);
    assert!(judge(&history("list-append", true, &updates), VIEW).is_valid());
    // Each has missed a third whom somebody has seen who missed the other.
    let snapshots = [
        "0 ok ax1at1ru",
        "1 ok ax2av1rs",
        "2 ok as1",
        "3 ok rs1rt",
        "4 ok au1",
        "5 ok ru1rv",
    ];
    let none = "no snapshots explain what was read";
    let isolation = Consistency::SnapshotIsolation;
    told(isolation, "G-nonadjacent", &snapshots, none);
    assert!(judge(&history("list-append", true, &snapshots), VIEW).is_valid());
}

#[test]
fn what_is_wrong_with_registers_without_a_cycle_has_its_name() {
    registers(&["0 fail wx1", "1 ok rx1"], &["G1a"], &["read-committed"]);
    registers(
        &["0 fail wx1", "1 ok rx1wx2"],
        &["G1a", "dirty-update"],
        &["read-committed"],
    );
    registers(&["0 ok wx1wx2", "1 ok rx1"], &["G1b"], &["read-committed"]);
    registers(
        &["0 ok rx_", "1 ok rx1"],
        &["garbage-read"],
        &["read-committed"],
    );
    registers(&["0 ok rx1wx1"], &["future-read"], &["read-committed"]);
    registers(
        &["0 ok wx1rx_"],
        &["internal"],
        &["repeatable-read", "read-atomic"],
    );
    registers(
        &["0 ok rx_wx1", "1 ok rx_wx2"],
        &["lost-update"],
        &["cursor-stability"],
    );
}

#[test]
fn registers_of_unknown_outcome_count_when_somebody_saw_them() {
    registers_in_turn(&["0 info wx1", "1 ok rx_"], &[], &[]);
    registers_in_turn(&["0 info wx1", "1 ok rx_", "2 ok rx1"], &[], &[]);
    registers(
        &["0 info wx1wy1", "1 ok rx1ry_"],
        &["G-single", "fractured-read"],
        &["repeatable-read", "consistent-view", "read-atomic"],
    );
}

/// That it happened, and by when, only who read it tells: so that one belongs to the proof.
#[test]
fn who_read_a_write_of_unknown_outcome_is_part_of_the_witness() {
    let short = ["0 info wx1", "1 ok rx1", "2 ok rx_"];
    for (model, write) in [("rw-register", "wrote"), ("list-append", "appended")] {
        let short = short.map(|short| match model {
            "list-append" => short.replace('w', "a").replace('_', ""),
            _ => short.to_owned(),
        });
        let short: Vec<&str> = short.iter().map(String::as_str).collect();
        let history = history(model, false, &short);
        let verdict = judge(&history, Consistency::StrictSerializable);
        let violation = verdict.violation().unwrap();
        assert_eq!(violation.kind.name, "G-single-realtime");
        assert_eq!(violation.witness.len(), 3, "{verdict}");
        let told = format!("before T1 {write} `1`");
        assert!(violation.sentence.contains(&told), "{verdict}");
    }
    assert_minimal(&history("rw-register", false, &short));
}

/// As lists: what is needed is a cycle, and is told as one, or else the keys are named.
#[test]
fn what_has_no_order_is_told_with_its_keys_and_once() {
    let told = |short: &[&str]| {
        let verdict = judge(
            &history("rw-register", true, short),
            Consistency::Serializable,
        );
        verdict
            .violation()
            .unwrap_or_else(|| panic!("{verdict}"))
            .clone()
    };
    let skew = told(&["0 ok wx1ry_", "1 ok wy1rx_"]);
    assert!(
        skew.sentence.starts_with("T1 read `y` as nothing"),
        "{skew}"
    );
    assert_eq!(skew.also[0], "G-update: the same", "{skew}");
    let unordered = told(&["0 ok wx1wy1", "1 ok wx2wy2", "2 ok rx1ry2", "3 ok rx2ry1"]);
    let keys = "; the keys are `x`, `y` (T1";
    assert!(unordered.sentence.contains(keys), "{unordered}");
}

/// Who shows a step in two ways is named once.
#[test]
fn who_shows_that_one_value_came_after_another_is_named_once() {
    let short = ["0 ok wx1", "1 ok wx2", "0 ok rx2", "2 ok ry_", "2 ok rx1"];
    let verdict = judge(
        &history("rw-register", false, &short),
        Consistency::StrictSerializable,
    );
    let sentence = &verdict.violation().unwrap().sentence;
    for (at, name) in sentence.match_indices(" as T") {
        let shown = sentence[at + name.len() - 1..]
            .split(" shows")
            .next()
            .unwrap();
        let names: Vec<&str> = shown.split(" with ").collect();
        let distinct: BTreeSet<&&str> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{sentence}");
    }
}

#[test]
fn the_order_of_keys_can_be_taken_for_granted() {
    let short = ["0 ok wx1wy2", "1 ok wx2wy1", "0 ok rx2", "1 ok ry2"];
    registers_in_turn(
        &short,
        &["G-single-process"],
        &["strong-session-snapshot-isolation"],
    );
    registers_given(
        "sequential_keys",
        &short,
        &["G0", "G-single-process"],
        &["read-uncommitted"],
    );
    registers_given(
        "linearizable_keys",
        &["0 ok wx1", "1 ok wx2", "2 ok rx2", "3 ok rx1"],
        &["cyclic-versions", "G-single-realtime"],
        &["read-uncommitted"],
    );
}

/// What a process met in a transaction comes before what it meets in the next one, also where
/// that reads the same version once more before it writes another one.
#[test]
fn a_process_that_reads_what_it_wrote_and_writes_again_wrote_that_later() {
    for parameter in ["sequential_keys", "linearizable_keys"] {
        registers_given(
            parameter,
            &["0 ok wy2", "0 ok ry2wy3", "0 ok ry2"],
            &["cyclic-versions", "G-single-process"],
            &["read-uncommitted"],
        );
        // Which of two versions it read first in one transaction says nothing.
        registers_given(
            parameter,
            &[
                "0 ok wy1",
                "1 ok wx1wy2",
                "2 ok ry1",
                "2 ok ry1ry2",
                "2 ok ry1",
            ],
            &["cyclic-versions", "internal", "G-single-process"],
            &["read-uncommitted"],
        );
    }
}

/// Where the order of a process is taken for granted, its words are those of a process.
#[test]
fn an_order_of_keys_is_told_in_its_own_words() {
    let of_process = &["0 ok wx1wy2", "1 ok wx2wy1", "0 ok rx2", "1 ok ry2"][..];
    let in_time = &["0 ok wx1", "1 ok wx2", "2 ok rx2", "3 ok rx1"][..];
    for (parameter, short, because) in [
        (
            "sequential_keys",
            of_process,
            "for process 0 met `2` after `1`",
        ),
        (
            "linearizable_keys",
            in_time,
            "for `1` was met only after `2` had been acknowledged",
        ),
    ] {
        let (mut header, events) = history("rw-register", false, short).into_parts();
        header.parameters = Json::new(&serde_json::json!({ parameter: true })).unwrap();
        let history = History::new(header, events).unwrap();
        let verdict = judge(&history, Consistency::ReadUncommitted).to_string();
        assert!(verdict.contains(because), "{verdict}");
        let is_of_process = parameter == "sequential_keys";
        assert_eq!(
            verdict.contains("acknowledged"),
            !is_of_process,
            "{verdict}"
        );
    }
}

/// As in Elle's tests: nobody wrote 1, or 2, but whatever they were, there is a cycle.
#[test]
fn values_that_nobody_wrote_have_a_place_in_an_order_that_is_taken_for_granted() {
    registers_given(
        "linearizable_keys",
        &["0 ok wx1", "0 ok rx2", "0 ok rx1"],
        &["cyclic-versions", "G-single-process"],
        &["read-uncommitted"],
    );
    let write_skew = ["0 ok rx1ry1", "1 ok rx1wy2", "2 ok ry1wx2"];
    let (mut header, mut events) = history("rw-register", false, &write_skew).into_parts();
    header.parameters = Json::new(&serde_json::json!({ "linearizable_keys": true })).unwrap();
    // The two that write begin before either has returned.
    events.swap(3, 4);
    assert_shows(
        &History::new(header, events).unwrap(),
        &["G2-item", "G-update"],
        &["repeatable-read", "update-serializable"],
    );
    let skew = ["0 ok ry1wx1wy2", "1 ok rx1ry1"];
    registers_given(
        "wfr_keys",
        &skew,
        &["G-single"],
        &["repeatable-read", "consistent-view"],
    );
    // Nothing is taken for granted: nothing is known.
    let verdict = judge(
        &history("rw-register", false, &skew),
        Consistency::Serializable,
    );
    assert!(matches!(verdict, Verdict::Unknown { .. }), "{verdict}");
}

#[test]
fn a_value_that_may_be_older_than_the_history_is_not_judged() {
    let history = history("rw-register", false, &["0 ok wx2", "0 ok rx3", "0 ok rx2"]);
    let verdict = judge(&history, Consistency::StrictSerializable);
    let Verdict::Unknown { reason } = verdict else {
        panic!("{verdict}");
    };
    assert!(reason.contains("`3`, which nobody wrote"), "{reason}");
}

/// The place of the first read that found a value, of which the test holds.
fn register_read(text: &str) -> Option<(usize, usize)> {
    let at = text.find("[\"r\",")?;
    let open = at + 5 + text[at + 5..].find(',')? + 1;
    let close = open + text[open..].find(']')?;
    (&text[open..close] != "null").then_some((open, close))
}

#[test]
fn a_fault_planted_in_a_large_history_of_registers_is_never_called_valid() {
    for seed in 0..20 {
        for clients in [10, 100] {
            let random = &mut support::Random(seed);
            let valid = busy_transactions(random, Object::Register, 2_000, clients);
            let verdict = judge(&valid, Consistency::StrictSerializable);
            assert!(verdict.is_valid(), "{seed} {clients}: {verdict}");
        }
        let lost = planted(Object::Register, seed, |text| {
            let (open, close) = register_read(text)?;
            Some(format!("{}null{}", &text[..open], &text[close..]))
        });
        assert_minimal(&lost.expect("somebody read what was written"));
        // A value of long ago.
        let stale = planted(Object::Register, seed, |text| {
            let (open, close) = register_read(text)?;
            let value: u64 = text[open..close].parse().unwrap();
            let key = text[..open].rsplit('[').next().unwrap();
            let key = key.split(',').nth(1).unwrap();
            let old = written_long_before(seed, key, value)?;
            Some(format!("{}{old}{}", &text[..open], &text[close..]))
        });
        let Some(stale) = stale else { continue };
        assert_minimal(&stale);
    }
}

/// The witness alone breaks the model that the anomaly is about, and does not without any one of
/// its transactions.
#[track_caller]
fn assert_minimal(history: &History) {
    let verdict = judge(history, Consistency::StrictSerializable);
    let violation = verdict.violation().expect("a planted fault");
    let lines: Vec<usize> = violation.witness.iter().map(|op| op.invoked.line).collect();
    let name = violation.kind.name;
    let is_skew = name.starts_with("G2-item");
    let model = match (name.ends_with("-realtime"), name.ends_with("-process")) {
        (true, _) if is_skew => Consistency::StrictSerializable,
        (true, _) => Consistency::StrongSnapshotIsolation,
        (_, true) if is_skew => Consistency::StrongSessionSerializable,
        (_, true) => Consistency::StrongSessionSnapshotIsolation,
        _ if name == "G-single" => Consistency::ConsistentView,
        _ if is_skew => Consistency::Serializable,
        _ => Consistency::SnapshotIsolation,
    };
    let is_broken = |lines: &[usize]| judge(&part_of(history, lines), model).violation().is_some();
    assert!(is_broken(&lines), "not by itself: {verdict}");
    for spared in &lines {
        let rest = lines.iter().copied().filter(|line| line != spared);
        let rest: Vec<usize> = rest.collect();
        assert!(!is_broken(&rest), "line {spared} is not needed: {verdict}");
    }
}

/// The transactions that begin on these lines, without what they read of others.
fn part_of(history: &History, lines: &[usize]) -> History {
    type Micro = (String, serde_json::Value, Option<u64>);
    let operations = history.operations();
    let is_in = |op: &&etcd_checker::history::Operation<'_>| lines.contains(&op.invoke.line());
    let taken: Vec<_> = operations.iter().filter(is_in).collect();
    let micro = |event: &etcd_checker::history::Event| -> Vec<Micro> {
        serde_json::from_str(event.value().as_str()).unwrap()
    };
    let completions = taken.iter().filter_map(|op| op.completion);
    let written: Vec<Micro> = completions
        .flat_map(micro)
        .filter(|micro| micro.0 == "w")
        .collect();
    let is_known = |(f, key, value): &Micro| {
        let is_it = |other: &Micro| other.1 == *key && other.2 == *value;
        f == "w" || value.is_none() || written.iter().any(is_it)
    };
    let mut events = Vec::new();
    for (at, event) in history.events().iter().enumerate() {
        let of_event =
            |op: &&&etcd_checker::history::Operation<'_>| op.completed == at || op.invoked == at;
        let Some(op) = taken.iter().find(of_event) else {
            continue;
        };
        let mut event = event.clone();
        if let Some(completion) = op.completion
            && !event.value().is_null()
        {
            let known = micro(completion);
            let all = micro(&event).into_iter().zip(&known);
            let kept = all.filter_map(|(micro, told)| is_known(told).then_some(micro));
            let kept: Vec<Micro> = kept.collect();
            event.set_value(etcd_checker::history::Json::new(&kept).unwrap());
        }
        events.push(event);
    }
    History::new(history.header().clone(), events).unwrap()
}

#[test]
fn a_long_history_of_registers_is_decided_without_real_time() {
    // Twice as many as are searched at once.
    let random = &mut support::Random(1);
    let valid = busy_transactions(random, Object::Register, 20_000, 10);
    let fault = |event: &etcd_checker::history::Event| {
        let (open, close) = register_read(event.value().as_str())?;
        let text = event.value().as_str();
        Some(format!("{}null{}", &text[..open], &text[close..]))
    };
    let (header, mut events) = valid.into_parts();
    let middle = events.len() / 2;
    let is_answer = |event: &etcd_checker::history::Event| event.kind() == EventKind::Ok;
    let at =
        (middle..events.len()).find(|at| is_answer(&events[*at]) && fault(&events[*at]).is_some());
    let at = at.expect("somebody read what was written");
    let text = fault(&events[at]).unwrap();
    let value = serde_json::value::RawValue::from_string(text).unwrap();
    events[at].set_value(etcd_checker::history::Json::new(&value).unwrap());
    let history = History::new(header, events).unwrap();
    for model in [Consistency::Serializable, Consistency::SnapshotIsolation] {
        let verdict = judge(&history, model);
        assert!(
            !matches!(verdict, Verdict::Unknown { .. }),
            "{model}: {verdict}"
        );
    }
}

/// A value that the key had many values before this one.
fn written_long_before(seed: u64, key: &str, value: u64) -> Option<u64> {
    let history = busy_transactions(&mut support::Random(seed), Object::Register, 2_000, 10);
    let (_, events) = history.into_parts();
    let mut values: Vec<u64> = Vec::new();
    for event in events.iter().filter(|event| event.kind() == EventKind::Ok) {
        let micro: Vec<(String, u64, Option<u64>)> =
            serde_json::from_str(event.value().as_str()).unwrap();
        let of_key = micro
            .iter()
            .filter(|(f, of, _)| f == "w" && of.to_string() == key);
        values.extend(of_key.filter_map(|(_, _, value)| *value));
    }
    let at = values.iter().position(|other| *other == value)?;
    values.get(at.checked_sub(12)?).copied()
}

#[test]
fn an_order_that_does_not_fit_into_memory_is_not_looked_for() {
    let writes: Vec<String> = (0..400).map(|value| format!("0 ok wx{value}")).collect();
    let writes: Vec<&str> = writes.iter().map(String::as_str).collect();
    let history = history("rw-register", true, &writes);
    let within = |mib: usize| {
        let budget = Budget {
            memory_bytes: mib << 20,
            ..Budget::default()
        };
        let options = Options {
            budget,
            ..Options::default()
        };
        let verdict = check_with(&history, Model::RwRegister, &options).unwrap();
        let order = linearization(&history, Model::RwRegister, &budget).unwrap();
        (verdict, order)
    };
    let (verdict, order) = within(64);
    assert!(verdict.is_valid(), "{verdict}");
    assert_eq!(order.order().map(|order| order.len()), Some(400));
    // Each two of the writes are a choice.
    let (verdict, order) = within(1);
    let Verdict::Unknown { reason } = verdict else {
        panic!("{verdict}")
    };
    let figure = "the 1 MiB of memory that a search may take did not suffice";
    assert!(reason.contains(figure), "{reason}");
    assert!(matches!(order, Linearization::None { .. }), "{order:?}");
}
