//! What lies behind the bars: faults, leaders, leases, and who held what.

use std::collections::BTreeMap;

use etcd_checker::history::{Event, LIVENESS_DEADLINE, Operation, Process};
use etcd_checker::{History, Model};
use serde::{Deserialize, Serialize};

use super::data::Lanes;
use super::holds;

/// Something that lasts, or an instant, on one lane or on all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Band {
    /// None: on all lanes.
    pub(super) lane: Option<usize>,
    /// Nanoseconds since the start of the run.
    pub(super) from: u64,
    /// The same as `from` for an instant; none for what lasts to the end.
    pub(super) to: Option<u64>,
    pub(super) kind: Kind,
    pub(super) label: String,
    /// The line of the file that says so.
    pub(super) line: usize,
}

/// What a band stands for, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Something was done to clients, members or the network.
    Fault,
    /// Something worth knowing, such as the deletion of a key.
    Mark,
    /// Everything had to be finished.
    Deadline,
    /// A member led.
    Leader,
    /// A lease lived.
    Lease,
    /// A client was told that it holds a lock, leads, has an item.
    Hold,
}

impl Kind {
    /// For the legend; none for what needs no explanation.
    pub(super) fn legend(self) -> &'static str {
        match self {
            Kind::Fault => "fault: what was done to a client, a member or the network",
            Kind::Mark => "mark",
            Kind::Deadline => "everything had to be finished by then",
            Kind::Leader => "this member led",
            Kind::Lease => "the client's lease lived",
            Kind::Hold => "the client was told that it holds it",
        }
    }

    /// The class that gives it its colour.
    pub(super) fn class(self) -> &'static str {
        match self {
            Kind::Fault => "fault",
            Kind::Mark => "mark",
            Kind::Deadline => "deadline",
            Kind::Leader => "leader",
            Kind::Lease => "lease",
            Kind::Hold => "hold",
        }
    }
}

/// All bands of a history.
pub(super) fn of(
    history: &History,
    model: Model,
    operations: &[Operation<'_>],
    lanes: &mut Lanes,
) -> Vec<Band> {
    let marks = || {
        let events = history.events().iter();
        events.filter(|event| event.process() == Process::Nemesis)
    };
    let mut told = Told {
        // One that never changes says nothing.
        tells_leader: marks().filter(|event| event.f() == "leader").count() > 1,
        ..Told::default()
    };
    marks().for_each(|event| told.hear(event, lanes));
    let mut bands = told.bands;
    bands.extend(holds::of(model, operations, lanes));
    bands
}

/// What marks of the nemesis have in common; see docs/history-format.md.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Detail {
    client: Option<u64>,
    member: Option<u64>,
    call: String,
    for_ns: Option<u64>,
    term: Option<u64>,
    lease: Option<i64>,
    ttl_s: Option<i64>,
}

/// What the nemesis has told so far.
#[derive(Default)]
struct Told {
    bands: Vec<Band>,
    tells_leader: bool,
    /// Places of those that have no end yet.
    leader: Option<usize>,
    leases: BTreeMap<i64, usize>,
    /// Faults that another mark ends, by what follows `start`.
    started: BTreeMap<String, usize>,
}

impl Told {
    fn hear(&mut self, event: &Event, lanes: &mut Lanes) {
        let detail = event.value().parse::<Detail>().unwrap_or_default();
        match event.f() {
            "leader" if self.tells_leader => self.hear_leader(event, &detail, lanes),
            "leader" => {}
            "lease-granted" => self.hear_lease(event, &detail, lanes),
            "lease-expired" | "lease-revoked" => self.hear_lease_end(event, &detail),
            LIVENESS_DEADLINE => self.bands.push(Band {
                label: "everything had to be finished".to_owned(),
                ..instant(event, Kind::Deadline)
            }),
            "key" | "keys-watched" => self.bands.push(instant(event, Kind::Mark)),
            name => match (name.strip_prefix("start"), name.strip_prefix("stop")) {
                (Some(what), _) => {
                    self.started.insert(what.to_owned(), self.bands.len());
                    let to = None;
                    self.bands.push(Band {
                        to,
                        ..fault(event, &detail, lanes)
                    });
                }
                (_, Some(what)) if self.started.contains_key(what) => {
                    let started = self.started.remove(what);
                    self.end(started, event.time());
                }
                _ => self.bands.push(fault(event, &detail, lanes)),
            },
        }
    }

    fn hear_leader(&mut self, event: &Event, detail: &Detail, lanes: &mut Lanes) {
        let before = self.leader.take();
        self.end(before, event.time());
        let Some(member) = detail.member else { return };
        self.leader = Some(self.bands.len());
        let term = detail.term.map(|term| format!(", term {term}"));
        self.bands.push(Band {
            lane: Some(lanes.other(&format!("member {member}"))),
            to: None,
            label: format!("leads{}", term.unwrap_or_default()),
            ..instant(event, Kind::Leader)
        });
    }

    fn hear_lease(&mut self, event: &Event, detail: &Detail, lanes: &Lanes) {
        let (Some(lease), Some(client)) = (detail.lease, detail.client) else {
            return;
        };
        let Some(lane) = lanes.client(client) else {
            return;
        };
        self.leases.insert(lease, self.bands.len());
        let ttl = detail.ttl_s.map(|ttl| format!(" of {ttl} s"));
        self.bands.push(Band {
            lane: Some(lane),
            to: None,
            label: format!("lease {lease}{}", ttl.unwrap_or_default()),
            ..instant(event, Kind::Lease)
        });
    }

    fn hear_lease_end(&mut self, event: &Event, detail: &Detail) {
        let granted = detail.lease.and_then(|lease| self.leases.remove(&lease));
        self.end(granted, event.time());
        let Some(granted) = granted else { return };
        let lane = self.bands[granted].lane;
        if event.f() == "lease-expired" {
            self.bands[granted].label += ", which expired";
            self.bands.push(Band {
                lane,
                label: "the lease has expired".to_owned(),
                ..instant(event, Kind::Lease)
            });
        } else {
            self.bands[granted].label += ", which was revoked";
        }
    }

    fn end(&mut self, place: Option<usize>, time: u64) {
        if let Some(place) = place {
            self.bands[place].to = Some(time);
        }
    }
}

fn instant(event: &Event, kind: Kind) -> Band {
    let mut label = event.f().replace('-', " ");
    if !event.value().is_null() {
        label += &format!(" {}", event.value());
    }
    Band {
        lane: None,
        from: event.time(),
        to: Some(event.time()),
        kind,
        label,
        line: event.line(),
    }
}

fn fault(event: &Event, detail: &Detail, lanes: &mut Lanes) -> Band {
    let lane = match (detail.client, detail.member) {
        (Some(client), _) => lanes.client(client),
        (None, Some(member)) => Some(lanes.other(&format!("member {member}"))),
        (None, None) => None,
    };
    let name = event.f().replace('-', " ");
    let label = match (detail.client, detail.member) {
        _ if !detail.call.is_empty() => format!("{name}, {}", detail.call),
        (None, None) if detail.for_ns.is_none() && !event.value().is_null() => {
            format!("{name} {}", event.value())
        }
        _ => name,
    };
    let is_for_good = event.f() == "client-kill";
    Band {
        lane,
        from: event.time(),
        to: (!is_for_good).then(|| event.time().saturating_add(detail.for_ns.unwrap_or(0))),
        kind: Kind::Fault,
        label,
        line: event.line(),
    }
}
