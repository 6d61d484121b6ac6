//! Go programs and Rust programs share one recipe on one etcd: what one puts in
//! comes out at the other, they keep each other out, they let each other go.
//!
//! On one side stands `tests/go/main.go`, which uses etcd's own recipes, on the
//! other side `etcd-recipes shell`. Needs the Go program: `scripts/test-go` builds
//! it, says where it is, and runs this: on a real etcd, and with `ON=serve` on the
//! simulated one that `etcd-recipes serve` brings.

#[path = "../command/cluster.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod cluster;
#[path = "../command/conversation.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod conversation;

use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};

use cluster::Etcd;
use conversation::Shell;

/// What they share.
fn start() -> Etcd {
    match std::env::var("ON").as_deref() {
        Ok("serve") => Etcd::served(),
        Ok(other) => panic!("ON={other}: it is `serve`, or not set"),
        Err(_) => Etcd::start(),
    }
}

/// The Go recipe; the arguments are recipe, name and perhaps a count.
fn go(etcd: &Etcd, arguments: &str) -> Shell {
    let program = std::env::var_os("GO_RECIPES")
        .expect("GO_RECIPES names the program built from tests/go/main.go; run scripts/test-go");
    let mut command = Command::new(program);
    command
        .args(["-ttl", "2", "-endpoints", etcd.endpoint()])
        .args(arguments.split_whitespace());
    Shell::of(command)
}

/// Ours.
fn rust(etcd: &Etcd, arguments: &str) -> Shell {
    Shell::start(etcd, &format!("{arguments} --ttl 2"))
}

#[track_caller]
fn begins(line: &str, with: &str) {
    assert!(line.starts_with(with), "{line:?} for {with:?}");
}

#[test]
fn a_queue_keeps_the_order_of_both() {
    let etcd = start();
    let mut go = go(&etcd, "queue jobs");
    let mut rust = rust(&etcd, "queue --name jobs");
    for round in 0..10 {
        go.answers(&format!("push go{round}"));
        rust.answers(&format!("push rust{round}"));
    }
    assert_eq!(rust.answers("len"), "20");
    for round in 0..5 {
        // Each takes what the other one put there, and then the other way round.
        assert_eq!(rust.answers("pop"), format!("go{}", 2 * round));
        assert_eq!(go.answers("pop"), format!("rust{}", 2 * round));
        assert_eq!(go.answers("pop"), format!("go{}", 2 * round + 1));
        assert_eq!(rust.answers("pop"), format!("rust{}", 2 * round + 1));
    }
}

#[test]
fn each_wakes_the_other_at_an_empty_queue() {
    let etcd = start();
    let mut go = go(&etcd, "queue jobs");
    let mut rust = rust(&etcd, "queue --name jobs");
    for round in 0..5 {
        go.tell("pop");
        go.is_silent();
        rust.answers(&format!("push a{round}"));
        assert_eq!(go.says(), format!("a{round}"));
        rust.tell("pop");
        rust.is_silent();
        go.answers(&format!("push b{round}"));
        assert_eq!(rust.says(), format!("b{round}"));
    }
}

/// Neither gets an item that the other one has got.
fn come_out_once(recipe: &str, how: &str) {
    const EACH: usize = 50;
    let etcd = start();
    let of_go = || go(&etcd, &format!("{recipe} jobs"));
    let of_rust = || rust(&etcd, &format!("{recipe} --name jobs"));
    let (mut go_out, mut rust_out) = (of_go(), of_rust());
    let (mut go_in, mut rust_in) = (of_go(), of_rust());
    for i in 0..EACH {
        go_in.tell(&format!("push go{i}{how}"));
        rust_in.tell(&format!("push rust{i}{how}"));
        go_out.tell("pop");
        rust_out.tell("pop");
    }
    let mut items: Vec<String> = Vec::new();
    for _ in 0..EACH {
        items.extend([go_out.says(), rust_out.says()]);
    }
    items.sort();
    items.dedup();
    assert_eq!(items.len(), 2 * EACH);
}

#[test]
fn no_item_of_a_queue_comes_out_twice_or_never() {
    come_out_once("queue", "");
}

