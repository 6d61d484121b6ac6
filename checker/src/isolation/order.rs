//! Can things be put in an order in which each of several choices comes out one way or the
//! other?
//!
//! # The question
//!
//! Points with spans of time, some of which must come before others; and choices between
//! two sets of such arcs. Is there an order of all points that respects time and the arcs,
//! and of each choice one side? This is the acyclicity of a polygraph (Papadimitriou 1979), which
//! is NP-complete; what makes it cheap is that time leaves few choices.
//!
//! # How it is decided
//!
//! For each point a row of bits says which points come behind it, among those whose spans
//! overlap its own: the others are ordered by time.
//!
//! ```text
//! u ─▶ v is new:   a ⇝ u ─▶ v ⇝ b       each a that comes before u learns all that
//!                                       comes behind v
//! ```
//!
//! Where time orders nothing, all arcs that are given are drawn together, the last first.
//!
//! Whoever learns `a ⇝ b` rules out the sides of choices that have `b ─▶ a`; then the other
//! side is forced, and so on. When nothing is forced any more, the earliest open choice is
//! tried one way and then the other. Rows are restored when a trial fails.
//!
//! # Cost
//!
//! With points that overlap at most `c` others O(c / 64) words for each arc and each point
//! before it; as many trials as it takes, up to a limit (`effort`). The rows take O(n · c) bits for n
//! points: what does not fit into the memory that is allowed is not looked at.

use super::effort::{Effort, Shortage};
use super::graph::{Builder, Span, Why};
use super::serial;
use super::txns::NONE;
use crate::unsat_core::Answer;

/// How many words there may be: their indices have 32 bits.
const WORDS_MAX: usize = 1 << 31;
/// How many changes can be taken back.
const TRAIL_MAX: usize = 1 << 23;

/// How many arcs there may be.
const ARCS_MAX: usize = 50_000_000;
/// How many bytes a point takes: its span, twice, its places in lists of who asks and of the search.
const POINT_BYTES: usize = 16 * size_of::<u32>();
/// How many bytes a choice takes in the search: which side was taken, when, and its turn.
const CHOICE_BYTES: usize = 3 * size_of::<u32>();
/// How many bytes a word of a row takes: what is behind a point, and what is before it.
const ROW_BYTES: usize = 2 * size_of::<u64>();

/// One point comes before another.
pub(super) type Arc = (u32, u32);

/// How many steps it takes to note that one point comes before another.
const STEPS_PER_BIT: u64 = 8;

/// What is asked.
pub(super) struct Problem<'e> {
    /// By point, ascending: the event before which it cannot be.
    pub(super) invoked: Vec<u32>,
    /// By point: the event behind which it cannot be.
    pub(super) returned: Vec<u32>,
    pub(super) arcs: Vec<Arc>,
    /// Arcs that are not drawn: nothing may lead back from their ends, and that is all.
    pub(super) barred: Vec<Arc>,
    choices: Vec<Choice>,
    /// The arcs of all choices.
    sides: Vec<Arc>,
    /// What the arcs and the search may take together.
    effort: &'e Effort,
}

/// One side of a choice.
#[derive(Default)]
pub(super) struct Side {
    /// The first is what the choice is about.
    pub(super) arcs: Vec<Arc>,
    /// As [`Problem::barred`].
    pub(super) barred: Vec<Arc>,
}

struct Choice {
    /// Where the arcs of the first side begin and those of it that are not drawn, the same of
    /// the second, and where they end.
    bounds: [u32; 5],
}

/// What became of it, and where.
pub(super) struct Solution {
    pub(super) answer: Answer,
    /// Two points between which it became impossible: there is no order of what is around
    /// them, though perhaps not of these alone.
    pub(super) conflict: Option<Arc>,
    /// The points in such an order, if it was asked for.
    pub(super) order: Option<Vec<u32>>,
}

impl<'e> Problem<'e> {
    /// One without points yet, and what it may take.
    pub(super) fn within(effort: &'e Effort) -> Self {
        Self {
            invoked: Vec::new(),
            returned: Vec::new(),
            arcs: Vec::new(),
            barred: Vec::new(),
            choices: Vec::new(),
            sides: Vec::new(),
            effort,
        }
    }

    /// One of the two sides.
    pub(super) fn choose(&mut self, first: &Side, second: &Side) {
        let mut bounds = [0; 5];
        let parts = [&first.arcs, &first.barred, &second.arcs, &second.barred];
        for (at, part) in parts.into_iter().enumerate() {
            bounds[at] = u32::try_from(self.sides.len()).unwrap_or(NONE);
            self.sides.extend(part);
        }
        bounds[4] = u32::try_from(self.sides.len()).unwrap_or(NONE);
        self.choices.push(Choice { bounds });
    }

