//! Faults by hand: each lasts as long as its guard.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, GetOptions, PutOptions, WatchOptions};
use etcd_sim::executor::SimTime;
use etcd_sim::fault::Parties;
use etcd_sim::network::{ChannelOptions, Endpoints};
use etcd_sim::{Failure, Fault, FaultKind, Party, Settled, Simulation};

use crate::{executors, secs};

/// Three members, calls that give up after half a second, on every executor.
fn on_each<Fut>(body: fn(Simulation) -> Fut)
where
    Fut: Future<Output = ()> + 'static,
{
    for executor in executors() {
        let builder = Simulation::builder().members(3).executor(executor);
        let builder = builder.timeout(Duration::from_millis(500));
        builder.run(body).unwrap();
    }
}

async fn at(simulation: &Simulation, client: u32, member: usize) -> Client {
    let timeout = Some(Duration::from_millis(500));
    let channel = simulation.channel(client, ChannelOptions { timeout });
    let channel = channel.with_endpoints(Endpoints::One(member));
    Client::from_channel(channel.into_etcd_channel(), None)
        .await
        .unwrap()
}

async fn can_put(client: &mut Client) -> bool {
    client.put("key", "value", None).await.is_ok()
}

#[test]
fn a_partition_heals_when_its_guard_is_dropped() {
    on_each(|simulation| async move {
        let leader = simulation.leader().unwrap();
        let others = simulation.members().without(Party::Member(leader));
        let mut client = at(&simulation, 0, leader).await;
        assert!(can_put(&mut client).await);
        let partition = simulation.partition(Party::Member(leader), others);
        assert!(!can_put(&mut client).await);
        simulation.sleep(secs(5)).await;
        assert_ne!(simulation.leader(), Some(leader));
        partition.heal();
        simulation.sleep(secs(1)).await;
        assert!(can_put(&mut client).await);
    });
}

#[test]
fn one_way_only_what_is_sent_that_way_is_lost() {
    on_each(|simulation| async move {
        let mut client = simulation.client(0).await.unwrap();
        assert!(can_put(&mut client).await);
        let guard = simulation.partition_one_way(simulation.members(), Party::Client(0));
        let options = Some(PutOptions::new());
        assert!(client.put("lost answer", "", options).await.is_err());
        drop(guard);
        let answer = client.get("lost answer", None).await.unwrap();
        assert_eq!(answer.count(), 1);

        let guard = simulation.partition_one_way(Party::Client(0), simulation.members());
        assert!(client.put("lost request", "", None).await.is_err());
        drop(guard);
        let answer = client.get("lost request", None).await.unwrap();
        assert_eq!(answer.count(), 0);
    });
}

#[test]
fn guards_of_the_same_kind_end_one_by_one() {
    on_each(|simulation| async move {
        let mut client = simulation.client(0).await.unwrap();
        let first = simulation.isolate(Party::Client(0));
        let second = simulation.isolate(Party::Client(0));
        drop(first);
        assert!(!can_put(&mut client).await);
        drop(second);
        assert!(can_put(&mut client).await);

        let delay = |ms| {
            let by = Duration::from_millis(ms);
            simulation.delay(Party::Client(0), simulation.members(), by, Duration::ZERO)
        };
        let takes_ms = async |client: &mut Client| {
            let start = simulation.now();
            client
                .get("key", Some(GetOptions::new().with_serializable()))
                .await
                .unwrap();
            simulation.now().saturating_sub(start).as_millis()
        };
        let (slow, slower) = (delay(10), delay(100));
        assert!(takes_ms(&mut client).await >= 220);
        drop(slower);
        assert!((20..40).contains(&takes_ms(&mut client).await));
        drop(slow);
        assert!(takes_ms(&mut client).await < 5);
    });
}

