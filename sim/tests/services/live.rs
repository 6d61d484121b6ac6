//! One session, on a real etcd and on a simulated one.

use etcd_client::{
    AlarmAction, AlarmType, Client, Compare, CompareOp, DeleteOptions, DowngradeOptions,
    GetOptions, LeaseGrantOptions, LeaseTimeToLiveOptions, LockOptions, Permission,
    ProclaimOptions, PutOptions, ResignOptions, RoleRevokePermissionOptions, Txn, TxnOp,
    UserAddOptions, WatchOptions,
};
use etcd_sim::version::Version;
use futures_util::future::join;

use crate::real::{Endpoint, Etcd, TOKEN_TTL, pause, soon};
use crate::transcript::Transcript;

/// Runs a session on both sides at the same time, and compares.
macro_rules! compare {
    ($session:ident, $at_least:expr) => {{
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let real = crate::real::Etcd::start().await;
            let mut options = crate::real::options();
            options.version = crate::live::version_of(&real).await;
            let simulated = crate::real::Simulated::start(options);
            let sessions = futures_util::future::join($session(&simulated), $session(&real));
            let (ours, theirs) = crate::real::within(120, sessions).await;
            ours.assert_same(&theirs);
            assert!(ours.len() >= $at_least, "{} answers", ours.len());
        });
    }};
}
pub(crate) use compare;

pub(crate) async fn version_of(etcd: &Etcd) -> Version {
    let status = etcd.client().await.status().await.unwrap();
    status.version().parse().unwrap()
}

#[test]
fn users_and_roles_are_those_of_a_real_etcd() {
    compare!(users, 383);
}

#[test]
fn locks_elections_and_maintenance_are_those_of_a_real_etcd() {
    compare!(recipes, 68);
}

fn lease(id: i64) -> Option<LeaseGrantOptions> {
    Some(LeaseGrantOptions::new().with_id(id))
}

async fn users(etcd: &impl Endpoint) -> Transcript {
    let mut said = Transcript::default();
    let mut any = etcd.client().await;
    before_anything_is_checked(etcd, &mut any, &mut said).await;
    manage_roles(&mut any, &mut said).await;
    any.lease_grant(100, lease(7)).await.unwrap();
    let with_lease = Some(PutOptions::new().with_lease(7));
    any.put("ax", "of root", with_lease).await.unwrap();
    said.note("enable", any.auth_enable().await);
    said.note("enable again", any.auth_enable().await);
    as_nobody(&mut any, &mut said).await;
    let mut root = etcd.user("root", "secret").await.unwrap();
    let mut alice = etcd.user("alice", "wonder").await.unwrap();
    log_in(etcd, &mut said).await;
    as_alice(&mut alice, &mut said).await;
    random_requests(&mut alice, &mut said).await;
    as_root(&mut root, &mut said).await;
    tokens_end(etcd, &mut root, &mut said).await;
    said
}

async fn before_anything_is_checked(etcd: &impl Endpoint, any: &mut Client, said: &mut Transcript) {
    said.note("log in", etcd.user("root", "secret").await.map(|_| ()));
    said.note("enable without root", any.auth_enable().await);
    said.note("disable what is not enabled", any.auth_disable().await);
    said.note("add nobody", any.user_add("", "x", None).await);
    said.note("add root", any.user_add("root", "secret", None).await);
    said.note("add root again", any.user_add("root", "other", None).await);
    said.note("enable without the role", any.auth_enable().await);
    said.note("get a user", any.user_get("root").await);
    said.note("get no user", any.user_get("bob").await);
    said.note("delete no user", any.user_delete("bob").await);
    said.note("change no user", any.user_change_password("bob", "x").await);
    said.note("grant no role", any.user_grant_role("root", "none").await);
    said.note("grant to nobody", any.user_grant_role("bob", "root").await);
    said.note("root's role", any.user_grant_role("root", "root").await);
    said.note("and again", any.user_grant_role("root", "root").await);
    said.note("get root", any.user_get("root").await);
    let no_password = Some(UserAddOptions::new().with_no_pwd());
    said.note("add robot", any.user_add("robot", "", no_password).await);
    said.note("add alice", any.user_add("alice", "wonder", None).await);
    said.note("list", any.user_list().await);
}