    /// Makes room for so many times as much as there is, as far as it may take that: lists that
    /// grow are copied again and again.
    pub(super) fn expect(&mut self, times: usize) {
        let most = self.effort.memory_bytes() / 4;
        let more = |len: usize, bytes: usize| (len * (times - 1)).min(most / bytes);
        let arc = size_of::<Arc>();
        self.arcs.reserve(more(self.arcs.len(), arc));
        self.sides.reserve(more(self.sides.len(), arc));
        self.barred.reserve(more(self.barred.len(), arc));
        let choices = more(self.choices.len(), size_of::<Choice>());
        self.choices.reserve(choices);
    }

    /// How many arcs there are.
    pub(super) fn size(&self) -> usize {
        self.arcs.len() + self.barred.len() + self.sides.len()
    }

    /// Whether it takes more bytes than it may, or there are too many arcs.
    pub(super) fn is_too_large(&self) -> bool {
        // A list that grows is there twice for a while.
        let lists = [self.arcs.len(), self.sides.len(), self.barred.len()];
        let list = lists.into_iter().max().unwrap_or(0) * size_of::<Arc>();
        let growing = list.max(self.choices.len() * size_of::<Choice>());
        if self.bytes() + growing.max(self.noted_bytes()) > self.effort.memory_bytes() {
            self.effort.lacks_memory();
            return true;
        }
        let is_too_large = self.size() > ARCS_MAX;
        if is_too_large {
            self.effort.lacks(Shortage::Arcs(ARCS_MAX));
        }
        is_too_large
    }

    /// How many bytes it takes.
    fn bytes(&self) -> usize {
        let choices = self.choices.len() * size_of::<Choice>();
        self.size() * size_of::<Arc>() + choices + self.invoked.len() * POINT_BYTES
    }

    /// How many bytes are noted with it when it is searched, besides the rows.
    fn noted_bytes(&self) -> usize {
        let watched = (self.barred.len() + self.sides.len()) * size_of::<Watched>();
        watched + self.choices.len() * CHOICE_BYTES
    }

    pub(super) fn solve(&self) -> Solution {
        self.solved(|_| None)
    }

    /// As [`solve`](Self::solve), with the order that there is.
    pub(super) fn solve_in_order(&self) -> Solution {
        self.solved(|search| self.sorted(search))
    }

    fn solved(&self, order: impl Fn(&Search<'_>) -> Option<Vec<u32>>) -> Solution {
        let Some(mut search) = Search::new(self) else {
            return Solution {
                answer: Answer::Unknown,
                conflict: None,
                order: None,
            };
        };
        let answer = search.run();
        let is_possible = answer == Answer::Possible;
        Solution {
            answer,
            conflict: search.conflict.filter(|_| answer == Answer::Impossible),
            order: is_possible.then(|| order(&search)).flatten(),
        }
    }

    /// The points in the order that was found.
    fn sorted(&self, search: &Search<'_>) -> Option<Vec<u32>> {
        let spans = self.invoked.iter().zip(&self.returned);
        let spans = spans.map(|(invoked, returned)| Span {
            invoked: *invoked,
            returned: *returned,
        });
        let mut builder = Builder::new(spans.collect(), self.size());
        let taken = (0..).zip(&search.taken);
        let taken = taken.flat_map(|(choice, side)| self.drawn(choice, *side));
        for (from, to) in self.arcs.iter().chain(taken) {
            builder.edge(*from, *to, Why::Overwrote, 0);
        }
        serial::sorted(&builder.finish(), true)
    }

    /// The arcs of a side.
    fn side(&self, choice: u32, side: u8) -> &[Arc] {
        let bounds = self.choices[choice as usize].bounds;
        let first = 2 * usize::from(side);
        &self.sides[bounds[first] as usize..bounds[first + 2] as usize]
    }

    /// Those that are drawn.
    fn drawn(&self, choice: u32, side: u8) -> &[Arc] {
        let bounds = self.choices[choice as usize].bounds;
        let first = 2 * usize::from(side);
        &self.sides[bounds[first] as usize..bounds[first + 1] as usize]
    }
}

/// An arc of a choice by where it leads: from where, and of which side of which. One that is
/// barred anyway is of no choice, [`NONE`].
type Watched = (u32, u32, u8);

/// Why a search does not go on.
enum Stop {
    /// There is no such order.
    Conflict,
    /// Nobody knows whether there is one.
    Over,
}

const OPEN: u8 = 2;

/// A choice that was tried.
struct Trial {
    /// Its place in the order of the choices.
    turn: usize,
    side: u8,
    /// How long the trails were before.
    changes: usize,
    decided: usize,
}

struct Search<'p> {
    problem: &'p Problem<'p>,
    /// The points in the order of their returns.
    by_return: Vec<u32>,
    /// By point: how many had returned before it was invoked.
    returned_before: Vec<u32>,
    /// By point: the first that was invoked after its return.
    high: Vec<u32>,
    /// By point: the first bit of its row is for this one, a multiple of 64.
    base: Vec<u32>,
    /// By point: where its row begins; and the end.
    rows: Vec<u32>,
    /// The rows that say what is behind a point, and then those that say what is before it.
    words: Vec<u64>,
    /// By point: where its arcs begin in `watched`; and the end.
    starts: Vec<u32>,
    watched: Vec<Watched>,
    /// By choice: the side that was taken, or [`OPEN`].
    taken: Vec<u8>,
    /// Arcs that are still to be drawn.
    queue: Vec<Arc>,
    changes: Vec<(u32, u64)>,
    decided: Vec<u32>,
    trials: Vec<Trial>,
    /// Whether trials were made that cannot be taken back any more.
    is_committed: bool,
    /// How many changes are kept to be taken back.
    trail_max: usize,
    /// The arc that could not be drawn last.
    conflict: Option<Arc>,
}

