//! Members whose processes are told to stop, or end because they were removed.

use futures_util::future::join;

use super::*;

/// What a client of a member that stops sees, and when, from then on.
#[derive(Debug, Default)]
struct Seen {
    calls: Vec<(Code, String)>,
    /// The stream of its watch broke.
    broke_after: Duration,
    /// It heard of a put that was made meanwhile.
    heard: bool,
}

/// Stops the leader, which has an open watch. Messages take 10 ms.
async fn stop_leader(simulation: &Simulation) -> Seen {
    simulation.healed().await;
    let (leads, other) = (leader(simulation), follower(simulation));
    let mut client = at(simulation, 0, leads).await;
    let mut stranger = at(simulation, 1, other).await;
    let mut watch = client.watch("key", None).await.unwrap();
    watch.message().await.unwrap();
    let start = now();
    let stopped = simulation.stop(leads);
    let mut seen = Seen::default();
    let calls = async {
        let mut calls = Vec::new();
        for _ in 0..3 {
            calls.push(refusal(client.get("key", None).await));
            sleep(ms(100)).await;
        }
        calls
    };
    let watches = async {
        let mut heard = false;
        loop {
            match watch.message().await {
                Ok(Some(answer)) => heard |= !answer.events().is_empty(),
                Ok(None) | Err(_) => return (heard, now().saturating_sub(start)),
            }
        }
    };
    let put = async {
        sleep(ms(3_000)).await;
        stranger.put("key", "value", None).await.unwrap();
        let took = now().saturating_sub(start);
        assert!(took < ms(3_100), "there is a leader all the time: {took:?}");
    };
    let ((calls, watched), ()) = join(join(calls, watches), put).await;
    seen.calls = calls;
    (seen.heard, seen.broke_after) = watched;
    sleep(ms(500)).await;
    assert_ne!(leader(simulation), leads);
    stranger.put("key", "value", None).await.unwrap();
    stopped.heal();
    sleep(ms(1_000)).await;
    client.put("key", "value", None).await.unwrap();
    seen
}

#[test]
fn a_member_that_stops_goes_on_with_what_it_was_asked_before_and_takes_no_new_calls() {
    on_each(&plan(3, vec![]), |simulation| async move {
        let seen = stop_leader(&simulation).await;
        let codes: Vec<Code> = seen.calls.iter().map(|(code, _)| *code).collect();
        assert_eq!(
            codes,
            [Code::Cancelled, Code::Unavailable, Code::Unavailable]
        );
        assert_eq!(seen.calls[0].1, "operation was canceled");
        assert_eq!(seen.calls[1].1, "tcp connect error");
        assert!(seen.heard);
        let broke = seen.broke_after;
        assert!(ms(7_000) <= broke && broke < ms(7_100), "{broke:?}");
    });
}

#[test]
fn before_3_5_18_a_member_that_stops_breaks_its_connections_at_once() {
    let version = Version::new(3, 5, 16);
    on_each_as(version, &plan(3, vec![]), |simulation| async move {
        let seen = stop_leader(&simulation).await;
        assert!(
            seen.calls
                .iter()
                .all(|(code, _)| *code == Code::Unavailable)
        );
        assert!(!seen.heard);
        assert!(seen.broke_after < ms(100), "{:?}", seen.broke_after);
    });
}

#[test]
fn a_member_with_nothing_to_do_stops_at_once_and_is_started_again() {
    let stop = |member| FaultKind::StopMember {
        member,
        down_ms: 500,
    };
    let faults = (0..3).map(|member| (1_000 * (1 + member as u64), stop(member)));
    on_each(&plan(3, faults.collect()), |simulation| async move {
        for member in 0..3 {
            sleep_until(SimTime::from_millis(1_000 * (1 + member as u64) + 250)).await;
            let mut client = at(&simulation, 0, member).await;
            let (_, text) = refusal(client.get("key", None).await);
            assert_eq!(text, "tcp connect error");
            let mut other = at(&simulation, 1, (member + 1) % 3).await;
            other.put("key", "value", None).await.unwrap();
            sleep(ms(500)).await;
            client.put("key", "value", None).await.unwrap();
        }
        assert_eq!(simulation.report().faults["member stop"], 3);
    });
}

/// An open stream keeps the member until the faults are over.
#[test]
fn no_member_is_still_to_stop_when_all_has_healed() {
    let stop = |member| FaultKind::StopMember { member, down_ms: 0 };
    let faults = (0..3).map(|member| (500, stop(member)));
    on_each(&plan(3, faults.collect()), |simulation| async move {
        let mut client = at(&simulation, 0, leader(&simulation)).await;
        let _watch = client.watch("key", None).await.unwrap();
        simulation.healed().await;
        sleep(ms(5_000)).await;
        for member in 0..3 {
            let mut client = at(&simulation, 1, member).await;
            client.put("key", "value", None).await.unwrap();
            sleep(ms(500)).await;
        }
    });
}

#[test]
fn who_waits_for_a_change_at_a_member_that_was_removed_is_told_that_it_stops() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let (leads, member) = (leader(&simulation), follower(&simulation));
        let mut client = at(&simulation, 0, member).await;
        let mut other = at(&simulation, 1, leads).await;
        let id = id_of(&simulation, member).await;
        // Members have been in touch for five seconds.
        sleep(ms(6_000)).await;
        other.member_remove(id).await.unwrap();
        let put = within(ms(2_000), client.put("key", "value", None)).await;
        let text = "etcdserver: server stopped".to_owned();
        assert_eq!(refusal(put.expect("it is told")), (Code::Unavailable, text));
    });
}
