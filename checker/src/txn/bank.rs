//! The bank: money moves between accounts, and its sum stays.

use serde::Deserialize;

use super::extract::{Txn, Txns};
use crate::bank::{NEGATIVE, TOTAL};
use crate::history::{Event, History, HistoryError, Operation, Outcome, Problem};
use crate::verdict::{Class, Violation};

/// What the header says about the bank.
#[derive(Deserialize)]
struct Parameters {
    /// The keys of the accounts.
    accounts: Vec<String>,
    /// What they add up to.
    total: i64,
    /// Whether an account may be below zero; true when left out.
    allow_negative: Option<bool>,
}

/// The first transaction, by invocation, that saw or made accounts that do not add
/// up.
///
/// A transaction that knows all accounts, because it read or wrote each, must know
/// the total; so must it afterwards. One that knows fewer must have read what it
/// wrote, and keep the sum of these.
pub(super) fn find(history: &History, txns: &Txns<'_>) -> Result<Option<Violation>, HistoryError> {
    let bank = Bank::of(history, txns)?;
    for txn in txns.txns.iter().filter(|txn| txn.committed) {
        let operation = &txns.operations[txn.operation];
        let (read, after) = bank.balances(txn, operation)?;
        let problem = bank
            .judge(operation, &read, "saw")
            .or_else(|| bank.judge(operation, &after, "left"));
        let problem = problem.or_else(|| bank.judge_change(operation, txn, &read, &after));
        if problem.is_some() && operation.outcome() == Outcome::Ok {
            return Ok(problem);
        }
    }
    Ok(None)
}

struct Bank {
    /// The accounts, by the index of their key; none for a key that nobody touched.
    accounts: Vec<Option<usize>>,
    total: i64,
    allow_negative: bool,
}

/// What is known of an account: nothing, or that it is absent, or its balance.
type Balance = Option<Option<i64>>;

impl Bank {
    fn of(history: &History, txns: &Txns<'_>) -> Result<Self, HistoryError> {
        let parameters: Parameters = history.header().parameters.parse().map_err(|error| {
            let text = error.to_string();
            let detail = text.split(" at line ").next().unwrap_or_default();
            let detail = format!("the bank needs \"accounts\", a list of keys, and \"total\", a whole number: {detail}");
            HistoryError::at(1, Problem::Parameters { detail })
        })?;
        let key = |name: &String| txns.keys.iter().position(|key| key == name);
        Ok(Self {
            accounts: parameters.accounts.iter().map(key).collect(),
            total: parameters.total,
            allow_negative: parameters.allow_negative.unwrap_or(true),
        })
    }

    /// The balances that a transaction read, and those that it left.
    fn balances(
        &self,
        txn: &Txn<'_>,
        operation: &Operation<'_>,
    ) -> Result<(Vec<Balance>, Vec<Balance>), HistoryError> {
        let balance = |value: Option<&str>| match value {
            None => Ok(Some(None)),
            Some(text) => text
                .parse()
                .map(|number| Some(Some(number)))
                .map_err(|_| no_balance(operation, text)),
        };
        let mut read = vec![None; self.accounts.len()];
        for (slot, account) in read.iter_mut().zip(&self.accounts) {
            if let Some(seen) = txn.reads.iter().find(|read| Some(read.key) == *account) {
                *slot = balance(seen.value.as_deref())?;
            }
        }
        let mut after = read.clone();
        for (slot, account) in after.iter_mut().zip(&self.accounts) {
            if let Some(write) = txn.writes.iter().find(|write| Some(write.key) == *account) {
                *slot = balance(write.value.as_deref())?;
            }
        }
        Ok((read, after))
    }

    /// What is wrong with the balances that a transaction saw or left.
    fn judge(
        &self,
        operation: &Operation<'_>,
        balances: &[Balance],
        verb: &str,
    ) -> Option<Violation> {
        let process = operation.process();
        let negative = balances
            .iter()
            .flatten()
            .flatten()
            .find(|balance| **balance < 0);
        if let Some(balance) = negative.filter(|_| !self.allow_negative) {
            let sentence = format!(
                "a transaction by process {process} {verb} an account at {balance}, but none may be below zero"
            );
            return Some(Violation::new(
                Class::Safety,
                NEGATIVE,
                sentence,
                [operation],
            ));
        }
        let known: Vec<Option<i64>> = balances.iter().copied().collect::<Option<_>>()?;
        // Before the accounts are opened there is nothing to add up.
        if known.iter().all(Option::is_none) {
            return None;
        }
        let sum = sum(&known);
        if sum == i128::from(self.total) {
            return None;
        }
        let sentence = format!(
            "a transaction by process {process} {verb} accounts that add up to {sum} instead of {}",
            self.total
        );
        Some(Violation::new(Class::Safety, TOTAL, sentence, [operation]))
    }

    /// What is wrong with the change that a transaction made to accounts that it
    /// had read.
    fn judge_change(
        &self,
        operation: &Operation<'_>,
        txn: &Txn<'_>,
        read: &[Balance],
        after: &[Balance],
    ) -> Option<Violation> {
        let is_written =
            |account: &Option<usize>| txn.writes.iter().any(|write| Some(write.key) == *account);
        let (mut before_sum, mut after_sum) = (Vec::new(), Vec::new());
        for (index, _) in self
            .accounts
            .iter()
            .enumerate()
            .filter(|(_, account)| is_written(account))
        {
            // Accounts that were opened, or not read, say nothing about a change.
            before_sum.push(Some(read[index]??));
            after_sum.push(after[index]?);
        }
        let (before, after) = (sum(&before_sum), sum(&after_sum));
        if before == after {
            return None;
        }
        let process = operation.process();
        let sentence = format!(
            "a transaction by process {process} turned accounts with {before} into accounts with {after}"
        );
        Some(Violation::new(Class::Safety, TOTAL, sentence, [operation]))
    }
}

fn sum(balances: &[Option<i64>]) -> i128 {
    balances
        .iter()
        .flatten()
        .map(|balance| i128::from(*balance))
        .sum()
}

fn no_balance(operation: &Operation<'_>, text: &str) -> HistoryError {
    let line = operation
        .completion
        .map_or(operation.invoke.line(), Event::line);
    let problem = Problem::Value {
        f: operation.invoke.f().to_string(),
        expected: "reads and writes of whole numbers, since accounts hold money",
        detail: format!("an account holds {text:?}"),
    };
    HistoryError::at(line, problem)
}
