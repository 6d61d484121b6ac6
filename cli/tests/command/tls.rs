//! A cluster that wants certificates.

use crate::certificates::Certificates;
use crate::cluster::Etcd;
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