async fn manage_roles(any: &mut Client, said: &mut Transcript) {
    said.note("no name", any.role_add("").await);
    said.note("add r", any.role_add("r").await);
    said.note("add r again", any.role_add("r").await);
    said.note("add s", any.role_add("s").await);
    said.note("get none", any.role_get("none").await);
    said.note("delete none", any.role_delete("none").await);
    let permissions = [
        Permission::read_write("a").with_range_end("c"),
        Permission::read("c").with_range_end("e"),
        Permission::write("e"),
        Permission::read("a").with_range_end("b"),
        Permission::write("c").with_range_end("d"),
        Permission::read("c").with_range_end("e"),
        Permission::read_write("x").with_from_key(),
        Permission::read("p").with_prefix(),
        Permission::read("n"),
    ];
    for permission in permissions {
        let granted = any.role_grant_permission("r", permission).await;
        said.note("grant", granted);
        said.note("what r allows", any.role_get("r").await);
    }
    said.note("add t", any.role_add("t").await);
    for (key, end) in [("z", "a"), ("m", "m")] {
        let permission = Permission::read(key).with_range_end(end);
        let granted = any.role_grant_permission("t", permission).await;
        said.note("grant nothing", granted);
    }
    said.note("what t allows", any.role_get("t").await);
    let permission = Permission::read("m");
    said.note(
        "grant to none",
        any.role_grant_permission("none", permission).await,
    );
    said.note(
        "revoke of none",
        any.role_revoke_permission("none", "a", None).await,
    );
    said.note(
        "revoke a key",
        any.role_revoke_permission("r", "a", None).await,
    );
    let range = Some(RoleRevokePermissionOptions::new().with_range_end("b"));
    said.note(
        "revoke a range",
        any.role_revoke_permission("r", "a", range).await,
    );
    said.note("what r allows", any.role_get("r").await);
    said.note("revoke no role", any.user_revoke_role("alice", "r").await);
    said.note("revoke of nobody", any.user_revoke_role("bob", "r").await);
    said.note("grant r", any.user_grant_role("alice", "r").await);
    said.note("grant s", any.user_grant_role("alice", "s").await);
    said.note("get alice", any.user_get("alice").await);
    said.note("roles", any.role_list().await);
}

async fn as_nobody(any: &mut Client, said: &mut Transcript) {
    said.note("get", any.get("a", None).await);
    said.note("get of no key", any.get("", None).await);
    said.note("put", any.put("a", "", None).await);
    said.note("put of no key", any.put("", "", None).await);
    said.note("delete", any.delete("a", None).await);
    let write = Txn::new().and_then([TxnOp::put("a", "", None)]);
    said.note("txn", any.txn(write).await);
    let read = Txn::new().and_then([TxnOp::get("a", None)]);
    said.note("reading txn", any.txn(read).await);
    said.note("empty txn", any.txn(Txn::new()).await);
    said.note("grant", any.lease_grant(100, lease(8)).await);
    said.note("revoke", any.lease_revoke(8).await);
    said.note("revoke of root's", any.lease_revoke(7).await);
    let add = any.member_add(vec!["http://a:1".to_owned()], None).await;
    said.note("add a member", add.map(|_| ()));
    said.note("remove a member", any.member_remove(1).await);
    said.note(
        "update a member",
        any.member_update(1, vec!["http://a:1".to_owned()]).await,
    );
    said.note("promote a member", any.member_promote(1).await);
    said.note(
        "leases",
        any.leases().await.map(|leases| leases.leases().len()),
    );
    said.note("users", any.user_list().await);
    said.note("a user", any.user_get("alice").await);
    said.note("no user", any.user_get("").await);
    said.note("roles", any.role_list().await);
    said.note("a role", any.role_get("r").await);
    said.note("add", any.user_add("eve", "x", None).await);
    said.note("disable", any.auth_disable().await);
    said.note("status", any.status().await.map(|_| ()));
    said.note("hash", any.hash().await.map(|_| ()));
    said.note("hash of keys", any.hash_kv(0).await.map(|_| ()));
    said.note("defragment", any.defragment().await);
    said.note(
        "alarms",
        any.alarm(AlarmAction::Get, AlarmType::None, None).await,
    );
    said.note(
        "members",
        any.member_list().await.map(|list| list.members().len()),
    );
    said.note("snapshot", first_of_snapshot(any).await);
    said.note("move the lead", any.move_leader(5).await);
    downgrade(any, said).await;
    said.note(
        "lock",
        any.lock("lock", Some(LockOptions::new().with_lease(7)))
            .await,
    );
    said.note("leader", any.leader("election").await);
    watch(any, "a", None, said).await;
    watch(any, "", Some(WatchOptions::new().with_all_keys()), said).await;
}