fn take_turns(recipe: &str, lock: &str, locked: &str) {
    let etcd = start();
    let mut go = go(&etcd, &format!("{recipe} jobs"));
    let mut rust = rust(&etcd, &format!("{recipe} --name jobs"));
    for _ in 0..5 {
        begins(&go.answers(lock), locked);
        rust.tell(lock);
        rust.is_silent();
        go.answers("unlock");
        begins(&rust.says(), locked);
        go.tell(lock);
        go.is_silent();
        rust.answers("unlock");
        begins(&go.says(), locked);
        go.answers("unlock");
    }
}

#[test]
fn they_take_turns_at_a_mutex() {
    take_turns("lock", "lock", "locked");
}

#[test]
fn they_take_turns_at_writing() {
    take_turns("rwlock", "wlock", "locked for writing");
}

/// Long enough for somebody else to come in who does not see the lock.
#[expect(clippy::disallowed_methods, reason = "the processes are real")]
fn stay() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

/// Two of each want the same lock all the time.
fn never_two_inside(recipe: &str, lock: &str) {
    let etcd = start();
    let inside = AtomicI32::new(0);
    let contenders = [
        go(&etcd, &format!("{recipe} jobs")),
        rust(&etcd, &format!("{recipe} --name jobs")),
        go(&etcd, &format!("{recipe} jobs")),
        rust(&etcd, &format!("{recipe} --name jobs")),
    ];
    std::thread::scope(|scope| {
        for mut contender in contenders {
            let inside = &inside;
            scope.spawn(move || {
                for _ in 0..25 {
                    begins(&contender.answers(lock), "locked");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two inside");
                    stay();
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1, "two inside");
                    assert_eq!(contender.answers("unlock"), "unlocked");
                }
            });
        }
    });
}

#[test]
fn never_two_hold_a_mutex() {
    never_two_inside("lock", "lock");
}

#[test]
fn never_two_write() {
    never_two_inside("rwlock", "wlock");
}

#[test]
fn readers_of_both_share_and_keep_writers_of_both_out() {
    let etcd = start();
    let (mut go_reads, mut go_writes) = (go(&etcd, "rwlock jobs"), go(&etcd, "rwlock jobs"));
    let (mut rust_reads, mut rust_writes) = (
        rust(&etcd, "rwlock --name jobs"),
        rust(&etcd, "rwlock --name jobs"),
    );
    begins(&go_reads.answers("rlock"), "locked for reading");
    begins(&rust_reads.answers("rlock"), "locked for reading");
    begins(&rust_writes.answers("try-wlock"), "not locked");
    go_writes.tell("wlock");
    go_writes.is_silent();
    rust_writes.tell("wlock");
    rust_writes.is_silent();
    go_reads.answers("unlock");
    go_writes.is_silent();
    rust_reads.answers("unlock");
    // In order of arrival.
    begins(&go_writes.says(), "locked for writing");
    rust_writes.is_silent();
    // A reader waits behind both, whatever it is written in.
    go_reads.tell("rlock");
    go_reads.is_silent();
    go_writes.answers("unlock");
    begins(&rust_writes.says(), "locked for writing");
    go_reads.is_silent();
    rust_reads.tell("rlock");
    rust_reads.is_silent();
    rust_writes.answers("unlock");
    begins(&go_reads.says(), "locked for reading");
    begins(&rust_reads.says(), "locked for reading");
}

#[test]
fn what_a_killed_program_held_comes_free_for_the_other() {
    let etcd = start();
    let mut first = go(&etcd, "lock jobs");
    let mut second = rust(&etcd, "lock --name jobs");
    begins(&first.answers("lock"), "locked");
    second.tell("lock");
    second.is_silent();
    drop(first);
    begins(&second.says(), "locked");
    let mut third = go(&etcd, "lock jobs");
    third.tell("lock");
    third.is_silent();
    drop(second);
    begins(&third.says(), "locked");
}

