//! Election: keys and requests as etcd's Go recipes have them.

use std::time::Duration;

use etcd_recipes::{Election, Session, runtime};

use super::tap::{Tap, plain, quiet, stored};

/// What was sent since the last time, with the ids that differ replaced.
fn sent(tap: &Tap, session: &Session) -> Vec<String> {
    let sent = tap.take();
    sent.iter()
        .map(|request| plain(request, session.lease_id()))
        .collect()
}

/// Go's transaction, and the first candidate with it.
const CAMPAIGN: &str = "if el/LEASE created = 0 \
    then put el/LEASE \"val\" with lease, get el/..el0 by create ascending limit 1 \
    else get el/LEASE, get el/..el0 by create ascending limit 1";

#[test]
fn an_election_without_rivals_is_one_request_for_each_step() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let session = Session::new(&client).await.unwrap();
        let election = Election::new(&session, "el").unwrap();
        let leadership = election.campaign("val").await.unwrap();
        assert_eq!(sent(&tap, &session), [CAMPAIGN]);
        let key = |value: &str| format!("el/{:x} \"{value}\" with lease", session.lease_id());
        assert_eq!(stored(&simulation), [key("val")]);

        let term = leadership.term();
        leadership.proclaim("new").await.unwrap();
        let proclaim = format!("if el/LEASE created = {term} then put el/LEASE \"new\" with lease");
        assert_eq!(sent(&tap, &session), [proclaim]);
        assert_eq!(stored(&simulation), [key("new")]);

        let leader = election.leader().await.unwrap().unwrap();
        assert_eq!((leader.term, leader.value), (term, b"new".to_vec()));
        assert_eq!(leader.lease, session.lease_id());
        let ask = "get el/..el0 by create ascending limit 1";
        assert_eq!(sent(&tap, &session), [ask]);

        leadership.resign().await.unwrap();
        let resign = format!("if el/LEASE created = {term} then delete el/LEASE");
        assert_eq!(sent(&tap, &session), [resign]);
        assert!(stored(&simulation).is_empty());
    });
}

#[test]
fn who_waits_to_lead_watches_once_and_then_asks_no_more() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let session = Session::new(&client).await.unwrap();
        let election = Election::new(&session, "el").unwrap();
        let others = Session::new(&simulation.client(1).await.unwrap())
            .await
            .unwrap();
        let theirs = Election::new(&others, "el").unwrap();
        for round in 0..3 {
            let leading = theirs.campaign("other").await.unwrap();
            let hand_over = async {
                runtime::sleep(Duration::from_secs(1)).await;
                leading.resign().await.unwrap();
            };
            let campaign = election.campaign("val");
            let (leadership, ()) = futures_util::future::join(campaign, hand_over).await;
            let expected = match round {
                0 => vec![CAMPAIGN, "watch", "get el/..el0"],
                _ => vec![CAMPAIGN],
            };
            assert_eq!(sent(&tap, &session), expected, "round {round}");
            leadership.unwrap().resign().await.unwrap();
            tap.take();
        }
    });
}