/// What is asked and answered about a downgrade. None is begun.
async fn downgrade(client: &mut Client, said: &mut Transcript) {
    let mut client = client.maintenance_client();
    for target in ["3.3", "3.4.7", "3.5.0", "3", "none", ""] {
        let asked = DowngradeOptions::Validate(target.to_owned());
        let answer = client.downgrade(asked).await;
        said.note(&format!("a downgrade to {target:?}"), answer);
    }
    let upgrade = DowngradeOptions::Enable("3.7".to_owned());
    said.note("an upgrade", client.downgrade(upgrade).await);
    let answer = client.downgrade(DowngradeOptions::Cancel).await;
    said.note("no downgrade", answer);
}

async fn first_of_snapshot(any: &mut Client) -> Result<bool, etcd_client::Error> {
    Ok(any.snapshot().await?.message().await?.is_some())
}

async fn watch(
    client: &mut Client,
    key: &str,
    options: Option<WatchOptions>,
    said: &mut Transcript,
) {
    let mut stream = match client.watch(key, options).await {
        Ok(stream) => stream,
        Err(error) => {
            said.note::<()>("watch", Err(error));
            return;
        }
    };
    let created = soon(stream.message()).await;
    said.note("watch", created);
}

async fn log_in(etcd: &impl Endpoint, said: &mut Transcript) {
    said.note(
        "wrong password",
        etcd.user("alice", "land").await.map(|_| ()),
    );
    said.note("no such user", etcd.user("bob", "x").await.map(|_| ()));
    said.note("no password", etcd.user("robot", "x").await.map(|_| ()));
    said.note("no name", etcd.user("", "").await.map(|_| ()));
}

