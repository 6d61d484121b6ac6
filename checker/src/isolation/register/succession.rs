//! Which version of a key comes after which, as far as an order of transactions tells.
//!
//! If a key by itself respects real time, each version is over once another has been met
//! after somebody who met the first had returned:
//!
//! ```text
//! w x=1  |---|
//! r x=1          |---|                 version 1 has been met here ..
//! r x=2                   |----|       .. and version 2 behind: 1 comes before 2
//! ```
//!
//! In the order of a process that is so for what it met in two transactions: whoever reads a
//! version and writes another has met both, after what the process had met before.
//!
//! In real time it is enough to know for each version the first return and the last invocation of those
//! who met it. Of the versions that follow upon one only the next are named: those that
//! were last met before all of them had been met. The others follow upon these.

use rustc_hash::FxHashMap;

use super::super::anomaly::Order;
use super::super::txns::{NONE, Status, Txns, What};
use super::orders::Known;
use super::versions::Versions;

/// Of how many versions of a key that one transaction met is asked what comes before and after
/// them. Who does not contradict itself reads one and writes one.
const AT_ONCE_MAX: usize = 16;

/// The successions by process and by real time.
pub(super) struct Successions {
    process: Vec<Known>,
    real_time: Vec<Known>,
    /// The transactions that met the two versions, one after the other, of `process`.
    by_process: FxHashMap<Known, [u32; 2]>,
    /// By key and version.
    met: Vec<Vec<Met>>,
}

/// When a version was met.
#[derive(Clone, Copy)]
struct Met {
    /// The event by which one who met it had returned, and who that is.
    returned: u32,
    first: u32,
    /// The event with which the last one who met it began, and who that is.
    invoked: u32,
    last: u32,
}

impl Successions {
    pub(super) fn of(txns: &Txns<'_>, versions: &Versions) -> Self {
        let met: Vec<Vec<Met>> = versions
            .keys
            .iter()
            .map(|versions| {
                let of_version = |version: &super::versions::Version| {
                    let writer = Some(version.writer).filter(|writer| *writer != NONE);
                    met(
                        txns,
                        writer.into_iter().chain(version.readers.iter().copied()),
                    )
                };
                versions.iter().map(of_version).collect()
            })
            .collect();
        let mut successions = Self {
            process: Vec::new(),
            real_time: Vec::new(),
            by_process: FxHashMap::default(),
            met,
        };
        successions.add_real_time();
        successions.add_processes(txns, versions);
        successions
    }

    /// The successions that an order tells: of each key, the places of two versions.
    pub(super) fn by(&self, order: Order) -> &[Known] {
        match order {
            Order::Any => &[],
            Order::Process => &self.process,
            Order::RealTime => &self.real_time,
        }
    }

    /// Those by transactions that read a version and wrote another.
    pub(super) fn follow_reads(&self, txns: &Txns<'_>, versions: &Versions) -> Vec<Known> {
        let mut found = Vec::new();
        for (key, of_key) in (0..).zip(&versions.keys) {
            for (first, version) in of_key.iter().enumerate().skip(1) {
                let written = version
                    .readers
                    .iter()
                    .filter_map(|reader| versions.version_written(txns, *reader, key));
                found.extend(written.map(|second| (key, first, second)));
            }
        }
        found
    }

    /// Whether an order tells that one version comes before another.
    pub(super) fn has(&self, order: Order, key: u32, first: usize, second: usize) -> bool {
        self.proof(order, key, first, second).is_some()
    }

    /// Who met the two versions, one after the other.
    pub(super) fn proof(
        &self,
        order: Order,
        key: u32,
        first: usize,
        second: usize,
    ) -> Option<[u32; 2]> {
        if order == Order::Process {
            return self.by_process.get(&(key, first, second)).copied();
        }
        let met = &self.met[key as usize];
        let (first, second) = (met[first], met[second]);
        let is_after =
            first.returned < second.invoked && first.first != NONE && second.last != NONE;
        is_after.then_some([first.first, second.last])
    }

