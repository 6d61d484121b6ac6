//! A member's process that is told to stop (`Etcd.Close` in etcd's `server/embed/etcd.go`).
//!
//! ```text
//!   told ── no new calls; open ones go on ── all done, or 7 s ── lead given away, process
//!                                                                gone ── started again
//! ```

use std::time::Duration;

use super::{end_process, happened, is_down, look_at_members};
use crate::executor::{Node, SimTime, now, sleep, sleep_until};
use crate::fault::{FaultKind, MemberId};
use crate::network::HELD;
use crate::simulation::Simulation;

/// How often it is looked at whether a member has answered everything.
const LOOK: Duration = Duration::from_millis(10);

/// Tells a member to stop; it is down for `down` after it has ended, or while the fault is
/// held. One that is not there, or has been told so already, is not struck.
pub(super) fn begin(
    simulation: &Simulation,
    member: MemberId,
    down: Option<Duration>,
    kind: &FaultKind,
) {
    let (cluster, network) = (simulation.cluster(), &simulation.shared.network);
    if member >= cluster.len() || !network.member_is_up(member) {
        return;
    }
    let profile = cluster.member(member).version().profile();
    if !profile.stops_gracefully {
        happened(simulation, kind);
        let starts_at = down.map_or(HELD, |down| now() + down);
        end(simulation, member, starts_at);
    } else if let Some(stop) = network.member_closes(member, now()) {
        happened(simulation, kind);
        let simulation = simulation.clone();
        Node::new("stop").spawn(async move {
            if answers_what_is_open(&simulation, member, stop).await {
                // Whoever held the fault may have let go meanwhile.
                let held = simulation.in_force().until(|kind| is_down(kind, member));
                let starts_at = match down {
                    Some(down) => now() + down,
                    None if held == HELD => HELD,
                    None => now(),
                };
                end(&simulation, member, starts_at);
            }
        });
    }
}

/// Waits until the member has answered what it was asked before, or has run out of time;
/// false when it has crashed meanwhile.
async fn answers_what_is_open(simulation: &Simulation, member: MemberId, stop: u64) -> bool {
    let network = &simulation.shared.network;
    let until = now() + simulation.cluster().member(member).request_timeout();
    while now() < until && network.stop_of(member) == Some(stop) && network.has_calls(member) {
        sleep(LOOK.min(until.saturating_sub(now()))).await;
    }
    network.stop_of(member) == Some(stop)
}

/// The lead goes to another one, and the process is gone until `starts_at`.
pub(super) fn end(simulation: &Simulation, member: MemberId, starts_at: SimTime) {
    let cluster = simulation.cluster();
    if cluster.leader() == Some(member) {
        cluster.change_leader(None, false);
    }
    end_process(simulation, member, starts_at);
    if starts_at < HELD {
        let simulation = simulation.clone();
        Node::new("stop").spawn(async move {
            sleep_until(starts_at).await;
            look_at_members(&simulation, starts_at);
        });
    }
}
