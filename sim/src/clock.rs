//! The clock that a client's process reads: simulated time, unless a fault makes it
//! run fast or slow, or jump.
//!
//! A function of the plan and of nothing else, so that both directions can be asked
//! for: what the clock shows at a time, and when it will show something.

use std::time::Duration;

use crate::executor::SimTime;
use crate::fault::{ClientId, FaultKind, Jump};
use crate::plan::Plan;

/// What a clock counts in a thousand units of simulated time when it is right.
const RIGHT_PERMILLE: u64 = 1_000;

/// The clock of one client.
///
/// It shows two times: a *monotonic* one, from which a process reckons deadlines and
/// which never goes back, and that *of the wall*, which does when it is set back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Ordered by `from`; the first one begins at zero.
    pieces: Vec<Piece>,
}

/// How a clock runs for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    from: u64,
    /// What it shows at `from`.
    shows: u64,
    /// By how much it runs in a thousand units.
    permille: u64,
    /// By how much it has been set back so far.
    set_back: u64,
}

impl Clock {
    /// The clock of a client under the faults of a plan; none when it is right
    /// throughout.
    pub fn of(plan: &Plan, client: ClientId) -> Option<Clock> {
        let mut rates = Vec::new();
        let mut jumps = Vec::new();
        let mut times = vec![0];
        for fault in &plan.faults {
            let at = SimTime::from_millis(fault.at_ms).as_nanos();
            match fault.kind {
                FaultKind::SkewClock {
                    client: struck,
                    permille,
                    for_ms,
                } if struck == client => {
                    let until = SimTime::from_millis(fault.at_ms.saturating_add(for_ms));
                    rates.push((at, until.as_nanos(), u64::from(permille.max(1))));
                    times.extend([at, until.as_nanos()]);
                }
                FaultKind::JumpClock {
                    client: struck,
                    to,
                    by_ms,
                } if struck == client => {
                    jumps.push((at, to, SimTime::from_millis(by_ms).as_nanos()));
                    times.push(at);
                }
                _ => {}
            }
        }
        if rates.is_empty() && jumps.is_empty() {
            return None;
        }
        times.sort_unstable();
        times.dedup();
        let mut pieces: Vec<Piece> = Vec::new();
        for from in times {
            // Of rates that overlap the last one counts.
            let mut active = rates
                .iter()
                .filter(|(start, end, _)| *start <= from && from < *end);
            let permille = active
                .next_back()
                .map_or(RIGHT_PERMILLE, |(.., rate)| *rate);
            let before = pieces.last();
            let mut piece = Piece {
                from,
                shows: before.map_or(from, |piece| piece.at(from)),
                permille,
                set_back: before.map_or(0, |piece| piece.set_back),
            };
            for (_, to, by) in jumps.iter().filter(|(at, ..)| *at == from) {
                match to {
                    Jump::Forward => piece.shows = piece.shows.saturating_add(*by),
                    Jump::Back => piece.set_back = piece.set_back.saturating_add(*by),
                }
            }
            pieces.push(piece);
        }
        Some(Clock { pieces })
    }

    /// What the monotonic clock shows.
    pub fn shows(&self, now: SimTime) -> SimTime {
        SimTime::from_nanos(self.piece(now).at(now.as_nanos()))
    }

    /// By how much the clock of the wall has been set back.
    pub fn set_back(&self, now: SimTime) -> Duration {
        Duration::from_nanos(self.piece(now).set_back)
    }

    /// The first time at which the monotonic clock shows this, or more.
    pub fn when(&self, shown: SimTime) -> SimTime {
        let shown = shown.as_nanos();
        let last = self
            .pieces
            .partition_point(|piece| piece.shows <= shown)
            .saturating_sub(1);
        let piece = self.pieces[last];
        let wait = u128::from(shown.saturating_sub(piece.shows)) * u128::from(RIGHT_PERMILLE);
        let wait = wait.div_ceil(u128::from(piece.permille));
        let at = piece
            .from
            .saturating_add(u64::try_from(wait).unwrap_or(u64::MAX));
        // It may be jumped over.
        let next = self.pieces.get(last + 1).map_or(u64::MAX, |next| next.from);
        SimTime::from_nanos(at.min(next))
    }

    fn piece(&self, now: SimTime) -> Piece {
        let begun = self
            .pieces
            .partition_point(|piece| piece.from <= now.as_nanos());
        self.pieces[begun - 1]
    }
}

impl Piece {
    fn at(&self, now: u64) -> u64 {
        let passed = u128::from(now - self.from) * u128::from(self.permille);
        let passed = u64::try_from(passed / u128::from(RIGHT_PERMILLE)).unwrap_or(u64::MAX);
        self.shows.saturating_add(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    fn clock(faults: Vec<(u64, FaultKind)>) -> Clock {
        let fault = |(at_ms, kind)| Fault { at_ms, kind };
        let plan = Plan {
            faults: faults.into_iter().map(fault).collect(),
            ..Plan::quiet(1)
        };
        assert_eq!(Clock::of(&plan, 1), None);
        Clock::of(&plan, 0).expect("a fault strikes its clock")
    }

    fn skew(permille: u32, for_ms: u64) -> FaultKind {
        FaultKind::SkewClock {
            client: 0,
            permille,
            for_ms,
        }
    }

    fn jump(to: Jump, by_ms: u64) -> FaultKind {
        FaultKind::JumpClock {
            client: 0,
            to,
            by_ms,
        }
    }

    fn shown_ms(clock: &Clock, at_ms: u64) -> u64 {
        clock.shows(SimTime::from_millis(at_ms)).as_nanos() / 1_000_000
    }

    #[test]
    fn a_fast_clock_keeps_what_it_has_gained() {
        let clock = clock(vec![(100, skew(2_000, 100))]);
        let shown = [50, 100, 150, 200, 300].map(|at| shown_ms(&clock, at));
        assert_eq!(shown, [50, 100, 200, 300, 400]);
    }

    #[test]
    fn a_slow_clock_never_makes_up_for_it() {
        let clock = clock(vec![(100, skew(500, 100))]);
        let shown = [100, 200, 300].map(|at| shown_ms(&clock, at));
        assert_eq!(shown, [100, 150, 250]);
    }

    #[test]
    fn only_the_clock_of_the_wall_goes_back() {
        let clock = clock(vec![
            (10, jump(Jump::Forward, 5)),
            (20, jump(Jump::Back, 7)),
        ]);
        assert_eq!([9, 10, 30].map(|at| shown_ms(&clock, at)), [9, 15, 35]);
        let set_back = |at| clock.set_back(SimTime::from_millis(at)).as_millis();
        assert_eq!([19, 20].map(set_back), [0, 7]);
    }

    #[test]
    fn it_says_when_it_will_show_something() {
        let clock = clock(vec![
            (100, skew(2_000, 100)),
            (150, jump(Jump::Forward, 40)),
            (300, skew(300, 50)),
        ]);
        for shown_us in (0..600_000).step_by(137) {
            let shown = SimTime::from_nanos(shown_us * 1_000);
            let at = clock.when(shown);
            assert!(clock.shows(at) >= shown);
            if at > SimTime::ZERO {
                assert!(clock.shows(SimTime::from_nanos(at.as_nanos() - 1)) < shown);
            }
        }
    }
}
