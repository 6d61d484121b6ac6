//! How long a real etcd takes for what the simulation models.
//!
//! The simulated etcd's delays are constants of etcd's source: a loop that serves
//! watches every 100 ms, one that ends leases every 500 ms, elections that begin
//! after one to two election timeouts. This measures what comes of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use etcd_client::{Client, PutOptions, WatchOptions, WatchStream};
use futures_util::future::join;
use serde::Serialize;

use crate::own::OwnCluster;
use crate::real::{ConformError, Process, pause};

/// How often each is measured; what takes seconds less often.
const SAMPLES: usize = 60;
const ELECTIONS: usize = 5;

/// The time to live of the leases, in seconds: the least that etcd grants.
const TTL: i64 = 2;

/// Delays of a real etcd.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Timing {
    /// The release.
    pub version: String,
    /// What was measured, and how long it took.
    pub delays: Vec<Delay>,
}

/// How long something took, in milliseconds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Delay {
    /// From what to what.
    pub what: &'static str,
    /// How often it was measured.
    pub samples: usize,
    /// The least.
    pub min_ms: f64,
    /// Half took no longer.
    pub median_ms: f64,
    /// Nine of ten took no longer.
    pub p90_ms: f64,
    /// The most.
    pub max_ms: f64,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd {}, in milliseconds", self.version)?;
        let names = ("samples", "least", "median", "90 %", "most");
        let (samples, least, median, p90, most) = names;
        write!(
            f,
            "\n{:54}{samples:>9}{least:>9}{median:>9}{p90:>9}{most:>9}",
            ""
        )?;
        for delay in &self.delays {
            write!(
                f,
                "\n{:54}{:>9}{:>9.1}{:>9.1}{:>9.1}{:>9.1}",
                delay.what,
                delay.samples,
                delay.min_ms,
                delay.median_ms,
                delay.p90_ms,
                delay.max_ms
            )?;
        }
        Ok(())
    }
}

impl Delay {
    fn new(what: &'static str, mut samples: Vec<Duration>) -> Delay {
        samples.sort();
        let at = |percent: usize| {
            let index = (samples.len().saturating_sub(1)) * percent / 100;
            samples
                .get(index)
                .map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Delay {
            what,
            samples: samples.len(),
            min_ms: at(0),
            median_ms: at(50),
            p90_ms: at(90),
            max_ms: at(100),
        }
    }
}

/// Measures an etcd that it starts, and a cluster of three.
///
/// # Errors
///
/// When that cannot be started or does not answer.
pub fn measure(program: &Path) -> Result<Timing, ConformError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ConformError::CannotStart {
            program: "an executor".to_owned(),
            reason: error.to_string(),
        })?;
    runtime.block_on(async {
        let (process, _) = Process::serving(program).await?;
        let mut client = connect(&process).await?;
        let status = client.status().await.map_err(failed)?;
        let mut delays = vec![
            present_watch(&mut client).await.map_err(failed)?,
            past_watch(&mut client).await.map_err(failed)?,
            expiry(&mut client).await.map_err(failed)?,
        ];
        delays.extend(leader_changes(program).await?);
        Ok(Timing {
            version: status.version().to_owned(),
            delays,
        })
    })
}

async fn connect(process: &Process) -> Result<Client, ConformError> {
    Client::connect([&process.endpoint], None)
        .await
        .map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "maps errors")]
fn failed(error: etcd_client::Error) -> ConformError {
    ConformError::NotReady {
        program: "the etcd that is measured".to_owned(),
        reason: error.to_string(),
    }
}

type Measured = Result<Delay, etcd_client::Error>;

async fn present_watch(client: &mut Client) -> Measured {
    let mut watch = client.watch("present", None).await?;
    watch.message().await?;
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        client.put("present", "", None).await?;
        let answered = now();
        watch.message().await?;
        samples.push(answered.elapsed());
    }
    Ok(Delay::new(
        "from the answer to a put until a watch hears of it",
        samples,
    ))
}

async fn past_watch(client: &mut Client) -> Measured {
    let put = client.put("past", "", None).await?;
    let revision = put
        .header()
        .map_or(1, etcd_client::ResponseHeader::revision);
    let mut samples = Vec::new();
    for number in 0..SAMPLES as u64 {
        // At another moment of the loop each time.
        pause(Duration::from_millis(100 + number * 7 % 100)).await;
        let options = WatchOptions::new().with_start_revision(revision);
        let mut watch = client.watch("past", Some(options)).await?;
        watch.message().await?;
        let created = now();
        watch.message().await?;
        samples.push(created.elapsed());
    }
    Ok(Delay::new(
        "from the creation of a watch until it hears of the past",
        samples,
    ))
}

