//! The transactions of a cyclic barrier, and what is seen of it.

use etcd_client::{
    Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
};

use super::Inner;
use crate::error::Error;
use crate::keys::Name;
use crate::watch::{Entry, View};

/// How many rounds are over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) rounds: u64,
    /// Of the key that says so; 0 while it is absent.
    pub(super) mod_revision: i64,
}

impl Generation {
    /// The round that is gathering.
    pub(super) fn gathering(self) -> u64 {
        self.rounds + 1
    }

    fn parse(key: &str, value: &[u8], mod_revision: i64) -> Result<Self, Error> {
        let rounds = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        let rounds = rounds.filter(|rounds: &u64| *rounds < u64::MAX);
        match rounds {
            Some(rounds) => Ok(Self {
                rounds,
                mod_revision,
            }),
            None => Err(Error::foreign_data(key, "it is not a number of rounds")),
        }
    }
}

/// A participant that has come to a round that is gathering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) key: String,
    pub(super) created: i64,
    lease: i64,
}

impl Waiter {
    fn still_there(&self) -> Compare {
        Compare::create_revision(self.key.as_str(), CompareOp::Equal, self.created)
    }
}

/// What the answer to an arrival says.
pub(super) enum Coming {
    /// The key was created at the answer's revision.
    Came,
    /// It had been created by an earlier request.
    HadCome { created: i64 },
    /// The generation is another one.
    Passed(Generation),
}

impl Inner {
    /// What the keys of a round are children of.
    pub(super) fn round(&self, number: u64) -> Result<Name, Error> {
        #[cfg(feature = "harness")]
        let number = if self.has_no_generation() { 0 } else { number };
        Name::new(self.name.child(&format!("round/{number:016}")))
    }

    /// Joins the round that is gathering, if it still is.
    pub(super) fn come(&self, key: &str, generation: Generation) -> Txn {
        let lease = self.session.lease_id();
        #[cfg(feature = "harness")]
        let lease = if self.counts_the_dead() { 0 } else { lease };
        let leased = PutOptions::new().with_lease(lease);
        Txn::new()
            .when([
                Compare::version(key, CompareOp::Equal, 0),
                self.is_still(generation),
            ])
            .and_then([TxnOp::put(key, "", Some(leased))])
            .or_else([
                TxnOp::get(key, None),
                TxnOp::get(self.generation.as_str(), None),
            ])
    }

    pub(super) fn coming(&self, answer: &TxnResponse) -> Result<Coming, Error> {
        if answer.succeeded() {
            return Ok(Coming::Came);
        }
        let responses = answer.op_responses();
        let [TxnOpResponse::Get(own), TxnOpResponse::Get(generation)] = &responses[..] else {
            return Err(Error::unreadable_answer("wait at", self.name.as_str()));
        };
        if let Some(created) = own.kvs().first().map(KeyValue::create_revision) {
            return Ok(Coming::HadCome { created });
        }
        let generation = match generation.kvs().first() {
            Some(kv) => Generation::parse(&self.generation, kv.value(), kv.mod_revision())?,
            None => Generation::default(),
        };
        Ok(Coming::Passed(generation))
    }

    /// Ends the round of these, if all of them are there.
    pub(super) fn end(&self, generation: Generation, members: &[Waiter]) -> Txn {
        let mut compares = vec![self.is_still(generation)];
        compares.extend(members.iter().map(Waiter::still_there));
        let rounds = generation.gathering().to_string();
        let mut operations = vec![TxnOp::put(self.generation.as_str(), rounds, None)];
        for (place, member) in members.iter().enumerate() {
            let leased = PutOptions::new().with_lease(member.lease);
            let place = place.to_string();
            operations.push(TxnOp::put(member.key.as_str(), place, Some(leased)));
        }
        Txn::new().when(compares).and_then(operations)
    }

    fn is_still(&self, generation: Generation) -> Compare {
        let key = self.generation.as_str();
        Compare::mod_revision(key, CompareOp::Equal, generation.mod_revision)
    }

    /// The generation in a view.
    pub(super) fn generation(&self, view: &View) -> Result<Generation, Error> {
        match view.keys.get(&self.generation) {
            Some(entry) => Generation::parse(&self.generation, &entry.value, entry.mod_revision),
            None => Ok(Generation::default()),
        }
    }

    /// Those who wait in a round, in the order in which they came.
    pub(super) fn waiters(&self, round: &Name, view: &View) -> Vec<Waiter> {
        let waits = |(key, entry): &(&String, &Entry)| {
            round.is_item(key.as_bytes()) && entry.value.is_empty()
        };
        let prefix = round.children();
        let keys = view.keys.range(prefix.clone()..);
        let keys = keys.take_while(|(key, _)| key.starts_with(&prefix));
        let waiters = keys.filter(waits).map(|(key, entry)| Waiter {
            key: key.clone(),
            created: entry.create_revision,
            lease: entry.lease,
        });
        let mut waiters: Vec<Waiter> = waiters.collect();
        waiters.sort_by_key(|waiter| waiter.created);
        waiters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_a_number_of_rounds_and_nothing_else() {
        let parse = |value: &str| Generation::parse("b/generation", value.as_bytes(), 7);
        let three = parse("3").unwrap();
        assert_eq!((three.rounds, three.gathering()), (3, 4));
        assert_eq!(Generation::default().gathering(), 1);
        for foreign in [
            "",
            "x",
            "-1",
            "18446744073709551615",
            "99999999999999999999",
        ] {
            assert!(parse(foreign).is_err(), "{foreign}");
        }
    }
}
