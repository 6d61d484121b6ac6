//! Makes the faults of a plan happen, each at its time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{ProcessState, Simulation};
use crate::executor::{Node, SimTime, now, sleep, sleep_until};
use crate::fault::{ClientId, FaultKind, MemberId, Party, Pending};
use crate::network::{FaultEvent, HELD};

mod stop;

/// What is to be done at one moment.
enum Action {
    Strike(FaultKind),
    Resume(ClientId),
    Start(ClientId),
    /// Members whose time has come start again, go on or find each other again.
    LookAtMembers,
    /// A transfer of the lead is over: this one leads, or any other.
    Transfer(Option<MemberId>),
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
        heal(&simulation);
        simulation.shared.healed.store(true, Ordering::Relaxed);
        simulation.progressed();
    });
}

/// Ends every fault of the plan; what guards hold goes on.
fn heal(simulation: &Simulation) {
    simulation.in_force().keep_held();
    simulation.shared.network.heal();
    relax(simulation);
    for member in 0..simulation.cluster().len() {
        let starts_at = simulation.in_force().until(|kind| is_down(kind, member));
        if starts_at < HELD && simulation.shared.network.stop_of(member).is_some() {
            stop::end(simulation, member, now());
        }
        simulation.servers()[member].starts_at = starts_at;
        hold_member(simulation, member, now());
    }
    look_at_members(simulation, now());
}

/// Whether a fault keeps a member down.
fn is_down(kind: &FaultKind, member: MemberId) -> bool {
    matches!(*kind,
        FaultKind::CrashMember { member: m, .. } | FaultKind::StopMember { member: m, .. }
            if m == member)
}

/// What ends before its time ends: all lasting faults do, and those that go on
/// begin anew.
fn relax(simulation: &Simulation) {
    let cluster = simulation.cluster();
    simulation.shared.network.relax();
    let alarms = cluster.passing_alarms();
    cluster.heal();
    for (kind, until) in simulation.in_force().all() {
        simulation.shared.network.impose(&kind, until);
        impose(simulation, &kind, until);
    }
    // Nothing has struck anew: who has raised or disarmed an alarm has done so.
    cluster.set_passing_alarms(alarms);
    cluster.look_again();
}

/// Sets until when a member is paused and splits answers to what is in force; if
/// nothing is, both end at `at`.
fn hold_member(simulation: &Simulation, member: MemberId, at: SimTime) {
    let (paused, fragments) = {
        let in_force = simulation.in_force();
        let pauses = |kind: &FaultKind| matches!(*kind, FaultKind::PauseMember { member: m, .. } if m == member);
        let splits = |kind: &FaultKind| matches!(*kind, FaultKind::FragmentEvents { member: m, .. } if m == member);
        (in_force.until(pauses), in_force.until(splits))
    };
    let server = &mut simulation.servers()[member];
    if server.paused_until > SimTime::ZERO {
        server.paused_until = paused.max(at);
    }
    if server.fragments_until > SimTime::ZERO {
        server.fragments_until = fragments.max(at);
    }
}

/// A fault that is in no plan.
pub(super) fn strike_now(simulation: &Simulation, kind: &FaultKind) {
    let at = now();
    strike(simulation, at, kind);
    let ends = match *kind {
        FaultKind::PauseClient { client, .. } => Action::Resume(client),
        FaultKind::RestartClient { client, .. } => Action::Start(client),
        FaultKind::TransferLead { to, .. } => Action::Transfer(to),
        _ if kind.lasts_ms() > 0 => Action::LookAtMembers,
        _ => return,
    };
    let end = end(at, kind);
    let simulation = simulation.clone();
    Node::new("faults").spawn(async move {
        sleep_until(end).await;
        perform(&simulation, end, ends);
    });
}

/// A fault that lasts until [`lift`] ends it; its number.
pub(super) fn hold(simulation: &Simulation, kind: &FaultKind) -> u64 {
    strike_until(simulation, now(), HELD, kind);
    simulation.in_force().add(kind, now(), HELD)
}

