//! Parts, searched several at a time.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::explore::{Explored, Stuck, explore};
use super::plan::{Known, Plan};
use super::{
    Budget, Call, Clock, Failure, Found, Limit, Reduced, Sequential, aspects, budget, minimal,
};

/// Fewer calls than this are searched before a thread has begun.
const CALLS_PER_THREAD: usize = 5_000;

/// How much memory a search may take before it is said to take long. One that goes straight
/// takes less.
const SMALL_BYTES: usize = 16 << 20;
const SMALL_BYTES_PER_CALL: usize = 256;

/// The calls of a part, by their index.
pub(super) struct Part<'c, M: Sequential + ?Sized> {
    pub(super) key: M::Part,
    pub(super) calls: Vec<Known<'c, M>>,
    indices: Vec<usize>,
}

impl<'c, M: Sequential + ?Sized> Part<'c, M> {
    /// The calls of this key.
    pub(super) fn of_key(
        model: &M,
        key: M::Part,
        calls: impl Iterator<Item = &'c Call<M::Input, M::Output>>,
    ) -> Self {
        let mut part = Self::new(key);
        for (index, call) in calls.enumerate() {
            if model.part(&call.input) == part.key {
                part.add(index, call);
            }
        }
        part
    }

    fn new(key: M::Part) -> Self {
        Self {
            key,
            calls: Vec::new(),
            indices: Vec::new(),
        }
    }

    fn add(&mut self, index: usize, call: &'c Call<M::Input, M::Output>) {
        self.indices.push(index);
        self.calls.push(Call {
            input: &call.input,
            output: call.output.as_ref(),
            invoked: call.invoked,
            returned: call.returned,
        });
    }

    /// What the calls are called outside of it.
    pub(super) fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Some of the calls, as far as they matter to a smaller question, by their place there.
    pub(super) fn reduced<'r, N>(&self, calls: &'r [Reduced<M::Input, M::Output>]) -> Part<'r, N>
    where
        N: Sequential<Input = M::Input, Output = M::Output, Part = M::Part>,
    {
        let reduced = |reduced: &'r Reduced<M::Input, M::Output>| {
            let Call {
                invoked, returned, ..
            } = self.calls[reduced.call];
            Call {
                input: &reduced.input,
                output: reduced.output.as_ref(),
                invoked,
                returned,
            }
        };
        Part {
            key: self.key.clone(),
            calls: calls.iter().map(reduced).collect(),
            indices: (0..calls.len()).collect(),
        }
    }
}

/// What a part came to.
enum Answer {
    Order(Vec<u32>),
    NoOrder(Stuck),
    /// The same where not all orders had to be tried.
    Proved(Failure),
    Unknown(Limit),
}

impl Answer {
    fn is_no(&self) -> bool {
        matches!(self, Self::NoOrder(_) | Self::Proved(_))
    }
}

pub(super) fn search<M: Sequential + ?Sized>(
    model: &M,
    calls: &[Call<M::Input, M::Output>],
    budget: &Budget,
) -> Found {
    let end = budget.time.map(|time| budget::now() + time);
    let parts = split(model, calls);
    let answers = answers(model, &parts, budget, end);
    let mut orders = Vec::with_capacity(parts.len());
    let mut unknown = None;
    for (part, answer) in parts.iter().zip(answers) {
        match answer {
            Answer::Order(order) => orders.push(order),
            Answer::NoOrder(stuck) => {
                let call = stuck.call as usize;
                let failure = minimal::explain(model, part, stuck, budget, end, || {
                    aspects::refute(model, part, call, budget, end)
                });
                return Found::NotLinearizable(named(failure, part));
            }
            Answer::Proved(failure) => return Found::NotLinearizable(named(failure, part)),
            Answer::Unknown(limit) => unknown = unknown.or(Some(limit)),
        }
    }
    match unknown {
        Some(limit) => Found::Unknown(limit),
        None => Found::Linearizable(merge(&parts, &orders)),
    }
}

fn split<'c, M: Sequential + ?Sized>(
    model: &M,
    calls: &'c [Call<M::Input, M::Output>],
) -> Vec<Part<'c, M>> {
    let mut parts: Vec<Part<'c, M>> = Vec::new();
    let mut by_key: BTreeMap<M::Part, usize> = BTreeMap::new();
    for (index, call) in calls.iter().enumerate() {
        let key = model.part(&call.input);
        let part = by_key.get(&key).copied().unwrap_or_else(|| {
            by_key.insert(key.clone(), parts.len());
            parts.push(Part::new(key));
            parts.len() - 1
        });
        parts[part].add(index, call);
    }
    parts
}

