//! Makes the faults of a plan happen, each at its time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{ProcessState, Simulation};
use crate::executor::{Node, SimTime, now, sleep_until};
use crate::fault::{ClientId, FaultKind, MemberId, Party, Pending};
use crate::network::FaultEvent;

/// What is to be done at one moment.
enum Action {
    Strike(FaultKind),
    Resume(ClientId),
    Start(ClientId),
    /// Members whose time has come start again, go on or find each other again.
    LookAtMembers,
}

/// Starts the task that works through the plan, on a node of its own.
pub(super) fn start(simulation: &Simulation) {
    let simulation = simulation.clone();
    Node::new("faults").spawn(async move {
        for (at, action) in timeline(&simulation) {
            sleep_until(at).await;
            perform(&simulation, at, action);
        }
        sleep_until(SimTime::from_millis(simulation.plan().heals_at_ms())).await;
        simulation.shared.network.heal();
        simulation.cluster().heal();
        look_at_members(&simulation, SimTime::from_nanos(u64::MAX));
        simulation.shared.healed.store(true, Ordering::Relaxed);
        simulation.progressed();
    });
}

/// When a fault that strikes at `at` has passed.
fn end(at: SimTime, kind: &FaultKind) -> SimTime {
    at + Duration::from_millis(kind.lasts_ms())
}

/// The faults and what ends them, by time.
fn timeline(simulation: &Simulation) -> Vec<(SimTime, Action)> {
    let mut timeline = Vec::new();
    for fault in &simulation.plan().faults {
        let at = SimTime::from_millis(fault.at_ms);
        let end = end(at, &fault.kind);
        timeline.push((at, Action::Strike(fault.kind.clone())));
        match fault.kind {
            FaultKind::PauseClient { client, .. } => timeline.push((end, Action::Resume(client))),
            FaultKind::RestartClient { client, .. } => timeline.push((end, Action::Start(client))),
            FaultKind::RestartMember { .. }
            | FaultKind::CrashMember { .. }
            | FaultKind::PauseMember { .. }
            | FaultKind::FragmentEvents { .. }
            | FaultKind::Cut { .. } => timeline.push((end, Action::LookAtMembers)),
            _ => {}
        }
    }
    timeline.sort_by_key(|(at, _)| *at);
    timeline
}

/// Performs what the plan has for the time `at`. The clock may be a little
/// further already; what lasts is counted from `at`.
fn perform(simulation: &Simulation, at: SimTime, action: Action) {
    match action {
        Action::Strike(kind) => strike(simulation, at, &kind),
        Action::Resume(client) => resume(simulation, at, client),
        Action::Start(client) => start_again(simulation, at, client),
        Action::LookAtMembers => look_at_members(simulation, at),
    }
}

fn strike(simulation: &Simulation, at: SimTime, kind: &FaultKind) {
    let until = end(at, kind);
    match *kind {
        FaultKind::RestartMember { .. } => {
            let member = simulation.cluster().leader().unwrap_or(0);
            stop_member(simulation, member, until, kind);
        }
        FaultKind::CrashMember { member, down_ms } => {
            let until = down_ms.map_or(SimTime::from_nanos(u64::MAX), |_| until);
            stop_member(simulation, member, until, kind);
        }
        FaultKind::PauseClient { client, .. } => pause(simulation, at, client, kind),
        FaultKind::KillClient { client } => kill(simulation, at, client, false, kind),
        FaultKind::RestartClient { client, .. } => kill(simulation, at, client, true, kind),
        FaultKind::Cut {
            ref from,
            ref to,
            one_way,
            ..
        } => {
            simulation.shared.network.strike(kind, now());
            cut_members(simulation, from, to, until);
            if !one_way {
                cut_members(simulation, to, from, until);
            }
            happened(simulation, kind);
        }
        FaultKind::DelayLink {
            between,
            by_ms,
            jitter_ms,
            ..
        } => {
            slow_down(simulation, between, until, by_ms, jitter_ms);
            happened(simulation, kind);
        }
        FaultKind::SkewClock { .. } | FaultKind::JumpClock { .. } => happened(simulation, kind),
        _ if kind.client().is_some() => simulation.shared.network.strike(kind, now()),
        _ => {
            if strike_cluster(simulation, until, kind) {
                happened(simulation, kind);
            }
        }
    }
}

