//! Leaving a place where the search goes round in circles.

use super::explore::Frame;

/// How many steps without coming further are taken before the search goes back. Most places
/// from which it has to come back are left in fewer.
const STEPS: u64 = 1 << 18;

/// How many frames it goes back at first.
const FRAMES: usize = 32;

/// A mistake may be seen late, and depth first tries everything that may follow it before it
/// tries something else in its place. So where the search has come no further for long its last
/// frames are set aside, twice as many each time, and it goes on from the one before them. They
/// are taken up again when nothing else is left: in the end everything has been tried.
pub(super) struct Leaps {
    /// Steps without coming further after which it leaps, and frames that it leaps over.
    pub(super) steps: u64,
    pub(super) frames: usize,
    /// The furthest event so far.
    furthest: usize,
    /// Steps since the search came there, or leapt.
    steps_since: u64,
    /// How often it has leapt since it came there.
    leaps: u32,
    aside: Vec<Aside>,
    /// Of what is set aside.
    bytes: usize,
}

struct Aside {
    frames: Vec<Frame>,
    waiting: Vec<u32>,
}

impl Default for Leaps {
    fn default() -> Self {
        Self {
            steps: STEPS,
            frames: FRAMES,
            furthest: 0,
            steps_since: 0,
            leaps: 0,
            aside: Vec::new(),
            bytes: 0,
        }
    }
}

impl Leaps {
    /// Counts a step that is taken from this event, and sets the last frames aside where it is
    /// time for that.
    pub(super) fn step(&mut self, cursor: usize, frames: &mut Vec<Frame>, waiting: &mut Vec<u32>) {
        if cursor > self.furthest {
            (self.furthest, self.steps_since, self.leaps) = (cursor, 0, 0);
            return;
        }
        self.steps_since += 1;
        if self.steps_since < self.steps {
            return;
        }
        self.steps_since = 0;
        let back = self.frames.saturating_mul(1 << self.leaps.min(31));
        if frames.len() > back {
            self.leaps += 1;
            self.set_aside(frames.len() - back, frames, waiting);
        }
    }

    /// All from this frame on.
    fn set_aside(&mut self, first: usize, frames: &mut Vec<Frame>, waiting: &mut Vec<u32>) {
        let below = frames[first].waiting;
        let mut aside = Aside {
            frames: frames.split_off(first),
            waiting: waiting.split_off(below as usize),
        };
        for frame in &mut aside.frames {
            frame.waiting -= below;
        }
        self.bytes += aside.bytes();
        self.aside.push(aside);
    }

    /// Takes frames up again that were set aside, if there are any; none others are left.
    pub(super) fn resume(&mut self, frames: &mut Vec<Frame>, waiting: &mut Vec<u32>) -> bool {
        let Some(aside) = self.aside.pop() else {
            return false;
        };
        self.bytes -= aside.bytes();
        (*frames, *waiting) = (aside.frames, aside.waiting);
        true
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.aside.capacity() * size_of::<Aside>()
    }
}

impl Aside {
    fn bytes(&self) -> usize {
        self.frames.capacity() * size_of::<Frame>() + self.waiting.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::Leaps;
    use crate::search::explore::Explorer;
    use crate::search::plan::Plan;
    use crate::search::{Call, Clock, Sequential};

    /// A register that is written (the first value is none), read or compared and set.
    struct Register;

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Ask {
        Read,
        Write(u64),
        Set { old: u64, new: u64 },
    }

    impl Sequential for Register {
        type State = u64;
        type Input = Ask;
        type Output = u64;
        type Part = ();

        fn part(&self, _: &Ask) {}

        fn initial(&self, (): &()) -> u64 {
            0
        }

        /// Whoever reads or sets is told what was there.
        fn step(
            &self,
            state: &u64,
            ask: &Ask,
            output: Option<&u64>,
        ) -> impl IntoIterator<Item = u64> {
            let next = match ask {
                Ask::Read => *state,
                Ask::Set { old, new } if old == state => *new,
                Ask::Set { .. } => *state,
                Ask::Write(value) => *value,
            };
            let writes = matches!(ask, Ask::Write(_));
            (writes || output.is_none_or(|output| output == state)).then_some(next)
        }

        fn only_reads(&self, ask: &Ask, _: Option<&u64>) -> bool {
            *ask == Ask::Read
        }
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (self.0 >> 33) % bound
        }
    }

    fn random_calls(random: &mut Random) -> Vec<Call<Ask, u64>> {
        let call = |_| {
            let (first, second) = (random.below(3), random.below(3));
            let input = match random.below(3) {
                0 => Ask::Read,
                1 => Ask::Write(first),
                _ => Ask::Set {
                    old: first,
                    new: second,
                },
            };
            let invoked = random.below(20);
            if random.below(8) == 0 {
                return Call::pending(input, invoked);
            }
            Call::returned(input, random.below(3), invoked..=invoked + random.below(12))
        };
        (0..8).map(call).collect()
    }

    /// The order that is found, if there is one.
    fn order(calls: &[Call<Ask, u64>], leaps: Leaps) -> Option<Vec<u32>> {
        let known = calls.iter().map(|call| Call {
            input: &call.input,
            output: call.output.as_ref(),
            invoked: call.invoked,
            returned: call.returned,
        });
        let plan = Plan::of(&Register, known.collect());
        let clock = Clock::until(None, None);
        let mut explorer = Explorer::new(&Register, &plan, &clock, 1 << 30);
        explorer.leaps = leaps;
        let Ok(last) = explorer.run(vec![0]) else {
            panic!("there is time and memory enough");
        };
        last.map(|last| explorer.replay(last))
    }

    fn assert_explains(calls: &[Call<Ask, u64>], order: &[u32]) {
        let mut state = 0;
        for call in order {
            let Call { input, output, .. } = &calls[*call as usize];
            let next = Register.step(&state, input, output.as_ref());
            let next = next.into_iter().next();
            state = next.expect("each can follow those before it");
        }
        let returned = |call: &u32| calls[*call as usize].returned.is_some();
        let wanted = calls.iter().filter(|call| call.returned.is_some()).count();
        assert_eq!(order.iter().filter(|call| returned(call)).count(), wanted);
        for (place, call) in order.iter().enumerate() {
            for later in &order[place..] {
                let returned = calls[*later as usize].returned;
                let begins = calls[*call as usize].invoked;
                assert!(returned.is_none_or(|returned| returned >= begins));
            }
        }
    }

    #[test]
    fn leaping_all_the_time_finds_an_order_where_there_is_one() {
        let random = &mut Random(1);
        let mut found = [0, 0];
        for _ in 0..20_000 {
            let calls = random_calls(random);
            let leaping = Leaps {
                steps: 1,
                frames: 1,
                ..Leaps::default()
            };
            let (straight, leaping) = (order(&calls, Leaps::default()), order(&calls, leaping));
            assert_eq!(straight.is_some(), leaping.is_some());
            if let Some(order) = &leaping {
                assert_explains(&calls, order);
            }
            found[usize::from(leaping.is_some())] += 1;
        }
        assert!(found.iter().all(|count| *count > 1_000), "{found:?}");
    }
}
