//! Users and permissions at their edges, on a real etcd and on a simulated one.

use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Client, Compare, CompareOp, DeleteOptions, GetOptions,
    Permission, PutOptions, Txn, TxnOp, UserAddOptions, WatchOptions,
};

use crate::live::compare;
use crate::real::{Endpoint, soon};
use crate::transcript::Transcript;

#[test]
fn ranges_that_make_no_sense_are_permitted_as_by_a_real_etcd() {
    compare!(ranges, 450);
}

#[test]
fn passwords_are_those_of_a_real_etcd() {
    compare!(passwords, 30);
}

#[test]
fn alarms_of_no_kind_are_those_of_a_real_etcd() {
    compare!(alarms, 12);
}

async fn with_root(client: &mut Client) {
    client.user_add("root", "secret", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
}

/// A user with one role.
async fn with_user(client: &mut Client, name: &str, permissions: Vec<Permission>) {
    client.user_add(name, "wonder", None).await.unwrap();
    client.role_add(name).await.unwrap();
    for permission in permissions {
        let granted = client.role_grant_permission(name, permission).await;
        granted.unwrap();
    }
    client.user_grant_role(name, name).await.unwrap();
}

/// Numbers that are the same on both sides.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn key(&mut self) -> String {
        char::from(b'a' + u8::try_from(self.below(12)).unwrap()).to_string()
    }

    fn permission(&mut self) -> Permission {
        let key = self.key();
        let permission = match self.below(3) {
            0 => Permission::read(key.clone()),
            1 => Permission::write(key.clone()),
            _ => Permission::read_write(key.clone()),
        };
        match self.below(4) {
            0 => permission,
            1 => permission.with_from_key(),
            // Newer releases refuse permissions for no key.
            _ => permission.with_range_end(format!("{key}{}", self.key())),
        }
    }
}

async fn ranges(etcd: &impl Endpoint) -> Transcript {
    let mut said = Transcript::default();
    let mut any = etcd.client().await;
    with_root(&mut any).await;
    let permissions = vec![
        Permission::read("x"),
        Permission::read_write("c").with_range_end("e"),
        Permission::read("m").with_from_key(),
    ];
    with_user(&mut any, "alice", permissions).await;
    with_user(&mut any, "first", vec![Permission::read("\0")]).await;
    let mut drawn = Drawn(1);
    // More than twelve Go sorts in an order of its own.
    for count in 1..=6 {
        let permissions = (0..2 * count).map(|_| drawn.permission()).collect();
        with_user(&mut any, &format!("user{count}"), permissions).await;
    }
    any.role_add("nothing").await.unwrap();
    let nothing = any.role_grant_permission("nothing", Permission::read(""));
    said.note("no key", nothing.await);
    any.put("d", "of root", None).await.unwrap();
    any.auth_enable().await.unwrap();
    for revision in [0, 1, 2, 99] {
        let compacted = any.compact(revision, None).await;
        said.note("compact as nobody", compacted.map(|_| ()));
    }
    let mut alice = etcd.user("alice", "wonder").await.unwrap();
    for (key, end) in [("d", "c"), ("x", "a"), ("b", "a"), ("z", "y"), ("d", "d")] {
        ask(&mut alice, key, Some(end), &mut said).await;
    }
    for key in ["", "a", "b", "c", "d", "e", "m", "n", "x", "z"] {
        ask(&mut alice, key, None, &mut said).await;
    }
    let mut first = etcd.user("first", "wonder").await.unwrap();
    ask(&mut first, "", None, &mut said).await;
    ask(&mut first, "\0", None, &mut said).await;
    for count in 1..=6 {
        let user = etcd.user(&format!("user{count}"), "wonder").await;
        let mut user = user.unwrap();
        for _ in 0..12 {
            let (key, end) = (drawn.key(), drawn.key());
            ask(&mut user, &key, Some(&end), &mut said).await;
        }
        ask(&mut user, &drawn.key(), None, &mut said).await;
    }
    said
}

/// Everything that can be done with a range; none ends behind all keys.
async fn ask(client: &mut Client, key: &str, end: Option<&str>, said: &mut Transcript) {
    let of = |what: &str| format!("{what} {key:?} to {end:?}");
    let get = GetOptions::new();
    let get = end.map_or_else(
        || get.clone().with_from_key(),
        |end| get.clone().with_range(end),
    );
    said.note(&of("get"), client.get(key, Some(get.clone())).await);
    let delete = DeleteOptions::new();
    let delete = match end {
        Some(end) => delete.with_range(end),
        None => delete.with_from_key(),
    };
    said.note(
        &of("delete"),
        client.delete(key, Some(delete.clone())).await,
    );
    let compare = Compare::version(key, CompareOp::Equal, 0);
    let compare = match end {
        Some(end) => compare.with_range(end),
        None => compare.with_range("\0"),
    };
    let txn = Txn::new().when([compare]);
    said.note(&of("compare"), client.txn(txn).await);
    let txn = Txn::new().or_else([TxnOp::delete(key, Some(delete)), TxnOp::get(key, Some(get))]);
    said.note(&of("txn"), client.txn(txn).await);
    let options = WatchOptions::new();
    let options = match end {
        Some(end) => options.with_range(end),
        None if key.is_empty() => options.with_all_keys(),
        None => options.with_from_key(),
    };
    match client.watch(key, Some(options)).await {
        Ok(mut stream) => drop(said.note(&of("watch"), soon(stream.message()).await)),
        Err(error) => drop(said.note::<()>(&of("watch"), Err(error))),
    }
}

