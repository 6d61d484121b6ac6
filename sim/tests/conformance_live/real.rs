//! A real etcd, started for one test.

use std::net::TcpListener;
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::proto::PbRangeRequest;
use tempfile::TempDir;
use tonic::transport::Endpoint;

use crate::api::{Api, Outcome};
use crate::generate::Step;

/// How often a new etcd is asked whether it is ready, 50 ms apart.
const ATTEMPTS: u32 = 400;

/// A running etcd with one member. Dropping it kills it.
pub(crate) struct Etcd {
    process: Child,
    endpoint: String,
    _data: TempDir,
}

impl Etcd {
    /// Starts `$ETCD`, or the `etcd` on the `PATH`.
    pub(crate) fn start() -> Result<Etcd, String> {
        let program = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let data = data_dir().map_err(|error| format!("no folder for its data: {error}"))?;
        let endpoint = free_url().map_err(|error| format!("no free port: {error}"))?;
        let peer = free_url().map_err(|error| format!("no free port: {error}"))?;
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
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!(
                    "cannot start {program:?}: {error}. Install etcd (Debian and Ubuntu: \
                     apt-get install etcd-server) or set ETCD=/path/to/etcd; the test command \
                     of the repository, see its README, does that by itself"
                )
            })?;
        Ok(Etcd {
            process,
            endpoint,
            _data: data,
        })
    }

    /// Takes the steps, one after the other. Fewer outcomes than steps mean
    /// that it died.
    pub(crate) fn replay(mut self, steps: Vec<Step>) -> Vec<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime starts");
        runtime.block_on(async {
            let endpoint = Endpoint::from_shared(self.endpoint.clone()).expect("a valid URL");
            let mut api = Api::new(endpoint.connect_lazy(), pause);
            let ready = Step::Range(PbRangeRequest {
                key: b"a".to_vec(),
                ..Default::default()
            });
            for _ in 0..ATTEMPTS {
                if let Outcome::Answer(_) = api.perform(&ready).await {
                    break;
                }
                pause(Duration::from_millis(50)).await;
            }
            let mut outcomes = Vec::new();
            for step in steps {
                outcomes.push(api.perform(&step).await);
                if let Ok(Some(status)) = self.process.try_wait() {
                    outcomes.push(Outcome::Refusal(format!("etcd has ended: {status}")));
                    break;
                }
            }
            outcomes
        })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "a real etcd lives in real time")]
fn pause(time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(tokio::time::sleep(time))
}

/// In memory where that is possible: etcd waits for its disk at each write.
fn data_dir() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        return TempDir::new_in(memory);
    }
    TempDir::new()
}

fn free_url() -> std::io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    Ok(format!("http://{}", listener.local_addr()?))
}