impl<'p> Search<'p> {
    fn new(problem: &'p Problem<'p>) -> Option<Self> {
        let (invoked, returned) = (&problem.invoked, &problem.returned);
        let points = invoked.len();
        let effort = problem.effort;
        let left = effort.memory_bytes();
        let left = left.checked_sub(problem.bytes() + problem.noted_bytes());
        let Some(left) = left else {
            effort.lacks_memory();
            return None;
        };
        let words_max = WORDS_MAX.min(left / ROW_BYTES);
        let as_u32 = |number: usize| u32::try_from(number).unwrap_or(NONE);
        let mut by_return: Vec<u32> = (0..as_u32(points)).collect();
        by_return.sort_by_key(|point| returned[*point as usize]);
        let mut passed = 0;
        let returned_before = invoked.iter().map(|invoked| {
            let is_before = |point: &u32| returned[*point as usize] < *invoked;
            passed += by_return[passed..]
                .iter()
                .take_while(|point| is_before(point))
                .count();
            as_u32(passed)
        });
        let returned_before = returned_before.collect();
        let high: Vec<u32> = returned
            .iter()
            .map(|returned| as_u32(invoked.partition_point(|invoked| invoked <= returned)))
            .collect();
        let (mut base, mut rows, mut words, mut low) = (Vec::new(), vec![0], 0, 0);
        for point in 0..points {
            while returned[low] < invoked[point] {
                low += 1;
            }
            let first = low / 64 * 64;
            base.push(as_u32(first));
            words += (high[point] as usize - first).div_ceil(64);
            if words > words_max {
                effort.lacks_memory();
                return None;
            }
            rows.push(as_u32(words));
        }
        let mut starts = vec![0_u32; points + 1];
        for (_, to) in problem.sides.iter().chain(&problem.barred) {
            starts[*to as usize + 1] += 1;
        }
        for point in 0..points {
            starts[point + 1] += starts[point];
        }
        let mut next = starts.clone();
        let mut watched = vec![(0, 0, 0); problem.sides.len() + problem.barred.len()];
        let mut watch = |(from, to): &Arc, choice, side| {
            let at = &mut next[*to as usize];
            watched[*at as usize] = (*from, choice, side);
            *at += 1;
        };
        for choice in 0..as_u32(problem.choices.len()) {
            for side in [0, 1] {
                let arcs = problem.side(choice, side);
                arcs.iter().for_each(|arc| watch(arc, choice, side));
            }
        }
        problem.barred.iter().for_each(|arc| watch(arc, NONE, 0));
        for bounds in starts.windows(2) {
            watched[bounds[0] as usize..bounds[1] as usize].sort_unstable();
        }
        Some(Self {
            problem,
            by_return,
            returned_before,
            high,
            base,
            rows,
            words: vec![0; words * 2],
            starts,
            watched,
            taken: vec![OPEN; problem.choices.len()],
            queue: Vec::new(),
            changes: Vec::new(),
            decided: Vec::new(),
            trials: Vec::new(),
            is_committed: false,
            trail_max: TRAIL_MAX.min((left - words * ROW_BYTES) / size_of::<(u32, u64)>()),
            conflict: None,
        })
    }