/// The answers for all parts, or for those up to the first that has no order.
///
/// Several at a time share the memory. Those for which their share does not suffice are
/// searched again, one at a time with all of it: so an answer does not depend on how
/// many there are.
fn answers<M: Sequential + ?Sized>(
    model: &M,
    parts: &[Part<'_, M>],
    budget: &Budget,
    end: Option<Instant>,
) -> Vec<Answer> {
    let calls: usize = parts.iter().map(|part| part.calls.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(parts.len()).min(calls / CALLS_PER_THREAD + 1);
    let mut answers: Vec<Option<Answer>> = (0..parts.len()).map(|_| None).collect();
    if threads > 1 {
        answers = in_threads(model, parts, budget, end, threads);
    }
    let mut all = Vec::with_capacity(parts.len());
    for (part, answer) in parts.iter().zip(answers) {
        let answer = match answer {
            None | Some(Answer::Unknown(Limit::Memory(_))) => {
                decide(model, part, budget, end, &Clock::until(end, None))
            }
            Some(answer) => answer,
        };
        let is_last = answer.is_no();
        all.push(answer);
        if is_last {
            break;
        }
    }
    all
}

fn in_threads<M: Sequential + ?Sized>(
    model: &M,
    parts: &[Part<'_, M>],
    budget: &Budget,
    end: Option<Instant>,
    threads: usize,
) -> Vec<Option<Answer>> {
    let share = Budget {
        memory_bytes: budget.memory_bytes / threads,
        ..*budget
    };
    let next = AtomicUsize::new(0);
    // The first part that has no order. Those behind it are of no interest.
    let failed = AtomicUsize::new(usize::MAX);
    let cancelled: Vec<AtomicBool> = parts.iter().map(|_| AtomicBool::new(false)).collect();
    let answers: Vec<Mutex<Option<Answer>>> = parts.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= parts.len() || index > failed.load(Ordering::Relaxed) {
                return;
            }
            let clock = Clock::until(end, Some(&cancelled[index]));
            let answer = decide(model, &parts[index], &share, end, &clock);
            if answer.is_no() {
                failed.fetch_min(index, Ordering::Relaxed);
                for later in &cancelled[index + 1..] {
                    later.store(true, Ordering::Relaxed);
                }
            }
            *answers[index].lock().expect("nobody panics with it") = Some(answer);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Without a thread more the others do it.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let answer =
        |answer: Mutex<Option<Answer>>| answer.into_inner().expect("nobody panics with it");
    answers.into_iter().map(answer).collect()
}

/// Searches, and looks what may prove that there is no order when it takes long: where it came
/// no further.
fn decide<M: Sequential + ?Sized>(
    model: &M,
    part: &Part<'_, M>,
    budget: &Budget,
    end: Option<Instant>,
    clock: &Clock<'_>,
) -> Answer {
    if let Some(order) = model.order(&part.calls) {
        return Answer::Order(order.into_iter().map(|call| call as u32).collect());
    }
    let plan = Plan::of(model, part.calls.clone());
    let small = Budget {
        memory_bytes: SMALL_BYTES + SMALL_BYTES_PER_CALL * part.calls.len(),
        ..*budget
    };
    let is_small_enough = small.memory_bytes < budget.memory_bytes / 2;
    let first = if is_small_enough { &small } else { budget };
    let mut explored = explore(model, &part.key, &plan, first, clock);
    if let Explored::Unknown(_, furthest) = explored {
        let suspect = |furthest| minimal::suspect(model, part, furthest, budget, end);
        let suspected = furthest.and_then(suspect);
        let stuck = furthest.unwrap_or(0) as usize;
        let refuted = || aspects::refute(model, part, stuck, budget, end);
        let proof = match suspected {
            Some(failure) if minimal::is_short(&failure) => Some(failure),
            suspected => refuted().or(suspected),
        };
        if let Some(failure) = proof {
            return Answer::Proved(failure);
        }
    }
    if is_small_enough && matches!(explored, Explored::Unknown(Limit::Memory(_), _)) {
        explored = explore(model, &part.key, &plan, budget, clock);
    }
    match explored {
        Explored::Linearizable(order) => Answer::Order(order),
        Explored::Stuck(stuck) => Answer::NoOrder(stuck),
        Explored::Unknown(limit, _) => Answer::Unknown(limit),
    }
}

/// The failure with the calls named as the user does.
fn named<M: Sequential + ?Sized>(mut failure: Failure, part: &Part<'_, M>) -> Failure {
    failure.rename(|call| part.indices[call]);
    failure
}

/// One order of the calls of all parts.
///
/// Each call takes effect as early as it can, and not before those in front of it in its
/// own part; the orders are merged by that instant. It lies between the call's invocation
/// and its return, for the call in front did not begin after this one returned.
fn merge<M: Sequential + ?Sized>(parts: &[Part<'_, M>], orders: &[Vec<u32>]) -> Vec<usize> {
    if let ([part], [order]) = (parts, orders) {
        return order
            .iter()
            .map(|call| part.indices[*call as usize])
            .collect();
    }
    let mut all = Vec::with_capacity(orders.iter().map(Vec::len).sum());
    for (number, (part, order)) in parts.iter().zip(orders).enumerate() {
        let mut instant = 0;
        for (place, call) in order.iter().enumerate() {
            instant = part.calls[*call as usize].invoked.max(instant);
            all.push((instant, number, place, part.indices[*call as usize]));
        }
    }
    all.sort_unstable();
    all.into_iter().map(|(.., index)| index).collect()
}
