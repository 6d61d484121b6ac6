//! The connections of one client to the members, and the fates of its messages.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::exchange::Exchange;
use super::{Direction, Fate, Shared};
use crate::executor::SimTime;
use crate::fault::{ClientId, MemberId};
use crate::seed::mix;

/// The state of one client's connections.
pub(super) struct Links {
    /// Which life of the client's process is the current one; messages of
    /// earlier ones go nowhere.
    pub(super) incarnation: u64,
    /// How many of the next messages are lost, per direction.
    pub(super) lose_requests: u32,
    pub(super) lose_responses: u32,
    /// By how much each of the next requests is held up.
    pub(super) hold_requests: Vec<Duration>,
    /// The current life is over: it reaches nobody, even where a task of it
    /// outlives the process (on tokio, one that was not spawned on its node).
    pub(super) dead: bool,
    /// A fault that lasts and that names a client alone is told when it first strikes a
    /// message.
    pub(super) untold: Untold,
    /// Calls so far: each draws by its number which member it goes to.
    pub(super) calls: u64,
    /// How often the connections were reset.
    pub(super) resets: u64,
    /// By member.
    pub(super) to: Vec<Link>,
}

/// Until when each may still strike its first message.
#[derive(Default)]
pub(super) struct Untold {
    pub(super) partition: SimTime,
    pub(super) delay: SimTime,
}

/// The connection to one member.
pub(super) struct Link {
    /// Until when messages are lost, per direction.
    requests_cut_until: SimTime,
    responses_cut_until: SimTime,
    refused_until: SimTime,
    /// Until when messages take longer, how much, and how much more at random.
    /// Those that overlap add up.
    delays: Vec<(SimTime, Duration, Duration)>,
    /// Messages so far: each draws its delay by its number.
    messages: u64,
    /// Calls that a reset would break.
    exchanges: Vec<Weak<Exchange>>,
    /// Ended calls are forgotten when the list has grown this long.
    sweep_at: usize,
    /// The connection has broken and is made anew no sooner than this; none
    /// while it stands.
    pub(super) connects_at: Option<SimTime>,
    /// The member takes no new calls on it, and the client has not noticed.
    pub(super) goes_away: bool,
}

/// The fate of a message, and the fault that decided it.
pub(super) struct Struck {
    pub(super) fate: Fate,
    pub(super) fault: Option<&'static str>,
    /// How long that goes on.
    pub(super) lasts: Duration,
}

impl Links {
    pub(super) fn new(members: usize) -> Self {
        Links {
            incarnation: 0,
            lose_requests: 0,
            lose_responses: 0,
            hold_requests: Vec::new(),
            dead: false,
            untold: Untold::default(),
            calls: 0,
            resets: 0,
            to: (0..members).map(|_| Link::new()).collect(),
        }
    }

    /// No message is lost any more that has not been sent.
    pub(super) fn disarm(&mut self) {
        self.lose_requests = 0;
        self.lose_responses = 0;
        self.hold_requests.clear();
    }

    /// Ends what lasts.
    pub(super) fn relax(&mut self) {
        self.to.iter_mut().for_each(Link::heal);
    }

    pub(super) fn fate(
        &mut self,
        (client, member): (ClientId, MemberId),
        direction: Direction,
        now: SimTime,
        shared: &Shared,
    ) -> Struck {
        let link = &mut self.to[member];
        link.messages += 1;
        if link.is_cut(direction, now) {
            let is_untold = now < std::mem::take(&mut self.untold.partition);
            return Struck {
                fate: Fate::Lost,
                fault: is_untold.then_some("partition"),
                lasts: link.passes_at().saturating_sub(now),
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
                lasts: Duration::ZERO,
            };
        }
        let arrival = link.arrival((client, member), now, shared);
        if direction == Direction::Request
            && let Some(by) = self.hold_requests.pop()
        {
            return Struck {
                fate: Fate::Arrives(arrival + by),
                fault: Some("request held"),
                lasts: by,
            };
        }
        let delayed = !link.delays.is_empty();
        let delayed_until = link.delays.iter().map(|(until, ..)| *until).max();
        let first_delayed = delayed && now < std::mem::take(&mut self.untold.delay);
        Struck {
            fate: Fate::Arrives(arrival),
            fault: first_delayed.then_some("delay"),
            lasts: delayed_until.map_or(Duration::ZERO, |until| until.saturating_sub(now)),
        }
    }