#[test]
fn campaigns_alternate_and_each_sees_the_other_lead() {
    let etcd = start();
    let mut go = go(&etcd, "election boss");
    let mut rust = rust(&etcd, "election --name boss");
    let mut term = 0;
    let mut rises = |now: &str| {
        let now: i64 = now.parse().expect("a term is a number");
        assert!(now > term, "term {now} after {term}");
        term = now;
    };
    assert_eq!(rust.answers("leader"), "nobody leads");
    go.answers("campaign gopher");
    for round in 0..4 {
        let of_go = go.answers("rev");
        rises(&of_go);
        assert_eq!(rust.answers("leader"), format!("term {of_go}: gopher"));
        go.answers(&format!("proclaim go{round}"));
        assert_eq!(rust.answers("leader"), format!("term {of_go}: go{round}"));
        rust.tell("campaign crab");
        rust.is_silent();
        go.answers("resign");
        begins(&rust.says(), "elected");
        rises(&rust.answers("rev"));
        assert_eq!(go.answers("leader"), "crab");
        rust.answers(&format!("proclaim rust{round}"));
        assert_eq!(go.answers("leader"), format!("rust{round}"));
        go.tell("campaign gopher");
        go.is_silent();
        rust.answers("resign");
        begins(&go.says(), "elected");
    }
}

#[test]
fn observers_of_both_see_leaders_of_both() {
    let etcd = start();
    let (mut go_leads, mut go_sees) = (go(&etcd, "election boss"), go(&etcd, "election boss"));
    let (mut rust_leads, mut rust_sees) = (
        rust(&etcd, "election --name boss"),
        rust(&etcd, "election --name boss"),
    );
    go_leads.answers("campaign gopher");
    rust_sees.tell("observe");
    assert!(rust_sees.says().ends_with(": gopher"));
    assert_eq!(go_sees.answers("observe"), "gopher");
    go_sees.tell("observe gopher");
    rust_leads.tell("campaign crab");
    // In line before the other resigns: else the observers rightly see that nobody leads.
    rust_leads.is_silent();
    go_leads.answers("resign");
    begins(&rust_leads.says(), "elected");
    assert_eq!(go_sees.says(), "crab");
    assert!(rust_sees.says().ends_with(": crab"));
    rust_leads.answers("resign");
    assert_eq!(rust_sees.says(), "nobody leads");
}

#[test]
fn a_priority_queue_keeps_the_order_of_both() {
    let etcd = start();
    let mut go = go(&etcd, "priority-queue jobs");
    let mut rust = rust(&etcd, "priority-queue --name jobs");
    for priority in [7, 3, 65535, 0, 3] {
        go.answers(&format!("push go{priority} {priority}"));
        rust.answers(&format!("push rust{priority} {priority}"));
    }
    let order = [
        "go0",
        "rust0",
        "go3",
        "rust3",
        "go3",
        "rust3",
        "go7",
        "rust7",
        "go65535",
        "rust65535",
    ];
    for (place, item) in order.into_iter().enumerate() {
        let taker = if place % 3 == 0 { &mut go } else { &mut rust };
        assert_eq!(taker.answers("pop"), item);
    }
    // Also one that has been empty, and whose numbers begin anew.
    for round in 0..3 {
        go.tell("pop");
        go.is_silent();
        rust.answers(&format!("push a{round} 5"));
        assert_eq!(go.says(), format!("a{round}"));
        rust.tell("pop");
        rust.is_silent();
        go.answers(&format!("push b{round} 5"));
        assert_eq!(rust.says(), format!("b{round}"));
    }
}

#[test]
fn no_item_of_a_priority_queue_comes_out_twice_or_never() {
    come_out_once("priority-queue", " 5");
}

#[test]
fn a_barrier_that_one_takes_down_lets_the_other_pass() {
    let etcd = start();
    let mut go = go(&etcd, "barrier start");
    let mut rust = rust(&etcd, "barrier --name start");
    for _ in 0..3 {
        go.answers("hold");
        begins(&rust.answers("hold"), "not held");
        rust.tell("wait");
        rust.is_silent();
        go.answers("release");
        assert_eq!(rust.says(), "passed");
        assert_eq!(rust.answers("hold"), "held");
        go.tell("wait");
        go.is_silent();
        assert_eq!(rust.answers("release"), "released");
        assert_eq!(go.says(), "passed");
    }
}

