//! What the election promises when sessions are lost, watches break and answers do
//! not come, shown one by one in the simulation.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_recipes::election::Observation;
use etcd_recipes::{Election, Leadership, Session, SessionOptions, runtime};
use etcd_sim::executor::{SimTime, now, sleep, sleep_until};
use etcd_sim::fault::FaultKind;
use etcd_sim::simulation::Simulation;

use crate::support::{SECOND, cut_off, exists, session, simulated};

const PROMPTLY: Duration = Duration::from_millis(100);

fn election(session: &Session) -> Election {
    Election::new(session, "el").unwrap()
}

fn key_of(session: &Session) -> String {
    format!("el/{:x}", session.lease_id())
}

#[test]
fn a_candidate_whose_session_dies_while_it_waits_is_told_at_once_and_never_leads() {
    // Client 1 waits, and is cut off for longer than its lease.
    simulated(vec![(1_000, cut_off(1, 9_000))], |simulation| async move {
        let first = session(&simulation, 0, 60).await;
        let leading = election(&first).campaign("a").await.unwrap();
        let second = session(&simulation, 1, 3).await;
        let error = election(&second).campaign("b").await.unwrap_err();
        assert!(error.is_session_lost(), "{error}");
        assert!(now() < SimTime::from_millis(4_500), "{}", now());
        sleep_until(SimTime::from_millis(12_000)).await;
        assert!(!exists(&simulation, &key_of(&second)));
        leading.resign().await.unwrap();
        assert_eq!(election(&first).leader().await.unwrap(), None);
    });
}

#[test]
fn a_candidate_whose_key_is_deleted_while_it_waits_does_not_lead() {
    simulated(vec![], |simulation| async move {
        let first = session(&simulation, 0, 60).await;
        let leading = election(&first).campaign("a").await.unwrap();
        let second = session(&simulation, 1, 60).await;
        let waiting = election(&second);
        let end = async {
            sleep(SECOND).await;
            let mut kv = simulation.client(2).await.unwrap().kv_client();
            kv.delete(key_of(&second), None).await.unwrap();
            sleep(SECOND).await;
            leading.resign().await.unwrap();
        };
        let (campaign, ()) = futures_util::future::join(waiting.campaign("b"), end).await;
        let error = campaign.unwrap_err();
        assert!(error.is_not_held(), "{error}");
    });
}

#[test]
fn a_campaign_that_is_given_up_or_not_answered_leaves_no_candidate() {
    let faults = vec![
        (10_000, FaultKind::LoseResponse { client: 1 }),
        (20_000, FaultKind::LoseRequest { client: 1 }),
    ];
    simulated(faults, |simulation| async move {
        let first = session(&simulation, 0, 60).await;
        let leading = election(&first).campaign("a").await.unwrap();
        let second = session(&simulation, 1, 60).await;
        let candidate = election(&second);
        for begins_ms in [1_000, 10_001, 20_001] {
            sleep_until(SimTime::from_millis(begins_ms)).await;
            let given_up = runtime::timeout(SECOND, candidate.campaign("b")).await;
            assert!(given_up.is_err(), "another one leads");
            sleep(6 * SECOND).await;
            assert!(!exists(&simulation, &key_of(&second)), "{begins_ms}");
        }
        // It can stand again with the same session.
        leading.resign().await.unwrap();
        let leadership = candidate.campaign("c").await.unwrap();
        assert_eq!(leadership.key(), key_of(&second));
    });
}

#[test]
fn a_campaign_whose_answer_is_lost_still_leads() {
    let faults = vec![(1_000, FaultKind::LoseResponse { client: 0 })];
    simulated(faults, |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        sleep_until(SimTime::from_millis(1_001)).await;
        let leadership = election(&session).campaign("a").await.unwrap();
        assert!(exists(&simulation, leadership.key()));
        leadership.confirm().await.unwrap();
    });
}

#[test]
fn a_resignation_whose_answer_is_lost_is_made_certain() {
    let faults = vec![(1_000, FaultKind::LoseResponse { client: 0 })];
    simulated(faults, |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        let leadership = election(&session).campaign("a").await.unwrap();
        let key = leadership.key().to_owned();
        sleep_until(SimTime::from_millis(1_001)).await;
        leadership.resign().await.unwrap();
        assert!(!exists(&simulation, &key));
    });
}