/// What strikes members alone; whether there was anything to strike.
fn strike_cluster(simulation: &Simulation, until: SimTime, kind: &FaultKind) -> bool {
    let cluster = simulation.cluster();
    let number = kind.member().filter(|member| *member < cluster.len());
    if let Some(number) = number {
        if !simulation.shared.network.member_is_up(number) {
            return false;
        }
        let member = cluster.member(number);
        match *kind {
            FaultKind::PauseMember { .. } => pause_member(simulation, number, until),
            FaultKind::LagMember { by_ms, .. } => member.lag(until, Duration::from_millis(by_ms)),
            FaultKind::StallMember { .. } => {
                member.stall(until);
                simulation.shared.network.stall_member(number, until);
            }
            FaultKind::OverloadMember { .. } => member.overload(until),
            FaultKind::HoldEvents { .. } => member.hold_events(until),
            FaultKind::FragmentEvents { bytes, .. } => {
                member.fragment_events(Some(bytes));
                let fragments_until = &mut simulation.servers()[number].fragments_until;
                *fragments_until = (*fragments_until).max(until);
            }
            FaultKind::ChangeLeader { pending, .. } => {
                return cluster.change_leader(Some(number), pending == Pending::Dropped);
            }
            _ => return false,
        }
        return true;
    }
    match *kind {
        FaultKind::Compact => cluster.compact(None),
        FaultKind::CompactAt { revision } => cluster.compact(Some(revision)),
        FaultKind::ChangeLeader { to: None, pending } => {
            cluster.change_leader(None, pending == Pending::Dropped)
        }
        FaultKind::LoseLeader { .. } => cluster.lose_leader(until),
        FaultKind::ExpireAtOnce { .. } => {
            cluster.expire_at_once(until);
            true
        }
        FaultKind::ExpireLate { .. } => {
            cluster.expire_late(until);
            true
        }
        FaultKind::FillUp { .. } => {
            cluster.fill_up(until);
            true
        }
        _ => false,
    }
}

fn happened(simulation: &Simulation, kind: &FaultKind) {
    happened_to(simulation, kind, kind.member());
}

fn happened_to(simulation: &Simulation, kind: &FaultKind, member: Option<MemberId>) {
    simulation.shared.network.happened(&FaultEvent {
        at: now(),
        kind: kind.name(),
        client: kind.client(),
        member,
        lasts: Duration::from_millis(kind.lasts_ms()),
        call: String::new(),
    });
}

fn cut_members(simulation: &Simulation, from: &[Party], to: &[Party], until: SimTime) {
    let cluster = simulation.cluster();
    let exists = |member: MemberId| member < cluster.len();
    for from in from {
        for to in to {
            if let (Party::Member(from), Party::Member(to)) = (*from, *to)
                && from != to
                && exists(from)
                && exists(to)
            {
                cluster.cut(from, to, until);
            }
        }
    }
}

fn slow_down(
    simulation: &Simulation,
    between: (Party, Party),
    until: SimTime,
    by_ms: u64,
    jitter_ms: u64,
) {
    let (by, jitter) = (
        Duration::from_millis(by_ms),
        Duration::from_millis(jitter_ms),
    );
    let cluster = simulation.cluster();
    match between {
        (Party::Member(a), Party::Member(b)) if a.max(b) < cluster.len() => {
            cluster.slow_down_link(a, b, until, by, jitter);
            cluster.slow_down_link(b, a, until, by, jitter);
        }
        (Party::Client(client), Party::Member(member))
        | (Party::Member(member), Party::Client(client)) => {
            let network = &simulation.shared.network;
            network.slow_down((client, member), until, by, jitter);
        }
        _ => {}
    }
}

