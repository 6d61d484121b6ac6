//! Plain HTTP beside gRPC: whether a member is well, and which version it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use etcd_sim::fault::{Fault, FaultKind};
use etcd_sim::plan::Plan;
use etcd_sim::serve::Options;
use etcd_sim::version::Version;

use crate::real::{Endpoint as _, Etcd, Simulated, options, pause, soon};
use crate::served::with_runtime;

/// What a member answers, without the date.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: String,
    headers: BTreeMap<String, String>,
    body: String,
}

fn ask(endpoint: &str, method: &str, target: &str) -> Answer {
    let address = endpoint.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("{method} {target} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head ends so");
    let mut lines = head.lines();
    // The code alone: what follows it is told in other words.
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers: BTreeMap<String, String> = headers.collect();
    let is_chunked = headers.contains_key("transfer-encoding");
    let unlike = ["date", "content-length", "connection", "transfer-encoding"];
    let headers = headers.into_iter();
    Answer {
        status: status.to_owned(),
        headers: headers
            .filter(|(name, _)| !unlike.contains(&name.as_str()))
            .collect(),
        body: match is_chunked {
            true => joined(body),
            false => body.to_owned(),
        },
    }
}

/// What was sent in chunks, each after its length.
fn joined(chunks: &str) -> String {
    let (mut rest, mut text) = (chunks, String::new());
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a chunk begins so");
        text += &after[..length];
        rest = after[length..].trim_start_matches("\r\n");
    }
    text
}

/// The status and the body.
fn told(endpoint: &str, target: &str) -> String {
    let answer = ask(endpoint, "GET", target);
    format!("{} {}", answer.status, answer.body)
}

fn serving(version: Version, members: usize, faults: &[FaultKind]) -> Simulated {
    let fault = |kind: &FaultKind| Fault {
        at_ms: 0,
        kind: kind.clone(),
    };
    let plan = Plan {
        members,
        faults: faults.iter().map(fault).collect(),
        ..Plan::quiet(1)
    };
    let options = Options {
        plan,
        version,
        ..options()
    };
    Simulated::start(options)
}

const FOR_MS: u64 = 600_000;

const ASKED: [(&str, &str); 21] = [
    ("GET", "/health"),
    ("GET", "/health?serializable=true"),
    ("GET", "/health?serializable=1"),
    ("GET", "/health?exclude=NOSPACE"),
    ("GET", "/health?exclude=CORRUPT"),
    ("GET", "/health?exclude="),
    ("GET", "/health?exclude=CORRUPT&exclude=NOSPACE"),
    ("GET", "/health/"),
    ("POST", "/health"),
    ("HEAD", "/health"),
    ("OPTIONS", "/health"),
    ("GET", "/livez"),
    ("GET", "/livez?verbose"),
    ("GET", "/livez/serializable_read?verbose"),
    ("GET", "/livez/linearizable_read"),
    ("GET", "/readyz"),
    (
        "GET",
        "/readyz/data_corruption?verbose&exclude=data_corruption",
    ),
    ("GET", "/readyz?exclude=data_corruption"),
    ("GET", "/version"),
    ("PUT", "/version"),
    ("GET", "/no-such-page"),
];

#[test]
fn a_real_etcd_and_a_served_one_answer_plain_http_alike() {
    with_runtime(async {
        let etcd = Etcd::start_with(&["--quota-backend-bytes", "20000"]).await;
        let mut client = etcd.client().await;
        let version = client.status().await.unwrap().version().parse().unwrap();
        let simulated = serving(version, 1, &[]);
        soon(simulated.client().await.get("a", None)).await.unwrap();
        let compare = |simulated: &Simulated| {
            for (method, target) in ASKED {
                let (real, own) = (etcd.endpoint(), simulated.endpoint());
                assert_eq!(
                    ask(&own, method, target),
                    ask(&real, method, target),
                    "{method} {target}"
                );
            }
        };
        compare(&simulated);
        soon(async { while client.put("a", vec![b'x'; 3_000], None).await.is_ok() {} }).await;
        let full = serving(version, 1, &[FaultKind::FillUp { for_ms: FOR_MS }]);
        ask_for_room(&full).await;
        compare(&full);
    });
}

/// The names of what is measured, with their types.
fn types(metrics: &str) -> BTreeSet<&str> {
    let types = metrics.lines();
    types
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect()
}

