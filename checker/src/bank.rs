//! A bank whose accounts are read as a whole: they always add up to the same total.
//!
//! # The question
//!
//! Clients `transfer` money between accounts, and `read` the balances of all of them, as
//! in the bank test of Jepsen. Does every read see all accounts, the same total, and none
//! below zero?
//!
//! ```text
//! read -> a: 8, b: 2                    |-----|
//! transfer 5 from a to b                   |------|
//! read -> a: 3, b: 2                         |-----|      5 are on their way: 10 became 5
//! ```
//!
//! That is what snapshot isolation promises, and less than a linearizable bank does: a
//! read may see an old state. Where transfers are transactions whose reads and writes are
//! known, [`check_bank`](crate::txn::check_bank) decides the whole.
//!
//! # The answer
//!
//! One look at each read: O(n), for n balances.
//!
//! # Pending operations
//!
//! Whether a transfer happened or not, the total is the same. Reads of unknown outcome say
//! nothing.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::history::{Event, EventKind, History, HistoryError, Operation, Problem, Process, Text};
use crate::keyed::{parameters, unknown_operation};
use crate::verdict::{Class, Kind, Summary, Verdict, Violation};

/// The accounts do not add up.
pub(crate) const TOTAL: Kind = Kind {
    name: "bank-total",
    meaning: "the accounts do not add up",
};
/// An account is overdrawn.
pub(crate) const NEGATIVE: Kind = Kind {
    name: "bank-negative",
    meaning: "an account is below zero",
};
const ACCOUNTS: Kind = Kind {
    name: "bank-accounts",
    meaning: "an account is missing, or was never opened",
};

/// What the header says about the bank.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Parameters {
    /// The accounts; those of the first read when left out.
    accounts: Option<Vec<String>>,
    /// What they add up to; what the first read adds up to when left out.
    total: Option<i64>,
    /// Whether an account may be below zero.
    allow_negative: bool,
    /// Whether an account that a read has not is empty, and not missing.
    missing_is_empty: bool,
}

/// Whether the operations of the history are those of this bank, not transactions.
pub(crate) fn is_of(history: &History) -> bool {
    let mut invoked = history
        .events()
        .iter()
        .filter(|event| event.process() != Process::Nemesis && event.kind() == EventKind::Invoke);
    invoked.any(|event| event.f() == "read" || event.f() == "transfer")
}

/// Decides whether all reads see accounts that add up.
///
/// Operations: `transfer`, whose value does not matter; `read`, whose result is an object
/// with the balance of each account. The header's parameters may have `accounts`, a list;
/// `total`, a whole number; and `allow_negative` and `missing_is_empty`, false when left out.
/// Without them the first read says what accounts there are, and what they add up to.
///
/// Where accounts are closed when they are empty, as in Jepsen's tests of Dgraph, reads need not
/// have all of them: that is `missing_is_empty`. Then the first read says nothing of what
/// accounts there are.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History) -> Result<Verdict, HistoryError> {
    let parameters: Parameters = parameters(history)?;
    let operations = history.operations();
    let mut reads = Vec::new();
    for operation in &operations {
        match operation.invoke.f() {
            "transfer" => {}
            "read" => {
                if let Some(ok) = operation.ok() {
                    reads.push((operation, balances(ok)?));
                }
            }
            _ => {
                return Err(unknown_operation(
                    operation.invoke,
                    "bank",
                    "transfer and read",
                ));
            }
        }
    }
    reads.sort_by_key(|(operation, _)| operation.completed);
    let Some((first, _)) = reads.first() else {
        let reason = "nobody read the accounts, so nothing is known of them".to_owned();
        return Ok(Verdict::Unknown { reason });
    };
    let bank = Bank::of(parameters, first, &reads[0].1);
    let violation = reads
        .iter()
        .find_map(|(operation, balances)| bank.judge(operation, balances));
    Ok(match violation {
        Some(violation) => Verdict::Violation(violation),
        None => Verdict::Valid(Summary::of(&operations)),
    })
}

/// An account and its balance; none when it has none.
type Balances = Vec<(String, Option<i64>)>;