#[test]
fn a_guard_outlasts_the_faults_of_the_plan_and_the_other_way_round() {
    for executor in executors() {
        let fault = |at_ms, for_ms| Fault {
            at_ms,
            kind: FaultKind::Partition { client: 0, for_ms },
        };
        let builder = Simulation::builder().executor(executor);
        let builder = builder.faults([fault(1_000, 2_000), fault(6_000, 3_000)]);
        let builder = builder.timeout(Duration::from_millis(200));
        let run = builder.run(|simulation| async move {
            let mut client = simulation.client(0).await.unwrap();
            simulation.sleep_until(SimTime::from_millis(1_500)).await;
            let guard = simulation.isolate(Party::Client(0));
            simulation.sleep_until(SimTime::from_millis(4_000)).await;
            assert!(!can_put(&mut client).await, "the guard holds");
            drop(guard);
            assert!(can_put(&mut client).await);
            simulation.sleep_until(SimTime::from_millis(7_000)).await;
            drop(simulation.isolate(Party::Client(0)));
            assert!(!can_put(&mut client).await, "the plan's partition holds");
            let guard = simulation.isolate(Party::Client(0));
            simulation.healed().await;
            assert!(!can_put(&mut client).await, "the guard holds");
            drop(guard);
            assert!(can_put(&mut client).await);
        });
        run.unwrap();
    }
}

#[test]
fn members_that_crash_pause_stall_and_lag_come_back_with_the_guard() {
    on_each(|simulation| async move {
        let member = (simulation.leader().unwrap() + 1) % 3;
        let mut here = at(&simulation, 0, member).await;
        let mut there = at(&simulation, 1, simulation.leader().unwrap()).await;
        let down: [fn(&Simulation, usize) -> etcd_sim::FaultGuard; 3] = [
            |simulation, member| simulation.crash(Party::Member(member)),
            |simulation, member| simulation.pause(Party::Member(member)),
            Simulation::stall,
        ];
        for down in down {
            assert!(can_put(&mut here).await);
            let guard = down(&simulation, member);
            assert!(!can_put(&mut here).await);
            assert!(can_put(&mut there).await);
            simulation.sleep(secs(3)).await;
            drop(guard);
            simulation.sleep(secs(1)).await;
            assert!(can_put(&mut here).await);
        }
        let guard = simulation.overload(member);
        let refused = here.put("key", "", None).await.unwrap_err().to_string();
        assert!(refused.contains("too many requests"), "{refused}");
        drop(guard);
        assert!(can_put(&mut here).await);

        let lag = simulation.lag(member, secs(60));
        let newest = there.put("key", "new", None).await.unwrap();
        let newest = newest.header().unwrap().revision();
        let mut revision = async || {
            let old = Some(GetOptions::new().with_serializable());
            here.get("key", old).await.unwrap().kvs()[0].mod_revision()
        };
        simulation.sleep(secs(1)).await;
        assert!(revision().await < newest);
        drop(lag);
        there.put("other", "", None).await.unwrap();
        simulation.sleep(secs(61)).await;
        assert_eq!(revision().await, newest);
    });
}

#[test]
fn without_a_leader_nothing_is_decided_until_the_guard_is_dropped() {
    on_each(|simulation| async move {
        let mut client = simulation.client(0).await.unwrap();
        assert!(can_put(&mut client).await);
        let guard = simulation.lose_leader();
        simulation.sleep(secs(30)).await;
        assert_eq!(simulation.leader(), None);
        // Another guard that ends meanwhile changes nothing.
        drop(simulation.isolate(Party::Client(7)));
        assert!(!can_put(&mut client).await);
        drop(guard);
        simulation.sleep(secs(5)).await;
        assert!(can_put(&mut client).await);
    });
}

