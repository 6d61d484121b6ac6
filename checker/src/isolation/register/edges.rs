//! The dependencies that reads and writes of registers show.

use super::super::anomaly::{Anomaly, Dependencies, Order};
use super::super::cycle::Step;
use super::super::cycles::Relations;
use super::super::effort::Effort;
use super::super::explain::Clause;
use super::super::graph::{Builder, Graph, Why};
use super::super::group::Group;
use super::super::options::KeyOrders;
use super::super::sentence::Sentence;
use super::super::txns::{NONE, Txns, What};
use super::local::show;
use super::orders::{Ideal, Known, Orders};
use super::succession::Successions;
use super::told;
use super::versions::Versions;
use crate::unsat_core::Answer;

/// The dependencies between all transactions that took effect.
pub(super) fn graph(
    txns: &Txns<'_>,
    versions: &Versions,
    successions: &Successions,
    keys: KeyOrders,
    known: &[Known],
) -> Graph {
    let mut edges = Edges {
        versions,
        builder: Builder::new(txns.spans(), txns.micro.len() * 2),
    };
    edges.add_reads();
    for (key, first, second) in successions.follow_reads(txns, versions) {
        // Where the order of the versions is another one, there is a cycle of ww and wr.
        let order = Order::Any;
        edges.succeed(key, first, second, order, keys.writes_follow_reads);
    }
    for order in [Order::Process, Order::RealTime] {
        for (key, first, second) in successions.by(order) {
            edges.succeed(*key, *first, *second, order, true);
        }
    }
    for (key, first, second) in known {
        edges.succeed(*key, *first, *second, Order::Any, true);
    }
    edges.builder.finish()
}

struct Edges<'t> {
    versions: &'t Versions,
    builder: Builder,
}

impl Edges<'_> {
    /// Readers come after the writer; who found nothing, before all writers.
    fn add_reads(&mut self) {
        for (key, versions) in (0..).zip(&self.versions.keys) {
            let written = || {
                versions[1..]
                    .iter()
                    .filter(|version| version.writer != NONE)
            };
            for version in written() {
                for reader in &version.readers {
                    self.builder.edge(version.writer, *reader, Why::Read, key);
                }
            }
            let nothing = &versions[0];
            if nothing.readers.is_empty() {
                continue;
            }
            let mut writers: Vec<u32> = written().map(|version| version.writer).collect();
            writers.sort_unstable();
            let writers = Group::of(writers, &mut self.builder);
            for reader in &nothing.readers {
                writers.after(*reader, Why::Missed, key, &mut self.builder);
            }
        }
    }

    /// One version of a key comes after another, if the order of the transactions is that of
    /// the versions. `overwrote` says whether the writers count, too.
    fn succeed(&mut self, key: u32, first: usize, second: usize, order: Order, overwrote: bool) {
        let versions = &self.versions.keys[key as usize];
        let (first, second) = (&versions[first], &versions[second]);
        if second.writer == NONE {
            return;
        }
        if first.writer != NONE && overwrote {
            let (from, to) = (first.writer, second.writer);
            self.builder
                .edge_assuming(from, to, Why::Overwrote, key, order);
        }
        for reader in &first.readers {
            let (from, to) = (*reader, second.writer);
            self.builder
                .edge_assuming(from, to, Why::Missed, key, order);
        }
    }
}

/// What reads and writes say of two transactions.
pub(super) struct Registers<'t, 'h> {
    pub(super) txns: &'t Txns<'h>,
    pub(super) versions: &'t Versions,
    pub(super) successions: &'t Successions,
    pub(super) keys: KeyOrders,
    /// What the searches may take.
    pub(super) effort: &'t Effort,
}

impl Registers<'_, '_> {
    fn writes(&self, txn: u32, key: u32) -> Option<usize> {
        self.versions.version_written(self.txns, txn, key)
    }

    /// The versions of a key that a transaction read of others.
    fn reads(&self, txn: u32, key: u32) -> impl Iterator<Item = usize> + '_ {
        let micro = self.txns.micro(txn).iter();
        let seen = micro.filter_map(move |micro| match micro.what {
            What::Read(seen) if micro.key == key => Some(seen),
            _ => None,
        });
        let version = |seen: u32| self.versions.version_read(self.txns, seen);
        let versions = &self.versions.keys[key as usize];
        seen.filter_map(version)
            .filter(move |place| versions[*place].writer != txn)
    }

    /// Whether one version follows upon another because who wrote it had read that.
    fn follows(&self, key: u32, first: usize, second: usize) -> bool {
        let writer = self.versions.keys[key as usize][second].writer;
        writer != NONE && (first == 0 || self.reads(writer, key).any(|read| read == first))
    }

    fn value(&self, key: u32, place: usize) -> String {
        show(self.txns, self.versions.keys[key as usize][place].value)
    }

    /// Of a step from a version to a later one: the two.
    fn ends_of(&self, step: &Step) -> Option<(usize, usize)> {
        let second = self.writes(step.to, step.key)?;
        let is_known = |first: &usize| {
            let (key, first) = (step.key, *first);
            match step.assumes {
                Order::Any => self.follows(key, first, second) || self.knows(key, first, second),
                order => self.successions.has(order, key, first, second),
            }
        };
        let first = match step.why {
            Why::Overwrote => self.writes(step.from, step.key),
            _ => self.reads(step.from, step.key).find(is_known),
        };
        Some((first?, second))
    }

    /// In which order the versions of a step come after each other, and who met them in it; none
    /// where the second was written over the first.
    fn proof(&self, step: &Step, first: usize, second: usize) -> Option<(Order, [u32; 2])> {
        let proof = |order| {
            let pair = self.successions.proof(order, step.key, first, second)?;
            Some((order, pair))
        };
        match step.assumes {
            Order::Any if self.follows(step.key, first, second) => None,
            Order::Any => self.keys.orders().find_map(proof),
            order => proof(order),
        }
    }

    /// Whether it is taken for granted that keys by themselves respect an order, and it
    /// gives one to these versions.
    fn knows(&self, key: u32, first: usize, second: usize) -> bool {
        self.keys
            .orders()
            .any(|order| self.successions.has(order, key, first, second))
    }
}

