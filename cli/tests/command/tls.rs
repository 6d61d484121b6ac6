//! A cluster that wants certificates, real and served.

use std::process::Command;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};

use crate::certificates::Certificates;
use crate::cluster::{Etcd, runtime};
use crate::serve::Served;
use crate::support::Folder;

#[test]
fn recipes_run_over_tls_with_a_certificate_of_the_client_however_requests_are_written() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder.path(""));
    let etcd = Etcd::start_secured(&certificates.of_server());
    let secured = format!("--endpoints https://{}", etcd.secured_endpoint());
    let files = "--cacert ca.pem --cert client.pem --key client.key";
    for writes in ["coalesced", "separate"] {
        folder
            .run(&format!(
                "bench mutex queue --count 10 --workers 2 --writes {writes} {secured} {files}"
            ))
            .exits_with(0)
            .says("acquisitions");
    }
    folder
        .run(&format!("live mutex --set rounds=2 {secured} {files}"))
        .exits_with(0)
        .says("mutex on etcd 3.");
    // Without a certificate of its own, and without trust in the server's.
    for files in ["--cacert ca.pem", "--cert client.pem --key client.key"] {
        folder
            .run(&format!("live mutex --set rounds=2 {secured} {files}"))
            .exits_with(5);
    }
    assert_eq!(etcd.keys(), 0);
}

/// Whether etcdctl gets through, with these files.
fn etcdctl(endpoint: &str, certificates: &Certificates, files: &[(&str, &str)]) -> bool {
    let program = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ETCDCTL_")) {
        command.env_remove(name);
    }
    let done = command
        .env("ETCDCTL_API", "3")
        .args([
            "--endpoints",
            endpoint,
            "--command-timeout=3s",
            "--dial-timeout=3s",
        ])
        .args(certificates.options(files))
        .args(["put", "key", "value"])
        .output();
    done.expect("etcdctl starts").status.success()
}

/// What a client of etcd-client reads after it has written.
fn write_and_read(endpoint: &str, tls: TlsOptions) -> Result<Vec<u8>, Error> {
    runtime().block_on(async {
        let options = ConnectOptions::new()
            .with_tls(tls)
            .with_connect_timeout(Duration::from_secs(3))
            .with_timeout(Duration::from_secs(3));
        let mut client = Client::connect([endpoint], Some(options)).await?;
        let mut watch = client.watch("key", None).await?;
        client.put("key", "over TLS", None).await?;
        while watch
            .message()
            .await?
            .expect("it goes on")
            .events()
            .is_empty()
        {}
        let answer = client.get("key", None).await?;
        Ok(answer.kvs()[0].value().to_vec())
    })
}

const TRUST: (&str, &str) = ("--cacert", "ca.pem");
const OWN: [(&str, &str); 3] = [TRUST, ("--cert", "client.pem"), ("--key", "client.key")];

#[test]
fn served_over_tls_clients_that_trust_the_authority_get_through_and_no_others() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder.path(""));
    let shown = certificates.shown();
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    let served = Served::start(&[&["--members", "3"], &shown[..]].concat());
    let endpoints: Vec<&str> = served.endpoints().split(',').collect();
    let trusts = || {
        let authority = Certificate::from_pem(certificates.read("ca.pem"));
        TlsOptions::new().ca_certificate(authority)
    };
    for endpoint in endpoints {
        assert!(endpoint.starts_with("https://"), "{endpoint}");
        assert_eq!(write_and_read(endpoint, trusts()).unwrap(), b"over TLS");
        assert!(etcdctl(endpoint, &certificates, &[TRUST]));
        assert!(!etcdctl(endpoint, &certificates, &[]), "it trusts nobody");
        let plain = endpoint.replace("https", "http");
        assert!(
            !etcdctl(&plain, &certificates, &[]),
            "nothing is served without TLS"
        );
        // The members say that they are to be reached by TLS.
        let listed = folder.run(&format!(
            "live mutex --set rounds=2 --endpoints {endpoint} --cacert ca.pem"
        ));
        listed.exits_with(0);
    }
}

#[test]
fn certificates_of_clients_are_wanted_where_a_real_etcd_wants_them() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder.path(""));
    let trusted = certificates.options(&[("--trusted-ca-file", "ca.pem")]);
    let both = [certificates.shown(), trusted].concat();
    for options in [certificates.of_server(), both, certificates.shown()] {
        let real = Etcd::start_secured(&options);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let served = Served::start(&options);
        let real = format!("https://{}", real.secured_endpoint());
        for files in [&OWN[..], &OWN[..1]] {
            let theirs = etcdctl(&real, &certificates, files);
            let ours = etcdctl(served.endpoints(), &certificates, files);
            assert_eq!(ours, theirs, "{options:?} with {files:?}");
        }
        let authority = Certificate::from_pem(certificates.read("ca.pem"));
        let own = Identity::from_pem(
            certificates.read("client.pem"),
            certificates.read("client.key"),
        );
        let tls = TlsOptions::new().ca_certificate(authority).identity(own);
        assert_eq!(
            write_and_read(served.endpoints(), tls).unwrap(),
            b"over TLS"
        );
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_to_do() {
    let folder = Folder::new();
    Certificates::make(&folder.path(""));
    folder.write("empty.pem", "");
    folder.write(
        "wrong.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let pair = "--cert-file server.pem --key-file server.key";
    for (arguments, file, hint) in [
        (
            "--cert-file none.pem --key-file server.key",
            "none.pem",
            "that are there",
        ),
        (
            "--cert-file server.pem --key-file none.key",
            "none.key",
            "that are there",
        ),
        (
            "--cert-file empty.pem --key-file server.key",
            "empty.pem",
            "BEGIN CERTIFICATE",
        ),
        (
            "--cert-file server.pem --key-file client.pem",
            "client.pem",
            "BEGIN PRIVATE KEY",
        ),
        (
            "--cert-file wrong.pem --key-file server.key",
            "wrong.pem",
            "made together",
        ),
        (
            "--cert-file server.pem --key-file client.key",
            "client.key",
            "made together",
        ),
        (
            &format!("{pair} --trusted-ca-file none.pem"),
            "none.pem",
            "that are there",
        ),
        (
            &format!("{pair} --trusted-ca-file empty.pem"),
            "empty.pem",
            "BEGIN CERTIFICATE",
        ),
        (
            &format!("{pair} --trusted-ca-file wrong.pem"),
            "wrong.pem",
            "--trusted-ca-file",
        ),
        ("--cert-file server.pem", "--key-file", ""),
        ("--key-file server.key", "--cert-file", ""),
        ("--trusted-ca-file ca.pem", "--cert-file", ""),
        (
            &format!("{pair} --client-cert-auth"),
            "--trusted-ca-file",
            "",
        ),
    ] {
        let ran = folder.run(&format!("serve --listen 127.0.0.1:0 {arguments}"));
        ran.exits_with(2).notes(file).notes(hint);
    }
}
