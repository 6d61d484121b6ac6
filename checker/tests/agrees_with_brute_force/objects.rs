//! The checkers of objects give the verdict of a search through all orders, on many small
//! random histories with operations of unknown outcome; their witnesses prove it with
//! nothing to spare; and the orders that they find are orders.

use crate::support::naive::{Agreement, agree};
use crate::support::objects::{
    Counters, Groups, Map, MultiRegisters, Mutexes, Registers, RwLocks, Semaphores, Sets,
};

const HISTORIES: usize = 120_000;

#[track_caller]
fn assert_varied(agreement: &Agreement) {
    let total = agreement.valid + agreement.violations;
    assert!(agreement.valid * 5 > total, "{agreement:?}");
    assert!(agreement.violations * 10 > total, "{agreement:?}");
    assert!(agreement.with_pending * 20 > total, "{agreement:?}");
}

#[test]
fn registers() {
    assert_varied(&agree::<Registers<3>>(HISTORIES));
}

/// Mostly there is an order that takes no search.
#[test]
fn registers_of_which_most_values_are_written_once() {
    assert_varied(&agree::<Registers<7>>(HISTORIES));
}

#[test]
fn maps() {
    assert_varied(&agree::<Map>(HISTORIES));
}

#[test]
fn mutexes() {
    assert_varied(&agree::<Mutexes>(HISTORIES));
}

#[test]
fn read_write_locks() {
    assert_varied(&agree::<RwLocks>(HISTORIES));
}

#[test]
fn semaphores() {
    assert_varied(&agree::<Semaphores>(HISTORIES));
}

#[test]
fn counters() {
    assert_varied(&agree::<Counters>(HISTORIES));
}

#[test]
fn sets() {
    assert_varied(&agree::<Sets>(HISTORIES));
}

#[test]
fn groups() {
    assert_varied(&agree::<Groups>(HISTORIES));
}

#[test]
fn registers_of_transactions() {
    assert_varied(&agree::<MultiRegisters>(HISTORIES));
}