#[test]
fn a_resignation_that_fails_goes_on_in_the_background() {
    // Cut off for longer than a resignation is patient, and shorter than the lease.
    simulated(vec![(1_000, cut_off(0, 12_000))], |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        let leadership = election(&session).campaign("a").await.unwrap();
        let key = leadership.key().to_owned();
        sleep_until(SimTime::from_millis(1_001)).await;
        leadership.resign().await.unwrap_err();
        assert!(exists(&simulation, &key));
        sleep_until(SimTime::from_millis(20_000)).await;
        assert!(!exists(&simulation, &key));
        assert!(session.is_alive());
    });
}

#[test]
fn who_no_longer_leads_can_change_nothing() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        let leadership = election(&session).campaign("a").await.unwrap();
        let mut kv = simulation.client(1).await.unwrap().kv_client();
        kv.delete(leadership.key(), None).await.unwrap();
        assert!(leadership.proclaim("b").await.unwrap_err().is_not_held());
        let write = etcd_client::TxnOp::put("plan", "b", None);
        let written = leadership.txn().and_then([write]).commit().await;
        assert!(written.unwrap_err().is_not_held());
        assert!(!exists(&simulation, leadership.key()));
        assert!(!exists(&simulation, "plan"));
        assert!(leadership.resign().await.unwrap_err().is_not_held());
    });
}

#[test]
fn a_wait_survives_a_compaction_beyond_its_watch_and_a_member_that_restarts() {
    let faults = vec![
        (1_000, FaultKind::RestartMember { down_ms: 500 }),
        (1_501, FaultKind::Compact),
        (3_000, FaultKind::Reset { client: 1 }),
        (3_001, FaultKind::Compact),
    ];
    simulated(faults, |simulation| async move {
        let first = session(&simulation, 0, 60).await;
        let leading = election(&first).campaign("a").await.unwrap();
        let second = session(&simulation, 1, 60).await;
        let candidate = election(&second);
        let mut observer = candidate.observe();
        let told = observer.next().await.unwrap();
        assert!(matches!(told, Observation::Leader(leader) if leader.value == b"a"));
        let hand_over = async {
            sleep_until(SimTime::from_millis(900)).await;
            // Something to compact, and for the watch to miss.
            for number in 0..20 {
                let mut kv = simulation.client(2).await.unwrap().kv_client();
                // The member is down for a while.
                let put = kv.put(format!("el/x/{number}"), "", None);
                let _ = runtime::timeout(SECOND / 2, put).await;
                sleep(Duration::from_millis(120)).await;
            }
            leading.resign().await.unwrap();
        };
        let (leadership, ()) = futures_util::future::join(candidate.campaign("b"), hand_over).await;
        let leadership = leadership.unwrap();
        let resigned = now();
        loop {
            match observer.next().await.unwrap() {
                Observation::Leader(leader) if leader.value == b"b" => break,
                Observation::Leader(leader) => assert_eq!(leader.value, b"a"),
                Observation::Vacant => {}
            }
        }
        assert!(now() < resigned + 6 * SECOND, "{}", now());
        assert_eq!(leadership.key(), key_of(&second));
    });
}

#[test]
fn an_observer_is_told_of_vacancies_and_terms_that_rise_and_outlives_its_session() {
    simulated(vec![], |simulation| async move {
        let observing = session(&simulation, 0, 60).await;
        let mut observer = election(&observing).observe();
        assert_eq!(observer.next().await.unwrap(), Observation::Vacant);
        observing.close().await.unwrap();
        let mut last = 0;
        for client in 1..4 {
            let session = session(&simulation, client, 60).await;
            let leadership = election(&session).campaign("a").await.unwrap();
            let Observation::Leader(leader) = observer.next().await.unwrap() else {
                panic!("somebody leads");
            };
            assert_eq!(
                (leader.term, leader.lease),
                (leadership.term(), session.lease_id())
            );
            assert!(leader.term > last);
            last = leader.term;
            leadership.proclaim("b").await.unwrap();
            let Observation::Leader(leader) = observer.next().await.unwrap() else {
                panic!("somebody leads");
            };
            assert_eq!((leader.term, leader.value), (last, b"b".to_vec()));
            leadership.resign().await.unwrap();
            assert_eq!(observer.next().await.unwrap(), Observation::Vacant);
        }
        let more = runtime::timeout(10 * SECOND, observer.next()).await;
        assert!(more.is_err(), "nothing has changed");
    });
}

