//! The checkers of consistency models never contradict a search through all orders, on many
//! small random histories of lists, of registers, and of registers with known revisions, with
//! transactions of unknown outcome.

use std::collections::BTreeMap;
use std::ops::Deref;

use etcd_checker::history::{Event, EventKind, Json, Process};
use etcd_checker::search::Budget;
use etcd_checker::{
    Consistency, History, KeyOrders, Linearization, Model, Options, Verdict, isolation,
    linearization, txn,
};

use crate::support;
use crate::support::Random;
use crate::support::replay;
use crate::support::versions;
use crate::support::versions::{Forbidden, Node};

const HISTORIES: usize = 60_000;
const KEYS: [&str; 3] = ["x", "y", "z"];

/// The values that a key had, one after the other. In place, as searches copy them often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Values {
    values: [u8; 16],
    number: usize,
}

impl Values {
    fn push(&mut self, value: u8) {
        self.values[self.number] = value;
        self.number += 1;
    }
}

impl Deref for Values {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.values[..self.number]
    }
}

type Store = [Values; KEYS.len()];

#[derive(Clone, Debug)]
enum Micro {
    Write(usize, u8),
    /// The values that the key had until then.
    Read(usize, Values),
}

#[derive(Clone, Debug)]
struct Txn {
    micro: Vec<Micro>,
    is_known: bool,
    /// The revision of its writes, if a known one has any.
    revision: i64,
    process: usize,
    invoked: u64,
    returned: u64,
}

impl Txn {
    fn last_write(&self, key: usize) -> Option<u8> {
        self.micro.iter().rev().find_map(|micro| match micro {
            Micro::Write(written, value) if *written == key => Some(*value),
            _ => None,
        })
    }

    fn writes(&self) -> impl Iterator<Item = u8> + '_ {
        self.micro.iter().filter_map(|micro| match micro {
            Micro::Write(_, value) => Some(*value),
            Micro::Read(..) => None,
        })
    }

    /// Whether it reads no key that it has touched before: then it cannot contradict itself.
    fn reads_first(&self) -> bool {
        (0..self.micro.len()).all(|at| match &self.micro[at] {
            Micro::Write(..) => true,
            Micro::Read(key, _) => !self.micro[..at].iter().any(|micro| match micro {
                Micro::Write(other, _) | Micro::Read(other, _) => other == key,
            }),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Object {
    List,
    Register,
    /// Registers whose versions have revisions.
    Revisions,
}

impl Object {
    fn sees_same(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Self::List => one == other,
            Self::Register | Self::Revisions => one.last() == other.last(),
        }
    }
}

/// By value: at which revision it was written, if somebody knows.
fn revisions(txns: &[Txn]) -> Vec<Option<i64>> {
    let mut revisions = vec![None; 1 + u8::MAX as usize];
    let known = txns.iter().filter(|txn| txn.is_known);
    let seen = known.flat_map(|txn| {
        txn.micro.iter().filter_map(|micro| match micro {
            Micro::Read(_, seen) => seen.last().copied(),
            Micro::Write(..) => None,
        })
    });
    let seen: Vec<u8> = seen.collect();
    for txn in txns {
        if txn.is_known || txn.writes().any(|value| seen.contains(&value)) {
            for value in txn.writes() {
                revisions[usize::from(value)] = Some(txn.revision);
            }
        }
    }
    revisions
}

impl Twin<'_> {
    /// Whether a value can follow upon those that are there, and puts it there.
    fn write(&self, store: &mut Store, key: usize, value: u8) -> bool {
        let at = |value: &u8| self.revisions[usize::from(*value)];
        let last = store[key].iter().rev().find_map(at);
        store[key].push(value);
        self.object != Object::Revisions
            || last.is_none()
            || at(&value).is_none()
            || last <= at(&value)
    }

    /// Whether the transaction can have seen what it did in a copy of this store, which then
    /// has its writes.
    fn run(&self, txn: &Txn, store: &mut Store) -> bool {
        txn.micro.iter().all(|micro| match micro {
            Micro::Write(key, value) => self.write(store, *key, *value),
            // What a transaction of unknown outcome read is not known.
            Micro::Read(key, seen) => !txn.is_known || self.object.sees_same(seen, &store[*key]),
        })
    }
}

/// Which order the transactions must respect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Time {
    Any,
    Session,
    Real,
}

struct Twin<'t> {
    object: Object,
    txns: &'t [Txn],
    revisions: Vec<Option<i64>>,
    time: Time,
    /// What is taken for granted of each key.
    keys: KeyOrders,
}