async fn as_alice(alice: &mut Client, said: &mut Transcript) {
    said.note("herself", alice.user_get("alice").await);
    said.note("another", alice.user_get("root").await);
    said.note("her role", alice.role_get("r").await);
    said.note("another role", alice.role_get("root").await);
    said.note("users", alice.user_list().await);
    said.note("add", alice.user_add("eve", "x", None).await);
    said.note("disable", alice.auth_disable().await);
    let add = alice.member_add(vec!["http://a:1".to_owned()], None).await;
    said.note("add a member", add.map(|_| ()));
    said.note("remove a member", alice.member_remove(1).await);
    said.note("defragment", alice.defragment().await);
    said.note("hash", alice.hash_kv(0).await.map(|_| ()));
    said.note("snapshot", first_of_snapshot(alice).await);
    said.note(
        "alarms",
        alice.alarm(AlarmAction::Get, AlarmType::None, None).await,
    );
    said.note("grant", alice.lease_grant(100, lease(9)).await);
    let with = |id| Some(PutOptions::new().with_lease(id));
    said.note("put with her lease", alice.put("b", "1", with(9)).await);
    said.note("put with root's lease", alice.put("b", "1", with(7)).await);
    said.note("compact", alice.compact(1, None).await.map(|_| ()));
    said.note("status", alice.status().await.map(|_| ()));
    said.note("leases", alice.leases().await.map(|_| ()));
    said.note("members", alice.member_list().await.map(|_| ()));
    let kept = alice.lease_keep_alive(7).await;
    said.note("keep root's alive", kept.map(|_| ()));
    let kept = alice.lease_keep_alive(9).await;
    said.note("keep hers alive", kept.map(|_| ()));
    let nested = TxnOp::txn(Txn::new().and_then([TxnOp::get("other", None)]));
    said.note("nested", alice.txn(Txn::new().and_then([nested])).await);
    let put = TxnOp::put("b", "1", with(7));
    said.note("put of a txn", alice.txn(Txn::new().and_then([put])).await);
    for key in ["b", "e", "c"] {
        let previous = Some(PutOptions::new().with_prev_key());
        let put = TxnOp::put(key, "1", previous);
        let request = format!("put {key:?} and see in a txn");
        said.note(
            &request,
            alice.txn(Txn::new().and_then([put.clone()])).await,
        );
        let otherwise = Txn::new().and_then([TxnOp::txn(Txn::new().or_else([put]))]);
        said.note(&request, alice.txn(otherwise).await);
        let previous = Some(DeleteOptions::new().with_prev_key());
        let delete = TxnOp::delete(key, previous);
        let request = format!("delete {key:?} and see in a txn");
        said.note(&request, alice.txn(Txn::new().and_then([delete])).await);
    }
    said.note("move the lead", alice.move_leader(5).await);
    downgrade(alice, said).await;
    let keys = Some(LeaseTimeToLiveOptions::new().with_keys());
    let roots = alice.lease_time_to_live(7, keys.clone()).await;
    said.note("root's lease", roots.map(|left| left.keys().len()));
    let left = alice.lease_time_to_live(9, keys).await;
    said.note("her lease", left.map(|left| left.keys().to_vec()));
    let previous = Some(PutOptions::new().with_prev_key());
    said.note("put and see", alice.put("b", "2", previous.clone()).await);
    said.note(
        "put and see what she may not",
        alice.put("e", "2", previous).await,
    );
    said.note("put what she may not see", alice.put("e", "2", None).await);
    let previous = Some(DeleteOptions::new().with_prev_key());
    said.note("delete and see", alice.delete("e", previous).await);
    let nested = Txn::new().and_then([TxnOp::put("forbidden", "x", None)]);
    let txn = Txn::new().and_then([TxnOp::txn(nested)]);
    said.note("nested txn", alice.txn(txn).await);
    let compare = Txn::new().when([Compare::version("zz", CompareOp::Equal, 0)]);
    said.note("compare", alice.txn(compare).await);
    let compare = Txn::new().when([Compare::version("f", CompareOp::Equal, 0)]);
    said.note("compare what she may not", alice.txn(compare).await);
    said.note(
        "lock",
        alice
            .lock("x", Some(LockOptions::new().with_lease(9)))
            .await,
    );
    said.note(
        "forbidden lock",
        alice
            .lock("f", Some(LockOptions::new().with_lease(9)))
            .await,
    );
    said.note("leader", alice.leader("y").await);
    said.note("forbidden leader", alice.leader("f").await);
    watch(alice, "a", Some(WatchOptions::new().with_range("e")), said).await;
    watch(alice, "a", Some(WatchOptions::new().with_range("f")), said).await;
    watch(alice, "x", Some(WatchOptions::new().with_from_key()), said).await;
    watch(alice, "n", Some(WatchOptions::new().with_from_key()), said).await;
    watch(alice, "m", Some(WatchOptions::new().with_from_key()), said).await;
    said.note("revoke root's lease", alice.lease_revoke(7).await);
    said.note("revoke her lease", alice.lease_revoke(9).await);
    said.note("compact", alice.compact(3, None).await);
}

