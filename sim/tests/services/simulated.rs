//! Users, locks and elections in simulated time.

use std::future::Future;
use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmType, Client, ConnectOptions, Error, LeaseGrantOptions, LockOptions,
    Permission, ResignOptions, Txn, TxnOp,
};
use etcd_sim::executor::{Executor, now, sleep};
use etcd_sim::fault::{Fault, FaultKind, Party};
use etcd_sim::network::ChannelOptions;
use etcd_sim::plan::Plan;
use etcd_sim::simulation::{Options, Simulation, run};
use etcd_sim::version::Version;

use crate::transcript::refusal;

const TOKEN_TTL: Duration = Duration::from_secs(300);

fn on_each_executor<Fut>(plan: &Plan, body: fn(Simulation) -> Fut)
where
    Fut: Future<Output = ()> + 'static,
{
    for executor in [Executor::Tokio, Executor::BEST] {
        let options = Options {
            executor,
            ..Options::new(plan.clone())
        };
        run(options, body).unwrap();
    }
}

/// Users `root` and `worker`; the latter may use what begins with `work/`, and read the key
/// `single`.
async fn with_users(simulation: &Simulation) {
    let mut client = simulation.client(99).await.unwrap();
    client.user_add("root", "secret", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("worker", "secret", None).await.unwrap();
    client.role_add("workers").await.unwrap();
    let prefix = Permission::read_write("work/").with_prefix();
    for permission in [prefix, Permission::read("single")] {
        let granted = client.role_grant_permission("workers", permission).await;
        granted.unwrap();
    }
    client.user_grant_role("worker", "workers").await.unwrap();
    client.auth_enable().await.unwrap();
}

async fn worker(simulation: &Simulation, number: u32, refresh: bool) -> Client {
    let channel = simulation.channel(number, ChannelOptions::default());
    let options = ConnectOptions::new()
        .with_user("worker", "secret")
        .with_auto_token_refresh(refresh);
    let client = Client::from_channel(channel.into_etcd_channel(), Some(options)).await;
    client.unwrap()
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    refusal(&answer.unwrap_err())
}

#[test]
fn a_token_expires_when_it_is_not_used_and_a_client_that_may_takes_a_new_one() {
    on_each_executor(&Plan::quiet(1), |simulation| async move {
        with_users(&simulation).await;
        let mut plain = worker(&simulation, 1, false).await;
        let mut refreshing = worker(&simulation, 2, true).await;
        plain.put("work/a", "1", None).await.unwrap();
        for _ in 0..3 {
            sleep(TOKEN_TTL - Duration::from_secs(1)).await;
            plain.put("work/a", "2", None).await.unwrap();
        }
        sleep(TOKEN_TTL + Duration::from_secs(2)).await;
        let invalid = "Unauthenticated: etcdserver: invalid auth token";
        assert_eq!(refused(plain.put("work/a", "3", None).await), invalid);
        refreshing.put("work/a", "4", None).await.unwrap();
        let denied = "PermissionDenied: etcdserver: permission denied";
        assert_eq!(refused(refreshing.get("other", None).await), denied);
    });
}

#[test]
fn a_member_that_was_down_knows_users_but_no_tokens() {
    let kind = FaultKind::CrashMember {
        member: 0,
        down_ms: Some(1_000),
    };
    let plan = Plan {
        faults: vec![Fault { at_ms: 5_000, kind }],
        ..Plan::quiet(1)
    };
    on_each_executor(&plan, |simulation| async move {
        with_users(&simulation).await;
        let mut client = worker(&simulation, 1, false).await;
        client.put("work/a", "1", None).await.unwrap();
        simulation.healed().await;
        sleep(Duration::from_secs(3)).await;
        let invalid = "Unauthenticated: etcdserver: invalid auth token";
        assert_eq!(refused(client.get("work/a", None).await), invalid);
        let mut again = worker(&simulation, 2, false).await;
        again.get("work/a", None).await.unwrap();
        let mut nobody = simulation.client(3).await.unwrap();
        let empty = "InvalidArgument: etcdserver: user name is empty";
        assert_eq!(refused(nobody.get("work/a", None).await), empty);
    });
}

#[test]
fn a_lease_that_ends_takes_keys_that_nobody_but_root_may_delete() {
    on_each_executor(&Plan::quiet(1), |simulation| async move {
        with_users(&simulation).await;
        let mut client = worker(&simulation, 1, false).await;
        let lease = client.lease_grant(5, None).await.unwrap().id();
        let options = etcd_client::PutOptions::new().with_lease(lease);
        client.put("work/a", "1", Some(options)).await.unwrap();
        sleep(Duration::from_secs(7)).await;
        assert!(client.get("work/a", None).await.unwrap().kvs().is_empty());
    });
}

#[test]
fn whoever_waits_for_a_lock_gets_it_when_its_holder_dies() {
    let kind = FaultKind::KillClient { client: 1 };
    let plan = Plan {
        faults: vec![Fault { at_ms: 2_000, kind }],
        ..Plan::quiet(1)
    };
    on_each_executor(&plan, |simulation| async move {
        simulation.spawn(1, |process| async move {
            let mut client = process.connect().await.unwrap();
            let lease = client.lease_grant(3, None).await.unwrap().id();
            let options = LockOptions::new().with_lease(lease);
            client.lock("jobs", Some(options)).await.unwrap();
            std::future::pending::<()>().await;
        });
        sleep(Duration::from_secs(1)).await;
        let mut client = simulation.client(2).await.unwrap();
        let (start, lease) = (now(), client.lease_grant(60, None).await.unwrap().id());
        let options = LockOptions::new().with_lease(lease);
        let lock = client.lock("jobs", Some(options)).await.unwrap();
        assert_eq!(lock.key(), format!("jobs/{lease:x}").as_bytes());
        let waited = now().saturating_sub(start);
        assert!(waited > Duration::from_secs(1), "{waited:?}");
        assert!(waited < Duration::from_secs(4), "{waited:?}");
    });
}

#[test]
fn a_caller_that_goes_away_loses_its_place() {
    on_each_executor(&Plan::quiet(1), |simulation| async move {
        let mut client = simulation.client(1).await.unwrap();
        for id in [1, 2] {
            let options = LeaseGrantOptions::new().with_id(id);
            client.lease_grant(60, Some(options)).await.unwrap();
        }
        let with = |id| Some(LockOptions::new().with_lease(id));
        let keys = || {
            simulation
                .member()
                .with_store(|store| store.current().count())
        };
        client.lock("jobs", with(1)).await.unwrap();
        let mut other = simulation.client(2).await.unwrap();
        {
            let wait = Box::pin(other.lock("jobs", with(2)));
            let second = Box::pin(sleep(Duration::from_secs(1)));
            let either = futures_util::future::select(wait, second).await;
            assert!(matches!(either, futures_util::future::Either::Right(_)));
            assert_eq!(keys(), 2, "it waits in line");
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(keys(), 1, "the key of the one that went away is gone");
    });
}

#[test]
fn a_candidate_leads_when_the_leader_resigns() {
    on_each_executor(&Plan::quiet(1), |simulation| async move {
        let mut first = simulation.client(1).await.unwrap();
        let lease = first.lease_grant(60, None).await.unwrap().id();
        let led = first.campaign("e", "first", lease).await.unwrap();
        simulation.spawn(2, |process| async move {
            let mut second = process.connect().await.unwrap();
            let lease = second.lease_grant(60, None).await.unwrap().id();
            second.campaign("e", "second", lease).await.unwrap();
        });
        let mut observed = first.observe("e").await.unwrap();
        let value = |answer: Option<etcd_client::LeaderResponse>| {
            answer
                .unwrap()
                .kv()
                .unwrap()
                .value_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(value(observed.message().await.unwrap()), "first");
        sleep(Duration::from_secs(1)).await;
        let leader = led.leader().unwrap().clone();
        let resign = ResignOptions::new().with_leader(leader);
        first.resign(Some(resign)).await.unwrap();
        assert_eq!(value(observed.message().await.unwrap()), "second");
    });
}

/// The compacted revision in the answer to a question about all keys.
async fn hash_is_since(client: &mut Client) -> i64 {
    client.hash_kv(0).await.unwrap().compact_version()
}

#[test]
fn all_keys_are_taken_for_those_of_revision_0_while_its_compaction_is_remembered() {
    for (version, since_zero) in [(Version::V3_5_16, -1), (Version::V3_4_23, 0)] {
        let options = Options {
            version,
            ..Options::new(Plan::quiet(1))
        };
        let compacted = move |simulation: Simulation| async move {
            let mut client = simulation.client(0).await.unwrap();
            client.put("a", "1", None).await.unwrap();
            let hash_of_all = client.hash_kv(0).await.unwrap().hash();
            client.compact(0, None).await.unwrap();
            assert_eq!(hash_is_since(&mut client).await, since_zero);
            let hash = client.hash_kv(0).await.unwrap().hash();
            assert_eq!(hash == hash_of_all, since_zero == 0);
            // Nine more, and it is the oldest of ten that are remembered.
            for revision in 3..12 {
                client.put("a", "1", None).await.unwrap();
                client.compact(revision, None).await.unwrap();
                let expected = if since_zero == 0 { revision } else { -1 };
                assert_eq!(hash_is_since(&mut client).await, expected);
            }
            client.put("a", "1", None).await.unwrap();
            client.compact(12, None).await.unwrap();
            assert_eq!(hash_is_since(&mut client).await, 12);
        };
        run(options, compacted).unwrap();
    }
}

#[test]
fn a_member_that_has_ended_remembers_no_hash() {
    on_each_executor(&Plan::quiet(1), |simulation| async move {
        let mut client = simulation.client(0).await.unwrap();
        client.put("a", "1", None).await.unwrap();
        client.compact(0, None).await.unwrap();
        assert_eq!(hash_is_since(&mut client).await, -1);
        simulation.crash(Party::Member(0)).heal();
        sleep(Duration::from_secs(5)).await;
        let mut client = simulation.client(1).await.unwrap();
        assert_eq!(hash_is_since(&mut client).await, 0);
    });
}

const EMPTY: &str = "InvalidArgument: etcdserver: user name is empty";
const DENIED: &str = "PermissionDenied: etcdserver: permission denied";

/// What became of a request, in short.
fn short<T>(answer: Result<T, Error>) -> String {
    answer.map_or_else(|error| refusal(&error), |_| "ok".to_owned())
}

/// Runs `body` with each of these releases, and what it is to see there.
fn on_releases<T, Fut>(releases: &[(Version, T)], body: fn(Simulation, T) -> Fut)
where
    T: Copy + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    for (version, expected) in releases.iter().copied() {
        let options = Options {
            version,
            ..Options::new(Plan::quiet(1))
        };
        run(options, move |simulation| body(simulation, expected)).unwrap();
    }
}

#[test]
fn newer_releases_refuse_permissions_for_no_key() {
    let invalid = "InvalidArgument: etcdserver: invalid auth management";
    let releases = [
        (Version::V3_4_23, "ok"),
        (Version::V3_5_1, "ok"),
        (Version::V3_5_16, invalid),
        (Version::V3_5_30, invalid),
    ];
    on_releases(&releases, |simulation, expected| async move {
        let mut client = simulation.client(0).await.unwrap();
        client.role_add("r").await.unwrap();
        for (key, end) in [("z", "a"), ("a", "a")] {
            let permission = Permission::read(key).with_range_end(end);
            let granted = client.role_grant_permission("r", permission).await;
            assert_eq!(short(granted), expected, "{key} {end}");
        }
        let permission = Permission::read("a").with_range_end("z");
        client.role_grant_permission("r", permission).await.unwrap();
    });
}

#[test]
fn newer_releases_keep_more_for_root_and_for_who_has_logged_in() {
    let releases = [
        (Version::V3_4_23, ("ok", "ok", "ok", "ok")),
        (Version::V3_5_16, ("ok", "ok", "ok", "ok")),
        (Version::new(3, 5, 28), (EMPTY, DENIED, DENIED, DENIED)),
        (Version::new(3, 6, 8), ("ok", "ok", DENIED, "ok")),
        (Version::V3_5_30, (EMPTY, DENIED, DENIED, "ok")),
        (Version::new(3, 7, 0), (EMPTY, DENIED, "ok", "ok")),
    ];
    on_releases(&releases, |simulation, expected| async move {
        let (as_nobody, as_worker, status, looks) = expected;
        let mut root = simulation.client(98).await.unwrap();
        let lease = root.lease_grant(60, None).await.unwrap().id();
        let options = etcd_client::PutOptions::new().with_lease(lease);
        root.put("other", "of root", Some(options)).await.unwrap();
        with_users(&simulation).await;
        let mut nobody = simulation.client(97).await.unwrap();
        assert_eq!(short(nobody.leases().await), as_nobody);
        assert_eq!(short(nobody.lease_grant(60, None).await), as_nobody);
        assert_eq!(
            short(nobody.lease_time_to_live(lease, None).await),
            as_nobody
        );
        assert_eq!(short(nobody.member_list().await), as_nobody);
        let compacted = "OutOfRange: etcdserver: mvcc: required revision has been compacted";
        assert_eq!(short(nobody.compact(2, None).await), as_nobody);
        let again = if as_nobody == "ok" {
            compacted
        } else {
            as_nobody
        };
        assert_eq!(short(nobody.compact(2, None).await), again);
        let mut worker = worker(&simulation, 1, false).await;
        let again = if as_worker == "ok" {
            compacted
        } else {
            as_worker
        };
        assert_eq!(short(worker.compact(2, None).await), again);
        assert_eq!(short(worker.leases().await), as_worker);
        assert_eq!(short(worker.member_list().await), looks);
        let (get, raise) = (AlarmAction::Get, AlarmAction::Activate);
        let alarms = worker.alarm(get, AlarmType::None, None).await;
        assert_eq!(short(alarms), looks);
        let raised = worker.alarm(raise, AlarmType::Nospace, None).await;
        assert_eq!(short(raised), as_worker);
        let disarm = AlarmAction::Deactivate;
        let disarmed = worker.alarm(disarm, AlarmType::Nospace, None).await;
        assert_eq!(short(disarmed), as_worker);
        assert_eq!(short(worker.status().await), status);
        assert_eq!(short(worker.lease_keep_alive(lease).await), as_worker);
        let hidden = TxnOp::get("other", None);
        let nested = TxnOp::txn(Txn::new().and_then([hidden]));
        let read = worker.txn(Txn::new().and_then([nested])).await;
        assert_eq!(short(read), as_worker);
        assert_eq!(short(worker.lease_grant(60, None).await), "ok");
    });
}

#[test]
fn newer_releases_check_the_leases_and_previous_values_of_puts_in_transactions() {
    let releases = [
        (Version::V3_5_16, "ok"),
        (Version::new(3, 5, 28), "ok"),
        (Version::V3_5_30, DENIED),
    ];
    on_releases(&releases, |simulation, expected| async move {
        let mut root = simulation.client(98).await.unwrap();
        let lease = root.lease_grant(60, None).await.unwrap().id();
        let options = etcd_client::PutOptions::new().with_lease(lease);
        root.put("other", "of root", Some(options.clone()))
            .await
            .unwrap();
        with_users(&simulation).await;
        let mut worker = worker(&simulation, 1, false).await;
        let put = TxnOp::put("work/a", "", Some(options));
        let answer = worker.txn(Txn::new().and_then([put])).await;
        assert_eq!(short(answer), expected);
    });
}

#[test]
fn who_asks_for_the_keys_of_a_lease_must_be_permitted_to_read_them() {
    let releases = [(Version::V3_5_1, "ok"), (Version::V3_5_16, DENIED)];
    on_releases(&releases, |simulation, expected| async move {
        let mut root = simulation.client(98).await.unwrap();
        let lease = root.lease_grant(60, None).await.unwrap().id();
        let options = etcd_client::PutOptions::new().with_lease(lease);
        root.put("other", "of root", Some(options)).await.unwrap();
        with_users(&simulation).await;
        let mut worker = worker(&simulation, 1, false).await;
        let keys = Some(etcd_client::LeaseTimeToLiveOptions::new().with_keys());
        let told = worker.lease_time_to_live(lease, keys).await;
        assert_eq!(short(told), expected);
        assert_eq!(short(worker.lease_time_to_live(lease, None).await), "ok");
    });
}

/// Before, the permission for the first key was enough: GHSA-xg4h-6gfc-h4m8.
#[test]
fn newer_releases_check_a_watch_to_the_end_of_all_keys_for_all_of_them() {
    let releases = [
        (Version::V3_4_23, false),
        (Version::V3_5_30, false),
        (Version::new(3, 5, 33), true),
        (Version::new(3, 6, 14), true),
        (Version::new(3, 7, 0), false),
        (Version::new(3, 7, 1), true),
    ];
    on_releases(&releases, |simulation, is_refused| async move {
        with_users(&simulation).await;
        let mut worker = worker(&simulation, 1, false).await;
        let options = etcd_client::WatchOptions::new().with_from_key();
        let mut stream = worker.watch("single", Some(options)).await.unwrap();
        let told = stream.message().await.unwrap().unwrap();
        assert_eq!(told.canceled(), is_refused);
    });
}

#[test]
fn a_watch_without_a_token_is_told_why_it_is_refused_by_newer_releases() {
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    let empty = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";
    let releases = [
        (Version::V3_5_1, denied),
        (Version::V3_4_23, empty),
        (Version::V3_5_16, empty),
    ];
    on_releases(&releases, |simulation, expected| async move {
        with_users(&simulation).await;
        let mut nobody = simulation.client(97).await.unwrap();
        let told = match nobody.watch("k1", None).await {
            Ok(mut stream) => {
                let refused = stream.message().await.unwrap().unwrap();
                assert!(refused.canceled());
                refused.cancel_reason().to_owned()
            }
            Err(error) => error.to_string(),
        };
        assert!(told.contains(expected), "{told}");
    });
}

#[test]
fn long_passwords_are_refused_or_cut_and_a_user_without_one_stays_without() {
    let long = "Unknown: bcrypt: password length exceeds 72 bytes";
    let releases = [
        (Version::V3_4_23, "ok"),
        (Version::new(3, 4, 28), long),
        (Version::V3_5_1, "ok"),
        (Version::V3_5_16, long),
        (Version::new(3, 6, 0), long),
    ];
    on_releases(&releases, |simulation, expected| async move {
        with_users(&simulation).await;
        let log_in = |number, name: &str, password: &str| {
            let channel = simulation.channel(number, ChannelOptions::default());
            let options = ConnectOptions::new().with_user(name, password);
            Client::from_channel(channel.into_etcd_channel(), Some(options))
        };
        let mut root = log_in(96, "root", "secret").await.unwrap();
        let password = "p".repeat(73);
        let changed = root.user_change_password("worker", password.clone()).await;
        assert_eq!(short(changed), expected);
        assert_eq!(
            short(root.user_add("long", password.clone(), None).await),
            expected
        );
        let cut = log_in(95, "long", &password[..72]).await;
        assert_eq!(cut.is_ok(), expected == "ok");
        let options = Some(etcd_client::UserAddOptions::new().with_no_pwd());
        root.user_add("robot", "", options).await.unwrap();
        root.user_change_password("robot", "x").await.unwrap();
        let robot = log_in(94, "robot", "x").await;
        let reason = "auth: authentication failed, password was given for no password user";
        assert!(refusal(&robot.err().unwrap()).contains(reason));
    });
}