    fn run(&mut self) -> Answer {
        match self.settle() {
            Ok(()) => Answer::Possible,
            Err(Stop::Conflict) => Answer::Impossible,
            Err(Stop::Over) => Answer::Unknown,
        }
    }

    /// Takes a side of each choice, if there is an order.
    fn settle(&mut self) -> Result<(), Stop> {
        let mut barred = self.problem.barred.iter();
        if let Some(arc) = barred.find(|(from, to)| self.reaches(*to, *from)) {
            return Err(self.clash(*arc));
        }
        if !self.draw_at_once()? {
            for arc in &self.problem.arcs {
                self.queue.push(*arc);
                self.draw()?;
            }
        }
        let choices = u32::try_from(self.problem.choices.len()).unwrap_or(NONE);
        for choice in 0..choices {
            for side in [0, 1] {
                if self.is_ruled_out(choice, side) {
                    self.force(choice, 1 - side)?;
                }
            }
        }
        let mut order: Vec<u32> = (0..choices).collect();
        // The points come in the order of time, and so they do where it does not count.
        order.sort_by_key(|choice| {
            let (from, to) = self.problem.side(*choice, 0)[0];
            from.max(to)
        });
        self.try_all(&order)
    }

    fn try_all(&mut self, order: &[u32]) -> Result<(), Stop> {
        let mut turn = 0;
        while let Some(choice) = order.get(turn).copied() {
            if self.taken[choice as usize] != OPEN {
                turn += 1;
                continue;
            }
            if self.changes.len() > self.trail_max {
                self.commit();
            }
            let side = self.likely(choice);
            self.trials.push(Trial {
                turn,
                side,
                changes: self.changes.len(),
                decided: self.decided.len(),
            });
            let mut result = self.force(choice, side);
            while let Err(stop) = result {
                let trial = self.failed(stop)?;
                self.take_back(&trial);
                turn = trial.turn;
                // What follows from the trial before, as this one has failed.
                result = self.force(order[turn], 1 - trial.side);
            }
        }
        Ok(())
    }

    /// The trial to take back, if there is one.
    fn failed(&mut self, stop: Stop) -> Result<Trial, Stop> {
        match (stop, self.trials.pop()) {
            (Stop::Conflict, Some(trial)) => Ok(trial),
            (Stop::Conflict, None) if self.is_committed => {
                match self.trail_max < TRAIL_MAX {
                    true => self.problem.effort.lacks_memory(),
                    false => self.problem.effort.lacks(Shortage::Trail),
                }
                Err(Stop::Over)
            }
            (stop, _) => Err(stop),
        }
    }

    /// The earlier half of the trials cannot be taken back any more: what is wrong with one shows
    /// mostly soon.
    fn commit(&mut self) {
        self.is_committed = true;
        let half = self.changes.len() / 2;
        let first = self.trials.partition_point(|trial| trial.changes < half);
        let (changes, decided) = match self.trials.get(first) {
            Some(trial) => (trial.changes, trial.decided),
            None => (self.changes.len(), self.decided.len()),
        };
        self.trials.drain(..first);
        self.changes.drain(..changes);
        self.decided.drain(..decided);
        for trial in &mut self.trials {
            trial.changes -= changes;
            trial.decided -= decided;
        }
    }

    /// Takes some steps, if there may be more after them.
    fn spend(&self, steps: u64) -> Result<(), Stop> {
        match self.problem.effort.spend(steps) {
            true => Err(Stop::Over),
            false => Ok(()),
        }
    }

    /// The side that is tried first: who came first, is.
    fn likely(&self, choice: u32) -> u8 {
        let middle = |point: u32| {
            let at = point as usize;
            let (invoked, returned) = (self.problem.invoked[at], self.problem.returned[at]);
            u64::from(invoked) + u64::from(returned)
        };
        let (from, to) = self.problem.side(choice, 0)[0];
        u8::from(middle(from) > middle(to))
    }

    fn take_back(&mut self, trial: &Trial) {
        for (word, before) in self.changes.drain(trial.changes..).rev() {
            self.words[word as usize] = before;
        }
        for choice in self.decided.drain(trial.decided..) {
            self.taken[choice as usize] = OPEN;
        }
        self.queue.clear();
    }

    fn is_ruled_out(&self, choice: u32, side: u8) -> bool {
        let arcs = self.problem.side(choice, side);
        arcs.iter()
            .any(|(from, to)| from == to || self.reaches(*to, *from))
    }