fn balances(event: &Event) -> Result<Balances, HistoryError> {
    let expected = "an object with the balance of each account, a whole number";
    let pairs: Pairs = event
        .value()
        .parse()
        .map_err(|error| HistoryError::value(event, expected, &error))?;
    let mut seen = BTreeSet::new();
    if let Some((twice, _)) = pairs.0.iter().find(|(account, _)| !seen.insert(account)) {
        let problem = Problem::Value {
            f: event.f().to_string(),
            expected,
            detail: format!("the account {twice:?} stands there twice"),
        };
        return Err(HistoryError::at(event.line(), problem));
    }
    Ok(pairs.0)
}

/// An object, whose keys may come twice.
struct Pairs(Balances);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(key), value)) = map.next_entry()? {
                    pairs.push((key.into_owned(), value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

struct Bank<'b> {
    /// None where nobody says which there are.
    accounts: Option<BTreeSet<String>>,
    total: i128,
    allow_negative: bool,
    missing_is_empty: bool,
    /// The read that says what accounts there are, where the header does not.
    first_has: Option<&'b Operation<'b>>,
    /// Likewise what they add up to.
    first_sums: Option<&'b Operation<'b>>,
}

impl<'b> Bank<'b> {
    fn of(parameters: Parameters, first: &'b Operation<'b>, balances: &Balances) -> Self {
        let seen = || balances.iter().map(|(account, _)| account.clone());
        let is_said = parameters.accounts.is_some();
        let said = parameters.accounts.map(BTreeSet::from_iter);
        Self {
            accounts: said.or_else(|| (!parameters.missing_is_empty).then(|| seen().collect())),
            total: parameters.total.map_or_else(|| sum(balances), i128::from),
            allow_negative: parameters.allow_negative,
            missing_is_empty: parameters.missing_is_empty,
            first_has: (!is_said).then_some(first),
            first_sums: parameters.total.is_none().then_some(first),
        }
    }

    fn judge(&self, operation: &'b Operation<'b>, balances: &Balances) -> Option<Violation> {
        let process = operation.process();
        let alone = |kind, sentence| Violation::new(Class::Safety, kind, sentence, [operation]);
        let beside = |first: Option<&'b Operation<'b>>, kind, sentence| {
            let witness = first.into_iter().chain([operation]);
            Violation::new(Class::Safety, kind, sentence, witness)
        };
        if let Some(sentence) = self.unlike(operation, balances) {
            return Some(beside(self.first_has, ACCOUNTS, sentence));
        }
        if let Some((account, _)) = balances.iter().find(|(_, balance)| balance.is_none()) {
            let sentence = format!("process {process} read no balance of the account {account:?}");
            return Some(alone(ACCOUNTS, sentence));
        }
        let negative = balances
            .iter()
            .find(|(_, balance)| balance.is_some_and(|balance| balance < 0));
        if let Some((account, Some(balance))) = negative.filter(|_| !self.allow_negative) {
            let sentence = format!(
                "process {process} read {balance} in the account {account:?}, but none may be below zero"
            );
            return Some(alone(NEGATIVE, sentence));
        }
        let sum = sum(balances);
        if sum == self.total {
            return None;
        }
        let sentence = format!(
            "process {process} read accounts that add up to {sum} instead of {}",
            self.total
        );
        Some(beside(self.first_sums, TOTAL, sentence))
    }

    /// How the accounts of a read are not those that there are.
    fn unlike(&self, read: &Operation<'_>, balances: &Balances) -> Option<String> {
        let accounts = self.accounts.as_ref()?;
        let process = read.process();
        let seen: BTreeSet<&String> = balances.iter().map(|(account, _)| account).collect();
        if let Some(account) = seen.iter().find(|account| !accounts.contains(**account)) {
            return Some(format!(
                "process {process} read the account {account:?}, which there is not"
            ));
        }
        let is_missing = |account: &&String| !self.missing_is_empty && !seen.contains(account);
        let missing = accounts.iter().find(is_missing)?;
        Some(format!(
            "process {process} read the accounts, but not {missing:?}"
        ))
    }
}

fn sum(balances: &Balances) -> i128 {
    let known = balances.iter().filter_map(|(_, balance)| *balance);
    known.map(i128::from).sum()
}
