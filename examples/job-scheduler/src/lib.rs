//! A job scheduler: one job after the other, at a fixed pace, each done exactly once,
//! however many processes take part and whatever happens to them.
//!
//! Every process stands for [election](Election) and works. The leader puts jobs into a
//! [queue](ReliableQueue) and writes down how far it is; all processes take jobs from it.
//! That is an ordinary program on tokio: it spawns tasks, sleeps, waits with
//! `tokio::select!`, and is given its client. Nothing in it knows of a simulation.
//!
//! It has a bug on a switch. A job comes twice when a leader dies between putting it into
//! the queue and writing that down, and also when a worker stands still for longer than
//! its lease lasts. [`Bookkeeping::ThenAcknowledge`] counts it twice then;
//! [`Bookkeeping::WithTheJob`] is the fix. `tests/simulated.rs` finds the one and trusts
//! the other.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_recipes::etcd_client::{Client, Compare, CompareOp, GetOptions, TxnOp};
use etcd_recipes::reliable_queue::{Acknowledged, Claim};
use etcd_recipes::{Election, ReliableQueue, Session, SessionOptions};

/// How a worker writes down that a job is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bookkeeping {
    /// First that, then it acknowledges the job. The bug: a job that comes twice is
    /// done twice.
    ThenAcknowledge,
    /// In the transaction that acknowledges the job, and only if nobody has done it.
    WithTheJob,
}

/// What a process is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the scheduler: all its keys are below.
    pub name: String,
    /// The name of this process.
    pub process: String,
    /// How many jobs there are in all.
    pub jobs: u64,
    /// How often one is due.
    pub every: Duration,
    /// How long one takes.
    pub takes: Duration,
    /// How a worker writes down that a job is done.
    pub bookkeeping: Bookkeeping,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const DEADLINE: Duration = Duration::from_secs(2);

/// Runs one process of the scheduler until all jobs are done.
pub async fn run(client: Client, options: Options) {
    let scheduler = tokio::spawn(schedule(client.clone(), options.clone()));
    let worker = tokio::spawn(work(client.clone(), options.clone()));
    let mut look = tokio::time::interval(Duration::from_millis(500));
    loop {
        look.tick().await;
        match times_done(&client, &options.name).await {
            Ok(done) if done.len() as u64 == options.jobs => break,
            _ => {}
        }
    }
    scheduler.abort();
    worker.abort();
}

/// The jobs that are written down as done, and how often each.
pub async fn times_done(client: &Client, name: &str) -> Result<BTreeMap<u64, u64>> {
    let prefix = format!("{name}/done/");
    let mut client = client.clone();
    let get = client.get(prefix.clone(), Some(GetOptions::new().with_prefix()));
    let answer = tokio::time::timeout(DEADLINE, get).await??;
    let mut done = BTreeMap::new();
    for kv in answer.kvs() {
        // name/done/JOB/TOKEN
        let rest = kv.key_str()?.strip_prefix(&prefix).unwrap_or_default();
        let (job, _) = rest.split_once('/').unwrap_or((rest, ""));
        *done.entry(job.parse()?).or_default() += 1;
    }
    Ok(done)
}

async fn session(client: &Client) -> Result<Session> {
    let options = SessionOptions::new().ttl(Duration::from_secs(3));
    let options = options.request_deadline(DEADLINE);
    Ok(Session::with_options(client, options).await?)
}

/// Stands for election for as long as the process lives.
async fn schedule(client: Client, options: Options) {
    while lead(&client, &options).await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits for the lead, and puts a job into the queue whenever one is due.
async fn lead(client: &Client, options: &Options) -> Result<()> {
    let session = session(client).await?;
    let queue = ReliableQueue::new(&session, format!("{}/jobs", options.name))?;
    let election = Election::new(&session, format!("{}/leader", options.name))?;
    let leadership = election.campaign(options.process.as_str()).await?;
    let written_down = format!("{}/scheduled", options.name);
    let mut due = tokio::time::interval(options.every);
    for job in scheduled(client, &written_down).await? + 1..=options.jobs {
        tokio::select! {
            biased;
            loss = leadership.lost() => return Err(format!("no longer leads: {loss:?}").into()),
            _ = due.tick() => {}
        }
        // If this process dies in between, the next leader does it again: a job may come
        // twice, but none is left out.
        queue.enqueue(job.to_string()).await?;
        let put = TxnOp::put(written_down.as_str(), job.to_string(), None);
        leadership.txn().and_then([put]).commit().await?;
    }
    Ok(leadership.resign().await?)
}

/// Up to which job all are scheduled.
async fn scheduled(client: &Client, key: &str) -> Result<u64> {
    let mut client = client.clone();
    let answer = tokio::time::timeout(DEADLINE, client.get(key, None)).await??;
    match answer.kvs().first() {
        Some(kv) => Ok(kv.value_str()?.parse()?),
        None => Ok(0),
    }
}

/// Takes jobs for as long as the process lives.
async fn work(client: Client, options: Options) {
    loop {
        // Ends with an error when the session does: then with another one.
        let _ = work_in_a_session(&client, &options).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn work_in_a_session(client: &Client, options: &Options) -> Result<()> {
    let session = session(client).await?;
    let queue = ReliableQueue::new(&session, format!("{}/jobs", options.name))?;
    loop {
        let claim = queue.claim().await?;
        tokio::time::sleep(options.takes).await; // the work itself
        let job = String::from_utf8(claim.item.value.clone())?;
        match options.bookkeeping {
            Bookkeeping::ThenAcknowledge => {
                let token = claim.hold().fencing_token();
                let done = format!("{}/done/{job}/{token}", options.name);
                tokio::time::timeout(DEADLINE, client.kv_client().put(done, "", None)).await??;
                claim.acknowledge().await?;
            }
            Bookkeeping::WithTheJob => {
                let done = format!("{}/done/{job}/once", options.name);
                acknowledge_once(claim, &done).await?;
            }
        }
    }
}

/// Writes `done` down and acknowledges the job, both or neither; if it was done before,
/// only acknowledges it.
async fn acknowledge_once(claim: Claim, done: &str) -> Result<()> {
    let is_new = Compare::create_revision(done, CompareOp::Equal, 0);
    let txn = claim.acknowledge_with().when([is_new]);
    match txn.and_then([TxnOp::put(done, "", None)]).commit().await? {
        Acknowledged::Done(_) => {}
        Acknowledged::NotMet(_, claim) => {
            claim.acknowledge().await?;
        }
    }
    Ok(())
}
