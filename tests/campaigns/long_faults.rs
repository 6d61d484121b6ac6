//! Faults that last longer than everything has time afterwards: none of them makes a
//! sound recipe break a promise.

use std::time::Duration;

use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::campaign::simulate::simulate;
use etcd_recipes::workload::{self, LIVENESS_BOUND, Workload};
use etcd_sim::fault::{Fault, FaultKind, Party};
use etcd_sim::plan::Plan;

const LONG_MS: u64 = 100_000;

fn long_faults(clients: u32) -> Vec<FaultKind> {
    let (member, for_ms) = (0, LONG_MS);
    let all = (0..=clients).map(Party::Client).collect();
    vec![
        FaultKind::CrashMember {
            member,
            down_ms: Some(for_ms),
        },
        FaultKind::PauseMember { member, for_ms },
        FaultKind::LagMember {
            member,
            by_ms: LONG_MS,
            for_ms: 1_000,
        },
        FaultKind::StallMember { member, for_ms },
        FaultKind::OverloadMember { member, for_ms },
        FaultKind::HoldEvents { member, for_ms },
        FaultKind::LoseLeader { for_ms },
        FaultKind::ExpireLate { for_ms },
        FaultKind::FillUp { for_ms },
        FaultKind::Corrupt { for_ms },
        FaultKind::Cut {
            from: all,
            to: vec![Party::Member(member)],
            one_way: false,
            for_ms,
        },
    ]
}

fn survives(workload: &'static dyn Workload, members: usize, at_ms: u64) {
    let drawn = RunPlan::draw(workload, 11);
    let clients = workload.clients(&drawn.parameters);
    for kind in long_faults(clients) {
        let environment = Plan {
            members,
            faults: vec![Fault {
                at_ms,
                kind: kind.clone(),
            }],
            ..Plan::quiet(11)
        };
        let plan = RunPlan {
            environment,
            ..drawn.clone()
        };
        let report = simulate(&plan).unwrap();
        let verdict = &report.verdict;
        assert!(
            verdict.violation().is_none(),
            "{}, {members} members, {kind:?} at {at_ms} ms: {verdict}",
            workload.name()
        );
    }
}

#[test]
fn a_fault_may_last_longer_than_what_comes_after_it_may() {
    assert!(Duration::from_millis(LONG_MS) > LIVENESS_BOUND);
    for workload in workload::all() {
        for (members, at_ms) in [(1, 0), (1, 400), (3, 400)] {
            survives(workload, members, at_ms);
        }
    }
}
