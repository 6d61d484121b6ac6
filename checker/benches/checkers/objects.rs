//! What is checked.

use etcd_checker::History;

use crate::support::busy::election::busy_election;
use crate::support::busy::lock::busy_locks;
use crate::support::busy::priority_queue::busy_priority_queue;
use crate::support::busy::register::busy_register;
use crate::support::transactions::{Object as Kind, busy_transactions};
use crate::support::{Random, busy_bank, busy_queue};

/// An object that clients work on.
pub(crate) struct Object {
    pub(crate) name: &'static str,
    /// The history of so many operations by so many clients, always the same.
    pub(crate) history: fn(usize, usize) -> History,
}

pub(crate) const OBJECTS: [Object; 10] = [
    Object {
        name: "fifo-queue",
        history: |operations, clients| busy_queue(&mut Random(1), operations, clients),
    },
    Object {
        name: "priority-queue",
        history: |operations, clients| busy_priority_queue(&mut Random(1), operations, clients),
    },
    Object {
        name: "mutex",
        history: |operations, clients| busy_locks(&mut Random(1), "mutex", operations, clients),
    },
    Object {
        name: "rwlock",
        history: |operations, clients| busy_locks(&mut Random(1), "rwlock", operations, clients),
    },
    Object {
        name: "election",
        history: |operations, clients| busy_election(&mut Random(1), operations, clients),
    },
    Object {
        name: "transactions",
        history: |operations, clients| {
            busy_transactions(&mut Random(1), Kind::Revisions, operations, clients)
        },
    },
    Object {
        name: "list-append",
        history: |operations, clients| {
            busy_transactions(&mut Random(1), Kind::List, operations, clients)
        },
    },
    Object {
        name: "rw-register",
        history: |operations, clients| {
            busy_transactions(&mut Random(1), Kind::Register, operations, clients)
        },
    },
    Object {
        name: "bank",
        history: |operations, clients| busy_bank(&mut Random(1), operations, clients, 0),
    },
    Object {
        name: "cas-register",
        history: |operations, clients| busy_register(&mut Random(1), operations, clients),
    },
];
