//! Makes the faults of a plan happen, each at its time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{ProcessState, Simulation};
use crate::executor::{Node, SimTime, now, sleep_until};
use crate::fault::{ClientId, FaultKind};

/// What is to be done at one moment.
enum Action {
    Strike(FaultKind),
    Resume(ClientId),
    Start(ClientId),
    StartMember,
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
            FaultKind::RestartMember { .. } => timeline.push((end, Action::StartMember)),
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
        Action::StartMember => start_member(simulation, at),
    }
}

fn strike(simulation: &Simulation, at: SimTime, kind: &FaultKind) {
    match *kind {
        FaultKind::RestartMember { .. } => stop_member(simulation, at, kind),
        FaultKind::Compact => compact(simulation, kind),
        FaultKind::PauseClient { client, .. } => pause(simulation, at, client, kind),
        FaultKind::KillClient { client } => kill(simulation, at, client, false, kind),
        FaultKind::RestartClient { client, .. } => kill(simulation, at, client, true, kind),
        FaultKind::LoseRequest { .. }
        | FaultKind::LoseResponse { .. }
        | FaultKind::Delay { .. }
        | FaultKind::Reset { .. }
        | FaultKind::Partition { .. } => simulation.shared.network.strike(kind, now()),
    }
}

fn happened(simulation: &Simulation, kind: &FaultKind) {
    let network = &simulation.shared.network;
    network.happened(now(), kind.name(), kind.client(), "");
}

/// A crash: the process is gone, what it had committed stays. One that is down
/// already is not struck, and comes back when the first fault says so.
fn stop_member(simulation: &Simulation, at: SimTime, kind: &FaultKind) {
    if simulation.shared.network.member_dies(now()) {
        simulation.shared.member.crash();
        *simulation.member_starts_at() = end(at, kind);
        happened(simulation, kind);
    }
}

fn start_member(simulation: &Simulation, at: SimTime) {
    let due = *simulation.member_starts_at() <= at;
    if due && !simulation.shared.network.member_is_up() {
        simulation.start_member();
    }
}

fn compact(simulation: &Simulation, kind: &FaultKind) {
    if simulation.shared.network.member_is_up() && simulation.shared.member.compact() {
        happened(simulation, kind);
    }
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