#[test]
fn a_resumed_leadership_is_checked_and_sees_only_its_own_election() {
    simulated(vec![], |simulation| async move {
        let mut kv = simulation.client(1).await.unwrap().kv_client();
        for stranger in ["el2/abc", "elX", "el/x/abc", "el/ABC"] {
            kv.put(stranger, "stranger", None).await.unwrap();
        }
        let session = session(&simulation, 0, 60).await;
        let (key, term) = election(&session).campaign("a").await.unwrap().detach();
        sleep(SECOND).await;
        assert!(exists(&simulation, &key));
        let resume = |key: String, term| Election::resume(&session, "el", key, term);
        let resumed = resume(key.clone(), term).await.unwrap();
        assert_eq!(resumed.term(), term);
        let leader = resumed.election().leader().await.unwrap().unwrap();
        assert_eq!((leader.key.as_str(), leader.term), (key.as_str(), term));
        let observed = resumed.election().observe().next().await.unwrap();
        assert_eq!(observed, Observation::Leader(leader));
        // Twice at a time makes no sense, nor does another key or term.
        assert!(resume(key.clone(), term).await.is_err());
        let (key, term) = resumed.detach();
        assert!(
            resume("el/abc".to_owned(), term)
                .await
                .unwrap_err()
                .is_invalid_name()
        );
        assert!(
            resume(key.clone(), term + 1)
                .await
                .unwrap_err()
                .is_not_held()
        );
        resume(key.clone(), term)
            .await
            .unwrap()
            .resign()
            .await
            .unwrap();
        assert!(resume(key, term).await.unwrap_err().is_not_held());
    });
}

#[test]
fn a_detached_leadership_is_found_by_the_next_campaign_of_its_session() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        let (key, term) = election(&session).campaign("a").await.unwrap().detach();
        let leadership = election(&session).campaign("b").await.unwrap();
        assert_eq!((leadership.key(), leadership.term()), (key.as_str(), term));
        let leader = election(&session).leader().await.unwrap().unwrap();
        assert_eq!((leader.term, leader.value), (term, b"b".to_vec()));
    });
}

#[test]
fn tasks_that_share_a_session_lead_in_turn() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        let leading = Arc::new(AtomicU32::new(0));
        let terms = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<runtime::Task> = (0..5)
            .map(|_| {
                let (election, terms) = (election(&session), Arc::clone(&terms));
                let leading = Arc::clone(&leading);
                runtime::spawn(async move {
                    let leadership = election.campaign("a").await.unwrap();
                    assert_eq!(leading.fetch_add(1, Ordering::Relaxed), 0);
                    sleep(SECOND / 10).await;
                    leading.fetch_sub(1, Ordering::Relaxed);
                    terms.lock().unwrap().push(leadership.term());
                    leadership.resign().await.unwrap();
                })
            })
            .collect();
        sleep(5 * SECOND).await;
        let terms = terms.lock().unwrap().clone();
        assert_eq!(terms.len(), 5);
        assert!(terms.is_sorted_by(|a, b| a < b), "{terms:?}");
        drop(tasks);
    });
}

/// Runs an election in a process of its own, and notes when its closure took each step,
/// by term.
fn runner(simulation: &Simulation, client: u32, ttl_s: u64) -> Arc<Mutex<Vec<(i64, SimTime)>>> {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&steps);
    simulation.spawn(client, move |incarnation| {
        let noted = Arc::clone(&noted);
        async move {
            let client = incarnation.connect().await.unwrap();
            let options = SessionOptions::new().ttl(Duration::from_secs(ttl_s));
            let session = Session::with_options(&client, options).await.unwrap();
            let lead = |leadership: Arc<Leadership>| {
                let noted = Arc::clone(&noted);
                async move {
                    loop {
                        noted.lock().unwrap().push((leadership.term(), now()));
                        runtime::sleep(Duration::from_millis(10)).await;
                    }
                }
            };
            election(&session).run("r", lead).await.unwrap();
        }
    });
    steps
}

/// When each step of a term was, by the term.
fn of_term(steps: &Arc<Mutex<Vec<(i64, SimTime)>>>, place: usize) -> (i64, SimTime, SimTime) {
    let steps = steps.lock().unwrap();
    let mut terms: Vec<i64> = steps.iter().map(|(term, _)| *term).collect();
    terms.dedup();
    let term = terms[place];
    let times = steps
        .iter()
        .filter(|(of, _)| *of == term)
        .map(|(_, at)| *at);
    (term, times.clone().min().unwrap(), times.max().unwrap())
}

