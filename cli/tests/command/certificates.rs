//! An authority of the test's own, and what it has certified.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Files in a folder: `ca.pem`, and `NAME.pem` and `NAME.key` of `server` and
/// `client`.
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Made with openssl.
    pub(crate) fn make(folder: &Path) -> Self {
        let files = Certificates {
            folder: folder.to_owned(),
        };
        let key = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ];
        let authority = "-x509 -days 2 -subj /CN=authority -keyout ca.key -out ca.pem";
        files.openssl(&key_and("req", &key, authority));
        for name in ["server", "client"] {
            let request = format!("-subj /CN={name} -keyout {name}.key -out {name}.csr");
            files.openssl(&key_and("req", &key, &request));
            std::fs::write(folder.join("extensions"), "subjectAltName=IP:127.0.0.1\n")
                .expect("the folder is there");
            let sign = format!(
                "x509 -req -days 2 -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
                 -extfile extensions -out {name}.pem"
            );
            let sign: Vec<String> = sign.split_whitespace().map(str::to_owned).collect();
            files.openssl(&sign);
        }
        files
    }

    /// What etcd is told: to show its certificate and to want one.
    pub(crate) fn of_server(&self) -> Vec<String> {
        let trusted = self.options(&[("--trusted-ca-file", "ca.pem")]);
        let wanted = ["--client-cert-auth".to_owned()];
        [self.shown(), trusted, wanted.to_vec()].concat()
    }

    /// What etcd is told to show its certificate.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.options(&[("--cert-file", "server.pem"), ("--key-file", "server.key")])
    }

    /// Options with files of the folder.
    pub(crate) fn options(&self, files: &[(&str, &str)]) -> Vec<String> {
        let named = files.iter().flat_map(|(option, file)| {
            let path = self.folder.join(file);
            [(*option).to_owned(), path.display().to_string()]
        });
        named.collect()
    }

    /// What a file says.
    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(file)).expect("it was made")
    }

    fn openssl(&self, arguments: &[String]) {
        let done = Command::new("openssl")
            .current_dir(&self.folder)
            .args(arguments)
            .output()
            .expect("these tests make their certificates with openssl");
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "openssl {arguments:?}: {told}");
    }
}

fn key_and(command: &str, key: &[&str], rest: &str) -> Vec<String> {
    let words = [command].into_iter().chain(key.iter().copied());
    words.chain(rest.split(' ')).map(str::to_owned).collect()
}
