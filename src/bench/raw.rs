//! etcd without any recipe: what a factor over Go can be measured against.

use std::sync::Arc;

use super::latency::Latency;
use super::place::{Place, Share, each, since};
use super::{BenchError, Measured};
use crate::runtime;

const VALUE_BYTES: usize = 64;

/// Each worker puts one key after the other.
pub(super) async fn puts(place: Place) -> Result<Measured, BenchError> {
    let clients = place.clients(place.load.workers).await?;
    let share = Share::of(place.load.count);
    let latency = Arc::new(Latency::default());
    let worker = |client: &etcd_client::Client| {
        let (mut kv, share, latency) = (client.kv_client(), share.clone(), Arc::clone(&latency));
        let place = place.clone();
        async move {
            while let Some(i) = share.take() {
                let key = place.name(&format!("{i:08}"));
                let start = runtime::now();
                kv.put(key, vec![b'x'; VALUE_BYTES], None).await?;
                latency.add(since(start));
            }
            Ok(())
        }
    };
    let workers: Vec<_> = clients.iter().map(worker).collect();
    let measured = place.timed(place.load.count, each(workers)).await?;
    Ok(measured.with("put", &latency))
}