/// A crash: the process is gone, what it had committed stays. One that is down
/// already is not struck, and comes back when the first fault says so.
fn stop_member(simulation: &Simulation, member: MemberId, until: SimTime, kind: &FaultKind) {
    if member < simulation.cluster().len() && simulation.shared.network.member_dies(member, now()) {
        simulation.cluster().member(member).crash();
        simulation.servers()[member].starts_at = until;
        simulation.servers()[member].paused_until = SimTime::ZERO;
        let struck = (simulation.cluster().len() > 1).then_some(member);
        happened_to(simulation, kind, kind.member().or(struck));
    }
}

/// Pauses that overlap last as long as the longest.
fn pause_member(simulation: &Simulation, member: MemberId, until: SimTime) {
    let paused_until = &mut simulation.servers()[member].paused_until;
    *paused_until = (*paused_until).max(until);
    simulation.cluster().member(member).pause();
    simulation.shared.network.pause_member(member, true);
}

/// Ends what is over at `at` for members and the links between them.
fn look_at_members(simulation: &Simulation, at: SimTime) {
    let network = &simulation.shared.network;
    for member in 0..simulation.cluster().len() {
        let server = simulation.servers()[member];
        if !network.member_is_up(member) {
            if server.starts_at <= at {
                simulation.start_member(member);
            }
            continue;
        }
        if server.paused_until > SimTime::ZERO && server.paused_until <= at {
            simulation.servers()[member].paused_until = SimTime::ZERO;
            network.pause_member(member, false);
            simulation.cluster().member(member).resume();
        }
        if server.fragments_until > SimTime::ZERO && server.fragments_until <= at {
            simulation.servers()[member].fragments_until = SimTime::ZERO;
            simulation.cluster().member(member).fragment_events(None);
        }
    }
    simulation.cluster().look_again();
}

/// Pauses that overlap last as long as the longest.
fn pause(simulation: &Simulation, at: SimTime, client: ClientId, kind: &FaultKind) {
    let struck = {
        let mut processes = simulation.processes();
        let running = processes
            .get_mut(&client)
            .filter(|process| process.state == ProcessState::Running);
        running
            .map(|process| {
                process.paused_until = process.paused_until.max(end(at, kind));
                process.node.pause();
            })
            .is_some()
    };
    if struck {
        happened(simulation, kind);
    }
}

fn resume(simulation: &Simulation, at: SimTime, client: ClientId) {
    if let Some(process) = simulation.processes().get(&client)
        && process.state == ProcessState::Running
        && process.paused_until <= at
    {
        process.node.resume();
    }
}

fn kill(simulation: &Simulation, at: SimTime, client: ClientId, restarts: bool, kind: &FaultKind) {
    let struck = {
        let mut processes = simulation.processes();
        let running = processes
            .get_mut(&client)
            .filter(|process| process.state == ProcessState::Running);
        running.map(|process| {
            let starts_at = restarts.then(|| end(at, kind));
            process.state = ProcessState::Dead { starts_at };
            process.node.clone()
        })
    };
    if let Some(node) = struck {
        simulation.shared.network.client_dies(client);
        node.kill();
        happened(simulation, kind);
        simulation.progressed();
    }
}

fn start_again(simulation: &Simulation, at: SimTime, client: ClientId) {
    let due = ProcessState::Dead {
        starts_at: Some(at),
    };
    let program = {
        let processes = simulation.processes();
        let dead = processes
            .get(&client)
            .filter(|process| process.state == due);
        dead.map(|process| process.program.clone())
    };
    if let Some(program) = program {
        let node = simulation.launch(client, &program);
        if let Some(process) = simulation.processes().get_mut(&client) {
            process.node = node;
            process.paused_until = SimTime::ZERO;
            process.state = ProcessState::Running;
        }
        simulation.progressed();
    }
}
