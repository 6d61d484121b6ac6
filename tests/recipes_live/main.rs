//! The recipes on a real etcd, which the tests start themselves.
//!
//! `ETCD=PATH` names the program; without it, `etcd` on the PATH is taken.

mod proxy;
mod server;

mod auth;
mod barriers;
mod election;
mod errors;
mod locks;
mod priority_queue;
mod queue;
mod receipts;
mod reliable_queue;
mod session;
mod stm;
#[cfg(feature = "transport")]
mod transport;
mod watch;

use std::time::Duration;

use etcd_recipes::runtime;

/// Ends a test that hangs.
async fn within<F: Future>(limit: Duration, future: F) -> F::Output {
    runtime::timeout(limit, future)
        .await
        .expect("the test hangs")
}

const A_MINUTE: Duration = Duration::from_secs(60);

/// Awaits all futures, polled together.
async fn all<T>(futures: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T>
where
    T: Send + 'static,
{
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let tasks: Vec<runtime::Task> = futures
        .into_iter()
        .map(|future| {
            let sender = sender.clone();
            runtime::spawn(async move {
                // Nobody listens any more if the test has failed.
                sender.send(future.await).ok();
            })
        })
        .collect();
    drop(sender);
    let mut outputs = Vec::new();
    while let Some(output) = receiver.recv().await {
        outputs.push(output);
    }
    assert_eq!(outputs.len(), tasks.len(), "a task panicked");
    outputs
}
