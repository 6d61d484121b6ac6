//! A real etcd: one of our own, or one that runs already.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use etcd_client::proto::{PbDeleteRequest, PbDeleteResponse};
use etcd_client::proto::{PbLeaseRevokeRequest, PbLeaseRevokeResponse};
use etcd_sim::version::Version;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::api::Api;
use crate::show::count;

/// How often a new etcd is asked whether it is ready, 50 ms apart.
const ATTEMPTS: u32 = 600;

/// How often an etcd that answers no more is looked at, 50 ms apart, before it is taken
/// to run.
const ENDING: u32 = 60;

/// How often an etcd is started whose ports somebody else has taken meanwhile.
const STARTS: u32 = 5;

/// What etcd says of a port that is taken.
const PORT_TAKEN: &str = "address already in use";

/// How long an etcd that runs already may take to answer at first.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Why the two could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConformError {
    /// No etcd could be started.
    #[error("cannot start {program}: {reason}")]
    CannotStart {
        /// What was to be started.
        program: String,
        /// Why that failed.
        reason: String,
    },
    /// An etcd was started, and does not answer.
    #[error("{program} was started and does not answer: {reason}")]
    NotReady {
        /// What was started.
        program: String,
        /// The error of the last request.
        reason: String,
    },
    /// An etcd was started, and ended before it answered.
    #[error("{program} was started and has ended: {how}")]
    NotStarted {
        /// What was started.
        program: String,
        /// How it ended, and what it said last.
        how: String,
    },
    /// The cluster that was given cannot be reached.
    #[error("the etcd at {endpoint} does not answer: {reason}")]
    Unreachable {
        /// Where it was looked for.
        endpoint: String,
        /// The error of the request.
        reason: String,
    },
    /// The cluster that was given answers no more.
    #[error("the etcd at {endpoint} answers no more ({reason}) since it was sent:\n  {step}")]
    Lost {
        /// Where it was.
        endpoint: String,
        /// The error of the request that came after.
        reason: String,
        /// What it was sent last.
        step: String,
    },
    /// The cluster that was given is in use.
    #[error(
        "the etcd at {endpoint} holds {} and {}, which would be lost",
        count(*keys, "key"), count(*leases, "lease")
    )]
    InUse {
        /// Where it is.
        endpoint: String,
        /// How many keys it holds.
        keys: i64,
        /// How many leases it has granted.
        leases: i64,
    },
    /// It does not say which release it is.
    #[error("etcd does not say which release it is: {0}")]
    NoVersion(#[from] etcd_sim::version::NoVersion),
    /// A request that prepares the comparison has failed.
    #[error("the etcd cannot be emptied: {0}")]
    NotEmptied(String),
    /// The etcd that was started has ended between two sequences, emptied and idle.
    /// What ends it while a sequence is taken is a difference instead.
    #[error("{program} did not survive what was sent so far: {how}")]
    Ended {
        /// What was started.
        program: String,
        /// How it ended, and what it said last.
        how: String,
    },
    /// The etcd that was started was killed from outside: by somebody, or by the operating
    /// system. No request of a client does that to it.
    #[error("{program} was killed ({how}) while it was sent:\n  {step}")]
    Killed {
        /// What was started.
        program: String,
        /// Which signal it was.
        how: String,
        /// What it was sent last.
        step: String,
    },
    /// The simulated etcd panicked. A bug of it.
    #[error(transparent)]
    Panicked(#[from] etcd_sim::executor::Panicked),
}

/// A running etcd with one member, of our own. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) program: String,
    child: Child,
    pub(crate) endpoint: String,
    data: TempDir,
}

/// How one member of a new cluster is started.
pub(crate) struct Start<'a> {
    pub(crate) name: &'a str,
    pub(crate) client: &'a str,
    pub(crate) peer: &'a str,
    /// `NAME=URL` of each member.
    pub(crate) cluster: &'a str,
}

impl Process {
    /// Starts a cluster of one, and waits until it answers. Another program can take a
    /// port between its choice and its use: then others are chosen.
    pub(crate) async fn serving(program: &Path) -> Result<(Process, Api<Channel>), ConformError> {
        for _ in 1..STARTS {
            let mut process = Process::start(program)?;
            match process.ready().await {
                Ok(api) => return Ok((process, api)),
                Err(ConformError::NotStarted { how, .. }) if how.contains(PORT_TAKEN) => {}
                Err(error) => return Err(error),
            }
        }
        let mut process = Process::start(program)?;
        let api = process.ready().await?;
        Ok((process, api))
    }

    /// Starts a cluster of one.
    fn start(program: &Path) -> Result<Process, ConformError> {
        let urls = (free_url(), free_url());
        let (Ok(client), Ok(peer)) = urls else {
            return Err(ConformError::CannotStart {
                program: program.display().to_string(),
                reason: "there is no free port".to_owned(),
            });
        };
        let start = Start {
            name: "default",
            client: &client,
            peer: &peer,
            cluster: &format!("default={peer}"),
        };
        Process::start_member(program, &start)
    }