/// One of each; whoever comes first waits for the other. Each round has a name of
/// its own, because Go's cannot be used again.
#[test]
fn they_enter_and_leave_a_double_barrier_together() {
    let etcd = start();
    for round in 0..4 {
        let mut both = [
            go(&etcd, &format!("double-barrier round{round} 2")),
            rust(
                &etcd,
                &format!("double-barrier --name round{round} --count 2"),
            ),
        ];
        both.rotate_left(round % 2);
        for (command, said) in [("enter", "entered"), ("leave", "left")] {
            let [first, second] = &mut both;
            first.tell(command);
            first.is_silent();
            second.tell(command);
            assert_eq!(first.says(), said);
            assert_eq!(second.says(), said);
        }
    }
}

/// Three and more, the oldest one ours: whoever leaves first waits until the last one
/// has left. A Go participant of 3.4 does so only because our oldest one's key is
/// the last to go.
#[test]
fn nobody_leaves_a_double_barrier_before_all_others_when_the_oldest_is_ours() {
    let etcd = start();
    // As they come, and then as they leave.
    let rounds = [
        ("RRG", "012"),
        ("RGR", "102"),
        ("RGR", "012"),
        ("RGR", "210"),
        ("RGG", "102"),
        ("RGG", "210"),
        ("RGRG", "1302"),
        ("RRGG", "2013"),
    ];
    for (round, (coming, leaving)) in rounds.into_iter().enumerate() {
        let (name, count) = (format!("all{round}"), coming.len());
        let waiters = format!("{name}/waiters/");
        let mut parties = Vec::new();
        for of in coming.chars() {
            let mut party = match of {
                'G' => go(&etcd, &format!("double-barrier {name} {count}")),
                _ => rust(
                    &etcd,
                    &format!("double-barrier --name {name} --count {count}"),
                ),
            };
            party.tell("enter");
            parties.push(party);
            // Before the next one comes.
            etcd.gets_keys(&waiters, parties.len() as i64);
        }
        for party in &parties {
            assert_eq!(party.says(), "entered", "{coming}");
        }
        let mut leaving: Vec<usize> = leaving.chars().map(|c| c as usize - 48).collect();
        let last = leaving.pop().expect("somebody is last");
        let mut there = count as i64;
        for one in leaving {
            parties[one].tell("leave");
            // The oldest one's key stays.
            there -= i64::from(one != 0);
            etcd.gets_keys(&waiters, there);
        }
        parties[last].is_silent();
        for party in &parties {
            party.has_been_silent();
        }
        parties[last].tell("leave");
        for party in &parties {
            assert_eq!(party.says(), "left", "{coming}");
        }
        etcd.gets_keys(&name, 0);
    }
}

#[test]
fn transactions_of_both_keep_what_is_there() {
    let etcd = start();
    let put = async |mut client: etcd_client::Client| {
        for (key, value) in [("a", "1000"), ("b", "0")] {
            client.put(key, value, None).await.unwrap();
        }
    };
    etcd.with_client(put);
    let mut go = go(&etcd, "stm bank");
    let mut rust = rust(&etcd, "stm");
    const EACH: usize = 30;
    for _ in 0..EACH {
        go.tell("transfer a b 3");
        rust.tell("transfer a b 2");
        rust.tell("transfer-txn b a 1");
    }
    for _ in 0..EACH {
        go.says();
    }
    let done = (0..2 * EACH).map(|_| rust.says()).collect::<Vec<_>>();
    assert!(
        done.iter().all(|line| line.contains("at revision")),
        "{done:?}"
    );
    let balance = |key: &'static str| {
        etcd.with_client(async |mut client| {
            let answer = client.get(key, None).await.unwrap();
            answer.kvs()[0]
                .value_str()
                .unwrap()
                .parse::<usize>()
                .unwrap()
        })
    };
    assert_eq!(balance("b"), EACH * (3 + 2 - 1));
    assert_eq!(balance("a"), 1000 - EACH * (3 + 2 - 1));
}