    /// Takes a side, with all that follows.
    fn force(&mut self, choice: u32, side: u8) -> Result<(), Stop> {
        self.take(choice, side)?;
        self.draw()
    }

    fn take(&mut self, choice: u32, side: u8) -> Result<(), Stop> {
        match self.taken[choice as usize] {
            OPEN => {
                self.taken[choice as usize] = side;
                self.decided.push(choice);
                self.queue.extend(self.problem.drawn(choice, side));
                Ok(())
            }
            taken if taken == side => Ok(()),
            _ => {
                let arc = self.problem.side(choice, side)[0];
                Err(self.clash(arc))
            }
        }
    }

    /// Notes which arc cannot be drawn.
    fn clash(&mut self, arc: Arc) -> Stop {
        self.conflict = Some(arc);
        Stop::Conflict
    }

    fn is_before_in_time(&self, first: u32, second: u32) -> bool {
        self.problem.returned[first as usize] < self.problem.invoked[second as usize]
    }

    fn reaches(&self, from: u32, to: u32) -> bool {
        if self.is_before_in_time(from, to) {
            return true;
        }
        if from == to || self.is_before_in_time(to, from) {
            return false;
        }
        let bit = to - self.base[from as usize];
        let word = self.rows[from as usize] + bit / 64;
        self.words[word as usize] >> (bit % 64) & 1 == 1
    }

    /// Draws all arcs that are waiting, and those that follow.
    fn draw(&mut self) -> Result<(), Stop> {
        while let Some((from, to)) = self.queue.pop() {
            self.spend(1)?;
            if from == to || self.reaches(to, from) {
                self.queue.clear();
                return Err(self.clash((from, to)));
            }
            if !self.reaches(from, to)
                && let Err(stop) = self.add(from, to)
            {
                self.queue.clear();
                return Err(stop);
            }
        }
        Ok(())
    }

