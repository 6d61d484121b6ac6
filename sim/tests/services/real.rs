//! A real etcd of the test's own, and a simulated one that is served.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error};
use etcd_sim::serve::{self, Options, Served};

/// For how long a token is good without being used, in seconds.
pub(crate) const TOKEN_TTL: u32 = 2;

/// Where clients can connect to.
pub(crate) trait Endpoint {
    fn endpoint(&self) -> String;

    async fn client(&self) -> Client {
        let client = Client::connect([self.endpoint()], None).await;
        client.expect("a client without a user connects when it is used")
    }

    async fn user(&self, name: &str, password: &str) -> Result<Client, Error> {
        let options = ConnectOptions::new().with_user(name, password);
        Client::connect([self.endpoint()], Some(options)).await
    }
}

/// One real member on free ports; killed when dropped.
pub(crate) struct Etcd {
    process: Child,
    endpoint: String,
    _data: tempfile::TempDir,
}

impl Endpoint for Etcd {
    fn endpoint(&self) -> String {
        self.endpoint.clone()
    }
}

impl Etcd {
    /// Starts it and waits until it answers.
    pub(crate) async fn start() -> Etcd {
        Etcd::start_with(&[]).await
    }

    /// The same, with more arguments.
    pub(crate) async fn start_with(arguments: &[&str]) -> Etcd {
        let program = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let data = tempfile::tempdir().expect("there is room for a folder");
        let [endpoint, peer] = free_urls();
        let process = Command::new(&program)
            .arg("--data-dir")
            .arg(data.path())
            .args([
                "--listen-client-urls",
                &endpoint,
                "--advertise-client-urls",
                &endpoint,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args(["--auth-token-ttl", &TOKEN_TTL.to_string()])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {program}: {error}; set ETCD=PATH or run scripts/test")
            });
        let etcd = Etcd {
            process,
            endpoint,
            _data: data,
        };
        for _ in 0..400 {
            if etcd.client().await.get("a", None).await.is_ok() {
                return etcd;
            }
            pause(50).await;
        }
        panic!("{program} does not answer at {}", etcd.endpoint);
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A served cluster; ends when dropped.
pub(crate) struct Simulated {
    served: Served,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint for Simulated {
    fn endpoint(&self) -> String {
        self.member(0)
    }
}

impl Simulated {
    pub(crate) fn start(options: Options) -> Simulated {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            serve::run(options, |served| async move {
                tell.send(served).expect("the test waits for it");
                stopped.await.ok();
            })
            .expect("nothing panics");
        });
        Simulated {
            served: told.recv().expect("it serves"),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where a member listens.
    pub(crate) fn member(&self, number: usize) -> String {
        self.served.endpoints()[number].to_string()
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// On free ports of the loopback interface.
pub(crate) fn options() -> Options {
    Options {
        auth_token_ttl: Duration::from_secs(TOKEN_TTL.into()),
        ..Options::new("127.0.0.1:0".parse().expect("it is an address"))
    }
}

/// Waits in real time.
#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
pub(crate) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Waits for something that has to happen soon.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    within(20, work).await
}

/// Waits for something that has to happen within so many seconds.
#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
pub(crate) async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(seconds), work).await;
    done.unwrap_or_else(|_| panic!("it takes more than {seconds} s"))
}

fn free_urls() -> [String; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    listeners.map(|listener| {
        let address = listener.local_addr().expect("it is bound");
        format!("http://{address}")
    })
}
