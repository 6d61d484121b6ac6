//! The network between members: how long messages take, and what stops them.

use std::time::Duration;

use super::{MEMBERS_MAX, MemberId, NEVER};
use crate::executor::SimTime;
use crate::plan::Latency;
use crate::seed::mix;

/// What makes a link between two members slower.
struct Slow {
    from: MemberId,
    to: MemberId,
    until: SimTime,
    by: Duration,
    jitter: Duration,
}

/// The links between members, one each way.
///
/// Messages of one link arrive in the order in which they were sent, as on a
/// connection of TCP.
pub(super) struct Links {
    seed: u64,
    latency: Latency,
    cut_until: [[SimTime; MEMBERS_MAX]; MEMBERS_MAX],
    slow: Vec<Slow>,
    sent: [[u64; MEMBERS_MAX]; MEMBERS_MAX],
    last_arrival: [[SimTime; MEMBERS_MAX]; MEMBERS_MAX],
}

impl Links {
    pub(super) fn new(seed: u64, latency: Latency) -> Self {
        Links {
            seed,
            latency,
            cut_until: Default::default(),
            slow: Vec::new(),
            sent: Default::default(),
            last_arrival: Default::default(),
        }
    }

    /// Whether a message that is sent now arrives.
    pub(super) fn is_open(&self, from: MemberId, to: MemberId, now: SimTime) -> bool {
        now >= self.cut_until[from][to]
    }

    /// Whether both can talk to each other.
    pub(super) fn is_open_both_ways(&self, a: MemberId, b: MemberId, now: SimTime) -> bool {
        self.is_open(a, b, now) && self.is_open(b, a, now)
    }

    /// Whether two members could talk to each other all the time since `start`.
    pub(super) fn was_open_since(&self, a: MemberId, b: MemberId, start: SimTime) -> bool {
        start >= self.cut_until[a][b] && start >= self.cut_until[b][a]
    }

    pub(super) fn cut(&mut self, from: MemberId, to: MemberId, until: SimTime) {
        let cut = &mut self.cut_until[from][to];
        *cut = (*cut).max(until);
    }

    pub(super) fn slow_down(
        &mut self,
        (from, to): (MemberId, MemberId),
        until: SimTime,
        by: Duration,
        jitter: Duration,
    ) {
        self.slow.push(Slow {
            from,
            to,
            until,
            by,
            jitter,
        });
    }

    /// Ends what cuts links and what makes them slower.
    pub(super) fn heal(&mut self, now: SimTime) {
        for cut in self.cut_until.iter_mut().flatten() {
            *cut = (*cut).min(now);
        }
        self.slow.clear();
    }

    /// How long a message takes at least.
    pub(super) fn shortest(&self) -> Duration {
        self.latency.shortest()
    }

    /// When a message arrives that is sent at `sent`.
    pub(super) fn arrival(&mut self, from: MemberId, to: MemberId, sent: SimTime) -> SimTime {
        if sent == NEVER {
            return NEVER;
        }
        let at = sent + self.delay(from, to, sent);
        let last = &mut self.last_arrival[from][to];
        *last = (*last).max(at);
        *last
    }

    /// When the answer of `to` is back to a message that is sent at `sent`.
    pub(super) fn round_trip(&mut self, from: MemberId, to: MemberId, sent: SimTime) -> SimTime {
        let there = self.arrival(from, to, sent);
        self.arrival(to, from, there)
    }

    fn delay(&mut self, from: MemberId, to: MemberId, now: SimTime) -> Duration {
        if self.latency.max_us == 0 && self.slow.is_empty() {
            return Duration::ZERO;
        }
        self.sent[from][to] += 1;
        let link = mix(0x6d65_6d62 + (from * MEMBERS_MAX + to) as u64);
        let drawn = mix(self.seed ^ link ^ self.sent[from][to]);
        let mut delay = self.latency.draw(drawn);
        self.slow.retain(|slow| now < slow.until);
        for slow in &self.slow {
            if (slow.from, slow.to) == (from, to) {
                delay += slow.by + jittered(slow.jitter, drawn);
            }
        }
        delay
    }
}

/// Between nothing and all of it.
fn jittered(jitter: Duration, drawn: u64) -> Duration {
    let nanos = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX);
    match nanos {
        0 => Duration::ZERO,
        _ => Duration::from_nanos(mix(drawn) % nanos.saturating_add(1).max(1)),
    }
}