/// Ends a fault that [`hold`] began.
pub(super) fn lift(simulation: &Simulation, number: u64) {
    let Some(kind) = simulation.in_force().remove(number) else {
        return;
    };
    let now = now();
    match kind {
        FaultKind::PauseClient { client, .. } => {
            let pauses = |kind: &FaultKind| matches!(*kind, FaultKind::PauseClient { client: c, .. } if c == client);
            let until = simulation.in_force().until(pauses);
            if let Some(process) = simulation.processes().get_mut(&client) {
                process.paused_until = until;
            }
            resume(simulation, now, client);
        }
        FaultKind::RestartClient { client, .. } => start_again(simulation, HELD, client),
        FaultKind::CrashMember { member, .. } | FaultKind::StopMember { member, .. } => {
            simulation.servers()[member].starts_at = now;
            look_at_members(simulation, now);
        }
        FaultKind::TransferLead { to, .. } => transfer(simulation, now, to),
        FaultKind::PauseMember { member, .. } | FaultKind::FragmentEvents { member, .. } => {
            hold_member(simulation, member, now);
            look_at_members(simulation, now);
        }
        _ => relax(simulation),
    }
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
            FaultKind::TransferLead { to, .. } => timeline.push((end, Action::Transfer(to))),
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
        Action::Transfer(to) => transfer(simulation, at, to),
    }
}

/// The other one takes the lead, if that has not taken too long.
fn transfer(simulation: &Simulation, at: SimTime, to: Option<MemberId>) {
    let cluster = simulation.cluster();
    if cluster.transfers_until(at) && to.is_none_or(|to| to < cluster.len()) {
        cluster.change_leader(to, false);
    }
}

fn strike(simulation: &Simulation, at: SimTime, kind: &FaultKind) {
    let until = end(at, kind);
    strike_until(simulation, at, until, kind);
    simulation.in_force().add(kind, now(), until);
}