/// Requests for keys of a few letters, in ranges that make sense and in others.
async fn random_requests(alice: &mut Client, said: &mut Transcript) {
    let mut drawn = 1_u64;
    let mut draw = |below: u64| {
        drawn = drawn
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (drawn >> 33) % below
    };
    let names = [
        "a", "ab", "b", "c", "d", "e", "p", "px", "q", "x", "z", "\u{1}",
    ];
    for number in 0..200 {
        let mut name = || names[usize::try_from(draw(names.len() as u64)).unwrap()];
        let (one, other) = (name(), name());
        let (key, end) = (one.min(other), one.max(other));
        let kind = draw(8);
        let request = format!("{number}: {kind} {key:?} to {end:?}");
        let range = || GetOptions::new().with_range(end).with_serializable();
        let delete = || DeleteOptions::new().with_range(end);
        match kind {
            0 => drop(said.note(&request, alice.get(key, None).await)),
            1 => drop(said.note(&request, alice.get(key, Some(range())).await)),
            2 => drop(
                said.note(
                    &request,
                    alice
                        .get(key, Some(GetOptions::new().with_from_key()))
                        .await,
                ),
            ),
            3 => drop(said.note(&request, alice.put(key, "v", None).await)),
            4 => drop(said.note(&request, alice.delete(key, Some(delete())).await)),
            5 => drop(said.note(
                &request,
                alice.delete(key, Some(delete().with_prev_key())).await,
            )),
            6 => {
                let ops = [TxnOp::get(key, Some(range())), TxnOp::put(end, "t", None)];
                drop(said.note(&request, alice.txn(Txn::new().and_then(ops)).await));
            }
            _ => {
                let ops = [TxnOp::delete(key, Some(delete()))];
                drop(said.note(&request, alice.txn(Txn::new().or_else(ops)).await));
            }
        }
    }
}

async fn as_root(root: &mut Client, said: &mut Transcript) {
    let everything = Some(GetOptions::new().with_all_keys());
    said.note("everything", root.get("", everything).await);
    said.note("delete root", root.user_delete("root").await);
    said.note("revoke root", root.user_revoke_role("root", "root").await);
    said.note("delete the role", root.role_delete("root").await);
    said.note("revoke s", root.user_revoke_role("alice", "s").await);
    said.note("defragment", root.defragment().await);
    said.note("snapshot", first_of_snapshot(root).await);
    said.note("revoke the lease", root.lease_revoke(7).await);
    said.note("users", root.user_list().await);
}

async fn tokens_end(etcd: &impl Endpoint, root: &mut Client, said: &mut Transcript) {
    let mut alice = etcd.user("alice", "wonder").await.unwrap();
    said.note("good", alice.get("a", None).await);
    said.note("change", root.user_change_password("alice", "land").await);
    said.note("changed", alice.get("a", None).await);
    watch(&mut alice, "a", None, said).await;
    said.note("changed, grant", alice.lease_grant(9, lease(11)).await);
    said.note("changed, hash", alice.hash_kv(0).await.map(|_| ()));
    said.note("changed, lock", alice.lock("x", None).await.map(|_| ()));
    said.note(
        "old password",
        etcd.user("alice", "wonder").await.map(|_| ()),
    );
    let mut alice = etcd.user("alice", "land").await.unwrap();
    said.note("good again", alice.get("a", None).await);
    said.note("delete r", root.role_delete("r").await);
    said.note("without r", alice.get("a", None).await);
    pause(u64::from(TOKEN_TTL) * 1_000 + 1_500).await;
    said.note("expired", alice.get("a", None).await);
    said.note("expired put", alice.put("a", "", None).await);
    let mut root = etcd.user("root", "secret").await.unwrap();
    said.note("delete alice", root.user_delete("alice").await);
    said.note("disable", root.auth_disable().await);
    said.note("with an old token", root.get("a", None).await);
    said.note("anybody", etcd.client().await.get("a", None).await);
}

