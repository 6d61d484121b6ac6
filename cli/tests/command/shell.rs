//! `shell`, through pipes, on a real etcd.

use crate::cluster::Etcd;
use crate::conversation::Shell;
use crate::support::Folder;

#[test]
fn a_script_runs_to_its_end_with_results_on_standard_output_only() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let script =
        "push 'clean up'\npush \"two\"\nlen\npeek\npop\npop\ntry-pop\n\nquit\npush never\n";
    let mut command = folder.command();
    command.args([
        "shell",
        "queue",
        "--name",
        "jobs",
        "--endpoints",
        etcd.endpoint(),
    ]);
    let ran: crate::support::Ran = command.write_stdin(script).output().unwrap().into();
    let ran = ran.exits_with(0).notes("the queue is empty");
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "pushed at revision 2",
            "pushed at revision 3",
            "2",
            "clean up",
            "clean up",
            "two"
        ]
    );
    assert_eq!(etcd.keys(), 0);
}

#[test]
fn lines_may_end_as_on_windows_and_what_is_no_text_is_refused() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let mut command = folder.command();
    command.args(["shell", "queue", "--name", "jobs"]);
    command.args(["--endpoints", etcd.endpoint()]);
    let script = b"push one\r\npush \xff\r\nlen\r\n".to_vec();
    let ran: crate::support::Ran = command.write_stdin(script).output().unwrap().into();
    let ran = ran.exits_with(0).notes("not UTF-8");
    assert!(ran.stdout.ends_with("\n1\n"), "{}", ran.stdout);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a token of a real etcd expires")]
fn a_shell_outlives_its_token() {
    let etcd = Etcd::start_with(&["--auth-token-ttl", "1"]);
    etcd.with_client(async |mut client| {
        client.user_add("root", "secret", None).await.unwrap();
        client.role_add("root").await.unwrap();
        client.user_grant_role("root", "root").await.unwrap();
        client.auth_enable().await.unwrap();
    });
    let mut shell = Shell::start(&etcd, "lock --name jobs --user root:secret");
    assert!(shell.answers("lock").starts_with("locked"));
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(shell.answers("unlock").starts_with("unlocked"));
}

#[test]
fn wrong_input_gets_a_sentence_and_the_shell_goes_on() {
    let etcd = Etcd::start();
    let mut shell = Shell::start(&etcd, "queue --name jobs");
    for (line, sentence) in [
        ("pull", "there is no command `pull`; there are: push"),
        ("push", "write it as: push VALUE"),
        ("push a b", "write it as: push VALUE"),
        ("push 'a", "no partner"),
        ("quit now", "write it as: quit"),
        ("help", "push VALUE"),
    ] {
        shell.tell(line);
        shell.notes(sentence);
    }
    assert_eq!(shell.answers("len"), "0");
    assert!(shell.ends_well().is_empty());
}

#[test]
fn a_pop_waits_for_what_another_shell_pushes() {
    let etcd = Etcd::start();
    let mut here = Shell::start(&etcd, "queue --name jobs");
    let mut there = Shell::start(&etcd, "queue --name jobs");
    here.tell("pop");
    here.is_silent();
    there.tell("push 'späte\tSendung'");
    assert_eq!(here.says(), "späte\\tSendung");
    here.ends_well();
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_wait_and_not_the_shell() {
    let etcd = Etcd::start();
    let mut shell = Shell::start(&etcd, "queue --name jobs");
    assert_eq!(shell.answers("len"), "0");
    shell.tell("pop");
    shell.is_silent();
    shell.interrupt();
    shell.notes("interrupted");
    // Also when nothing waits.
    shell.interrupt();
    shell.notes("`quit` leaves");
    assert_eq!(shell.answers("push a"), "pushed at revision 2");
    assert_eq!(shell.answers("pop"), "a");
    shell.ends_well();
}

#[test]
fn a_transaction_is_made_step_by_step_and_meets_conflicts() {
    let etcd = Etcd::start();
    let mut here = Shell::start(&etcd, "stm --name bank");
    let mut there = Shell::start(&etcd, "stm --name bank");
    here.tell("put a 100");
    here.tell("put b 0");
    assert_eq!(here.answers("commit"), "committed at revision 2");
    assert_eq!(here.answers("get a"), "100");
    assert_eq!(here.answers("rev a"), "2");
    assert_eq!(
        there.answers("transfer a b 30"),
        "bank/a holds 70, bank/b holds 30, at revision 3 after 1 attempt"
    );
    here.tell("put a 99");
    assert!(here.answers("commit").starts_with("conflict"));
    assert_eq!(here.answers("get a"), "70");
    here.tell("del b");
    assert_eq!(here.answers("commit"), "committed at revision 4");
    here.tell("get b");
    here.notes("there is no such key");
    here.tell("transfer a b 1");
    here.notes("there is no key bank/b");
    here.tell("commit b");
    here.notes("write it as: commit");
    here.tell("abort");
    here.notes("forgotten");
    here.tell("commit");
    here.notes("there is no transaction");
    here.ends_well();
}

#[test]
fn a_raw_txn_transfers_as_a_transaction_does() {
    let etcd = Etcd::start();
    let mut shell = Shell::start(&etcd, "stm");
    shell.tell("put a 10");
    shell.tell("put b 5");
    shell.answers("commit");
    assert_eq!(
        shell.answers("transfer-txn a b 4"),
        "a holds 6, b holds 9, at revision 3 after 1 attempt"
    );
    for (line, sentence) in [
        ("transfer-txn a b 7", "a holds 6, less than 7"),
        ("transfer a b 7", "a holds 6, less than 7"),
        ("transfer-txn a a 1", "two different keys"),
        ("transfer a b many", "`many` is not a whole number"),
    ] {
        shell.tell(line);
        shell.notes(sentence);
    }
    let money = etcd.with_client(async |mut client| {
        let mut sum = 0;
        for key in ["a", "b"] {
            let answer = client.get(key, None).await.unwrap();
            sum += answer.kvs()[0].value_str().unwrap().parse::<i32>().unwrap();
        }
        sum
    });
    assert_eq!(money, 15);
    shell.ends_well();
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    folder
        .run("shell queue")
        .exits_with(2)
        .notes("it needs a name");
    folder
        .run("shell queue --name jobs --count 2")
        .exits_with(2)
        .notes("--count");
    folder
        .run("shell nothing --name jobs")
        .exits_with(2)
        .notes("queue");
    folder
        .run("shell queue --name jobs --endpoints 127.0.0.1:1")
        .exits_with(5)
        .notes("Is etcd running there?");
}

#[test]
fn a_name_that_cannot_be_used_is_refused() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let line = format!("shell queue --name jobs/ --endpoints {}", etcd.endpoint());
    folder.run(&line).exits_with(2).notes("jobs/");
}

