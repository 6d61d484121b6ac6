use std::sync::Arc;
use std::time::Duration;

use etcd_recipes::election::Observation;
use etcd_recipes::etcd_client::TxnOp;
use etcd_recipes::{Election, Leadership, Session, SessionOptions, runtime};

use super::proxy::Proxy;
use super::server::{Server, connect};
use super::{A_MINUTE, all, within};

async fn session(server: &Server, ttl_s: u64) -> Session {
    let options = SessionOptions::new().ttl(Duration::from_secs(ttl_s));
    Session::with_options(&server.client().await, options)
        .await
        .unwrap()
}

#[tokio::test]
async fn ten_candidates_lead_in_turn_and_an_observer_follows() {
    const NAME: &str = "live-election/contended";
    let server = Server::shared();
    let mut observer = Election::new(&session(&server, 10).await, NAME)
        .unwrap()
        .observe();
    assert_eq!(observer.next().await.unwrap(), Observation::Vacant);
    let mut tasks = Vec::new();
    for candidate in 0..10 {
        let session = session(&server, 10).await;
        tasks.push(async move {
            let election = Election::new(&session, NAME).unwrap();
            let mut terms = Vec::new();
            for round in 0..10 {
                let leadership = election
                    .campaign(format!("{candidate}.{round}"))
                    .await
                    .unwrap();
                let leader = election.leader().await.unwrap().unwrap();
                assert_eq!(leader.term, leadership.term());
                let write = TxnOp::put("live-election/data", "x", None);
                leadership.txn().and_then([write]).commit().await.unwrap();
                leadership
                    .proclaim(format!("{candidate}.{round}+"))
                    .await
                    .unwrap();
                terms.push(leadership.term());
                leadership.resign().await.unwrap();
            }
            terms
        });
    }
    let last_session = session(&server, 10).await;
    let candidates = async {
        let terms = all(tasks).await.concat();
        // What the observer cannot miss, because it stays.
        let election = Election::new(&last_session, NAME).unwrap();
        (terms, election.campaign("the end").await.unwrap())
    };
    let observing = async {
        let mut seen = Vec::new();
        loop {
            if let Observation::Leader(leader) = observer.next().await.unwrap() {
                seen.push(leader.term);
                if leader.value == b"the end" {
                    return seen;
                }
            }
        }
    };
    let both = futures_util::future::join(candidates, observing);
    let ((terms, end), seen) = within(A_MINUTE, both).await;
    let mut distinct = terms.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 100, "each leadership has a term of its own");
    assert!(seen.is_sorted(), "nothing goes back: {seen:?}");
    assert_eq!(seen.last(), Some(&end.term()));
    let real = |term: &i64| terms.contains(term) || *term == end.term();
    assert!(seen.iter().all(real), "only real leaders: {seen:?}");
}

#[tokio::test]
async fn a_candidate_whose_session_dies_while_it_waits_never_leads() {
    const NAME: &str = "live-election/dies";
    let server = Server::shared();
    let first = session(&server, 30).await;
    let leading = Election::new(&first, NAME)
        .unwrap()
        .campaign("a")
        .await
        .unwrap();
    let proxy = Proxy::new(server.port());
    let options = SessionOptions::new().ttl(Duration::from_secs(2));
    let client = connect(&proxy.endpoint()).await;
    let second = Session::with_options(&client, options).await.unwrap();
    let candidate = Election::new(&second, NAME).unwrap();
    let cut = async {
        runtime::sleep(Duration::from_millis(500)).await;
        proxy.lose_answers();
    };
    let (campaign, ()) = within(
        A_MINUTE,
        futures_util::future::join(candidate.campaign("b"), cut),
    )
    .await;
    assert!(campaign.unwrap_err().is_session_lost());
    leading.resign().await.unwrap();
    let vacant = async {
        while Election::new(&first, NAME)
            .unwrap()
            .leader()
            .await
            .unwrap()
            .is_some()
        {
            runtime::sleep(Duration::from_millis(100)).await;
        }
    };
    within(A_MINUTE, vacant).await;
}

#[tokio::test]
async fn a_wait_and_an_observer_survive_a_compaction_and_a_broken_connection() {
    const NAME: &str = "live-election/compacted";
    let server = Server::own();
    let first = session(&server, 30).await;
    let leading = Election::new(&first, NAME)
        .unwrap()
        .campaign("a")
        .await
        .unwrap();
    let proxy = Proxy::new(server.port());
    let options = SessionOptions::new().ttl(Duration::from_secs(30));
    let client = connect(&proxy.endpoint()).await;
    let second = Session::with_options(&client, options).await.unwrap();
    let candidate = Election::new(&second, NAME).unwrap();
    let mut observer = candidate.observe();
    let hand_over = async {
        runtime::sleep(Duration::from_millis(500)).await;
        let mut direct = server.client().await;
        for number in 0..20 {
            let put = direct
                .put(format!("{NAME}/x/{number}"), "", None)
                .await
                .unwrap();
            if number % 5 == 0 {
                proxy.cut();
                let revision = put.header().unwrap().revision();
                direct.compact(revision, None).await.unwrap();
            }
        }
        leading.resign().await.unwrap();
    };
    let campaign = within(
        A_MINUTE,
        futures_util::future::join(candidate.campaign("b"), hand_over),
    );
    let term = campaign.await.0.unwrap();
    within(A_MINUTE, async {
        loop {
            if let Ok(Observation::Leader(leader)) = observer.next().await
                && leader.term == term.term()
            {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn run_leads_again_after_its_lease_was_revoked() {
    let server = Server::shared();
    let session = session(&server, 10).await;
    let election = Election::new(&session, "live-election/run").unwrap();
    let mut client = server.client().await;
    let mut terms = Vec::new();
    let lead = |leadership: Arc<Leadership>| {
        terms.push(leadership.term());
        let is_second = terms.len() == 2;
        let mut client = client.clone();
        async move {
            if is_second {
                return leadership.lease_id();
            }
            client.lease_revoke(leadership.lease_id()).await.unwrap();
            std::future::pending().await
        }
    };
    let second_lease = within(A_MINUTE, election.run("r", lead)).await.unwrap();
    assert_ne!(second_lease, session.lease_id());
    assert!(terms.len() == 2 && terms[0] < terms[1], "{terms:?}");
    let left = client.get("live-election/run/", None).await.unwrap();
    assert!(left.kvs().is_empty());
}
