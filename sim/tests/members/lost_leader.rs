//! What becomes of writes whose leader is lost: as three members of etcd 3.4.23, 3.5.1 and
//! 3.5.30 do when the leader is killed, or stopped for a while.

use std::pin::Pin;

use futures_util::future::join;

use super::*;

const TIMEOUT: &str = "etcdserver: request timed out";
const LEADER_FAILED: &str =
    "etcdserver: request timed out, possibly due to previous leader failure";

/// What came of two writes at the followers, sent 60 ms after the first fault.
struct Written {
    followers: [usize; 2],
    puts: [(Result<(), String>, Duration); 2],
}

type Judged<T> = Pin<Box<dyn Future<Output = T>>>;

/// The faults strike the leader.
fn written<T>(
    seed: u64,
    faults: Vec<(u64, FaultKind)>,
    body: fn(Simulation, Written) -> Judged<T>,
) -> T
where
    T: PartialEq + std::fmt::Debug + Send + 'static,
{
    let plan = Plan {
        seed,
        ..plan(3, faults)
    };
    let leads = first_leader(&Plan {
        faults: vec![],
        ..plan.clone()
    });
    let mut plan = plan;
    for fault in &mut plan.faults {
        if let FaultKind::PauseMember { member, .. } | FaultKind::CrashMember { member, .. } =
            &mut fault.kind
        {
            *member = leads;
        }
    }
    let on = |executor| {
        let options = Options {
            executor,
            ..Options::new(plan.clone())
        };
        let play = move |simulation| async move {
            let written = write(&simulation, leads).await;
            body(simulation, written).await
        };
        run(options, play).unwrap()
    };
    let judged = on(Executor::BEST);
    assert_eq!(judged, on(Executor::Tokio));
    judged
}

async fn write(simulation: &Simulation, leads: usize) -> Written {
    sleep_until(SimTime::from_millis(160)).await;
    let followers = [(leads + 1) % 3, (leads + 2) % 3];
    let put = async |client: u32, member: usize| {
        let mut client = at(simulation, client, member).await;
        let start = now();
        let put = client.put(format!("key-{member}"), "value", None).await;
        let put = match put {
            Ok(_) => Ok(()),
            Err(error) => Err(refusal::<()>(Err(error)).1),
        };
        (put, now().saturating_sub(start))
    };
    let (first, second) = join(put(0, followers[0]), put(1, followers[1])).await;
    Written {
        followers,
        puts: [first, second],
    }
}

impl Written {
    /// Only who has become leader itself says that the one before may have failed.
    fn assert_lost(&self, simulation: &Simulation) {
        let leads = leader(simulation);
        assert!(self.followers.contains(&leads));
        for (follower, (put, took)) in self.followers.iter().zip(&self.puts) {
            let text = match *follower == leads {
                true => LEADER_FAILED,
                false => TIMEOUT,
            };
            assert_eq!(put, &Err(text.to_owned()), "member {follower} of {leads}");
            assert!(ms(7_000) <= *took && *took < ms(7_600), "{took:?}");
        }
    }

    fn assert_answered_after(&self, least: Duration) {
        for (put, took) in &self.puts {
            assert_eq!(put, &Ok(()));
            assert!(least <= *took && *took < least + ms(100), "{took:?}");
        }
    }
}

/// How many of the writes there are, soon after all faults.
async fn happened(simulation: &Simulation) -> i64 {
    simulation.healed().await;
    sleep(ms(500)).await;
    let mut client = at(simulation, 2, leader(simulation)).await;
    let all = GetOptions::new().with_all_keys();
    client.get("", Some(all)).await.unwrap().count()
}

fn pause(for_ms: u64) -> FaultKind {
    FaultKind::PauseMember { member: 0, for_ms }
}

fn crash(down_ms: u64) -> FaultKind {
    FaultKind::CrashMember {
        member: 0,
        down_ms: Some(down_ms),
    }
}

#[test]
fn of_a_leader_that_crashes_only_the_next_one_says_that_it_may_have_failed() {
    written(3, vec![(100, crash(20_000))], |simulation, written| {
        Box::pin(async move {
            written.assert_lost(&simulation);
            assert_eq!(happened(&simulation).await, 0);
        })
    });
}

#[test]
fn what_is_sent_to_a_leader_that_stands_still_is_passed_on_by_it_and_seldom_lost() {
    let answered = (0..24).filter(|&seed| {
        written(seed, vec![(100, pause(2_500))], |simulation, written| {
            Box::pin(async move {
                let answered = written.puts[0].0.is_ok();
                match answered {
                    true => written.assert_answered_after(ms(2_440)),
                    false => written.assert_lost(&simulation),
                }
                answered
            })
        })
    });
    let answered = answered.count();
    assert!((15..24).contains(&answered), "{answered}");
}

#[test]
fn what_nobody_waits_for_any_more_happens_when_the_leader_goes_on() {
    let happened = (0..24).map(|seed| {
        written(seed, vec![(100, pause(10_000))], |simulation, written| {
            Box::pin(async move {
                written.assert_lost(&simulation);
                happened(&simulation).await
            })
        })
    });
    let happened: Vec<i64> = happened.collect();
    let all = happened.iter().filter(|&&writes| writes == 2).count();
    assert!((15..24).contains(&all), "{happened:?}");
    assert!(happened.iter().all(|writes| [0, 2].contains(writes)));
}

#[test]
fn what_was_sent_to_a_leader_that_stands_still_is_lost_when_it_crashes() {
    let faults = vec![(100, pause(9_000)), (1_000, crash(500))];
    written(3, faults, |simulation, written| {
        Box::pin(async move {
            assert_eq!(
                written.puts.iter().filter(|(put, _)| put.is_ok()).count(),
                0
            );
            assert_eq!(happened(&simulation).await, 0);
        })
    });
}
