//! A single-member etcd of the tests' own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use etcd_client::Client;
use etcd_recipes::{etcd_client, runtime};

/// An etcd that lives as long as this.
pub(crate) struct Server {
    data: tempfile::TempDir,
    client_port: u16,
    peer_port: u16,
    arguments: Vec<String>,
    child: Mutex<Option<Child>>,
}

impl Server {
    /// The server that the tests of this process share. Each test keeps to a
    /// prefix of its own.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::own());
        *shared = Arc::downgrade(&server);
        server
    }

    /// A server for one test alone.
    pub(crate) fn own() -> Self {
        Self::with_arguments(&[])
    }

    /// A server for one test alone, started with these arguments too.
    pub(crate) fn with_arguments(arguments: &[&str]) -> Self {
        let server = Self {
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
            data: tempfile::tempdir().expect("a temporary folder"),
            client_port: free_port(),
            peer_port: free_port(),
            child: Mutex::new(None),
        };
        server.start();
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.client_port
    }

    /// A client, once the server answers.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.endpoint()).await
    }

    pub(crate) fn start(&self) {
        let program = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let client = format!("http://{}", self.endpoint());
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let child = Command::new(&program)
            .arg("--data-dir")
            .arg(PathBuf::from(self.data.path()).join("etcd"))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "cannot start {program:?} ({error}). These tests need an etcd: install one \
                     (Debian: apt-get install etcd-server; others: \
                     https://github.com/etcd-io/etcd/releases) or set ETCD to its path."
                )
            });
        *self.lock() = Some(child);
    }

    pub(crate) fn stop(&self) {
        if let Some(mut child) = self.lock().take() {
            child.kill().expect("etcd can be killed");
            child.wait().expect("etcd ends");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client of `endpoint`, once it answers.
pub(crate) async fn connect(endpoint: &str) -> Client {
    for _ in 0..600 {
        if let Ok(mut client) = Client::connect([endpoint], None).await {
            let probe = client.get("up?", None);
            if let Ok(Ok(_)) = runtime::timeout(Duration::from_secs(1), probe).await {
                return client;
            }
        }
        runtime::sleep(Duration::from_millis(50)).await;
    }
    panic!("etcd at {endpoint} does not answer");
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