async fn expiry(client: &mut Client) -> Measured {
    let options = WatchOptions::new().with_prefix();
    let mut watch = client.watch("lease/", Some(options)).await?;
    watch.message().await?;
    let (ends, gone) = join(grant(client), listen(&mut watch)).await;
    let (ends, gone) = (ends?, gone?);
    let late = |(key, at): (Vec<u8>, Instant)| {
        let end = ends.get(&key)?;
        Some(at.saturating_duration_since(*end))
    };
    let samples = gone.into_iter().filter_map(late).collect();
    Ok(Delay::new(
        "from the end of a lease until its key is gone",
        samples,
    ))
}

/// Grants leases, each with a key; when they end.
async fn grant(client: &mut Client) -> Result<BTreeMap<Vec<u8>, Instant>, etcd_client::Error> {
    let mut ends = BTreeMap::new();
    for number in 0..SAMPLES as u64 {
        // At another moment of the loop each time.
        pause(Duration::from_millis(30 + number * 11 % 60)).await;
        let lease = client.lease_grant(TTL, None).await?;
        let end = now() + Duration::from_secs(TTL.unsigned_abs());
        let key = format!("lease/{number}");
        let options = PutOptions::new().with_lease(lease.id());
        client.put(key.clone(), "", Some(options)).await?;
        ends.insert(key.into_bytes(), end);
    }
    Ok(ends)
}

/// When the keys go.
async fn listen(watch: &mut WatchStream) -> Result<Vec<(Vec<u8>, Instant)>, etcd_client::Error> {
    let mut gone = Vec::new();
    while gone.len() < SAMPLES {
        let keys = deleted(watch).await?;
        let at = now();
        gone.extend(keys.into_iter().map(|key| (key, at)));
    }
    Ok(gone)
}

async fn deleted(watch: &mut WatchStream) -> Result<Vec<Vec<u8>>, etcd_client::Error> {
    let mut keys = Vec::new();
    if let Some(answer) = watch.message().await? {
        for event in answer.events() {
            if event.event_type() == etcd_client::EventType::Delete
                && let Some(kv) = event.kv()
            {
                keys.push(kv.key().to_vec());
            }
        }
    }
    Ok(keys)
}

/// Leaders that are killed, and leaders that hand over.
async fn leader_changes(program: &Path) -> Result<[Delay; 2], ConformError> {
    let (mut killed, mut moved) = (Vec::new(), Vec::new());
    for _ in 0..ELECTIONS {
        let mut members = OwnCluster::start(program, 3).await?.processes;
        let mut clients = Vec::new();
        for member in &members {
            clients.push(connect(member).await?);
        }
        for _ in 0..2 {
            let (leader, ids) = leader(&mut clients).await.map_err(failed)?;
            let next = (leader + 1) % members.len();
            let start = now();
            let target = ids[next];
            clients[leader].move_leader(target).await.map_err(failed)?;
            moved.push(until_it_writes(&mut clients[next], start).await);
        }
        let (leader, _) = leader(&mut clients).await.map_err(failed)?;
        let other = (leader + 1) % members.len();
        let start = now();
        members[leader].kill();
        killed.push(until_it_writes(&mut clients[other], start).await);
    }
    Ok([
        Delay::new("from handing over the lead until a follower writes", moved),
        Delay::new("from killing the leader until a follower writes", killed),
    ])
}

/// Which member leads, and the ids of all.
async fn leader(clients: &mut [Client]) -> Result<(usize, Vec<u64>), etcd_client::Error> {
    loop {
        let mut ids = Vec::new();
        let mut leader = 0;
        for client in &mut *clients {
            let status = client.status().await?;
            ids.push(
                status
                    .header()
                    .map_or(0, etcd_client::ResponseHeader::member_id),
            );
            leader = status.leader();
        }
        if let Some(leader) = ids.iter().position(|id| *id == leader) {
            return Ok((leader, ids));
        }
        pause(Duration::from_millis(50)).await;
    }
}

async fn until_it_writes(client: &mut Client, start: Instant) -> Duration {
    while client.put("write", "", None).await.is_err() {
        pause(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn now() -> Instant {
    Instant::now()
}
