//! Help, and what is said about wrong usage.

use predicates::prelude::*;

use crate::support::Folder;

#[test]
fn help_goes_to_standard_output_and_documents_the_exit_codes() {
    for arguments in [
        "--help",
        "sim --help",
        "replay --help",
        "check --help",
        "live --help",
        "conform --help",
    ] {
        let documents = predicate::str::contains("Exit codes, the first that applies:")
            .and(predicate::str::contains("Examples:"));
        let folder = Folder::new();
        let mut command = folder.command();
        command.args(arguments.split_whitespace());
        command.assert().code(0).stdout(documents).stderr("");
    }
}

#[test]
fn wrong_usage_is_exit_2_and_says_what_to_do() {
    let cases = [
        ("", "Usage:"),
        ("sin", "'sim'"),
        ("sim quue", "'queue'"),
        ("sim --bug queue-lost-wakeup", "'queue-lost-wake-up'"),
        (
            "sim bank --bug queue-lost-wake-up",
            "--bug selects its workload by itself",
        ),
        ("sim --seeds 5..5", "there is no seed in that"),
        ("sim --seeds x", "give N, A..B or random:N"),
        ("sim --seed 1 --seeds 2", "cannot be used with"),
        ("sim --jobs 0", "--jobs"),
        ("sim --seeds 2 --trace", "sim queue --seed 7 --trace"),
        ("sim --seed 7 --trace", "there are 13"),
        ("sim queue --seed 7 --trace --json", "--history FILE"),
        (
            "sim queue --seed 7 --history - --json",
            "both want standard output",
        ),
        ("sim --seeds 2 --history -", "Give a folder"),
        ("sim --seeds 2 --history h.jsonl", "Give a folder"),
        ("sim --seed 2 --history -", "13 runs"),
        ("sim --set items", "NAME=VALUE"),
        ("sim --set items=many", "not a whole number"),
        (
            "sim queue --set itemz=1",
            "queue has producers, consumers, items",
        ),
        ("sim bank --set items=1", "bank has accounts"),
        ("sim --set clients=0", "must lie between 1 and 1000"),
        ("replay", "<FILE>"),
        ("check", "<FILE>"),
        ("check --model stack h.jsonl", "possible values"),
        ("live --set items=1000001", "must lie between"),
        ("live --endpoints localhost", "2379"),
        (
            "live --endpoints http://a:1 --cacert ca.pem",
            "does without TLS",
        ),
        ("live --endpoints a:1 --cacert none.pem", "none.pem"),
        ("live --user app", "--password-file"),
        ("live --password-file secret", "--user"),
        ("live --user app --password-file none", "none"),
        ("live --endpoints https://a:1 --cert c.pem", "--key"),
        ("live --prefix /", "removes everything below its prefix"),
        ("live --history -", "Give a folder"),
        ("conform --sequence 1", "--seed"),
        ("conform --destroy-data", "--endpoints"),
        ("conform --endpoints localhost", "HOST:PORT"),
        ("conform --timing --seed 1", "cannot be used with"),
    ];
    let folder = Folder::new();
    for (arguments, hint) in cases {
        let ran = folder.run(arguments).exits_with(2).notes(hint);
        assert_eq!(ran.stdout, "", "{arguments}");
    }
}

#[test]
fn a_password_is_never_printed() {
    let folder = Folder::new();
    folder.write("secret", "hunter2\n");
    let mut command = folder.command();
    command
        .env("ETCDCTL_USER", "app:hunter2")
        .env("ETCDCTL_PASSWORD", "hunter2");
    command.args([
        "live",
        "--password-file",
        "secret",
        "--endpoints",
        "127.0.0.1:1",
    ]);
    let silent = || predicate::str::contains("hunter2").not();
    command.assert().code(5).stdout(silent()).stderr(silent());

    let mut help = folder.command();
    help.env("ETCDCTL_USER", "app:hunter2")
        .env("ETCDCTL_PASSWORD", "hunter2");
    help.args(["live", "--help"])
        .assert()
        .code(0)
        .stdout(silent());
}
