//! A history, told in the order of time: what clients did and what was done to
//! them.

use std::fmt::Write as _;

use etcd_checker::History;
use etcd_checker::history::{Event, EventKind, LIVENESS_DEADLINE, Process};
use serde::Deserialize;

use crate::output::{BAD, DOUBT, FAINT, FAULT, GOOD, plain};

/// One line for each event:
///
/// ```text
///    0.001204 s  client 0   enqueue "0-0"
///    0.004310 s  client 0     ok    enqueue "0-0" @2
///    0.020000 s  fault      response lost, client 1, /etcdserverpb.KV/Txn
/// ```
pub(crate) fn text(history: &History) -> String {
    let lines: Vec<String> = history.events().iter().map(line).collect();
    lines.join("\n")
}

fn line(event: &Event) -> String {
    let time = format!(
        "{FAINT}{:>5}.{:06} s{FAINT:#}",
        event.time() / 1_000_000_000,
        event.time() % 1_000_000_000 / 1_000
    );
    match event.process() {
        Process::Nemesis => format!("{time}  {}", done_to_clients(event)),
        Process::Number(process) => {
            // Several operations of one client at once have a process each.
            let who = match event.client() {
                Some(client) => format!("client {client}"),
                None => format!("process {process}"),
            };
            format!("{time}  {who:<10} {}", done_by_client(event))
        }
    }
}

fn done_by_client(event: &Event) -> String {
    let mut text = match event.kind() {
        EventKind::Invoke => String::new(),
        EventKind::Ok => format!("  {GOOD}ok{GOOD:#}    "),
        EventKind::Fail => format!("  {FAINT}fail{FAINT:#}  "),
        EventKind::Info => format!("  {DOUBT}info{DOUBT:#}  "),
    };
    text += &plain(event.f());
    let value = value(event);
    if !value.is_empty() {
        write!(text, " {value}").expect("a string takes everything");
    }
    if let Some(revision) = event.revision() {
        write!(text, " {FAINT}@{revision}{FAINT:#}").expect("a string takes everything");
    }
    if let Some(error) = &event.error() {
        write!(text, " {FAINT}({}){FAINT:#}", plain(error)).expect("a string takes everything");
    }
    text
}

fn value(event: &Event) -> String {
    if event.value().is_null() {
        let found_empty = event.kind() == EventKind::Ok && event.f() == "dequeue";
        return if found_empty { "(empty)" } else { "" }.to_owned();
    }
    plain(&event.value_text())
}

/// Marks that tell of etcd, and not of a fault.
const OF_ETCD: [&str; 6] = [
    "key",
    "keys-watched",
    "leader",
    "lease-granted",
    "lease-expired",
    "lease-revoked",
];

fn done_to_clients(event: &Event) -> String {
    #[derive(Deserialize)]
    struct Detail {
        client: Option<u32>,
        member: Option<usize>,
        #[serde(default)]
        call: String,
    }
    if event.f() == LIVENESS_DEADLINE {
        return format!("{BAD}given up{BAD:#}   {}", given_up(event));
    }
    if OF_ETCD.contains(&event.f()) {
        // What a bystander saw at etcd.
        let name = plain(&event.f().replace('-', " "));
        return format!("etcd       {name} {}", plain(event.value().as_str()));
    }
    let mut text = format!(
        "{FAULT}fault{FAULT:#}      {}",
        plain(&event.f().replace('-', " "))
    );
    match event.value().parse::<Detail>() {
        Ok(Detail {
            client,
            member,
            call,
        }) => {
            let client = client.map(|client| format!(", client {client}"));
            text += &client.unwrap_or_default();
            let member = member.map(|member| format!(", member {member}"));
            text += &member.unwrap_or_default();
            if !call.is_empty() {
                text += &format!(", {}", plain(&call));
            }
        }
        Err(_) => text += &format!(" {}", plain(event.value().as_str())),
    }
    text
}

fn given_up(event: &Event) -> String {
    #[derive(Deserialize)]
    struct Mark {
        why: String,
    }
    match event.value().parse::<Mark>() {
        Ok(Mark { why }) => plain(&why),
        Err(_) => plain(event.value().as_str()),
    }
}
