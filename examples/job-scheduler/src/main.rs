//! One process of the scheduler on a real etcd:
//!
//! ```text
//! RUSTFLAGS= cargo run --target-dir target/tokio -p job-scheduler -- 127.0.0.1:2379 first
//! ```
//!
//! `RUSTFLAGS=` takes away the setting of this repository, with which programs are built
//! for simulations.

use std::time::Duration;

use etcd_recipes::etcd_client::Client;
use job_scheduler::{Bookkeeping, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(endpoint), Some(process)) = (arguments.next(), arguments.next()) else {
        return Err("usage: job-scheduler ENDPOINT NAME-OF-THIS-PROCESS".into());
    };
    let client = Client::connect([endpoint], None).await?;
    let options = Options {
        name: "reports".to_owned(),
        process,
        jobs: 20,
        every: Duration::from_secs(1),
        takes: Duration::from_millis(500),
        bookkeeping: Bookkeeping::WithTheJob,
    };
    job_scheduler::run(client.clone(), options).await;
    for (job, times) in job_scheduler::times_done(&client, "reports")
        .await
        .unwrap_or_default()
    {
        println!("job {job}: done {times} times");
    }
    Ok(())
}
