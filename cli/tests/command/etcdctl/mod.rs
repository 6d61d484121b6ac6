//! One session of etcdctl, on a real etcd and on `etcd-recipes serve`: it prints the
//! same, but for ids, times and addresses.
//!
//! etcdctl is `$ETCDCTL`, or the one on the `PATH`; `scripts/test` brings one.

mod side;

use std::time::Duration;

use crate::cluster::Etcd;
use crate::serve::Served;
use side::Side;

/// Both sides do the same, at the same time; then what they said is compared.
fn compare(real: &str, served: &str, session: fn(&mut Side)) {
    let (mut real, mut served) = (Side::new(real), Side::new(served));
    std::thread::scope(|scope| {
        scope.spawn(|| session(&mut real));
        scope.spawn(|| session(&mut served));
    });
    for (theirs, ours) in real.said.iter().zip(&served.said) {
        assert!(
            ours == theirs,
            "they differ\n\nserved:\n{ours}\nreal:\n{theirs}"
        );
    }
    assert_eq!(real.said.len(), served.said.len());
    println!("{} lines agree", real.said.len());
}

#[test]
fn a_session_of_etcdctl_is_that_on_a_real_etcd() {
    let real = Etcd::start();
    let version = real.with_client(async |mut client| {
        let status = client.status().await.expect("etcd answers");
        status.version().to_owned()
    });
    let served = Served::start(&["--etcd-version", &version]);
    compare(real.endpoint(), served.endpoints(), |side| {
        keys(side);
        transactions(side);
        past(side);
        watches(side);
        leases(side);
        recipes(side);
        url(side);
        cluster(side);
        users(side);
        members(side);
    });
}

/// It asks for the memory of the process beside gRPC.
#[test]
fn etcdctl_measures_what_a_served_etcd_needs_for_its_keys() {
    let served = Served::start(&[]);
    let side = Side::new(served.endpoints());
    let checked = side.command(&["check", "datascale"]).output();
    let checked = checked.expect("it runs");
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{told}");
    assert!(
        told.contains("PASS: Approximate system memory used"),
        "{told}"
    );
}

#[test]
fn what_etcdctl_saves_of_a_served_etcd_is_no_database() {
    let served = Served::start(&[]);
    let side = Side::new(served.endpoints());
    for (value, says) in [(1, "file size too small"), (9_000, "invalid database")] {
        for arguments in [
            ["put", "key", &"x".repeat(value)],
            ["snapshot", "save", "snapshot.db"],
        ] {
            let done = side.command(&arguments).output().expect("it runs");
            assert!(done.status.success(), "{arguments:?}");
        }
        let status = side
            .command(&["snapshot", "status", "snapshot.db"])
            .output();
        let status = status.expect("it runs");
        let told = String::from_utf8_lossy(&status.stderr).into_owned();
        assert!(!status.status.success() && told.contains(says), "{told}");
    }
}

fn keys(side: &mut Side) {
    for line in [
        "put a 1",
        "put b 2",
        "put c 30",
        "put dir/x 1",
        "put dir/y 2",
        "put dir/z 0",
        "put a 10 --prev-kv",
        "put none x --ignore-value",
        "put none --ignore-value",
        "put a --ignore-value",
        "put a x --ignore-lease",
        "put a 1 --lease=7",
        "put '' x",
        "get a",
        "get a --print-value-only",
        "get a c",
        "get a c --keys-only",
        "get dir/ --prefix",
        "get dir/ --prefix --limit=2",
        "get dir/ --prefix --sort-by=VALUE --order=DESCEND",
        "get dir/ --prefix --sort-by=MODIFY",
        "get b --from-key",
        "get '' --prefix",
        "get ''",
        "get none",
        "get a --rev=2",
        "get a --rev=99",
        "get a --rev=-1",
        "get a --consistency=s",
        "get a --consistency=l",
        "get a --consistency=x",
        "get a -w fields",
        "get a -w json",
        "get a -w table",
        "get a --keys-only -w json",
        "get a --hex",
        "get a --hex -w json",
        "get a a",
        "get c a",
        "get a --prefix --from-key",
        "get a c --prefix",
        "get",
        "get '' --from-key --keys-only",
        "get '' --from-key --rev=4 -w json",
        "get none -w json",
        "get none -w fields",
        "get dir/ --prefix --print-value-only",
        "get dir/ --prefix --limit=2 -w json",
        "get dir/ --prefix --limit=2 -w fields",
        "get dir/ --prefix --sort-by=KEY --order=DESCEND",
        "get dir/ --prefix --sort-by=VALUE --order=ASCEND",
        "get dir/ --prefix --sort-by=VERSION --order=DESCEND",
        "get dir/ --prefix --sort-by=CREATE --order=DESCEND --limit=1",
        "get dir/ --prefix --sort-by=NONE --order=DESCEND",
        "get dir/ --prefix --sort-by=x",
        "get dir/ --prefix --order=x",
        "put a 10 --lease=0",
        "put a 10 --prev-kv -w json",
        "put a 10 --prev-kv -w fields",
        "put none x --ignore-lease",
        "del a",
        "del a",
        "del b --prev-kv",
        "del dir/x --prev-kv -w json",
        "del dir/y -w fields",
        "del a c",
        "del a --prefix --from-key",
        "del dir/ --prefix",
        "del b --from-key",
        "put a 1 -w json",
    ] {
        side.run(line);
    }
    side.run_with("put stdin", "from standard input");
    side.run("get stdin");
}