impl Twin<'_> {
    /// Whether keys that had these values, one after the other, did as is taken for granted.
    fn keys_allow(&self, store: &Store) -> bool {
        self.keys == KeyOrders::default()
            || (0..KEYS.len()).all(|key| {
                let met = |txn: &Txn| self.met(txn, key, &store[key]);
                self.txns.iter().all(|one| {
                    let (read, written) = met(one);
                    let writes_after = read.iter().all(|read| written.is_none_or(|at| *read <= at));
                    let goes_on = |other: &Txn| {
                        let (later, own) = met(other);
                        let is_later =
                            |at: usize| later.iter().chain(&own).all(|later| at <= *later);
                        read.iter().chain(&written).all(|at| is_later(*at))
                    };
                    let mut followers = self.txns.iter().filter(|other| self.follows(one, other));
                    (!self.keys.writes_follow_reads || writes_after) && followers.all(goes_on)
                })
            })
    }

    /// Whether a key that respects what is taken for granted shows the second transaction nothing
    /// from before the first one.
    fn follows(&self, one: &Txn, other: &Txn) -> bool {
        let is_earlier = one.is_known && one.returned < other.invoked;
        let counts = self.keys.sequential && one.process == other.process;
        is_earlier && (counts || self.keys.linearizable)
    }

    /// The places of the versions of a key that a transaction read of others, and of that which
    /// it wrote, among these values.
    fn met(&self, txn: &Txn, key: usize, values: &[u8]) -> (Vec<usize>, Option<usize>) {
        let place = |txn: &Txn| {
            let last = txn.last_write(key)?;
            let at = values.iter().position(|value| *value == last)?;
            Some(at + 1)
        };
        let mut read = Vec::new();
        for micro in txn.micro.iter().filter(|_| txn.is_known) {
            match micro {
                Micro::Read(of, seen) if *of == key => {
                    let wrote = |value: &u8| {
                        self.txns
                            .iter()
                            .find(|txn| txn.writes().any(|own| own == *value))
                    };
                    match seen.last().and_then(wrote) {
                        None => read.push(0),
                        Some(writer) if writer.invoked == txn.invoked => {}
                        Some(writer) => read.extend(place(writer)),
                    }
                }
                _ => {}
            }
        }
        (read, place(txn))
    }

    /// Whether somebody who is known has read a value that is not in the store yet.
    fn lacks_read(&self, store: &Store) -> bool {
        let known = self.txns.iter().filter(|txn| txn.is_known);
        let mut micro = known.flat_map(|txn| &txn.micro);
        micro.any(|micro| match micro {
            Micro::Read(key, seen) => seen
                .last()
                .is_some_and(|value| !store[*key].contains(value)),
            Micro::Write(..) => false,
        })
    }

    /// The writes of transactions come one after the other.
    fn is_read_uncommitted(&self, done: u32, store: &Store) -> bool {
        if self.is_complete(done) && !self.lacks_read(store) {
            return self.keys_allow(store);
        }
        (0..self.txns.len()).any(|txn| {
            let mut store = *store;
            self.may_be_next(txn, done)
                && self.write_all(&self.txns[txn], &mut store)
                && self.is_read_uncommitted(done | 1 << txn, &store)
        })
    }

    /// Whether the values of a transaction can follow upon those that are there, and puts them
    /// there.
    fn write_all(&self, txn: &Txn, store: &mut Store) -> bool {
        txn.micro.iter().all(|micro| match micro {
            Micro::Write(key, value) => self.write(store, *key, *value),
            Micro::Read(..) => true,
        })
    }
}