    /// Starts one member of a cluster.
    pub(crate) fn start_member(program: &Path, start: &Start<'_>) -> Result<Process, ConformError> {
        let name = program.display().to_string();
        let cannot = |reason: String| ConformError::CannotStart {
            program: name.clone(),
            reason,
        };
        let data =
            data_dir().map_err(|error| cannot(format!("no folder for its data: {error}")))?;
        let log = std::fs::File::create(log_file(&data))
            .map_err(|error| cannot(format!("no file for its log: {error}")))?;
        let child = Command::new(program)
            .args(["--name", start.name])
            .arg("--data-dir")
            .arg(data.path().join("data"))
            .args(["--listen-client-urls", start.client])
            .args(["--advertise-client-urls", start.client])
            .args(["--listen-peer-urls", start.peer])
            .args(["--initial-advertise-peer-urls", start.peer])
            .args(["--initial-cluster", start.cluster])
            .args(["--log-level", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| cannot(error.to_string()))?;
        Ok(Process {
            program: name,
            child,
            endpoint: start.client.to_owned(),
            data,
        })
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&mut self) -> Result<Api<Channel>, ConformError> {
        let mut api = connect(&self.endpoint)?;
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match api.size().await {
                Ok(_) => return Ok(api),
                Err(status) => last = status.to_string(),
            }
            if let Some(how) = self.ended() {
                let program = self.program.clone();
                return Err(ConformError::NotStarted { program, how });
            }
            pause(Duration::from_millis(50)).await;
        }
        Err(ConformError::NotReady {
            program: self.program.clone(),
            reason: last,
        })
    }

    /// How it has ended, if it does within a moment: one that crashes breaks its
    /// connections before it is gone.
    pub(crate) async fn ends(&mut self) -> Option<String> {
        for _ in 0..ENDING {
            if let Some(end) = self.ended() {
                return Some(end);
            }
            pause(Duration::from_millis(50)).await;
        }
        None
    }

    /// How it has ended, with the last that it said.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        let log = std::fs::read_to_string(log_file(&self.data)).unwrap_or_default();
        let mut lines: Vec<&str> = log.lines().rev().take(12).collect();
        lines.reverse();
        Some(format!("etcd has ended ({status}):\n{}", lines.join("\n")))
    }

    /// By which signal from outside it was killed, if it was. etcd's own mistakes end it
    /// with an exit code, or with a signal that a process gives to itself.
    pub(crate) fn killed(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        is_from_outside(status).then(|| status.to_string())
    }

    /// Kills it at once, as a machine that fails.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(unix)]
fn is_from_outside(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    const HANG_UP: i32 = 1;
    const INTERRUPT: i32 = 2;
    const KILL: i32 = 9;
    const TERMINATE: i32 = 15;
    let signal = status.signal();
    signal.is_some_and(|signal| [HANG_UP, INTERRUPT, KILL, TERMINATE].contains(&signal))
}

#[cfg(not(unix))]
fn is_from_outside(_: ExitStatus) -> bool {
    false
}

/// A connection, which is made when it is first needed.
pub(crate) fn connect(endpoint: &str) -> Result<Api<Channel>, ConformError> {
    let endpoint = Endpoint::from_shared(endpoint.to_owned())
        .map_err(|error| ConformError::Unreachable {
            endpoint: endpoint.to_owned(),
            reason: error.to_string(),
        })?
        .connect_timeout(CONNECT_DEADLINE);
    Ok(Api::new(endpoint.connect_lazy(), pause))
}

/// The release that an etcd says it is.
pub(crate) async fn version(api: &mut Api<Channel>) -> Result<Version, ConformError> {
    let status = api
        .status()
        .await
        .map_err(|status| ConformError::NotEmptied(status.to_string()))?;
    Ok(status.version.parse()?)
}

/// Removes all keys and leases, and ends all streams.
pub(crate) async fn wipe<T>(api: &mut Api<T>) -> Result<(), Status>
where
    T: tonic::client::GrpcService<tonic::body::Body>,
    T::Error: Into<tonic::codegen::StdError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<tonic::codegen::StdError> + Send,
{
    api.forget();
    let all = PbDeleteRequest {
        key: vec![0],
        range_end: vec![0],
        prev_kv: false,
    };
    api.call::<_, PbDeleteResponse>("KV/DeleteRange", all)
        .await?;
    for id in api.leases().await? {
        let revoke = PbLeaseRevokeRequest { id };
        let revoked = api.call::<_, PbLeaseRevokeResponse>("Lease/LeaseRevoke", revoke);
        match revoked.await {
            Err(status) if status.code() != Code::NotFound => return Err(status),
            _ => {}
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a real etcd lives in real time")]
pub(crate) fn pause(time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(tokio::time::sleep(time))
}

fn log_file(data: &TempDir) -> PathBuf {
    data.path().join("log")
}

/// In memory where that is possible: etcd waits for its disk at each write.
fn data_dir() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir()
        && let Ok(data) = TempDir::new_in(memory)
    {
        return Ok(data);
    }
    TempDir::new()
}

pub(crate) fn free_url() -> std::io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    Ok(format!("http://{}", listener.local_addr()?))
}
