//! Logs of Jepsen's clients of a register, as those of etcd's first analysis.

use std::fmt::Write as _;

use super::Random;

const CLIENTS: usize = 5;
const VALUES: usize = 5;

/// What a client is doing.
struct Doing {
    process: usize,
    f: &'static str,
    old: usize,
    new: usize,
    /// Whether it took effect, and what came of it.
    result: Option<Result<String, ()>>,
}

/// A log of a register that does what it must: reads, writes, and compares of which most
/// fail; one operation in twelve ends without an answer, and half of those took effect.
pub fn register_log(random: &mut Random, operations: usize) -> String {
    let mut log = String::new();
    let mut value: Option<usize> = None;
    let mut next_process = CLIENTS;
    let mut processes: Vec<usize> = (0..CLIENTS).collect();
    let mut doing: Vec<Option<Doing>> = (0..CLIENTS).map(|_| None).collect();
    let mut begun = 0;
    while begun < operations || doing.iter().any(Option::is_some) {
        let client = random.below(CLIENTS);
        let mut line = |process: usize, kind: &str, f: &str, what: &str| {
            writeln!(log, "INFO  jepsen.util - {process}\t:{kind}\t:{f}\t{what}").unwrap();
        };
        match &mut doing[client] {
            None if begun < operations => {
                begun += 1;
                let (old, new) = (random.below(VALUES), random.below(VALUES));
                let f = ["read", "write", "cas"][random.below(3)];
                let process = processes[client];
                line(process, "invoke", f, &asked(f, old, new));
                doing[client] = Some(Doing {
                    process,
                    f,
                    old,
                    new,
                    result: None,
                });
            }
            None => {}
            Some(one) if one.result.is_none() => {
                let is_told = !random.one_in(12);
                if is_told || random.one_in(2) {
                    let told = take_effect(one, &mut value);
                    one.result = Some(if is_told { told } else { Ok(String::new()) });
                } else {
                    one.result = Some(Ok(String::new()));
                }
            }
            Some(one) => {
                let asked = asked(one.f, one.old, one.new);
                match one.result.as_ref().expect("it has one") {
                    Ok(told) if !told.is_empty() => line(one.process, "ok", one.f, told),
                    Err(()) => line(one.process, "fail", one.f, &asked),
                    Ok(_) if one.f == "read" => line(one.process, "fail", one.f, ":timed-out"),
                    Ok(_) => {
                        line(one.process, "info", one.f, ":timed-out");
                        processes[client] = next_process;
                        next_process += 1;
                    }
                }
                doing[client] = None;
            }
        }
    }
    log
}

fn asked(f: &str, old: usize, new: usize) -> String {
    match f {
        "read" => "nil".to_owned(),
        "write" => new.to_string(),
        _ => format!("[{old} {new}]"),
    }
}

/// What the client is told: an error when the register had another value.
fn take_effect(doing: &Doing, value: &mut Option<usize>) -> Result<String, ()> {
    match doing.f {
        "read" => Ok(value.map_or_else(|| "nil".to_owned(), |value| value.to_string())),
        "cas" if *value != Some(doing.old) => Err(()),
        _ => {
            *value = Some(doing.new);
            Ok(asked(doing.f, doing.old, doing.new))
        }
    }
}