impl Twin<'_> {
    fn must_precede(&self, first: usize, second: usize) -> bool {
        let (one, other) = (&self.txns[first], &self.txns[second]);
        let is_earlier = one.is_known && one.returned < other.invoked;
        match self.time {
            Time::Any => false,
            Time::Session => is_earlier && one.process == other.process,
            Time::Real => is_earlier,
        }
    }

    fn may_be_next(&self, txn: usize, done: u32) -> bool {
        done & 1 << txn == 0
            && (0..self.txns.len())
                .all(|other| done & 1 << other != 0 || !self.must_precede(other, txn))
    }

    fn is_complete(&self, done: u32) -> bool {
        (0..self.txns.len()).all(|txn| done & 1 << txn != 0 || !self.txns[txn].is_known)
    }

    fn is_serializable(&self, done: u32, store: &Store) -> bool {
        self.is_complete(done) && self.keys_allow(store)
            || (0..self.txns.len()).any(|txn| {
                let mut store = *store;
                self.may_be_next(txn, done)
                    && self.run(&self.txns[txn], &mut store)
                    && self.is_serializable(done | 1 << txn, &store)
            })
    }

    /// Snapshots are taken and transactions commit, in any order that time allows.
    fn is_snapshot_isolated(
        &self,
        begun: u32,
        done: u32,
        store: &Store,
        snapshots: &mut Vec<Store>,
    ) -> bool {
        if self.is_complete(done) && begun == done && self.keys_allow(store) {
            return true;
        }
        for txn in 0..self.txns.len() {
            if begun & 1 << txn == 0 && self.may_be_next(txn, done) {
                let before = std::mem::replace(&mut snapshots[txn], *store);
                if self.is_snapshot_isolated(begun | 1 << txn, done, store, snapshots) {
                    return true;
                }
                snapshots[txn] = before;
            }
            if (begun & !done) & 1 << txn != 0 {
                let this = &self.txns[txn];
                let mut after = snapshots[txn];
                let unchanged = (0..KEYS.len())
                    .all(|key| this.last_write(key).is_none() || store[key] == snapshots[txn][key]);
                if unchanged && self.run(this, &mut after) {
                    let mut store = *store;
                    for key in (0..KEYS.len()).filter(|key| this.last_write(*key).is_some()) {
                        store[key] = after[key];
                    }
                    if self.is_snapshot_isolated(begun, done | 1 << txn, &store, snapshots) {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Each read sees what somebody before has committed.
    fn is_read_committed(&self, done: u32, order: &mut Vec<usize>, store: &Store) -> bool {
        if self.is_complete(done) && self.keys_allow(store) {
            return true;
        }
        (0..self.txns.len()).any(|txn| {
            let this = &self.txns[txn];
            let sees_committed = this.micro.iter().all(|micro| match micro {
                Micro::Read(key, seen) if this.is_known => {
                    let committed = |value: &u8| {
                        order
                            .iter()
                            .any(|other| self.txns[*other].last_write(*key) == Some(*value))
                    };
                    match self.object {
                        Object::List => {
                            store[*key].starts_with(seen) && seen.last().is_none_or(committed)
                        }
                        Object::Register | Object::Revisions => seen.last().is_none_or(committed),
                    }
                }
                _ => true,
            });
            if !self.may_be_next(txn, done) || !sees_committed {
                return false;
            }
            let mut store = *store;
            if !self.write_all(this, &mut store) {
                return false;
            }
            order.push(txn);
            let holds = self.is_read_committed(done | 1 << txn, order, &store);
            order.pop();
            holds
        })
    }
}

/// What is forbidden in some order of the versions, of models that are defined by it.
fn forbidden(model: Consistency) -> Option<Forbidden> {
    match model {
        Consistency::UpdateSerializable => Some(Forbidden::Update),
        // Nobody says what had committed when a transaction started, so nothing need have.
        Consistency::ConsistentView | Consistency::ForwardConsistentView => Some(Forbidden::Single),
        Consistency::ReadAtomic => Some(Forbidden::Fractured),
        _ => None,
    }
}

impl Twin<'_> {
    /// Whether there is an order of the versions, whichever of the transactions of unknown
    /// outcome took effect.
    fn has_versions(&self, forbidden: Forbidden) -> bool {
        (0..1_u32 << self.txns.len()).any(|happened| {
            let happened: Vec<usize> = (0..self.txns.len())
                .filter(|txn| happened & 1 << txn != 0)
                .collect();
            let known = (0..self.txns.len()).filter(|txn| self.txns[*txn].is_known);
            known.into_iter().all(|txn| happened.contains(&txn))
                && self.orders_from(0, &happened, &mut Default::default(), forbidden)
        })
    }

    /// Tries the orders of those that wrote a key, and of the keys behind it.
    fn orders_from(
        &self,
        key: usize,
        happened: &[usize],
        orders: &mut [Vec<usize>; KEYS.len()],
        forbidden: Forbidden,
    ) -> bool {
        if key == KEYS.len() {
            let store = std::array::from_fn(|key| self.in_store(&orders[key], key));
            if !self.keys_allow(&store) {
                return false;
            }
            let nodes = self.nodes(happened, orders);
            return nodes.is_some_and(|nodes| versions::holds(&nodes, forbidden));
        }
        let wrote = |txn: &&usize| self.txns[**txn].last_write(key).is_some();
        let writers = happened.iter().filter(wrote);
        let next: Vec<usize> = writers
            .copied()
            .filter(|txn| !orders[key].contains(txn))
            .collect();
        if next.is_empty() {
            return self.is_in_order(&orders[key], key)
                && self.orders_from(key + 1, happened, orders, forbidden);
        }
        next.into_iter().any(|txn| {
            orders[key].push(txn);
            let holds = self.orders_from(key, happened, orders, forbidden);
            orders[key].pop();
            // Other keys are tried anew.
            orders[key + 1..].iter_mut().for_each(Vec::clear);
            holds
        })
    }

    /// What is left of a key by these writers.
    fn in_store(&self, order: &[usize], key: usize) -> Values {
        let mut values = Values::default();
        for value in order
            .iter()
            .filter_map(|txn| self.txns[*txn].last_write(key))
        {
            values.push(value);
        }
        values
    }

    /// Whether revisions, where they are known, allow this order.
    fn is_in_order(&self, order: &[usize], key: usize) -> bool {
        let values = order
            .iter()
            .filter_map(|txn| self.txns[*txn].last_write(key));
        let mut store = Store::default();
        values
            .into_iter()
            .all(|value| self.write(&mut store, key, value))
    }

    /// The transactions with their places; none when one has read what was never committed.
    fn nodes(&self, happened: &[usize], orders: &[Vec<usize>; KEYS.len()]) -> Option<Vec<Node>> {
        let mut nodes = Vec::new();
        for txn in happened {
            let this = &self.txns[*txn];
            let mut node = Node::default();
            for (place, order) in node.wrote.iter_mut().zip(orders) {
                *place = order.iter().position(|other| other == txn);
            }
            for micro in this.micro.iter().filter(|_| this.is_known) {
                let Micro::Read(key, seen) = micro else {
                    continue;
                };
                let version = self.version(*key, seen, &orders[*key])?;
                node.read[*key] = Some(version);
                // A list shows who appended to it before, a register the last writer.
                let shown = match self.object {
                    Object::List => 0,
                    _ => version.saturating_sub(1),
                };
                // Nobody reads first what it is to write itself.
                if orders[*key][shown..version].contains(txn) {
                    return None;
                }
                for writer in &orders[*key][shown..version] {
                    let at = happened.iter().position(|other| other == writer)?;
                    node.saw.push((at, *key));
                }
            }
            nodes.push(node);
        }
        Some(nodes)
    }

    /// How many of the writers of a key come before what was read.
    fn version(&self, key: usize, seen: &[u8], order: &[usize]) -> Option<usize> {
        let mut values: Vec<u8> = Vec::new();
        for version in 0..=order.len() {
            if self.object.sees_same(seen, &values) {
                return Some(version);
            }
            let writer = order.get(version)?;
            let micro = self.txns[*writer].micro.iter();
            values.extend(micro.filter_map(|micro| match micro {
                Micro::Write(written, value) if *written == key => Some(*value),
                _ => None,
            }));
        }
        None
    }
}

/// Whether there is a search for the model.
fn is_searched(txns: &[Txn], model: Consistency) -> bool {
    use Consistency as C;
    match model {
        C::StrictSerializable
        | C::StrongSessionSerializable
        | C::Serializable
        | C::RepeatableRead
        | C::StrongSnapshotIsolation
        | C::StrongSessionSnapshotIsolation
        | C::SnapshotIsolation => true,
        C::StrongReadUncommitted | C::StrongSessionReadUncommitted | C::ReadUncommitted => true,
        C::StrongReadCommitted | C::StrongSessionReadCommitted | C::ReadCommitted => {
            txns.iter().all(Txn::reads_first)
        }
        _ => forbidden(model).is_some() && txns.iter().all(Txn::reads_first),
    }
}

/// What the search says of a model, if it knows.
fn twin(object: Object, txns: &[Txn], model: Consistency) -> Option<bool> {
    twin_of_keys(object, txns, model, KeyOrders::default())
}

fn twin_of_keys(object: Object, txns: &[Txn], model: Consistency, keys: KeyOrders) -> Option<bool> {
    use Consistency as C;
    let time = match model {
        C::StrictSerializable
        | C::StrongSnapshotIsolation
        | C::StrongReadCommitted
        | C::StrongReadUncommitted => Time::Real,
        C::StrongSessionSerializable
        | C::StrongSessionSnapshotIsolation
        | C::StrongSessionReadCommitted
        | C::StrongSessionReadUncommitted => Time::Session,
        _ => Time::Any,
    };
    let twin = Twin {
        object,
        txns,
        revisions: revisions(txns),
        time,
        keys,
    };
    let empty = Store::default();
    if !is_searched(txns, model) {
        return None;
    }
    match model {
        C::StrictSerializable
        | C::StrongSessionSerializable
        | C::Serializable
        | C::RepeatableRead => Some(twin.is_serializable(0, &empty)),
        C::StrongSnapshotIsolation | C::StrongSessionSnapshotIsolation | C::SnapshotIsolation => {
            let mut snapshots = vec![empty; txns.len()];
            Some(twin.is_snapshot_isolated(0, 0, &empty, &mut snapshots))
        }
        C::StrongReadCommitted | C::StrongSessionReadCommitted | C::ReadCommitted => {
            Some(twin.is_read_committed(0, &mut Vec::new(), &empty))
        }
        C::StrongReadUncommitted | C::StrongSessionReadUncommitted | C::ReadUncommitted => {
            // What lists show of their order is not looked at.
            (object == Object::Register).then(|| twin.is_read_uncommitted(0, &empty))
        }
        _ => Some(twin.has_versions(forbidden(model)?)),
    }
}

/// Random transactions, most of which see what they must.
fn draw(random: &mut Random) -> Vec<Txn> {
    let count = 2 + random.below(4);
    let longest = 1 + random.below(5);
    let spans = support::intervals(random, count, longest);
    let careless = random.below(3);
    let (mut store, mut snapshots) = (Store::default(), vec![Store::default()]);
    let mut next = 0;
    let mut txns: Vec<Txn> = Vec::new();
    for (invoked, _, returned) in spans {
        let mut own = match random.below(6) {
            0 => snapshots[random.below(snapshots.len())],
            _ => store,
        };
        let mut micro = Vec::new();
        for _ in 0..1 + random.below(3) {
            let key = random.below(KEYS.len());
            if random.one_in(2) {
                next += 1;
                own[key].push(next);
                store[key].push(next);
                micro.push(Micro::Write(key, next));
            } else {
                let mut seen = own[key];
                if careless > 0 && random.one_in(8) {
                    seen = snapshots[random.below(snapshots.len())][key];
                }
                micro.push(Micro::Read(key, seen));
            }
        }
        snapshots.push(store);
        let free = (0..3).filter(|process| {
            let is_busy =
                |txn: &Txn| txn.process == *process && (!txn.is_known || txn.returned > invoked);
            !txns.iter().any(is_busy)
        });
        let process = free
            .min_by_key(|_| random.below(9))
            .unwrap_or(10 + txns.len());
        txns.push(Txn {
            micro,
            is_known: !random.one_in(6),
            revision: txns.len() as i64 + 2,
            process,
            invoked,
            returned,
        });
    }
    // A read that was too early sees what is only written later.
    if careless == 2 {
        let txn = random.below(txns.len());
        for micro in &mut txns[txn].micro {
            if let Micro::Read(key, seen) = micro {
                let end = random.below(store[*key].len() + 1);
                *seen = Values::default();
                store[*key][..end]
                    .iter()
                    .for_each(|value| seen.push(*value));
            }
        }
    }
    txns
}

/// Transactions at once, four of which are a long fork: two write a key each, and of two that
/// read both each has seen another one first. Others write and read what they like, so many of
/// these histories satisfy some model that is weaker than snapshot isolation, and many do not.
fn draw_fork(random: &mut Random) -> Vec<Txn> {
    let count = 4 + random.below(2);
    // Who wrote each key, one after the other, and what each has read of it.
    let mut writers = [vec![0], vec![1], Vec::new()];
    let mut read: Vec<[Option<Vec<usize>>; KEYS.len()]> = vec![Default::default(); count];
    for (key, writers) in writers.iter_mut().enumerate() {
        for txn in 0..count {
            let is_other = txn > 3 && random.one_in(2) || random.one_in(12);
            if is_other && !writers.contains(&txn) {
                writers.insert(random.below(writers.len() + 1), txn);
            }
        }
        for (txn, read) in read.iter_mut().enumerate() {
            if random.one_in(if txn > 3 { 2 } else { 6 }) {
                let end = random.below(writers.len() + 1);
                read[key] = Some(writers[..end].to_vec());
            }
        }
    }
    for (reader, key) in [(2, 0), (2, 1), (3, 0), (3, 1)] {
        let at = writers[key].iter().position(|txn| *txn == key);
        let end = at.unwrap_or(0) + usize::from(reader == key + 2);
        read[reader][key] = Some(writers[key][..end].to_vec());
    }
    let value = |txn: usize, key: usize| (txn * KEYS.len() + key + 1) as u8;
    let txn = |(number, read): (usize, [Option<Vec<usize>>; KEYS.len()])| {
        let mut micro = Vec::new();
        for (key, read) in read.iter().enumerate() {
            let mut values = Values::default();
            for writer in read.iter().flatten() {
                values.push(value(*writer, key));
            }
            // What it is to write itself it cannot have read.
            if read.as_ref().is_some_and(|read| !read.contains(&number)) {
                micro.push(Micro::Read(key, values));
            }
        }
        let written = (0..KEYS.len()).filter(|key| writers[*key].contains(&number));
        micro.extend(written.map(|key| Micro::Write(key, value(number, key))));
        Txn {
            micro,
            is_known: !random.one_in(30),
            revision: number as i64 + 2,
            process: number,
            invoked: number as u64,
            returned: 100 + number as u64,
        }
    };
    read.into_iter().enumerate().map(txn).collect()
}

fn history(object: Object, txns: &[Txn]) -> History {
    let (model, write) = match object {
        Object::List => ("list-append", "append"),
        Object::Register => ("rw-register", "w"),
        Object::Revisions => ("transactions", "w"),
    };
    let revision_of = |value: &u8| {
        let writer = txns
            .iter()
            .find(|txn| txn.writes().any(|own| own == *value));
        writer.map_or(0, |writer| writer.revision)
    };
    let value = |txn: &Txn| {
        let micro = txn.micro.iter().map(|micro| match micro {
            Micro::Write(key, value) => serde_json::json!([write, KEYS[*key], value]),
            Micro::Read(key, _) if !txn.is_known => serde_json::json!(["r", KEYS[*key], null]),
            Micro::Read(key, seen) if object == Object::Register => {
                serde_json::json!(["r", KEYS[*key], seen.last()])
            }
            Micro::Read(key, seen) if object == Object::Revisions => {
                let revision = seen.last().map_or(0, revision_of);
                serde_json::json!(["r", KEYS[*key], seen.last(), revision])
            }
            Micro::Read(key, seen) => {
                serde_json::json!(["r", KEYS[*key], seen.to_vec()])
            }
        });
        serde_json::Value::Array(micro.collect())
    };
    let event = |txn: &Txn, time, kind| {
        // The completion of an unknown outcome would say what was read.
        let value = match object == Object::Revisions && kind == EventKind::Info {
            true => Json::NULL,
            false => Json::new(&value(txn)).unwrap(),
        };
        let revision = (kind == EventKind::Ok && txn.writes().next().is_some())
            .then_some(txn.revision)
            .filter(|_| object == Object::Revisions);
        let event = Event::new(time, Process::Number(txn.process as u64), kind, "txn");
        event.with_value(value).with_revision(revision)
    };
    let mut events = Vec::new();
    for txn in txns {
        events.push(event(txn, txn.invoked, EventKind::Invoke));
        let kind = if txn.is_known {
            EventKind::Ok
        } else {
            EventKind::Info
        };
        events.push(event(txn, txn.returned, kind));
    }
    events.sort_by_key(Event::time);
    History::new(support::header(model), events).unwrap()
}

/// The models that promise a serial order.
const SERIAL: [Consistency; 3] = [
    Consistency::StrictSerializable,
    Consistency::StrongSessionSerializable,
    Consistency::Serializable,
];

/// The history as it is written.
fn shown(history: &History) -> String {
    let mut text = Vec::new();
    history.write_to(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// How often the checker said what.
#[derive(Default, Debug)]
struct Tally {
    valid: usize,
    violations: usize,
    /// By model.
    unknown: BTreeMap<Consistency, usize>,
    /// Histories with a serial order, by what it respects.
    ordered: BTreeMap<Consistency, usize>,
    /// Transactions of unknown outcome in these orders.
    silent: usize,
}

fn compare(object: Object, seed: u64, tally: &mut Tally) {
    let txns = draw(&mut Random(seed));
    let history = history(object, &txns);
    let mut strongest = None;
    let mut found: Vec<Consistency> = Vec::new();
    for (number, model) in (0..).zip(Consistency::ALL) {
        // Of those without an order each history is held against a third.
        if !SERIAL.contains(&model) && !(number + seed).is_multiple_of(3) {
            continue;
        }
        // What holds of a model holds of the weaker ones, by what the search looks for.
        let follows = is_searched(&txns, model) && found.iter().any(|one| one.implies(model));
        let holds = follows.then_some(true);
        let Some(holds) = holds.or_else(|| twin(object, &txns, model)) else {
            continue;
        };
        if holds {
            found.push(model);
        }
        let options = Options {
            consistency: vec![model],
            ..Options::default()
        };
        let verdict = match object {
            Object::List => isolation::check_list_append(&history, &options).unwrap(),
            Object::Register => isolation::check_rw_register(&history, &options).unwrap(),
            Object::Revisions => txn::check(&history, &options).unwrap(),
        };
        let said = match verdict {
            Verdict::Valid(_) => {
                tally.valid += 1;
                if SERIAL.contains(&model) && strongest.is_none_or(|other| model.implies(other)) {
                    strongest = Some(model);
                }
                true
            }
            Verdict::Violation(_) => {
                tally.violations += 1;
                false
            }
            _ => {
                *tally.unknown.entry(model).or_default() += 1;
                continue;
            }
        };
        assert_eq!(
            said,
            holds,
            "seed {seed}, {model}: {verdict}\n{}",
            shown(&history)
        );
    }
    let model = Model::of(&history).unwrap();
    match (
        linearization(&history, model, &Budget::default()).unwrap(),
        strongest,
    ) {
        (Linearization::Order(order), Some(strongest)) => {
            tally.silent += replay::transactions::replay(&history, &order, strongest);
            *tally.ordered.entry(strongest).or_default() += 1;
        }
        (Linearization::None { .. }, None) => {}
        (other, strongest) => panic!("seed {seed}, {strongest:?}: {other:?}\n{txns:#?}"),
    }
}

/// Of histories that break snapshot isolation, how many satisfy each of the models that are
/// defined by the order of versions, and how many do not.
type Weak = BTreeMap<Consistency, [usize; 3]>;

fn compare_fork(object: Object, seed: u64, weak: &mut Weak) {
    let txns = draw_fork(&mut Random(seed));
    let history = history(object, &txns);
    if twin(object, &txns, Consistency::SnapshotIsolation) == Some(true) {
        return;
    }
    let weaker = Consistency::ALL.into_iter();
    for model in weaker.filter(|model| forbidden(*model).is_some()) {
        let options = Options {
            consistency: vec![model],
            ..Options::default()
        };
        let verdict = match object {
            Object::List => isolation::check_list_append(&history, &options).unwrap(),
            Object::Register => isolation::check_rw_register(&history, &options).unwrap(),
            Object::Revisions => txn::check(&history, &options).unwrap(),
        };
        let holds = twin(object, &txns, model).unwrap();
        let tally = weak.entry(model).or_default();
        if matches!(verdict, Verdict::Unknown { .. }) {
            tally[2] += 1;
            continue;
        }
        let text = shown(&history);
        assert_eq!(
            verdict.is_valid(),
            holds,
            "seed {seed}, {model}: {verdict}\n{text}"
        );
        tally[usize::from(!holds)] += 1;
    }
}

fn compare_all_forks(object: Object) {
    let mut weak = Weak::default();
    for seed in 0..20_000 {
        compare_fork(object, seed * 7 + 1, &mut weak);
    }
    println!("{object:?}: {weak:?}");
    for (model, [valid, violating, unknown]) in weak {
        let is_enough = valid > 100 && violating > 500 && unknown * 50 < valid;
        assert!(is_enough, "{model}: {valid} {violating} {unknown}");
    }
}

#[test]
fn weaker_models_of_lists_agree_with_a_search_through_all_orders() {
    compare_all_forks(Object::List);
}

#[test]
fn weaker_models_of_registers_agree_with_a_search_through_all_orders() {
    compare_all_forks(Object::Register);
}

/// The weakest model that an anomaly breaks, if the search knows it.
fn broken_by(anomaly: &str) -> Option<Consistency> {
    Some(match anomaly {
        "G1c" => Consistency::ReadCommitted,
        "G1c-process" => Consistency::StrongSessionReadCommitted,
        "G1c-realtime" => Consistency::StrongReadCommitted,
        "G-single" => Consistency::ConsistentView,
        "G-nonadjacent" => Consistency::SnapshotIsolation,
        "G-single-process" | "G-nonadjacent-process" => Consistency::StrongSessionSnapshotIsolation,
        "G-single-realtime" | "G-nonadjacent-realtime" => Consistency::StrongSnapshotIsolation,
        "G2-item" => Consistency::Serializable,
        "G2-item-process" => Consistency::StrongSessionSerializable,
        "G2-item-realtime" => Consistency::StrictSerializable,
        "G-update" => Consistency::UpdateSerializable,
        "fractured-read" => Consistency::ReadAtomic,
        _ => return None,
    })
}

/// These transactions of registers without what they read of others.
fn by_themselves(txns: &[Txn], members: &[usize]) -> Vec<Txn> {
    let among = members.iter().map(|member| &txns[*member]);
    let written: Vec<u8> = among.clone().flat_map(Txn::writes).collect();
    let is_explained = |micro: &Micro| match micro {
        Micro::Write(..) => true,
        Micro::Read(_, seen) => seen.last().is_none_or(|value| written.contains(value)),
    };
    let mut part: Vec<Txn> = among.cloned().collect();
    for txn in &mut part {
        txn.micro.retain(is_explained);
    }
    part
}

/// What witnesses there were, by anomaly: with transactions of unknown outcome, and all.
type Witnesses = BTreeMap<&'static str, [usize; 2]>;

/// Whether an anomaly of this name was found, whatever the verdict is about.
fn shows(verdict: &Verdict, name: &str) -> bool {
    let isolation = verdict
        .violation()
        .and_then(|violation| violation.isolation.as_deref());
    let mut anomalies = isolation
        .into_iter()
        .flat_map(|isolation| &isolation.anomalies);
    anomalies.any(|anomaly| anomaly.name == name)
}

/// Each witness proves what it is shown for if nothing else is known, and none of it can be spared.
fn look_at_witnesses(object: Object, seed: u64, tally: &mut Witnesses) {
    let txns = draw(&mut Random(seed));
    let history = history(object, &txns);
    let operations = history.operations();
    let mut seen: Vec<&str> = Vec::new();
    for asked in Consistency::ALL {
        let options = Options {
            consistency: vec![asked],
            ..Options::default()
        };
        let verdict = match object {
            Object::List => isolation::check_list_append(&history, &options).unwrap(),
            _ => isolation::check_rw_register(&history, &options).unwrap(),
        };
        let Some(violation) = verdict.violation() else {
            continue;
        };
        let name = violation.kind.name;
        let (Some(model), false) = (broken_by(name), seen.contains(&name)) else {
            continue;
        };
        seen.push(name);
        let is_shown = |line: usize| violation.witness.iter().any(|op| op.invoked.line == line);
        let shown = operations.iter().filter(|op| is_shown(op.invoke.line()));
        let times: Vec<u64> = shown.map(|op| op.invoke.time()).collect();
        let members: Vec<usize> = (0..txns.len())
            .filter(|txn| times.contains(&txns[*txn].invoked))
            .collect();
        assert_eq!(members.len(), violation.witness.len());
        let context = || format!("seed {seed}, {model}: {verdict}\n{}", self::shown(&history));
        let mut others_unknown = txns.clone();
        for (number, txn) in others_unknown.iter_mut().enumerate() {
            txn.is_known &= members.contains(&number);
        }
        let holds = twin(object, &others_unknown, model);
        assert_ne!(holds, Some(true), "no proof: {}", context());
        if object == Object::Register {
            let holds = |members: &[usize]| twin(object, &by_themselves(&txns, members), model);
            for spared in &members {
                let rest = members.iter().copied().filter(|member| member != spared);
                let rest: Vec<usize> = rest.collect();
                let number = spared + 1;
                assert_ne!(
                    holds(&rest),
                    Some(false),
                    "T{number} is spare: {}",
                    context()
                );
            }
        }
        if object == Object::List {
            for spared in &members {
                let rest = members.iter().filter(|member| *member != spared);
                let rest: Vec<Txn> = rest.map(|member| txns[*member].clone()).collect();
                let part = self::history(object, &rest);
                let verdict = isolation::check_list_append(&part, &options).unwrap();
                let number = spared + 1;
                assert!(!shows(&verdict, name), "T{number} is spare: {}", context());
            }
        }
        let [with_unknown, all] = tally.entry(name).or_default();
        *all += 1;
        *with_unknown += usize::from(members.iter().any(|member| !txns[*member].is_known));
    }
}

fn look_at_all_witnesses(object: Object) {
    let mut tally = Witnesses::default();
    for seed in 0..HISTORIES as u64 / 3 {
        look_at_witnesses(object, seed * 7 + 1, &mut tally);
    }
    println!("{object:?}: {tally:?}");
    for name in ["G-single", "G-single-realtime", "G-update", "G2-item"] {
        let [with_unknown, all] = tally.get(name).copied().unwrap_or_default();
        assert!(with_unknown > 2 && all > 100, "{name}: {tally:?}");
    }
}

#[test]
fn witnesses_of_lists_prove_what_they_are_shown_for_and_nothing_is_spare() {
    look_at_all_witnesses(Object::List);
}

#[test]
fn witnesses_of_registers_prove_what_they_are_shown_for_and_nothing_is_spare() {
    look_at_all_witnesses(Object::Register);
}

fn compare_all(object: Object) {
    let mut tally = Tally::default();
    for seed in 0..HISTORIES as u64 {
        compare(object, seed * 7 + 1, &mut tally);
    }
    assert!(
        tally.valid > HISTORIES && tally.violations > HISTORIES / 4,
        "{tally:?}"
    );
    println!("{tally:?}");
    for model in SERIAL {
        let orders = tally.ordered.get(&model).copied().unwrap_or(0);
        assert!(orders > 50, "{model}: {tally:?}");
    }
    assert!(tally.silent > 100, "{tally:?}");
    assert!(tally.unknown.is_empty(), "{tally:?}");
}

#[test]
fn lists_agree_with_a_search_through_all_orders() {
    compare_all(Object::List);
}

#[test]
fn registers_agree_with_a_search_through_all_orders() {
    compare_all(Object::Register);
}

/// What may be taken for granted of keys.
fn key_orders() -> impl Iterator<Item = KeyOrders> {
    (1..8).map(|bits| KeyOrders {
        linearizable: bits & 1 != 0,
        sequential: bits & 2 != 0,
        writes_follow_reads: bits & 4 != 0,
    })
}

/// By model: how many histories satisfy it, how many do not, and of how many that is not known.
type Kept = BTreeMap<Consistency, [usize; 3]>;

fn compare_with_keys(seed: u64, tally: &mut Kept) {
    let txns = draw(&mut Random(seed));
    let history = history(Object::Register, &txns);
    for (number, model) in (0..).zip(Consistency::ALL) {
        for (at, keys) in (0..).zip(key_orders()) {
            // Each of them is held against some of the histories.
            if !(seed + 3 * number + at).is_multiple_of(7) {
                continue;
            }
            let Some(holds) = twin_of_keys(Object::Register, &txns, model, keys) else {
                continue;
            };
            let options = Options {
                consistency: vec![model],
                keys,
                ..Options::default()
            };
            let verdict = isolation::check_rw_register(&history, &options).unwrap();
            let of_model = tally.entry(model).or_default();
            if matches!(verdict, Verdict::Unknown { .. }) {
                of_model[2] += 1;
                continue;
            }
            of_model[usize::from(!verdict.is_valid())] += 1;
            assert_eq!(
                verdict.is_valid(),
                holds,
                "seed {seed}, {model}, {keys:?}: {verdict}\n{}",
                shown(&history)
            );
        }
    }
}

#[test]
fn registers_whose_keys_keep_an_order_agree_with_a_search_through_all_orders() {
    let mut tally = Kept::default();
    for seed in 0..HISTORIES as u64 / 3 {
        compare_with_keys(seed, &mut tally);
    }
    println!("{tally:?}");
    for (model, [valid, violating, unknown]) in tally {
        let is_enough = valid > 100 && violating > 100 && unknown == 0;
        assert!(is_enough, "{model}: {valid} {violating} {unknown}");
    }
}

#[test]
fn revisions_agree_with_a_search_through_all_orders() {
    compare_all(Object::Revisions);
}