fn run_is_over_before_the_lease(kind: FaultKind) {
    simulated(vec![(3_000, kind)], |simulation| async move {
        let first = runner(&simulation, 0, 3);
        sleep_until(SimTime::from_millis(500)).await;
        let second = runner(&simulation, 1, 3);
        let (term, _, _) = of_term(&first, 0);
        let mut ended = None;
        while ended.is_none() {
            sleep(Duration::from_millis(1)).await;
            let key_lives = simulation
                .member()
                .with_store(|store| store.current().any(|kv| kv.create_revision() == term));
            ended = (!key_lives).then(now);
            assert!(now() < SimTime::from_millis(20_000));
        }
        // The healed client begins anew, with a new session and a later term.
        sleep_until(SimTime::from_millis(20_000)).await;
        let (_, _, last_step) = of_term(&first, 0);
        assert!(last_step < ended.unwrap(), "{last_step} {ended:?}");
        let (next, begins, _) = of_term(&second, 0);
        assert!(next > term && begins >= ended.unwrap());
        assert!(begins < ended.unwrap() + PROMPTLY, "{begins} {ended:?}");
    });
}

#[test]
fn run_stops_before_the_lease_can_end_when_it_is_cut_off() {
    run_is_over_before_the_lease(cut_off(0, 8_000));
}

#[test]
fn run_takes_no_step_after_its_process_stood_still_for_longer_than_its_lease() {
    run_is_over_before_the_lease(FaultKind::PauseClient {
        client: 0,
        for_ms: 8_000,
    });
}

#[test]
fn run_leads_again_with_a_new_session() {
    simulated(vec![(3_000, cut_off(0, 6_000))], |simulation| async move {
        let steps = runner(&simulation, 0, 3);
        sleep_until(SimTime::from_millis(20_000)).await;
        let (before, _, last) = of_term(&steps, 0);
        let (after, again, _) = of_term(&steps, 1);
        assert!(before < after);
        assert!(last < SimTime::from_millis(6_100), "{last}");
        assert!(again > SimTime::from_millis(8_900), "{again}");
    });
}

#[test]
fn run_stops_when_its_key_is_deleted_and_campaigns_again() {
    simulated(vec![], |simulation| async move {
        let steps = runner(&simulation, 0, 60);
        sleep(2 * SECOND).await;
        let (_, _, last) = of_term(&steps, 0);
        assert!(last + PROMPTLY > now());
        let mut kv = simulation.client(1).await.unwrap().kv_client();
        let all = etcd_client::DeleteOptions::new().with_prefix();
        kv.delete("el/", Some(all)).await.unwrap();
        let deleted = now();
        sleep(5 * SECOND).await;
        let (_, _, last) = of_term(&steps, 0);
        assert!(last < deleted + PROMPTLY, "{last} {deleted}");
        let (_, _, last) = of_term(&steps, 1);
        assert!(last + PROMPTLY > now());
    });
}

#[test]
fn run_returns_what_the_closure_returns_and_resigns() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        let candidate = election(&session);
        let run = candidate.run("r", async |leadership: Arc<Leadership>| {
            leadership.proclaim("s").await?;
            Ok::<_, etcd_recipes::Error>(leadership.term())
        });
        let term = run.await.unwrap().unwrap();
        assert!(term > 0);
        assert!(!exists(&simulation, &key_of(&session)));
        // A closed session ends it.
        session.close().await.unwrap();
        let ended = election(&session).run("r", async |_| ()).await;
        assert!(ended.unwrap_err().is_session_lost());
    });
}

#[test]
fn run_can_be_dropped_and_then_leaves_no_candidate() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        let election = election(&session);
        let forever = async |_| std::future::pending::<()>().await;
        let run = election.run("r", forever);
        assert!(runtime::timeout(SECOND, run).await.is_err());
        sleep(PROMPTLY).await;
        assert!(!exists(&simulation, &key_of(&session)));
        assert!(session.is_alive());
    });
}

/// Compiles if the future of `run` can be spawned.
#[test]
fn run_can_be_spawned() {
    fn spawned(election: Election) -> runtime::Task {
        runtime::spawn(async move {
            let lead = async |leadership: Arc<Leadership>| leadership.proclaim("x").await;
            let _ = election.run("r", lead).await;
        })
    }
    let _ = spawned;
}
