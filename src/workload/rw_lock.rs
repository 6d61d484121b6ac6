//! Readers and writers that share locks; writers write, guarded, to what the
//! locks protect.
//!
//! As in the workload of the mutex, two that exclude each other may *believe* to
//! be inside at the same time only when a lease has ended.

use etcd_checker::Model;

use super::locks::{self, Locks};
use super::{Bug, Parameter, Parameters, Running, Stage, Workload};
use crate::rw_lock::RwLockFault;

/// See the [module](self).
pub struct RwLockWorkload;

const EXPIRED_WAITER: Bug = Bug {
    name: "go-rwlock",
    about: "who has waited is told that it is inside although its own key went with its lease",
};
const READER_IGNORES_WRITERS: Bug = Bug {
    name: "rwlock-reader-ignores-writers",
    about: "a reader does not wait for the writers before it",
};
const UNLOCK_FORGETS: Bug = Bug {
    name: "go-rwlock-unlock-forgets",
    about: "an unlock whose answer was lost counts as done although the key may still be there",
};

impl Workload for RwLockWorkload {
    fn name(&self) -> &'static str {
        "rwlock"
    }

    fn about(&self) -> &'static str {
        "readers and writers share locks, and lose their leases"
    }

    fn model(&self) -> Model {
        Model::RwLock
    }

    fn parameters(&self) -> &'static [Parameter] {
        &locks::PARAMETERS
    }

    fn bugs(&self) -> &'static [Bug] {
        &[EXPIRED_WAITER, READER_IGNORES_WRITERS, UNLOCK_FORGETS]
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("clients")
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        locks::lasts_ms(parameters)
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        let fault = if stage.has_bug(EXPIRED_WAITER.name) {
            Some(RwLockFault::ExpiredWaiter)
        } else if stage.has_bug(READER_IGNORES_WRITERS.name) {
            Some(RwLockFault::ReaderIgnoresWriters)
        } else if stage.has_bug(UNLOCK_FORGETS.name) {
            Some(RwLockFault::UnlockForgets)
        } else {
            None
        };
        locks::run(stage, parameters, Locks::RwLock(fault))
    }
}
