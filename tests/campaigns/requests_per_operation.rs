//! How many requests the recipes send to etcd for each operation, on the
//! simulated etcd. These numbers do not depend on the machine, and each bound is
//! what the recipe's documentation says that an operation costs.

use etcd_recipes::bench::{self, Load, Report};

/// Measures with `workers`, `producers` and `count` in all, on a few networks.
fn measured(name: &str, workers: u32, producers: u32, count: u64) -> Vec<Report> {
    let benchmark = bench::find(name).unwrap();
    let load = Load {
        workers,
        producers,
        count,
    };
    let report = |seed| bench::simulate(benchmark, load, seed).unwrap();
    (0..3).map(report).collect()
}

/// A lock that nobody else wants: one txn that creates the key and sees that it
/// is first, one that deletes it. No watch, no read.
#[test]
fn an_uncontended_lock_takes_one_txn_and_one_to_give_it_back() {
    for name in ["mutex", "rwlock", "election"] {
        for report in measured(name, 1, 0, 100) {
            assert_eq!(report.requests.of("txn"), 200, "{report:?}");
            assert_eq!(report.requests.total(), 200, "{report:?}");
        }
    }
}

/// One who waits sends nothing while he waits: the lasting watch of his session,
/// begun once, tells him. So each acquisition costs the same two requests, and a
/// session besides the one watch with the read that it begins with.
#[test]
fn a_contended_lock_costs_what_an_uncontended_one_costs() {
    for name in ["mutex", "rwlock", "election"] {
        for workers in [2, 10, 50] {
            let count = 400;
            for report in measured(name, workers, 0, count) {
                let requests = &report.requests;
                assert_eq!(requests.of("txn"), 2 * count, "{report:?}");
                let sessions = u64::from(workers);
                assert!(requests.of("watch") <= sessions, "{report:?}");
                assert!(requests.of("range") <= sessions, "{report:?}");
                assert_eq!(
                    requests.total(),
                    requests.of("txn")
                        + requests.of("watch")
                        + requests.of("range")
                        + requests.of("keep-alive"),
                    "{report:?}"
                );
            }
        }
    }
}

/// One put for an item, one txn to take it; reading the heads is shared by many.
#[test]
fn an_item_costs_little_more_than_its_put_and_its_claim() {
    for report in measured("queue", 1, 1, 400) {
        assert!(report.requests_per_operation < 2.6, "{report:?}");
    }
    for report in measured("queue", 10, 10, 400) {
        assert!(report.requests_per_operation < 3.5, "{report:?}");
    }
}

/// What it reads was revealed by the commit before it, but for the first few.
#[test]
fn a_transaction_that_follows_another_without_conflicts_costs_its_commit() {
    for recipe in ["stm", "stm-prefetch"] {
        for report in measured(recipe, 1, 0, 100) {
            assert!(report.requests.total() < 110, "{report:?}");
        }
    }
}

/// A conflict costs one more try, and a try no more than the first one does. With
/// a network that takes longer than a transaction's own pauses, some more meet
/// conflicts than on a fast one.
#[test]
fn ten_workers_on_five_accounts_need_few_tries() {
    for recipe in ["stm", "stm-prefetch"] {
        for report in measured(recipe, 10, 0, 50) {
            let tries = report.tries_per_operation.unwrap();
            assert!(tries < 2.5, "{report:?}");
            assert!(report.requests_per_operation < 1.5 * tries, "{report:?}");
        }
    }
}

/// As a queue's item, and a claim more for every other one: something better came first.
#[test]
fn an_item_with_a_priority_costs_half_a_claim_more() {
    for report in measured("priority-queue", 1, 1, 400) {
        assert!(report.requests_per_operation < 2.6, "{report:?}");
    }
    for report in measured("priority-queue", 10, 10, 400) {
        assert!(report.requests_per_operation < 2.9, "{report:?}");
    }
}

/// Consumers that share nothing, each in a process of its own, all hear of each
/// item. Go's send about 20 requests for an item then (50 consumers, a backlog of
/// 200 items). These take the first of several items that is still there (40
/// requests otherwise), and stand back for each other (6 otherwise).
#[test]
fn fifty_consumers_that_share_nothing_send_less_than_half_of_what_go_sends() {
    for report in measured("queue", 50, 10, 400) {
        assert!(report.requests_per_operation < 5.5, "{report:?}");
    }
    // With a single producer an item comes at a time, and all look at it.
    for report in measured("queue", 50, 1, 400) {
        assert!(report.requests_per_operation < 14.0, "{report:?}");
    }
}

/// A participant enters with one txn and leaves with one, and the one that
/// completes the round sends one more. A name that is new each round costs each
/// of them the local copy of its keys: a watch that begins and ends, and a read.
#[test]
fn a_round_of_a_double_barrier_costs_two_txns_for_each_and_one_for_all() {
    for participants in [1, 2, 10] {
        let rounds = 20;
        for report in measured("double-barrier", participants, 0, rounds) {
            let (requests, each) = (&report.requests, u64::from(participants));
            assert_eq!(requests.of("txn"), rounds * (2 * each + 1), "{report:?}");
            assert!(requests.of("watch") <= 2 * rounds * each, "{report:?}");
            // Who comes has read the keys with its transaction; what is left are looks
            // while a young watch may be late.
            assert!(requests.of("range") <= rounds * each / 3, "{report:?}");
        }
    }
}

/// A barrier goes up with a txn and down with a deletion; one who waits looks once, and then
/// keeps a local copy of the one key.
#[test]
fn a_barrier_costs_a_request_up_and_one_down_and_each_waiter_its_watch() {
    for waiters in [1, 10] {
        let rounds = 10;
        for report in measured("barrier", waiters, 0, rounds) {
            let (requests, each) = (&report.requests, u64::from(waiters));
            assert_eq!(requests.of("txn"), rounds, "{report:?}");
            assert_eq!(requests.of("delete"), rounds, "{report:?}");
            assert!(requests.of("watch") <= 2 * rounds * each, "{report:?}");
            assert!(requests.of("range") <= 2 * rounds * each, "{report:?}");
        }
    }
}