impl Relations for Registers<'_, '_> {
    fn between(&self, first: u32, second: u32) -> Vec<(Why, u32)> {
        let mut found = Vec::new();
        for micro in self.txns.micro(first) {
            let key = micro.key;
            if let Some(wrote) = self.writes(first, key)
                && self.reads(second, key).any(|read| read == wrote)
            {
                found.push((Why::Read, key));
            }
            if let Some(wrote) = self.writes(second, key)
                && self
                    .reads(first, key)
                    .any(|read| self.follows(key, read, wrote))
            {
                found.push((Why::Missed, key));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn evidence(&self, step: &Step) -> Vec<u32> {
        if !matches!(step.why, Why::Overwrote | Why::Missed) {
            return Vec::new();
        }
        let Some((first, second)) = self.ends_of(step) else {
            return Vec::new();
        };
        let mut evidence = Vec::new();
        let versions = &self.versions.keys[step.key as usize];
        if let Some((_, pair)) = self.proof(step, first, second) {
            evidence.extend(pair);
        }
        // Who wrote what is compared belongs to it.
        if !evidence.is_empty() {
            let writers = [versions[first].writer, versions[second].writer];
            evidence.extend(writers.into_iter().filter(|writer| *writer != NONE));
        }
        evidence
    }

    /// Evidence is of single steps, and what proves one may make another one needless.
    fn fewer(&self, anomaly: Anomaly, members: &[u32]) -> Option<(Sentence, Vec<u32>)> {
        use Dependencies as D;
        let (ideal, order) = match anomaly {
            Anomaly::Cycle(D::GSingle, Order::Any) => (Ideal::View, Order::Any),
            Anomaly::Cycle(D::GSingle | D::GNonadjacent, order) => (Ideal::Snapshots, order),
            Anomaly::Cycle(D::G2Item, order) => (Ideal::Serial, order),
            Anomaly::GUpdate => (Ideal::Updates, Order::Any),
            _ => return None,
        };
        if self.keys != KeyOrders::default() {
            return None;
        }
        let orders = Orders::of(self.txns, self.versions, &[], self.effort);
        let question = orders.question(ideal, order);
        let is_proof = orders.exists(question, members).answer == Answer::Impossible;
        let core = orders
            .core(question, is_proof.then(|| members.to_vec())?)
            .things;
        let asked = (ideal, order);
        let sentence = || told::sentence(self.txns, self.versions, asked, anomaly, &core);
        (core.len() < members.len()).then(|| (sentence(), core.clone()))
    }

    fn say(&self, step: &Step) -> Clause {
        let key = step.key;
        let shown = self.txns.show_key(key);
        let (first, second) = (step.from, step.to);
        if step.why == Why::Read {
            let read = self.writes(first, key);
            let value = read.map_or_else(|| "something".to_owned(), |place| self.value(key, place));
            let verb = format!("read {shown} as {value}, which");
            return Clause::new(second, verb, first, " had written");
        }
        let Some((earlier, later)) = self.ends_of(step) else {
            return Clause::new(second, format!("wrote {shown} after"), first, "");
        };
        let proof = self.proof(step, earlier, later);
        let (earlier, later) = (self.value(key, earlier), self.value(key, later));
        let because = match proof {
            None => String::new(),
            Some((Order::Process, [_, met])) => {
                let process = self.txns.operation(met).process();
                format!(", for process {process} met {later} after {earlier}")
            }
            Some(_) => format!(", for {later} was met only after {earlier} had been acknowledged"),
        };
        match step.why {
            Why::Overwrote => {
                let verb = format!("wrote {later} to {shown} over {earlier} of");
                Clause::new(second, verb, first, because)
            }
            _ => {
                let verb = format!("read {shown} as {earlier} before");
                Clause::new(first, verb, second, format!(" wrote {later}{because}"))
            }
        }
    }
}
