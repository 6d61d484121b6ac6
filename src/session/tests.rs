//! States of a session, in the simulation.

use etcd_sim::fault::{Fault, FaultKind};
use etcd_sim::plan::Plan;
use etcd_sim::simulation::{Options, Simulation, run};
use futures_util::StreamExt as _;

use super::*;

fn simulated<Fut>(faults: Vec<Fault>, body: impl FnOnce(Simulation) -> Fut + Send + 'static)
where
    Fut: Future<Output = ()> + 'static,
{
    let plan = Plan {
        faults,
        ..Plan::quiet(2)
    };
    run(Options::new(plan), body).unwrap();
}

fn cut_off(at_ms: u64, for_ms: u64) -> Fault {
    let kind = FaultKind::Partition { client: 0, for_ms };
    Fault { at_ms, kind }
}

async fn session(simulation: &Simulation) -> Session {
    let client = simulation.client(0).await.unwrap();
    let options = SessionOptions::new().ttl(Duration::from_secs(9));
    Session::with_options(&client, options).await.unwrap()
}

#[test]
fn a_session_that_hears_nothing_is_suspended_then_healthy_again_or_lost() {
    let faults = vec![cut_off(1_000, 6_000), cut_off(20_000, 60_000)];
    simulated(faults, |simulation| async move {
        let session = session(&simulation).await;
        assert_eq!(session.state(), SessionState::Healthy);
        let mut states = std::pin::pin!(session.states());
        let mut seen = Vec::new();
        while let Some(state) = states.next().await {
            seen.push((state, runtime::now()));
        }
        let [
            (SessionState::Healthy, _),
            (SessionState::Suspended { remaining }, suspended),
            (SessionState::Healthy, _),
            (SessionState::Suspended { .. }, _),
            (SessionState::Lost(Loss::Expired), lost),
        ] = seen[..]
        else {
            panic!("{seen:?}");
        };
        // A keep-alive is sent every third of the time to live, and waited for a
        // third of what remains then.
        assert!(remaining <= Duration::from_secs(4), "{remaining:?}");
        assert!(remaining > Duration::from_secs(3), "{remaining:?}");
        assert!(lost > suspended);
        assert_eq!(session.state(), SessionState::Lost(Loss::Expired));
    });
}

#[test]
fn a_session_that_is_reopened_is_another_one() {
    simulated(vec![], |simulation| async move {
        let first = session(&simulation).await;
        first.close().await.unwrap();
        assert_eq!(first.state(), SessionState::Lost(Loss::Closed));
        let second = first.reopen().await.unwrap();
        assert_ne!(first.lease_id(), second.lease_id());
        assert_eq!(second.ttl(), first.ttl());
        assert!(second.is_alive() && !first.is_alive());
    });
}

#[test]
fn what_is_done_while_alive_ends_with_the_session() {
    simulated(vec![cut_off(500, 60_000)], |simulation| async move {
        let session = session(&simulation).await;
        let never = std::future::pending::<Result<(), Error>>();
        let error = session.while_alive(never).await.unwrap_err();
        assert!(error.is_session_lost(), "{error}");
        assert_eq!(session.remaining(), Duration::ZERO);
    });
}

#[test]
fn a_grant_whose_answer_is_lost_leaves_no_lease() {
    let kind = FaultKind::LoseResponse { client: 0 };
    simulated(vec![Fault { at_ms: 100, kind }], |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let other = simulation.client(1).await.unwrap();
        runtime::sleep(Duration::from_millis(200)).await;
        let options = SessionOptions::new().ttl(Duration::from_secs(600));
        let error = Session::with_options(&client, options).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
        let leases = other.lease_client().leases().await.unwrap();
        assert!(leases.leases().is_empty(), "{leases:?}");
    });
}

#[test]
fn times_to_live_are_rounded_up_to_seconds() {
    let seconds = |millis| {
        SessionOptions::new()
            .ttl(Duration::from_millis(millis))
            .ttl_seconds()
    };
    assert_eq!((seconds(0), seconds(1), seconds(2000)), (1, 1, 2));
    assert_eq!((seconds(2001), seconds(60_000)), (3, 60));
}