#[test]
fn one_waits_for_the_lock_until_the_other_gives_it_back() {
    let etcd = Etcd::start();
    let mut here = Shell::start(&etcd, "lock --name jobs");
    let mut there = Shell::start(&etcd, "lock --name jobs");
    assert_eq!(here.answers("lock"), "locked, token 2");
    assert_eq!(there.answers("try"), "not locked, somebody else holds it");
    there.tell("lock");
    there.is_silent();
    here.tell("lock");
    here.notes("locked here already");
    assert_eq!(here.answers("check"), "still locked, token 2");
    assert_eq!(here.answers("unlock"), "unlocked");
    let token = there.says();
    assert!(token.starts_with("locked, token "), "{token}");
    here.tell("unlock");
    here.notes("not locked here");
    // Leaving frees what is held.
    there.ends_well();
    assert!(here.answers("try").starts_with("locked, token "));
    here.ends_well();
    assert_eq!(etcd.keys(), 0);
}

#[test]
#[cfg(unix)]
fn ctrl_c_gives_up_the_place_in_line() {
    let etcd = Etcd::start();
    let mut holder = Shell::start(&etcd, "lock --name jobs");
    let mut waiter = Shell::start(&etcd, "lock --name jobs");
    holder.answers("lock");
    waiter.tell("lock");
    waiter.is_silent();
    waiter.interrupt();
    waiter.notes("interrupted");
    assert_eq!(holder.answers("unlock"), "unlocked");
    // Nobody stands in line who would have it now.
    assert!(holder.answers("lock").starts_with("locked, token "));
    assert_eq!(holder.answers("unlock"), "unlocked");
    assert!(waiter.answers("lock").starts_with("locked, token "));
}

#[test]
fn readers_share_and_a_writer_waits() {
    let etcd = Etcd::start();
    let mut first = Shell::start(&etcd, "rwlock --name jobs");
    let mut second = Shell::start(&etcd, "rwlock --name jobs");
    let mut writer = Shell::start(&etcd, "rwlock --name jobs");
    assert!(first.answers("rlock").starts_with("locked for reading"));
    assert!(
        second
            .answers("try-rlock")
            .starts_with("locked for reading")
    );
    assert!(writer.answers("try-wlock").starts_with("not locked"));
    writer.tell("wlock");
    writer.is_silent();
    assert_eq!(first.answers("unlock"), "unlocked");
    writer.is_silent();
    assert_eq!(second.answers("unlock"), "unlocked");
    assert!(writer.says().starts_with("locked for writing"));
    first.tell("rlock");
    first.is_silent();
    assert_eq!(writer.answers("unlock"), "unlocked");
    assert!(first.says().starts_with("locked for reading"));
}

