//! A real etcd of the test's own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// One member on free ports of the loopback interface; killed when dropped.
pub(crate) struct Etcd {
    child: Child,
    endpoint: String,
    secured: String,
    _data: tempfile::TempDir,
}

impl Etcd {
    /// Starts it and waits until it answers.
    pub(crate) fn start() -> Self {
        Etcd::start_with(&[])
    }

    /// The same with these options.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // Another program can take a port between its choice and its use.
        (0..3)
            .find_map(|_| Etcd::try_start(&options, false))
            .expect("etcd starts; see its log above")
    }

    /// Starts it with a second endpoint, with TLS, which these options are about.
    pub(crate) fn start_secured(tls: &[String]) -> Self {
        (0..3)
            .find_map(|_| Etcd::try_start(tls, true))
            .expect("etcd starts; see its log above")
    }

    /// Starts the simulated one, over TCP.
    pub(crate) fn served() -> Self {
        let [port, ..] = free_ports();
        let endpoint = format!("127.0.0.1:{port}");
        let child = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
            .args(["serve", "--listen", &endpoint])
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut etcd = Etcd {
            child,
            secured: String::new(),
            endpoint,
            _data: tempfile::tempdir().expect("there is room for a folder"),
        };
        assert!(etcd.answers(), "it does not answer");
        etcd
    }

    fn try_start(options: &[String], is_secured: bool) -> Option<Self> {
        let data = tempfile::tempdir().expect("there is room for a folder");
        let [client, peer, secured] = free_ports();
        let [client, peer] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let clients = if is_secured {
            format!("{client},https://127.0.0.1:{secured}")
        } else {
            client.clone()
        };
        let program = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let child = Command::new(&program)
            .arg("--data-dir")
            .arg(data.path())
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--logger", "zap", "--log-level", "error"])
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {program}: {error}; these tests need an etcd: set ETCD=PATH or run scripts/test")
            });
        let endpoint = client["http://".len()..].to_owned();
        let mut etcd = Etcd {
            child,
            endpoint,
            secured: format!("127.0.0.1:{secured}"),
            _data: data,
        };
        etcd.answers().then_some(etcd)
    }

    /// `host:port`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// `host:port` of the endpoint with TLS.
    pub(crate) fn secured_endpoint(&self) -> &str {
        &self.secured
    }

    /// Runs `work` with a client.
    pub(crate) fn with_client<T>(&self, work: impl AsyncFnOnce(etcd_client::Client) -> T) -> T {
        runtime().block_on(async {
            let client = etcd_client::Client::connect([&self.endpoint], None).await;
            work(client.expect("a client without a user connects when it is used")).await
        })
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> i64 {
        self.with_client(async |mut client| {
            let all = etcd_client::GetOptions::new()
                .with_all_keys()
                .with_count_only();
            client
                .get("", Some(all))
                .await
                .expect("etcd answers")
                .count()
        })
    }

    /// Waits until there are so many keys below `prefix`.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "waits for a real process")]
    pub(crate) fn gets_keys(&self, prefix: &str, count: i64) {
        let mut there = 0;
        for _ in 0..500 {
            there = self.with_client(async |mut client| {
                let below = etcd_client::GetOptions::new()
                    .with_prefix()
                    .with_count_only();
                let answer = client.get(prefix, Some(below)).await;
                answer.expect("etcd answers").count()
            });
            if there == count {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{there} keys below {prefix:?}, not {count}");
    }

    #[expect(clippy::disallowed_methods, reason = "waits for a real process")]
    fn answers(&mut self) -> bool {
        for _ in 0..200 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return false;
            }
            let is_up = self.with_client(async |mut client| {
                let status = client.get("health", None);
                matches!(
                    tokio::time::timeout(Duration::from_secs(1), status).await,
                    Ok(Ok(_))
                )
            });
            if is_up {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_all()
        .build()
        .expect("a runtime can be built")
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
