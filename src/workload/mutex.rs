//! Clients that share locks and write, guarded, to what the locks protect.
//!
//! Two holders may *believe* to hold a lock at the same time when the lease of
//! the first one has ended; that is counted. What must not happen: that both keys
//! are alive, that a lock is granted to somebody whose key is gone, that a guarded
//! write comes late, that anybody waits for a lock that nobody has.

use etcd_checker::Model;

use super::locks::{self, Locks};
use super::{Bug, Parameter, Parameters, Running, Stage, Workload};
use crate::mutex::MutexFault;

/// See the [module](self).
pub struct MutexWorkload;

const FAULTS: [(Bug, Option<MutexFault>); 6] = [
    (locks::UNFENCED, None),
    (
        Bug {
            name: "go-mutex-expired-waiter",
            about: "who has waited is told that it holds the lock although its own key went with its lease (Go before etcd 3.4.4)",
        },
        Some(MutexFault::ExpiredWaiter),
    ),
    (
        Bug {
            name: "go-unlock-by-name",
            about: "an unlock deletes the key by its name and is repeated when its answer is lost: it deletes the key of a later lock",
        },
        Some(MutexFault::UnlockByName),
    ),
    (
        Bug {
            name: "go-mutex-two-objects",
            about: "two tasks that share a session share the key too: both hold the lock, and the first to unlock frees both",
        },
        Some(MutexFault::TwoObjects),
    ),
    (
        Bug {
            name: "mutex-prefix-without-separator",
            about: "keys of other locks count whose names begin alike: a lock waits for itself",
        },
        Some(MutexFault::PrefixWithoutSeparator),
    ),
    (
        Bug {
            name: "mutex-any-delete-wakes",
            about: "who waits takes the deletion of any key in the line for its turn",
        },
        Some(MutexFault::AnyDeleteWakes),
    ),
];

const BUGS: [Bug; FAULTS.len()] = {
    let mut bugs = [locks::UNFENCED; FAULTS.len()];
    let mut index = 0;
    while index < FAULTS.len() {
        bugs[index] = FAULTS[index].0;
        index += 1;
    }
    bugs
};

impl Workload for MutexWorkload {
    fn name(&self) -> &'static str {
        "mutex"
    }

    fn about(&self) -> &'static str {
        "clients share locks, write to what they protect, and lose their leases"
    }

    fn model(&self) -> Model {
        Model::Mutex
    }

    fn parameters(&self) -> &'static [Parameter] {
        &locks::PARAMETERS
    }

    fn bugs(&self) -> &'static [Bug] {
        &BUGS
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("clients")
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        locks::lasts_ms(parameters)
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        let fault = FAULTS.iter().find(|(bug, _)| stage.has_bug(bug.name));
        let locks = Locks::Mutex(fault.and_then(|(_, fault)| *fault));
        locks::run(stage, parameters, locks)
    }
}