#[test]
fn what_a_member_measures_has_the_names_and_the_format_of_a_real_etcd() {
    with_runtime(async {
        let etcd = Etcd::start().await;
        let mut client = etcd.client().await;
        let version = client.status().await.unwrap().version().parse().unwrap();
        let simulated = serving(version, 1, &[]);
        for mut client in [client, simulated.client().await] {
            soon(client.put("a", "", None)).await.unwrap();
            soon(client.put("b", "", None)).await.unwrap();
            soon(client.compact(2, None)).await.unwrap();
        }
        let real = ask(&etcd.endpoint(), "GET", "/metrics");
        let own = ask(&simulated.endpoint(), "GET", "/metrics");
        assert_eq!(own.status, real.status);
        // Newer ones say besides how they escape names, of which none here needs it.
        let (real_type, own_type) = (&real.headers["content-type"], &own.headers["content-type"]);
        assert!(real_type.starts_with(own_type.as_str()), "{real_type}");
        let (real_types, own_types) = (types(&real.body), types(&own.body));
        let others: Vec<_> = own_types.difference(&real_types).collect();
        assert!(others.is_empty(), "a real etcd has no {others:?}");
        for same in [
            "etcd_cluster_version",
            "etcd_debugging_mvcc_compact_revision",
            "etcd_debugging_mvcc_current_revision",
            "etcd_server_has_leader",
            "etcd_server_is_leader",
            "etcd_server_is_learner",
            "etcd_server_version",
        ] {
            let line = |text: &str| {
                let mut lines = text.lines();
                let line = lines.find(|line| line.starts_with(same));
                line.map(str::to_owned)
            };
            assert_eq!(line(&own.body), line(&real.body), "{same}");
        }
        #[cfg(target_os = "linux")]
        for known in ["process_resident_memory_bytes", "process_cpu_seconds_total"] {
            assert!(own.body.contains(&format!("\n{known} ")), "{known}");
        }
    });
}

/// Until the member of a full database has raised its alarm.
async fn ask_for_room(full: &Simulated) {
    let mut client = full.client().await;
    soon(async { while client.put("a", "", None).await.is_ok() {} }).await;
}

/// As the real ones of these versions answered that had exhausted their quota.
#[test]
fn each_version_tells_of_alarms_in_its_own_way() {
    for (version, told_of_it) in [
        (Version::V3_4_23, "503 {\"health\":\"false\"}\n"),
        (
            Version::V3_5_1,
            "503 {\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n",
        ),
        (
            Version::V3_5_30,
            "503 {\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n",
        ),
    ] {
        let full = serving(version, 1, &[FaultKind::FillUp { for_ms: FOR_MS }]);
        with_runtime(pause(100));
        let nothing = told(&full.endpoint(), "/health");
        assert!(
            nothing.starts_with("200 {\"health\":\"true\""),
            "nobody has asked for room: {nothing}"
        );
        with_runtime(ask_for_room(&full));
        assert_eq!(told(&full.endpoint(), "/health"), told_of_it, "{version}");
        let excluded = told(&full.endpoint(), "/health?exclude=NOSPACE");
        assert!(
            excluded.starts_with("200 {\"health\":\"true\""),
            "{version}"
        );
    }
    let corrupt = serving(
        Version::V3_5_30,
        1,
        &[FaultKind::Corrupt { for_ms: FOR_MS }],
    );
    with_runtime(pause(100));
    let failed = "503 [-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n\
                  [+]linearizable_read ok\n[+]non_learner ok\n\n";
    assert_eq!(told(&corrupt.endpoint(), "/readyz"), failed);
    assert_eq!(told(&corrupt.endpoint(), "/livez"), "200 ok\n");
    assert_eq!(
        told(&corrupt.endpoint(), "/health"),
        "503 {\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n"
    );
}

/// As the real ones of these versions answered of which two of three were killed.
#[test]
fn each_version_tells_of_a_missing_leader_in_its_own_way() {
    let no_leader = "503 {\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n";
    let healthy = "200 {\"health\":\"true\",\"reason\":\"\"}";
    let in_3_4 = "503 {\"health\":\"false\"}\n";
    for (version, told_of_it, told_of_itself, livez) in [
        (Version::V3_4_23, in_3_4, in_3_4, "404 404 page not found\n"),
        (
            Version::V3_5_1,
            no_leader,
            no_leader,
            "404 404 page not found\n",
        ),
        (Version::V3_5_16, no_leader, healthy, "200 ok\n"),
        (Version::V3_5_30, no_leader, healthy, "200 ok\n"),
    ] {
        let alone = serving(version, 3, &[FaultKind::LoseLeader { for_ms: FOR_MS }]);
        let endpoint = alone.endpoint();
        with_runtime(async {
            soon(async {
                while told(&endpoint, "/health").starts_with("200") {
                    pause(50).await;
                }
            })
            .await;
        });
        let told = |target| told(&endpoint, target);
        assert_eq!(told("/health"), told_of_it, "{version}");
        assert_eq!(
            told("/health?serializable=true"),
            told_of_itself,
            "{version}"
        );
        assert_eq!(told("/livez"), livez, "{version}");
    }
}

#[test]
fn a_process_that_stands_still_answers_plain_http_when_it_goes_on() {
    let pause_member = FaultKind::PauseMember {
        member: 0,
        for_ms: 1_500,
    };
    let stall = FaultKind::StallMember {
        member: 0,
        for_ms: 1_500,
    };
    for fault in [pause_member, stall] {
        let simulated = serving(Version::V3_5_30, 1, &[fault]);
        with_runtime(pause(300));
        let endpoint = simulated.endpoint();
        let asked = std::thread::spawn(move || told(&endpoint, "/livez"));
        with_runtime(pause(500));
        assert!(!asked.is_finished());
        assert_eq!(asked.join().unwrap(), "200 ok\n");
    }
}