    pub(super) fn fate_of_cancellation(
        &mut self,
        (client, member): (ClientId, MemberId),
        now: SimTime,
        shared: &Shared,
    ) -> Fate {
        let link = &mut self.to[member];
        link.messages += 1;
        if link.is_cut(Direction::Request, now) {
            Fate::Lost
        } else {
            Fate::Arrives(link.arrival((client, member), now, shared))
        }
    }
}

impl Link {
    fn new() -> Self {
        Link {
            requests_cut_until: SimTime::ZERO,
            responses_cut_until: SimTime::ZERO,
            refused_until: SimTime::ZERO,
            delays: Vec::new(),
            messages: 0,
            exchanges: Vec::new(),
            sweep_at: 0,
            connects_at: None,
            goes_away: false,
        }
    }

    /// The member takes no new calls. A connection without calls ends at once.
    pub(super) fn go_away(&mut self, now: SimTime) {
        self.goes_away = self.has_calls();
        if !self.goes_away {
            self.connects_at = Some(now);
        }
    }

    /// Whether calls are open: at either end somebody has to do with one.
    pub(super) fn has_calls(&self) -> bool {
        let mut exchanges = self.exchanges.iter();
        exchanges.any(|exchange| exchange.strong_count() > 0)
    }

    pub(super) fn remember(&mut self, exchange: &Arc<Exchange>) {
        if self.exchanges.len() >= self.sweep_at {
            self.exchanges
                .retain(|exchange| exchange.strong_count() > 0);
            self.sweep_at = 64.max(self.exchanges.len() * 2);
        }
        self.exchanges.push(Arc::downgrade(exchange));
    }

    /// Breaks the connection: the calls that were open on it.
    pub(super) fn take_exchanges(&mut self, now: SimTime) -> Vec<Arc<Exchange>> {
        self.connects_at = Some(now);
        self.goes_away = false;
        let exchanges = std::mem::take(&mut self.exchanges);
        exchanges.iter().filter_map(Weak::upgrade).collect()
    }

    /// The open calls of one method; the connection stands.
    pub(super) fn calls_of(&self, path: &str) -> Vec<Arc<Exchange>> {
        let exchanges = self.exchanges.iter().filter_map(Weak::upgrade);
        exchanges
            .filter(|exchange| exchange.call.path() == path)
            .collect()
    }

    pub(super) fn delay_until(&mut self, until: SimTime, by: Duration, jitter: Duration) {
        self.delays.push((until, by, jitter));
    }

    pub(super) fn cut_until(&mut self, direction: Direction, until: SimTime) {
        let cut = match direction {
            Direction::Request => &mut self.requests_cut_until,
            Direction::Response => &mut self.responses_cut_until,
        };
        *cut = (*cut).max(until);
    }

    pub(super) fn refuse_until(&mut self, until: SimTime) {
        self.refused_until = self.refused_until.max(until);
    }

    pub(super) fn refused_until(&self) -> SimTime {
        self.refused_until
    }

    pub(super) fn is_refused(&self, now: SimTime) -> bool {
        now < self.refused_until
    }

    pub(super) fn is_cut(&self, direction: Direction, now: SimTime) -> bool {
        match direction {
            Direction::Request => now < self.requests_cut_until,
            Direction::Response => now < self.responses_cut_until,
        }
    }

    /// Whether nothing passes in one direction or the other.
    pub(super) fn is_partitioned(&self, now: SimTime) -> bool {
        now < self.passes_at()
    }

    /// When messages pass in both directions again.
    pub(super) fn passes_at(&self) -> SimTime {
        self.requests_cut_until.max(self.responses_cut_until)
    }

    fn heal(&mut self) {
        self.requests_cut_until = SimTime::ZERO;
        self.responses_cut_until = SimTime::ZERO;
        self.refused_until = SimTime::ZERO;
        self.delays.clear();
    }

    /// When a message that is sent now is there.
    fn arrival(
        &mut self,
        (client, member): (ClientId, MemberId),
        now: SimTime,
        shared: &Shared,
    ) -> SimTime {
        self.delays.retain(|(until, ..)| now < *until);
        if shared.latency.max_us == 0 && self.delays.is_empty() {
            return now;
        }
        // A function of the seed, the link and the message's number, and of
        // nothing else.
        let link = u64::from(client) | (member as u64) << 32;
        let drawn = mix(shared.seed ^ mix(link) ^ self.messages);
        let extra: Duration = self
            .delays
            .iter()
            .map(|(_, by, jitter)| *by + share(*jitter, drawn))
            .sum();
        now + shared.latency.draw(drawn) + extra
    }
}

/// Between nothing and all of it.
fn share(jitter: Duration, drawn: u64) -> Duration {
    let nanos = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX - 1);
    Duration::from_nanos(mix(drawn) % (nanos + 1))
}