    /// All points before `from` come before all points behind `to`.
    fn add(&mut self, from: u32, to: u32) -> Result<(), Stop> {
        let mut before = vec![from];
        let row = self.rows[from as usize]..self.rows[from as usize + 1];
        self.spend(u64::from(row.end - row.start))?;
        for (at, word) in (0..).zip(row) {
            let first = self.base[from as usize] + at * 64;
            let mut bits = self.words[self.words.len() / 2 + word as usize];
            // Most of them come before that one, too, as is known already.
            bits &= !self.word_before(to, first);
            while bits != 0 {
                before.push(first + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
        let since = self.returned_before[self.first_behind(to) as usize];
        let until = self.returned_before[from as usize];
        if since < until {
            before.extend(&self.by_return[since as usize..until as usize]);
        }
        self.spend(before.len() as u64)?;
        for point in before {
            // Who comes before it comes before all that is behind it.
            if !self.reaches(point, to) {
                self.learn(point, to)?;
            }
        }
        Ok(())
    }

    /// Which of the 64 points from `first` on come before a point, as its row tells.
    fn word_before(&self, point: u32, first: u32) -> u64 {
        let row = self.rows[point as usize]..self.rows[point as usize + 1];
        let at = first.checked_sub(self.base[point as usize]);
        let word = at.map(|at| row.start + at / 64);
        let word = word.filter(|word| *word < row.end);
        word.map_or(0, |word| self.words[self.words.len() / 2 + word as usize])
    }

    /// Where time orders nothing, draws all arcs together: each point learns what is behind those
    /// that come after it, the last first. Whether it could: if not, nothing is drawn.
    fn draw_at_once(&mut self) -> Result<bool, Stop> {
        let points = self.high.len();
        let is_free = |point: usize| self.high[point] as usize == points && self.base[point] == 0;
        if self.problem.arcs.is_empty() || !(0..points).all(is_free) {
            return Ok(false);
        }
        let span = Span {
            invoked: 0,
            returned: NONE,
        };
        let mut builder = Builder::new(vec![span; points], self.problem.arcs.len());
        for (from, to) in &self.problem.arcs {
            builder.edge(*from, *to, Why::Overwrote, 0);
        }
        let graph = builder.finish();
        // A circle is found when it is drawn.
        let Some(sorted) = serial::sorted(&graph, false) else {
            return Ok(false);
        };
        let half = self.words.len() / 2;
        let width = points.div_ceil(64);
        for from in sorted.iter().rev() {
            for edge in graph.range(*from) {
                let (to, ..) = graph.edge(edge);
                self.spend(width as u64)?;
                let (mine, theirs) = (*from as usize * width, to as usize * width);
                for word in 0..width {
                    self.words[mine + word] |= self.words[theirs + word];
                }
                self.words[mine + to as usize / 64] |= 1 << (to % 64);
            }
        }
        for from in &sorted {
            for edge in graph.range(*from) {
                let (to, ..) = graph.edge(edge);
                self.spend(width as u64)?;
                let (mine, theirs) = (*from as usize * width, to as usize * width);
                for word in half..half + width {
                    self.words[theirs + word] |= self.words[mine + word];
                }
                self.words[half + theirs + *from as usize / 64] |= 1 << (from % 64);
            }
        }
        let mut barred = self.problem.barred.iter();
        match barred.find(|(from, to)| self.reaches(*to, *from)).copied() {
            Some(arc) => Err(self.clash(arc)),
            None => Ok(true),
        }
    }

    /// The point that was invoked first of this one and those behind it.
    fn first_behind(&self, point: u32) -> u32 {
        let row = self.rows[point as usize]..self.rows[point as usize + 1];
        let base = self.base[point as usize];
        let first = (0..).zip(row).find_map(|(at, word)| {
            let word = self.words[word as usize];
            (word != 0).then(|| base + at * 64 + word.trailing_zeros())
        });
        first.map_or(point, |first| first.min(point))
    }

    /// A point comes before another one, and all that is behind it.
    fn learn(&mut self, point: u32, other: u32) -> Result<(), Stop> {
        let at = point as usize;
        let (base, other_base) = (self.base[at], self.base[other as usize]);
        let row = self.rows[at]..self.rows[at + 1];
        let other_row = self.rows[other as usize]..self.rows[other as usize + 1];
        let later = self.high[other as usize];
        self.spend(u64::from(row.end - row.start))?;
        for word in row.clone() {
            let first = base + (word - row.start) * 64;
            let mut bits = 0;
            if first >= other_base {
                let theirs = other_row.start + (first - other_base) / 64;
                if theirs < other_row.end {
                    bits = self.words[theirs as usize];
                }
            }
            if (first..first + 64).contains(&other) {
                bits |= 1 << (other - first);
            }
            if later < first + 64 {
                bits |= u64::MAX << later.saturating_sub(first);
            }
            let known = self.words[word as usize];
            let mut new = 0;
            let mut rest = bits & !known;
            self.spend(STEPS_PER_BIT * u64::from(rest.count_ones()))?;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                let behind = first + bit;
                if behind >= self.high[at] || self.is_before_in_time(point, behind) {
                    continue;
                }
                if behind == point || self.is_before_in_time(behind, point) {
                    return Err(self.clash((point, behind)));
                }
                new |= 1 << bit;
                self.note_before(point, behind);
                self.rule_out(behind, point)?;
            }
            if new != 0 {
                self.change(word as usize, known | new);
            }
        }
        Ok(())
    }

    /// Notes with a point that another one comes before it.
    fn note_before(&mut self, point: u32, behind: u32) {
        let bit = point - self.base[behind as usize];
        let row = (self.rows[behind as usize] + bit / 64) as usize;
        let word = self.words.len() / 2 + row;
        self.change(word, self.words[word] | 1 << (bit % 64));
    }

    fn change(&mut self, word: usize, bits: u64) {
        if !self.trials.is_empty() {
            let at = u32::try_from(word).unwrap_or(NONE);
            self.changes.push((at, self.words[word]));
        }
        self.words[word] = bits;
    }

    /// An arc cannot be: then the other side of the choice is taken.
    fn rule_out(&mut self, from: u32, to: u32) -> Result<(), Stop> {
        let mut at = self.starts[to as usize] as usize;
        let end = self.starts[to as usize + 1] as usize;
        at += self.watched[at..end].partition_point(|watched| watched.0 < from);
        while at < end && self.watched[at].0 == from {
            let (_, choice, side) = self.watched[at];
            if choice != NONE && self.taken[choice as usize] != side {
                self.take(choice, 1 - side)?;
            } else {
                return Err(self.clash((from, to)));
            }
            at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::effort::{Effort, Shortage};
    use super::{Arc, POINT_BYTES, Problem, Side};
    use crate::search::Budget;
    use crate::unsat_core::Answer;

    fn within(memory_bytes: usize) -> Effort {
        Effort::of(&Budget {
            time: None,
            memory_bytes,
        })
    }

    fn problem<'e>(
        effort: &'e Effort,
        spans: &[(u32, u32)],
        arcs: &[Arc],
        choices: &[[&[Arc]; 2]],
    ) -> Problem<'e> {
        let mut problem = Problem {
            invoked: spans.iter().map(|span| span.0).collect(),
            returned: spans.iter().map(|span| span.1).collect(),
            arcs: arcs.to_vec(),
            ..Problem::within(effort)
        };
        for [first, second] in choices {
            let [first, second] = [first, second].map(|arcs| Side {
                arcs: arcs.to_vec(),
                barred: Vec::new(),
            });
            problem.choose(&first, &second);
        }
        problem
    }

    fn solve(spans: &[(u32, u32)], arcs: &[Arc], choices: &[[&[Arc]; 2]]) -> Answer {
        let effort = within(1 << 20);
        problem(&effort, spans, arcs, choices).solve().answer
    }

    #[test]
    fn what_does_not_fit_into_memory_is_unknown() {
        let at_once: Vec<(u32, u32)> = (0..1_000).map(|point| (point, 2_000)).collect();
        // Both rows of a thousand points, of a thousand bits each.
        let rows = 1_000 * 2 * 1_000 / 8;
        for (bytes, answer) in [
            (1 << 20, Answer::Possible),
            (rows, Answer::Unknown),
            (0, Answer::Unknown),
        ] {
            let effort = within(bytes);
            let problem = problem(&effort, &at_once, &[(1, 0)], &[[&[(2, 1)], &[(1, 2)]]]);
            assert_eq!(problem.solve().answer, answer);
            assert_eq!(
                problem.solve_in_order().order.is_none(),
                answer == Answer::Unknown
            );
            let shortage = (answer == Answer::Unknown).then_some(Shortage::Memory(bytes));
            assert_eq!(effort.shortage(), shortage);
        }
    }

    /// The rows may have all that the arcs leave, and what is noted with these.
    #[test]
    fn no_more_is_counted_than_is_held() {
        let at_once: Vec<(u32, u32)> = (0..128).map(|point| (point, 1_000)).collect();
        let arcs: Vec<Arc> = (0..127).map(|point| (point, point + 1)).collect();
        let choices: [[&[Arc]; 2]; 1] = [[&[(0, 9)], &[(9, 0)]]];
        let effort = within(usize::MAX);
        let held = problem(&effort, &at_once, &arcs, &choices);
        let rows = 128 * 2 * 128 / 8;
        let needed = held.bytes() + held.noted_bytes() + rows;
        assert!(needed < 129 * (POINT_BYTES + 8) + rows + 100, "{needed}");
        for (bytes, answer) in [(needed, Answer::Possible), (needed - 1, Answer::Unknown)] {
            let effort = within(bytes);
            let problem = problem(&effort, &at_once, &arcs, &choices);
            assert_eq!(problem.solve().answer, answer);
        }
    }

    #[test]
    fn time_and_arcs_leave_no_circle() {
        let apart = [(0, 1), (2, 3)];
        assert_eq!(solve(&apart, &[(0, 1)], &[]), Answer::Possible);
        assert_eq!(solve(&apart, &[(1, 0)], &[]), Answer::Impossible);
        // 0 ─▶ 2 goes through time, and so 2 ─▶ 0 cannot be.
        let spans = [(0, 9), (1, 2), (3, 10)];
        assert_eq!(solve(&spans, &[(0, 1), (2, 0)], &[]), Answer::Impossible);
        assert_eq!(solve(&spans, &[(0, 1)], &[]), Answer::Possible);
    }

    /// What is barred leads nowhere, but nothing leads back.
    #[test]
    fn nothing_leads_back_from_what_is_barred() {
        let at_once = [(0, 10), (1, 10), (2, 10)];
        let asked = |arcs: &[Arc], barred: &[Arc], choices: &[[Side; 2]]| {
            let effort = within(1 << 20);
            let mut problem = problem(&effort, &at_once, arcs, &[]);
            problem.barred = barred.to_vec();
            for [first, second] in choices {
                let copy = |side: &Side| Side {
                    arcs: side.arcs.clone(),
                    barred: side.barred.clone(),
                };
                problem.choose(&copy(first), &copy(second));
            }
            problem.solve().answer
        };
        assert_eq!(asked(&[], &[(0, 1), (1, 0)], &[]), Answer::Possible);
        assert_eq!(asked(&[(1, 2), (2, 0)], &[(0, 1)], &[]), Answer::Impossible);
        let side = |arc, barred: &[Arc]| Side {
            arcs: vec![arc],
            barred: barred.to_vec(),
        };
        let choice = [side((0, 1), &[(2, 1)]), side((1, 0), &[(0, 2)])];
        assert_eq!(asked(&[], &[], &[choice]), Answer::Possible);
        let choice = [side((0, 1), &[(2, 1)]), side((1, 0), &[(0, 2)])];
        let both = [(1, 2), (2, 0)];
        assert_eq!(asked(&both, &[], &[choice]), Answer::Impossible);
    }

    #[test]
    fn what_is_barred_cannot_go_back_in_time() {
        let effort = within(1 << 20);
        let mut problem = problem(&effort, &[(0, 1), (2, 3)], &[], &[]);
        problem.barred = vec![(1, 0)];
        assert_eq!(problem.solve().answer, Answer::Impossible);
        problem.barred = vec![(0, 1)];
        assert_eq!(problem.solve().answer, Answer::Possible);
    }

    /// A pseudo-random number below `end`.
    fn next(state: &mut u64, end: u64) -> u32 {
        *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        u32::try_from((*state >> 33) % end).unwrap()
    }

    /// Whether an order of all points meets everything: each is tried.
    fn is_possible(order: &mut Vec<u32>, problem: &Problem<'_>) -> bool {
        let points = problem.invoked.len();
        let spans = (&problem.returned, &problem.invoked);
        if order.len() < points {
            return (0..u32::try_from(points).unwrap()).any(|point| {
                let is_late = |before: &u32| spans.0[point as usize] < spans.1[*before as usize];
                if order.contains(&point) || order.iter().any(is_late) {
                    return false;
                }
                order.push(point);
                let is_possible = is_possible(order, problem);
                order.pop();
                is_possible
            });
        }
        let at = |point: u32| order.iter().position(|other| *other == point);
        let has = |arcs: &[Arc]| arcs.iter().all(|(from, to)| at(*from) < at(*to));
        let mut choices = 0..u32::try_from(problem.choices.len()).unwrap();
        has(&problem.arcs)
            && choices.all(|choice| has(problem.side(choice, 0)) || has(problem.side(choice, 1)))
    }

    /// With time and without it.
    #[test]
    fn what_is_found_is_what_all_orders_tell() {
        let state = &mut 7;
        let mut counts = [0, 0];
        for number in 0..3_000 {
            let points = 3 + next(state, 3);
            let mut spans: Vec<(u32, u32)> = (0..points)
                .map(|_| match number % 2 {
                    0 => (0, super::NONE),
                    _ => {
                        let begin = next(state, 8) * 2;
                        (begin, begin + 1 + 2 * next(state, 6))
                    }
                })
                .collect();
            spans.sort_unstable();
            let mut arc = || {
                let from = next(state, points.into());
                (
                    from,
                    (from + 1 + next(state, u64::from(points) - 1)) % points,
                )
            };
            let arcs = [arc(), arc()];
            let sides: Vec<[Arc; 4]> = (0..4).map(|_| [arc(), arc(), arc(), arc()]).collect();
            let choices: Vec<[&[Arc]; 2]> =
                sides.iter().map(|arcs| [&arcs[..2], &arcs[2..]]).collect();
            let effort = within(1 << 20);
            let problem = problem(&effort, &spans, &arcs, &choices);
            let expected = match is_possible(&mut Vec::new(), &problem) {
                true => Answer::Possible,
                false => Answer::Impossible,
            };
            assert_eq!(
                problem.solve().answer,
                expected,
                "{spans:?} {arcs:?} {choices:?}"
            );
            assert_eq!(
                problem.solve_in_order().order.is_some(),
                expected == Answer::Possible
            );
            counts[usize::from(expected == Answer::Possible)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
    }

    /// Each arc one by one would take hundreds of times as long.
    #[test]
    fn arcs_of_points_without_time_are_drawn_together() {
        let state = &mut 1;
        let spans = vec![(0, super::NONE); 2_000];
        let arcs: Vec<Arc> = (0..20_000)
            .map(|_| {
                let from = next(state, 1_990);
                (from, from + 1 + next(state, 9))
            })
            .collect();
        let effort = within(1 << 24);
        let problem = problem(&effort, &spans, &arcs, &[]);
        assert_eq!(problem.solve().answer, Answer::Possible);
        assert!(effort.steps() < 2_000_000, "{}", effort.steps());
    }

    #[test]
    fn a_wrong_trial_is_taken_back() {
        let at_once = [(0, 10), (1, 10), (2, 10)];
        let choices: [[&[Arc]; 2]; 2] = [
            [&[(0, 1), (1, 2)], &[(1, 0)]],
            [&[(2, 0)], &[(2, 0), (2, 1)]],
        ];
        assert_eq!(solve(&at_once, &[], &choices), Answer::Possible);
        assert_eq!(solve(&at_once, &[(0, 1)], &choices), Answer::Impossible);
    }
}