#[test]
fn leases_space_and_events_obey_guards() {
    on_each(|simulation| async move {
        let mut client = simulation.client(0).await.unwrap();
        let full = simulation.fill_up();
        let refused = client.put("key", "", None).await.unwrap_err().to_string();
        assert!(refused.contains("database space exceeded"), "{refused}");
        drop(full);
        let lease = client.lease_grant(2, None).await.unwrap().id();
        let options = Some(PutOptions::new().with_lease(lease));
        client.put("leased", "", options).await.unwrap();
        let late = simulation.expire_late();
        simulation.sleep(secs(30)).await;
        assert_eq!(client.get("leased", None).await.unwrap().count(), 1);
        drop(late);
        simulation.sleep(secs(2)).await;
        assert_eq!(client.get("leased", None).await.unwrap().count(), 0);

        let mut watcher = at(&simulation, 1, 0).await;
        let mut stream = watcher
            .watch("seen", Some(WatchOptions::new()))
            .await
            .unwrap();
        stream.message().await.unwrap();
        let held = simulation.hold_events(0);
        client.put("seen", "", None).await.unwrap();
        let start = simulation.now();
        let release = async {
            simulation.sleep(secs(3)).await;
            drop(held);
        };
        let (event, ()) = futures_util::future::join(stream.message(), release).await;
        assert_eq!(event.unwrap().unwrap().events().len(), 1);
        let waited = simulation.now().saturating_sub(start);
        assert!(secs(3) <= waited && waited < secs(4), "{waited:?}");
    });
}

/// Counts up once every 100 ms; how far each life came.
fn counter(simulation: &Simulation) -> Arc<Mutex<Vec<u32>>> {
    let lives = Arc::new(Mutex::new(Vec::new()));
    let mine = Arc::clone(&lives);
    simulation.spawn(0, move |process| {
        let lives = Arc::clone(&mine);
        async move {
            let life = usize::try_from(process.number()).unwrap() - 1;
            lives.lock().unwrap().push(0);
            loop {
                process.simulation().sleep(Duration::from_millis(100)).await;
                lives.lock().unwrap()[life] += 1;
            }
        }
    });
    lives
}

#[test]
fn client_processes_pause_die_and_start_again_with_guards() {
    on_each(|simulation| async move {
        let lives = counter(&simulation);
        let ms = Duration::from_millis;
        simulation.sleep(ms(1_050)).await;
        let before = lives.lock().unwrap().clone();
        assert_eq!(before.len(), 1);
        assert!((9..=10).contains(&before[0]), "{before:?}");
        let pause = simulation.pause(Party::Client(0));
        simulation.sleep(ms(1_000)).await;
        assert_eq!(*lives.lock().unwrap(), before);
        drop(pause);
        simulation.sleep(ms(1_000)).await;
        assert!(lives.lock().unwrap()[0] > before[0]);
        let crash = simulation.crash(Party::Client(0));
        simulation.sleep(ms(1_000)).await;
        assert_eq!(lives.lock().unwrap().len(), 1);
        drop(crash);
        simulation.sleep(ms(1_050)).await;
        assert_eq!(lives.lock().unwrap().len(), 2);
        simulation.kill(0);
        simulation.sleep(secs(10)).await;
        assert_eq!(lives.lock().unwrap().len(), 2);
        assert_eq!(simulation.settle(secs(1)).await, Settled::Finished);
    });
}

#[test]
fn a_fault_that_could_strike_nobody_is_refused() {
    let refused = |body: fn(Simulation)| {
        let run = Simulation::builder().run(move |simulation| async move { body(simulation) });
        match run {
            Err(Failure::Panicked(panicked)) => panicked.message,
            other => panic!("{other:?}"),
        }
    };
    let no_member = refused(|simulation| simulation.lag(3, secs(1)).heal());
    assert!(no_member.contains("there is no member 3"), "{no_member}");
    let no_process = refused(|simulation| simulation.pause(Party::Client(5)).heal());
    assert!(
        no_process.contains("client 5 is no process"),
        "{no_process}"
    );
}

#[test]
fn parties_are_named_one_by_one_or_together() {
    let three: Parties = [Party::Member(0), Party::Member(1), Party::Client(0)].into();
    let two = three.without(Party::Member(1));
    assert_eq!(two, Parties::from(vec![Party::Member(0), Party::Client(0)]));
}