fn transactions(side: &mut Side) {
    let branches = "\n\nput then yes\nget then\n\nput else no\nget a\n\n";
    for compare in [
        r#"value("a") = "1""#,
        r#"value("a") = "2""#,
        r#"version("a") > "0""#,
        r#"create("then") = "0""#,
        r#"mod("a") < "5""#,
    ] {
        side.run_with("txn", &format!("{compare}{branches}"));
    }
    let operations = "\n\nget --prefix e\nput txn 1 --prev-kv\ndel none\n\n\n";
    for format in ["json", "fields"] {
        side.run_with(&format!("txn -w {format}"), operations);
    }
    side.run_with("txn --interactive", operations);
    side.run_with("txn --hex", operations);
    side.run_with("txn", "value(\"a\") != \"2\"\n\n\n");
    side.run_with("txn", "\n\nno such command\n\n\n");
    side.run_with("txn", "\n\nput twice 1\nput twice 2\n\n\n");
    side.run_with("txn", "\n\ndel then\ndel --prefix e\n\n\n");
}

fn past(side: &mut Side) {
    for line in [
        "compaction 5",
        "get a --rev=4",
        "get a --rev=5",
        "compaction 5",
        "compaction 999",
        "compaction 6 --physical",
        "compaction 0",
        "compaction x",
        "compaction",
    ] {
        side.run(line);
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn watches(side: &mut Side) {
    let all = side.start("watch --rev=7 --prefix --prev-kv w");
    let one = side.start("watch w/a");
    // A watch from now on has begun before what it is to hear of.
    std::thread::sleep(Duration::from_millis(500));
    side.run("put w/a 1");
    side.run("put w/b 2");
    side.run("put w/a 3");
    side.run("del w/b");
    side.hears(&one, 6);
    side.hears(&all, 16);
    side.end(all);
    side.end(one);
    side.run("watch w/a --rev=2");
    side.run("watch");
    side.run("watch a --prefix --from-key");
    for (line, lines) in [
        ("watch w/a --rev=7 -w json", 1),
        ("watch w/a --rev=7 --hex", 6),
        ("watch w/ --prefix --rev=7 -- echo told", 16),
    ] {
        let past = side.start(line);
        side.hears(&past, lines);
        side.end(past);
    }
    let mut typed = side.start("watch --interactive");
    side.types(&mut typed, "watch w/a --rev=7 --prev-kv");
    side.hears(&typed, 8);
    side.types(&mut typed, "watch w/b --rev=7");
    side.hears(&typed, 6);
    // Each of the two watches prints it.
    side.types(&mut typed, "progress");
    side.hears(&typed, 2);
    side.types(&mut typed, "progress");
    side.hears(&typed, 2);
    side.end(typed);
}

fn leases(side: &mut Side) {
    side.run("lease grant 100");
    let lease = side.ids.len();
    let with = |line: &str| line.replace("ID", &format!("{{{lease}}}"));
    side.run(&with("put leased 1 --lease=ID"));
    side.run("get leased -w fields");
    side.run("lease list");
    side.run(&with("lease keep-alive ID --once"));
    side.run(&with("lease timetolive ID --keys -w fields"));
    side.run(&with("lease revoke ID"));
    side.run("get leased");
    side.run(&with("lease revoke ID"));
    side.run(&with("lease timetolive ID"));
    side.run(&with("lease keep-alive ID --once"));
    side.run("lease list");
    side.run("lease grant 100 -w json");
    side.run("lease list -w json");
    side.run("lease list -w fields");
    side.run("lease timetolive 77 -w json");
    side.run("lease keep-alive 77");
    side.run("lease grant 0");
    side.run("lease grant");
    side.run("lease revoke zz");
    side.run("lease grant 9000000001");
    side.run("lease grant x");
}

#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn recipes(side: &mut Side) {
    side.run("lock jobs echo held");
    let holder = side.start("lock jobs");
    side.hears(&holder, 1);
    let waiter = side.start("lock jobs echo mine");
    std::thread::sleep(Duration::from_millis(500));
    side.end(holder);
    side.hears(&waiter, 1);
    let leader = side.start("elect board first");
    side.hears(&leader, 2);
    let listener = side.start("elect -l board");
    side.hears(&listener, 2);
    side.end(leader);
    side.end(listener);
}

/// The endpoint as a URL, which Go's client of 3.4 makes the authority of its requests.
fn url(side: &mut Side) {
    let endpoint = side.endpoint.clone();
    side.endpoint = format!("http://{endpoint}");
    side.run("put url 1");
    side.run("get url");
    side.run("endpoint health");
    side.endpoint = endpoint;
}

fn cluster(side: &mut Side) {
    for line in [
        "endpoint health",
        "endpoint health --cluster",
        "alarm list",
        "alarm list -w json",
        "alarm disarm",
        "defrag",
        "defrag --cluster",
        "endpoint hashkv --rev=999",
        "endpoint hashkv --rev=1",
        "move-leader 1",
        "move-leader zz",
        "snapshot save snapshot.db",
    ] {
        side.run(line);
    }
    let list = side.command(&["member", "list", "-w", "fields"]).output();
    let list = String::from_utf8(list.expect("it runs").stdout).expect("it prints UTF-8");
    let names = list.lines().filter(|line| line.starts_with("\"Name\""));
    side.said.push(names.collect());
    for format in ["fields", "json", "simple", "table"] {
        for arguments in ["endpoint status", "endpoint status --cluster"] {
            status(side, arguments, format);
        }
    }
}

/// The sizes of the database and the places in the Raft log differ.
fn status(side: &mut Side, arguments: &str, format: &str) {
    let line = format!("{arguments} -w {format}");
    let status = side.command(&line.split(' ').collect::<Vec<_>>()).output();
    let status = String::from_utf8(status.expect("it runs").stdout).expect("it prints UTF-8");
    // The first row of a table is as wide as its cells are.
    let lines = status.lines().filter(|line| !line.starts_with("+--"));
    let lines = lines.map(|line| match format {
        "fields" => {
            let unlike = ["\"DBSize", "\"RaftIndex", "\"RaftAppliedIndex"];
            let is_unlike = unlike.iter().any(|name| line.starts_with(name));
            if is_unlike {
                String::new()
            } else {
                line.to_owned()
            }
        }
        "json" => without_numbers(
            line,
            &["dbSize", "dbSizeInUse", "raftIndex", "raftAppliedIndex"],
        ),
        // By place: the size, and the two last before the errors.
        _ => {
            let cells = line.split([',', '|']).map(str::trim);
            let cells: Vec<&str> = cells.collect();
            let first = usize::from(format == "table");
            let unlike = [3, 7, 8].map(|place| place + first);
            let cells = cells.iter().enumerate();
            let alike = cells.filter(|(place, _)| !unlike.contains(place));
            alike.map(|(_, cell)| *cell).collect::<Vec<_>>().join(", ")
        }
    });
    let lines: Vec<String> = lines.collect();
    side.tell(&format!("$ etcdctl {line}\n{}", lines.join("\n")));
}

/// A line of JSON in which these fields have no value.
fn without_numbers(line: &str, names: &[&str]) -> String {
    names.iter().fold(line.to_owned(), |line, name| {
        let name = format!("\"{name}\":");
        let Some((before, after)) = line.split_once(&name) else {
            return line;
        };
        let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{before}{name}{rest}")
    })
}

/// It takes a minute, whatever the load. How fast it is meanwhile is the machine's affair.
#[test]
fn the_least_of_the_performance_checks_of_etcdctl_passes() {
    let served = Served::start(&[]);
    let side = Side::new(served.endpoints());
    let checked = side.command(&["check", "perf", "--load", "s"]).output();
    let checked = String::from_utf8_lossy(&checked.expect("it runs").stdout).into_owned();
    assert!(checked.contains("PASS: Throughput is 1"), "{checked}");
    let left = side
        .command(&["get", "", "--prefix", "--keys-only"])
        .output();
    let left = String::from_utf8_lossy(&left.expect("it runs").stdout).into_owned();
    assert_eq!(left, "");
}

/// Last, for at the end there is no quorum any more.
fn members(side: &mut Side) {
    let own = side.command(&["member", "list"]).output().expect("it runs");
    let own = String::from_utf8(own.stdout).expect("it prints UTF-8");
    let own: Vec<&str> = own.trim().split(", ").collect();
    side.called.push((own[3].to_owned(), "http://own:2380"));
    for line in [
        "member list",
        "member list -w json",
        "member list -w fields",
        "member add",
        "member add next",
        "member add next --peer-urls=bad",
        "member add next --peer-urls=http://next",
        "member add next --peer-urls=http://next:1 --learner",
        "member add more --peer-urls=http://more:1 --learner",
        "member add more --peer-urls=http://more:1,http://next:1",
        "member list",
        "member promote",
        "member promote zz",
        "member promote 77",
        "member update 77 --peer-urls=http://more:1",
        "member remove 77",
    ] {
        side.run(line);
    }
    let ids = side.command(&["member", "list"]).output().expect("it runs");
    let ids = String::from_utf8(ids.stdout).expect("it prints UTF-8");
    let next = ids.lines().find(|line| line.contains("unstarted"));
    let next = next.and_then(|line| line.split(',').next());
    let next = next.expect("the learner is listed");
    for (id, name) in [(own[0], "OWN"), (next, "NEXT")] {
        side.called.push((id.to_owned(), name));
    }
    side.run(&format!("member promote {next}"));
    side.run(&format!(
        "member update {next} --peer-urls=http://next:2,http://next:1"
    ));
    side.run(&format!("member update {next}"));
    side.run(&format!("member promote {}", own[0]));
    side.run(&format!("member remove {}", own[0]));
    side.run("member list");
    side.run(&format!("member remove {next}"));
    side.run(&format!("member remove {next}"));
    side.run("member list");
    side.run("put before 1");
    side.run("member add second --peer-urls=http://127.0.0.1:9");
    side.run("member list");
    // As long as etcd takes to give up, and longer.
    side.run("put after 1 --command-timeout=20s");
    side.run("get before --consistency=s");
    side.run("member add third --peer-urls=http://third:1");
    side.run("member add third --peer-urls=http://third:1 --learner");
    side.run(&format!("member remove {}", own[0]));
}

fn users(side: &mut Side) {
    for line in [
        "auth enable",
        "user add root:secret",
        "user add root:secret",
        "user add app:secret",
        "user add robot --no-password",
        "role add writer",
        "role add writer",
        "role grant-permission writer readwrite app/ --prefix",
        "role grant-permission writer read shared",
        "role get writer",
        "role list",
        "user grant-role app writer",
        "user grant-role app none",
        "user get app",
        "user get app --detail",
        "user list",
        "user grant-role root root",
        "auth enable",
        "get app/a",
        "user list",
    ] {
        side.run(line);
    }
    side.user = Some("app:secret");
    for line in [
        "put app/a 1",
        "get app/ --prefix",
        "get shared",
        "put shared 1",
        "get '' --prefix",
        "user list",
        "user get app",
        "role get writer",
        "watch other",
        "endpoint health",
        "lock app/lock echo held",
    ] {
        side.run(line);
    }
    side.user = Some("app:wrong");
    side.run("get app/a");
    side.user = Some("root:secret");
    for line in [
        "user revoke-role root root",
        "user delete root",
        "role revoke-permission writer shared",
        "role revoke-permission writer shared",
        "role delete writer",
        "user delete app",
        "auth disable",
    ] {
        side.run(line);
    }
    side.user = None;
    side.run("get app/a");
}