async fn recipes(etcd: &impl Endpoint) -> Transcript {
    let mut said = Transcript::default();
    let mut client = etcd.client().await;
    locks(etcd, &mut client, &mut said).await;
    elections(etcd, &mut client, &mut said).await;
    maintenance(&mut client, &mut said).await;
    said
}

async fn all_keys(client: &mut Client, said: &mut Transcript) {
    let everything = Some(GetOptions::new().with_all_keys());
    said.note("all keys", client.get("", everything).await);
}

async fn locks(etcd: &impl Endpoint, client: &mut Client, said: &mut Transcript) {
    for id in [0x10, 0xabc, i64::MAX] {
        client.lease_grant(100, lease(id)).await.unwrap();
    }
    let with = |id| Some(LockOptions::new().with_lease(id));
    let first = said.note("lock", client.lock("jobs", with(0x10)).await);
    said.note("lock again", client.lock("jobs", with(0x10)).await);
    said.note("no such lease", client.lock("other", with(99)).await);
    said.note("negative lease", client.lock("other", with(-5)).await);
    all_keys(client, said).await;
    let mut second = etcd.client().await;
    let waiting = async {
        let locked = soon(second.lock("jobs", with(0xabc))).await;
        locked.map(|locked| locked.key().to_vec())
    };
    let first = first.unwrap().key().to_vec();
    let releasing = async {
        pause(300).await;
        client.unlock(first).await
    };
    let (locked, released) = join(waiting, releasing).await;
    said.note("unlock", released);
    said.note("the second", locked);
    all_keys(client, said).await;
    // A caller that goes away gives up its place.
    let mut third = etcd.client().await;
    {
        let mut waiting = Box::pin(third.lock("jobs", with(i64::MAX)));
        let waits = futures_util::future::select(&mut waiting, Box::pin(pause(300))).await;
        let waits = matches!(waits, futures_util::future::Either::Right(_));
        said.say("the third waits", waits);
    }
    pause(300).await;
    all_keys(client, said).await;
    said.note("unlock of none", client.unlock("none").await);
    said.note("unlock of no key", client.unlock("").await);
    let own = client.lock("own", None).await.unwrap();
    let lease = std::str::from_utf8(own.key()).unwrap().strip_prefix("own/");
    let lease = i64::from_str_radix(lease.unwrap(), 16).unwrap();
    let left = client.lease_time_to_live(lease, None).await.unwrap();
    said.say("its own session", left.granted_ttl());
    client.lease_revoke(lease).await.unwrap();
}

async fn elections(etcd: &impl Endpoint, client: &mut Client, said: &mut Transcript) {
    said.note("nobody leads", client.leader("e").await);
    said.note("resign without", client.resign(None).await);
    said.note("proclaim without", client.proclaim("x", None).await);
    let campaign = client.campaign("e", "one", 0x10).await;
    let first = said.note("campaign", campaign).unwrap();
    // Its answer begins with the first leader.
    let mut observed = soon(client.observe("e")).await.unwrap();
    said.note("observed", soon(observed.message()).await);
    said.note("campaign again", client.campaign("e", "ONE", 0x10).await);
    said.note("observed", soon(observed.message()).await);
    said.note("leader", client.leader("e").await);
    said.note("no lease", client.campaign("e2", "x", 99).await);
    let first = first.leader().unwrap().clone();
    let as_first = ProclaimOptions::new().with_leader(first.clone());
    said.note("proclaim", client.proclaim("1", Some(as_first)).await);
    said.note("observed", soon(observed.message()).await);
    let other = first.clone().with_rev(1);
    let as_other = ProclaimOptions::new().with_leader(other.clone());
    said.note(
        "proclaim as another",
        client.proclaim("2", Some(as_other)).await,
    );
    let as_other = ResignOptions::new().with_leader(other);
    said.note("resign as another", client.resign(Some(as_other)).await);
    let mut second = etcd.client().await;
    let waiting = async { soon(second.campaign("e", "two", 0xabc)).await };
    let resigning = async {
        pause(300).await;
        client
            .resign(Some(ResignOptions::new().with_leader(first)))
            .await
    };
    let (elected, resigned) = join(waiting, resigning).await;
    said.note("resign", resigned);
    said.note("elected", elected);
    said.note("observed", soon(observed.message()).await);
    let mut third = etcd.client().await;
    {
        let mut waiting = Box::pin(third.campaign("e", "three", i64::MAX));
        let waits = futures_util::future::select(&mut waiting, Box::pin(pause(300))).await;
        let waits = matches!(waits, futures_util::future::Either::Right(_));
        said.say("the third waits", waits);
    }
    pause(300).await;
    all_keys(client, said).await;
}