#[test]
fn leaders_follow_each_other_and_an_observer_sees_them() {
    let etcd = Etcd::start();
    let mut first = Shell::start(&etcd, "election --name boss");
    let mut second = Shell::start(&etcd, "election --name boss");
    let mut observer = Shell::start(&etcd, "election --name boss");
    assert_eq!(observer.answers("leader"), "nobody leads");
    assert_eq!(first.answers("campaign 'number one'"), "elected, term 2");
    assert_eq!(observer.answers("leader"), "term 2: number one");
    observer.tell("observe 4");
    assert_eq!(observer.says(), "term 2: number one");
    second.tell("campaign two");
    second.is_silent();
    assert_eq!(first.answers("proclaim still-one"), "proclaimed");
    assert_eq!(observer.says(), "term 2: still-one");
    assert_eq!(first.answers("rev"), "2");
    second.is_silent();
    assert_eq!(first.answers("resign"), "resigned");
    assert_eq!(second.says(), "elected, term 3");
    assert_eq!(observer.says(), "term 3: two");
    first.tell("proclaim late");
    first.notes("not won here");
    // Leaving frees the place.
    second.ends_well();
    assert_eq!(observer.says(), "nobody leads");
    observer.ends_well();
}

#[test]
fn the_lowest_priority_comes_out_first() {
    let etcd = Etcd::start();
    let mut here = Shell::start(&etcd, "priority-queue --name jobs");
    let mut there = Shell::start(&etcd, "priority-queue --name jobs");
    for (value, priority) in [("late", 9), ("soon", 1), ("'soon too'", 1)] {
        assert!(
            here.answers(&format!("push {value} {priority}"))
                .starts_with("pushed")
        );
    }
    assert_eq!(there.answers("len"), "3");
    assert_eq!(there.answers("pop"), "soon");
    assert_eq!(there.answers("peek"), "soon too");
    assert_eq!(here.answers("pop"), "soon too");
    assert_eq!(here.answers("pop"), "late");
    there.tell("pop");
    there.is_silent();
    for (line, sentence) in [
        ("push a", "write it as: push VALUE PRIORITY"),
        ("push a 65536", "`65536` is not a priority from 0 to 65535"),
        ("try-pop", "the queue is empty"),
    ] {
        here.tell(line);
        here.notes(sentence);
    }
    here.answers("push now 65535");
    assert_eq!(there.says(), "now");
}

#[test]
fn a_claimed_item_comes_back_unless_it_is_done_with() {
    let etcd = Etcd::start();
    let mut here = Shell::start(&etcd, "reliable-queue --name jobs --ttl 2");
    let mut there = Shell::start(&etcd, "reliable-queue --name jobs");
    assert_eq!(here.answers("push one two"), "pushed");
    assert_eq!(here.answers("push three"), "pushed");
    assert_eq!(there.answers("len"), "3");
    assert_eq!(here.answers("claim"), "one");
    assert_eq!(there.answers("claim"), "two");
    assert_eq!(here.answers("release"), "given back");
    assert_eq!(there.answers("peek"), "one");
    assert_eq!(here.answers("claim"), "one");
    assert_eq!(here.answers("ack"), "done with");
    assert_eq!(here.answers("claim"), "three");
    here.tell("try-claim");
    here.notes("nothing to claim");
    assert_eq!(there.answers("ack"), "done with");
    there.tell("ack");
    there.notes("nothing is claimed here");
    // Its consumer dies.
    drop(here);
    there.tell("claim");
    assert_eq!(there.says(), "three");
    assert_eq!(there.answers("ack"), "done with");
    assert_eq!(there.answers("len"), "0");
}

#[test]
fn a_barrier_holds_until_it_is_released() {
    let etcd = Etcd::start();
    let mut owner = Shell::start(&etcd, "barrier --name start");
    let mut waiter = Shell::start(&etcd, "barrier --name start");
    assert_eq!(waiter.answers("wait"), "passed");
    assert_eq!(owner.answers("hold"), "held");
    assert_eq!(waiter.answers("hold"), "not held, it was up already");
    waiter.tell("wait");
    waiter.is_silent();
    assert_eq!(owner.answers("release"), "released");
    assert_eq!(waiter.says(), "passed");
    assert_eq!(owner.answers("release"), "not released, it was not up");
}

#[test]
fn all_enter_and_leave_a_double_barrier_together() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    folder
        .run("shell double-barrier --name all")
        .exits_with(2)
        .notes("--count");
    let arguments = "double-barrier --name all --count 2";
    let mut first = Shell::start(&etcd, arguments);
    let mut second = Shell::start(&etcd, arguments);
    for (command, said) in [("enter", "entered"), ("leave", "left")] {
        first.tell(command);
        first.is_silent();
        assert_eq!(second.answers(command), said);
        assert_eq!(first.says(), said);
    }
}

#[test]
fn a_cyclic_barrier_counts_its_rounds() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let too_many = "shell cyclic-barrier --name all --count 101 --endpoints";
    folder
        .run(&format!("{too_many} {}", etcd.endpoint()))
        .exits_with(2)
        .notes("at most 100");
    let arguments = "cyclic-barrier --name all --count 2";
    let mut first = Shell::start(&etcd, arguments);
    let mut second = Shell::start(&etcd, arguments);
    let mut rounds = Vec::new();
    for _ in 0..3 {
        first.tell("wait");
        first.is_silent();
        let round = second.answers("wait");
        assert!(round.starts_with("passed, round "), "{round}");
        assert_eq!(first.says(), round);
        rounds.push(round);
    }
    rounds.dedup();
    assert_eq!(rounds.len(), 3);
}