    fn add_real_time(&mut self) {
        for (key, met) in (0..).zip(&self.met) {
            let mut by_last: Vec<usize> = (0..met.len()).collect();
            by_last.sort_by_key(|place| met[*place].invoked);
            // From each on: the two that were over first.
            let mut over = vec![[NONE; 2]; by_last.len() + 1];
            for at in (0..by_last.len()).rev() {
                let mut best = over[at + 1];
                let returned = met[by_last[at]].returned;
                if returned < best[0] {
                    best = [returned, best[0]];
                } else if returned < best[1] {
                    best[1] = returned;
                }
                over[at] = best;
            }
            for first in 1..met.len() {
                let returned = met[first].returned;
                let from = by_last.partition_point(|place| met[*place].invoked <= returned);
                let is_inside = met[first].invoked > returned;
                let mut until = over[from][0];
                if is_inside && until == returned {
                    until = over[from][1];
                }
                for second in &by_last[from..] {
                    let next = met[*second];
                    if *second != first {
                        self.real_time.push((key, first, *second));
                    }
                    if next.invoked > until && *second != first {
                        break;
                    }
                }
                // What is over first may be the last that was met.
                let is_first = |place: &usize| met[*place].returned == until && *place != first;
                if until != NONE
                    && let Some(second) = by_last[from..].iter().find(|place| is_first(place))
                {
                    self.real_time.push((key, first, *second));
                }
            }
        }
        self.real_time.sort_unstable();
        self.real_time.dedup();
    }

    /// What a process met in one transaction comes before what it meets in the next one.
    fn add_processes(&mut self, txns: &Txns<'_>, versions: &Versions) {
        // The versions that a process met last of a key, and where.
        let mut last: FxHashMap<_, (u32, Vec<usize>)> = FxHashMap::default();
        for txn in 0..txns.len() {
            let txn = u32::try_from(txn).unwrap_or(NONE);
            if !versions.happened[txn as usize] {
                continue;
            }
            let process = txns.operation(txn).process();
            for (key, places) in met_by(txns, versions, txn) {
                let of_key = last.entry((process, key)).or_default();
                for before in &of_key.1 {
                    for place in places.iter().filter(|place| *place != before) {
                        self.by_process
                            .entry((key, *before, *place))
                            .or_insert([of_key.0, txn]);
                    }
                }
                *of_key = (txn, places);
            }
        }
        self.process = self.by_process.keys().copied().collect();
        self.process.sort_unstable();
    }
}

/// The versions that a transaction met, by key: what it read of others, and what it wrote. In
/// which order it met them says nothing.
fn met_by(txns: &Txns<'_>, versions: &Versions, txn: u32) -> Vec<(u32, Vec<usize>)> {
    let mut found: Vec<(u32, Vec<usize>)> = Vec::new();
    let mut at = FxHashMap::default();
    for micro in txns.micro(txn) {
        let key = micro.key;
        let met = match micro.what {
            What::Read(seen) => versions
                .version_read(txns, seen)
                .filter(|place| versions.keys[key as usize][*place].writer != txn),
            What::Write(_) => versions.version_written(txns, txn, key),
        };
        let Some(place) = met else {
            continue;
        };
        let at = *at.entry(key).or_insert_with(|| {
            found.push((key, Vec::new()));
            found.len() - 1
        });
        let places = &mut found[at].1;
        if places.len() < AT_ONCE_MAX && !places.contains(&place) {
            places.push(place);
        }
    }
    found
}

fn met(txns: &Txns<'_>, who: impl Iterator<Item = u32>) -> Met {
    let mut met = Met {
        returned: NONE,
        first: NONE,
        invoked: 0,
        last: NONE,
    };
    for txn in who {
        let of = txns.txns[txn as usize];
        if of.status == Status::Committed && of.returned < met.returned {
            (met.returned, met.first) = (of.returned, txn);
        }
        if met.last == NONE || of.invoked > met.invoked {
            (met.invoked, met.last) = (of.invoked, txn);
        }
    }
    met
}