async fn passwords(etcd: &impl Endpoint) -> Transcript {
    let mut said = Transcript::default();
    let mut any = etcd.client().await;
    with_root(&mut any).await;
    let no_password = Some(UserAddOptions::new().with_no_pwd());
    any.user_add("robot", "", no_password).await.unwrap();
    said.note("add with none", any.user_add("empty", "", None).await);
    let long = |bytes: usize| "p".repeat(bytes);
    for bytes in [71, 72, 73, 100] {
        let added = any
            .user_add(format!("long{bytes}"), long(bytes), None)
            .await;
        said.note("a long password", added);
    }
    said.note("nobody", any.user_add("", long(73), None).await);
    said.note("root again", any.user_add("root", long(73), None).await);
    said.note("bob", any.user_change_password("bob", long(73)).await);
    any.user_add("alice", "wonder", None).await.unwrap();
    any.user_add("carol", "a\0a", None).await.unwrap();
    any.auth_enable().await.unwrap();
    let mut root = etcd.user("root", "secret").await.unwrap();
    said.note("as nobody", any.user_add("eve", long(73), None).await);
    said.note("change", root.user_change_password("robot", "land").await);
    for bytes in [73, 72] {
        let changed = root.user_change_password("alice", long(bytes)).await;
        said.note("a long one", changed);
    }
    log_in(
        etcd,
        "alice",
        &["wonder", &long(72), &long(73), &long(71)],
        &mut said,
    )
    .await;
    log_in(etcd, "robot", &["", "land"], &mut said).await;
    log_in(etcd, "empty", &["", "x"], &mut said).await;
    log_in(
        etcd,
        "long71",
        &[&long(71), &long(72), &long(73)],
        &mut said,
    )
    .await;
    log_in(
        etcd,
        "long72",
        &[&long(71), &long(72), &long(73)],
        &mut said,
    )
    .await;
    log_in(etcd, "long73", &[&long(72), &long(73)], &mut said).await;
    log_in(etcd, "carol", &["a", "a\0a\0a", "a\0", "a\0b"], &mut said).await;
    for name in ["alice", "robot"] {
        said.note("change to none", root.user_change_password(name, "").await);
        log_in(etcd, name, &["", "land", &long(72)], &mut said).await;
    }
    said.note("change", root.user_change_password("alice", "x").await);
    log_in(etcd, "alice", &["", "x"], &mut said).await;
    said
}

async fn log_in(etcd: &impl Endpoint, name: &str, passwords: &[&str], said: &mut Transcript) {
    for password in passwords {
        let request = format!("{name} with {} bytes: {password:?}", password.len());
        said.note(&request, etcd.user(name, password).await.map(|_| ()));
    }
}

async fn alarms(etcd: &impl Endpoint) -> Transcript {
    let mut said = Transcript::default();
    let mut client = etcd.client().await;
    let (get, on, off) = (
        AlarmAction::Get,
        AlarmAction::Activate,
        AlarmAction::Deactivate,
    );
    // Of no member and no kind makes 3.4 crash.
    let of_member = || {
        let mut of = AlarmOptions::new();
        of.with_member(5);
        Some(of)
    };
    for action in [on, get, off, get, on, on] {
        let answer = client.alarm(action, AlarmType::None, of_member()).await;
        said.note("none", answer);
        said.say("errors", client.status().await.unwrap().errors());
    }
    said.note("put", client.put("a", "", None).await);
    let answer = client.alarm(off, AlarmType::None, of_member()).await;
    said.note("off", answer);
    with_root(&mut client).await;
    client.auth_enable().await.unwrap();
    let mut root = etcd.user("root", "secret").await.unwrap();
    let mut former = etcd.user("root", "secret").await.unwrap();
    root.user_change_password("root", "other").await.unwrap();
    for action in [get, on, off] {
        let answer = former.alarm(action, AlarmType::Nospace, None).await;
        said.note("with an unknown token", answer);
    }
    let lease = Some(PutOptions::new().with_lease(5));
    said.note("put", former.put("a", "", lease).await);
    said
}