fn strike_until(simulation: &Simulation, at: SimTime, until: SimTime, kind: &FaultKind) {
    let network = &simulation.shared.network;
    match *kind {
        FaultKind::RestartMember { .. } => {
            let member = simulation.cluster().leader().unwrap_or(0);
            stop_member(simulation, member, until, kind);
        }
        FaultKind::CrashMember { member, down_ms } => {
            // None: until all is healed, which looks at no time.
            let until = down_ms.map_or(HELD, |_| until);
            stop_member(simulation, member, until, kind);
        }
        FaultKind::StopMember { member, down_ms } => {
            let down = (until != HELD).then(|| ms(down_ms));
            stop::begin(simulation, member, down, kind);
        }
        FaultKind::PauseClient { client, .. } => pause(simulation, until, client, kind),
        FaultKind::KillClient { client } => kill(simulation, None, client, kind),
        FaultKind::RestartClient { client, .. } => kill(simulation, Some(until), client, kind),
        FaultKind::Cut { .. } | FaultKind::DelayLink { .. } => {
            network.strike(kind, now(), until);
            impose(simulation, kind, until);
            happened(simulation, kind);
        }
        FaultKind::SkewClock { .. } | FaultKind::JumpClock { .. } => happened(simulation, kind),
        _ if kind.client().is_some() => {
            let lasts = until.saturating_sub(at);
            network.strike(kind, now(), now() + lasts);
        }
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
    let exists = |member: &MemberId| *member < cluster.len();
    if let Some(number) = kind.member().filter(exists)
        && !simulation.shared.network.member_is_up(number)
    {
        return false;
    }
    match *kind {
        FaultKind::PauseMember { member, .. } if exists(&member) => {
            pause_member(simulation, member, until);
            true
        }
        FaultKind::Compact => cluster.compact(None),
        FaultKind::CompactAt { revision } => cluster.compact(Some(revision)),
        FaultKind::ChangeLeader { to: Some(to), .. } if !exists(&to) => false,
        FaultKind::ChangeLeader { to, pending } => {
            cluster.change_leader(to, pending == Pending::Dropped)
        }
        FaultKind::LoseLeader { .. } => cluster.lose_leader(until),
        FaultKind::TransferLead { .. } => cluster.begin_transfer(until),
        FaultKind::ExpireTokens { member } if exists(&member) => {
            cluster.member(member).expire_tokens()
        }
        _ => {
            simulation.shared.network.impose(kind, until);
            impose(simulation, kind, until)
        }
    }
}

/// The lasting part of a fault of members and of the links between them, until
/// `until`; whether there is anybody to strike.
fn impose(simulation: &Simulation, kind: &FaultKind, until: SimTime) -> bool {
    let cluster = simulation.cluster();
    match *kind {
        FaultKind::Cut {
            ref from,
            ref to,
            one_way,
            ..
        } => {
            cut_members(simulation, from, to, until);
            if !one_way {
                cut_members(simulation, to, from, until);
            }
        }
        FaultKind::DelayLink {
            between: (Party::Member(a), Party::Member(b)),
            by_ms,
            jitter_ms,
            ..
        } if a.max(b) < cluster.len() => {
            let (by, jitter) = (ms(by_ms), ms(jitter_ms));
            cluster.slow_down_link(a, b, until, by, jitter);
            cluster.slow_down_link(b, a, until, by, jitter);
        }
        // Nobody leads any more at this moment, nor does anybody soon.
        FaultKind::LoseLeader { .. } => {
            cluster.lose_leader(until);
        }
        FaultKind::ExpireAtOnce { .. } => cluster.expire_at_once(until),
        FaultKind::ExpireLate { .. } => cluster.expire_late(until),
        FaultKind::FillUp { .. } => cluster.fill_up(until),
        FaultKind::Corrupt { .. } => cluster.corrupt(until),
        _ => return impose_on_member(simulation, kind, until),
    }
    true
}

fn impose_on_member(simulation: &Simulation, kind: &FaultKind, until: SimTime) -> bool {
    let cluster = simulation.cluster();
    let Some(number) = kind.member().filter(|member| *member < cluster.len()) else {
        return false;
    };
    let member = cluster.member(number);
    match *kind {
        FaultKind::LagMember { by_ms, .. } => member.lag(until, ms(by_ms)),
        FaultKind::StallMember { .. } => member.stall(until),
        FaultKind::OverloadMember { .. } => member.overload(until),
        FaultKind::HoldEvents { .. } => member.hold_events(until),
        FaultKind::FragmentEvents { bytes, .. } => {
            member.fragment_events(Some(bytes));
            let fragments_until = &mut simulation.servers()[number].fragments_until;
            *fragments_until = (*fragments_until).max(until);
        }
        _ => return false,
    }
    true
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
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

/// A crash: the process is gone, what it had committed stays. One that is down
/// already is not struck, and comes back when the first fault says so.
fn stop_member(simulation: &Simulation, member: MemberId, until: SimTime, kind: &FaultKind) {
    if end_process(simulation, member, until) {
        let struck = (simulation.cluster().len() > 1).then_some(member);
        happened_to(simulation, kind, kind.member().or(struck));
    }
}

/// The process of a member is gone until `until`; false where it was not there.
fn end_process(simulation: &Simulation, member: MemberId, until: SimTime) -> bool {
    let is_there =
        member < simulation.cluster().len() && simulation.shared.network.member_dies(member, now());
    if is_there {
        simulation.cluster().member(member).crash();
        let server = &mut simulation.servers()[member];
        server.starts_at = until;
        server.paused_until = SimTime::ZERO;
    }
    is_there
}

/// How long after its removal the process of a member ends (`stopWithDelay` in etcd's
/// `server/etcdserver/server.go`).
const RETIRES_AFTER: Duration = Duration::from_secs(1);

/// How long the last answers of a process that ends are given to arrive.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// A member was removed from the cluster: soon its process ends for good.
pub(super) fn retire(simulation: &Simulation, member: MemberId) {
    simulation.servers()[member].is_removed = true;
    let simulation = simulation.clone();
    Node::new("removal").spawn(async move {
        sleep(RETIRES_AFTER).await;
        simulation.cluster().member(member).tell_that_it_stops();
        // A connection that ends delivers first what was sent on it; here what is on its
        // way would be lost.
        sleep(LAST_WORDS).await;
        if simulation.shared.network.member_dies(member, now()) {
            simulation.cluster().member(member).crash();
        }
    });
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
            if server.starts_at <= at && !server.is_removed {
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
fn pause(simulation: &Simulation, until: SimTime, client: ClientId, kind: &FaultKind) {
    let struck = {
        let mut processes = simulation.processes();
        let running = processes
            .get_mut(&client)
            .filter(|process| process.state == ProcessState::Running);
        running
            .map(|process| {
                process.paused_until = process.paused_until.max(until);
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

fn kill(simulation: &Simulation, starts_at: Option<SimTime>, client: ClientId, kind: &FaultKind) {
    let struck = {
        let mut processes = simulation.processes();
        let running = processes
            .get_mut(&client)
            .filter(|process| process.state == ProcessState::Running);
        running.map(|process| {
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
