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
            perform(&simulation, action);
        }
        sleep_until(SimTime::from_millis(simulation.plan().heals_at_ms())).await;
        simulation.shared.network.heal();
        simulation.shared.healed.store(true, Ordering::Relaxed);
        simulation.progressed();
    });
}

/// The faults and what ends them, by time.
fn timeline(simulation: &Simulation) -> Vec<(SimTime, Action)> {
    let mut timeline = Vec::new();
    for fault in &simulation.plan().faults {
        let at = SimTime::from_millis(fault.at_ms);
        let end = at + Duration::from_millis(fault.kind.lasts_ms());
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

fn perform(simulation: &Simulation, action: Action) {
    match action {
        Action::Strike(kind) => strike(simulation, &kind),
        Action::Resume(client) => resume(simulation, client),
        Action::Start(client) => start_again(simulation, client),
        Action::StartMember => start_member(simulation),
    }
}

fn strike(simulation: &Simulation, kind: &FaultKind) {
    match *kind {
        FaultKind::RestartMember { .. } => stop_member(simulation, kind),
        FaultKind::PauseClient { client, .. } => pause(simulation, client, kind),
        FaultKind::KillClient { client } => kill(simulation, client, false, kind),
        FaultKind::RestartClient { client, .. } => kill(simulation, client, true, kind),
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

/// A crash: the process is gone, what it had committed stays.
fn stop_member(simulation: &Simulation, kind: &FaultKind) {
    if simulation.shared.network.member_dies() {
        simulation.shared.member.crash();
        happened(simulation, kind);
    }
}

fn start_member(simulation: &Simulation) {
    if !simulation.shared.network.member_is_up() {
        simulation.start_member();
    }
}

fn pause(simulation: &Simulation, client: ClientId, kind: &FaultKind) {
    let struck = {
        let processes = simulation.processes();
        let running = processes
            .get(&client)
            .filter(|process| process.state == ProcessState::Running);
        running.map(|process| process.node.pause()).is_some()
    };
    if struck {
        happened(simulation, kind);
    }
}

fn resume(simulation: &Simulation, client: ClientId) {
    if let Some(process) = simulation.processes().get(&client)
        && process.state == ProcessState::Running
    {
        process.node.resume();
    }
}

fn kill(simulation: &Simulation, client: ClientId, restarts: bool, kind: &FaultKind) {
    let struck = {
        let mut processes = simulation.processes();
        let running = processes
            .get_mut(&client)
            .filter(|process| process.state == ProcessState::Running);
        running.map(|process| {
            process.state = ProcessState::Dead { restarts };
            process.node.clone()
        })
    };
    if let Some(node) = struck {
        node.kill();
        happened(simulation, kind);
        simulation.progressed();
    }
}

fn start_again(simulation: &Simulation, client: ClientId) {
    let program = {
        let processes = simulation.processes();
        let dead = processes
            .get(&client)
            .filter(|process| process.state == ProcessState::Dead { restarts: true });
        dead.map(|process| process.program.clone())
    };
    if let Some(program) = program {
        let node = simulation.launch(client, &program);
        if let Some(process) = simulation.processes().get_mut(&client) {
            process.node = node;
            process.state = ProcessState::Running;
        }
        simulation.progressed();
    }
}
