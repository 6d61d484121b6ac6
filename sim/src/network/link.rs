//! The connection between one client and the member, and the fates of its
//! messages.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::exchange::Exchange;
use super::{Direction, Fate, Shared};
use crate::executor::SimTime;
use crate::fault::ClientId;
use crate::seed::mix;

/// The state of one client's connection.
#[derive(Default)]
pub(super) struct Link {
    /// Which life of the client's process is the current one; messages of
    /// earlier ones go nowhere.
    pub(super) incarnation: u64,
    /// How many of the next messages are lost, per direction.
    pub(super) lose_requests: u32,
    pub(super) lose_responses: u32,
    /// The current life is over: it reaches nobody, even where a task of it
    /// outlives the process (on tokio, one that was not spawned on its node).
    pub(super) dead: bool,
    partitioned_until: SimTime,
    /// Until when messages take longer, and how much. Those that overlap add
    /// up.
    delays: Vec<(SimTime, Duration)>,
    /// A fault that lasts is told once, when it first strikes a message.
    told: Told,
    /// Messages so far: each draws its delay by its number.
    messages: u64,
    /// Calls that a reset would break.
    exchanges: Vec<Weak<Exchange>>,
    /// Ended calls are forgotten when the list has grown this long.
    sweep_at: usize,
}

#[derive(Default)]
struct Told {
    partition: bool,
    delay: bool,
}

/// The fate of a message, and the fault that decided it.
pub(super) struct Struck {
    pub(super) fate: Fate,
    pub(super) fault: Option<&'static str>,
}

impl Link {
    pub(super) fn remember(&mut self, exchange: &Arc<Exchange>) {
        if self.exchanges.len() >= self.sweep_at {
            self.exchanges
                .retain(|exchange| exchange.strong_count() > 0);
            self.sweep_at = 64.max(self.exchanges.len() * 2);
        }
        self.exchanges.push(Arc::downgrade(exchange));
    }

    pub(super) fn take_exchanges(&mut self) -> Vec<Arc<Exchange>> {
        let exchanges = std::mem::take(&mut self.exchanges);
        exchanges.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn delay_until(&mut self, until: SimTime, by_ms: u64) {
        self.told.delay = false;
        self.delays.push((until, Duration::from_millis(by_ms)));
    }

    pub(super) fn partition_until(&mut self, until: SimTime) {
        self.told.partition = false;
        self.partitioned_until = self.partitioned_until.max(until);
    }

    pub(super) fn is_partitioned(&self, now: SimTime) -> bool {
        now < self.partitioned_until
    }

    pub(super) fn heal(&mut self) {
        self.lose_requests = 0;
        self.lose_responses = 0;
        self.partitioned_until = SimTime::ZERO;
        self.delays.clear();
    }

    pub(super) fn fate(
        &mut self,
        client: ClientId,
        direction: Direction,
        now: SimTime,
        shared: &Shared,
    ) -> Struck {
        self.messages += 1;
        if self.is_partitioned(now) {
            let told = std::mem::replace(&mut self.told.partition, true);
            return Struck {
                fate: Fate::Lost,
                fault: (!told).then_some("partition"),
            };
        }
        let (armed, name) = match direction {
            Direction::Request => (&mut self.lose_requests, "request lost"),
            Direction::Response => (&mut self.lose_responses, "response lost"),
        };
        if *armed > 0 {
            *armed -= 1;
            return Struck {
                fate: Fate::Lost,
                fault: Some(name),
            };
        }
        let arrival = self.arrival(client, now, shared);
        let delayed = !self.delays.is_empty();
        let first_delayed = delayed && !std::mem::replace(&mut self.told.delay, true);
        Struck {
            fate: Fate::Arrives(arrival),
            fault: first_delayed.then_some("delay"),
        }
    }

    pub(super) fn fate_of_cancellation(
        &mut self,
        client: ClientId,
        now: SimTime,
        shared: &Shared,
    ) -> Fate {
        self.messages += 1;
        if self.is_partitioned(now) {
            Fate::Lost
        } else {
            Fate::Arrives(self.arrival(client, now, shared))
        }
    }

    /// When a message that is sent now is there.
    fn arrival(&mut self, client: ClientId, now: SimTime, shared: &Shared) -> SimTime {
        self.delays.retain(|(until, _)| now < *until);
        let extra: Duration = self.delays.iter().map(|(_, by)| *by).sum();
        now + self.usual_delay(client, shared) + extra
    }

    /// The delay of this message: a function of the seed, the client and the
    /// message's number, and of nothing else.
    fn usual_delay(&self, client: ClientId, shared: &Shared) -> Duration {
        let latency = shared.latency;
        if latency.max_us == 0 {
            return Duration::ZERO;
        }
        let drawn = mix(shared.seed ^ mix(u64::from(client)) ^ self.messages);
        let span = latency
            .max_us
            .saturating_sub(latency.min_us)
            .saturating_add(1);
        let micros = latency.min_us + drawn % span;
        // Below the resolution of the timers: no delay.
        Duration::from_micros(if micros < 1_000 { 0 } else { micros })
    }
}