async fn maintenance(client: &mut Client, said: &mut Transcript) {
    let list = client.member_list().await.unwrap();
    let own = list.members()[0].clone();
    said.say(
        "the member",
        (own.name(), own.is_learner(), list.members().len()),
    );
    said.say("where it is", own.client_urls().len());
    let status = client.status().await.unwrap();
    said.say("it leads", status.leader() == own.id());
    said.say(
        "status",
        (status.version(), status.errors(), status.is_learner()),
    );
    said.say(
        "it has a size",
        status.db_size() >= status.raft_used_db_size(),
    );
    said.note("defragment", client.defragment().await);
    let hash = client.hash_kv(0).await.unwrap();
    let header = hash.header().unwrap().revision();
    said.say(
        "hash",
        (header, hash.compact_version(), hash.hash_revision()),
    );
    said.note("hash of the future", client.hash_kv(9_999).await);
    said.note("compact", client.compact(5, None).await);
    said.note("hash of the past", client.hash_kv(3).await);
    let compacted = client.hash_kv(0).await.unwrap();
    said.say("compacted", compacted.compact_version());
    said.note("move to itself", client.move_leader(own.id()).await);
    said.note("move to nobody", client.move_leader(5).await);
    downgrade(client, said).await;
    snapshot(client, said).await;
    alarms(client, said).await;
}

async fn snapshot(client: &mut Client, said: &mut Transcript) {
    let mut stream = client.snapshot().await.unwrap();
    let mut blobs = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        blobs.push((message.remaining_bytes(), message.blob().to_vec()));
    }
    let (left, hash) = blobs.pop().unwrap();
    let all: Vec<u8> = blobs.iter().flat_map(|(_, blob)| blob.clone()).collect();
    use sha2::Digest as _;
    let is_right = sha2::Sha256::digest(&all)[..] == hash[..];
    said.say("snapshot", (left, is_right, all.len() % 512));
    said.say("before the hash", blobs.last().map(|(left, _)| *left));
}

async fn alarms(client: &mut Client, said: &mut Transcript) {
    let (get, on, off) = (
        AlarmAction::Get,
        AlarmAction::Activate,
        AlarmAction::Deactivate,
    );
    for alarm in [AlarmType::Nospace, AlarmType::Corrupt] {
        said.note("off", client.alarm(off, alarm, None).await);
        said.note("on", client.alarm(on, alarm, None).await);
        said.note("on again", client.alarm(on, alarm, None).await);
        said.note("all", client.alarm(get, AlarmType::None, None).await);
        said.note("these", client.alarm(get, AlarmType::Nospace, None).await);
        let status = client.status().await.unwrap();
        said.say("errors", status.errors());
        said.note("put", client.put("full", "", None).await);
        said.note("get", client.get("full", None).await);
        said.note("delete", client.delete("full", None).await);
        let put = Txn::new().and_then([TxnOp::put("full", "", None)]);
        said.note("txn", client.txn(put).await);
        let delete = Txn::new().and_then([TxnOp::delete("full", None)]);
        said.note("deleting txn", client.txn(delete).await);
        said.note("grant", client.lease_grant(100, lease(20)).await);
        said.note("revoke", client.lease_revoke(20).await);
        said.note("off", client.alarm(off, alarm, None).await);
        said.note("put again", client.put("full", "", None).await);
    }
}
