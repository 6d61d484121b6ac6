//! Barriers: how soon those who wait are woken.

use std::sync::Arc;
use std::time::Duration;

use super::contend::{close, sessions};
use super::latency::Latency;
use super::place::{Place, each, since};
use super::{BenchError, Measured};
use crate::barrier::Barrier;
use crate::cyclic_barrier::CyclicBarrier;
use crate::double_barrier::DoubleBarrier;
use crate::runtime;

/// So that every waiter waits before the barrier goes down.
const SETTLE: Duration = Duration::from_millis(100);

/// From the release to the last wake, again and again. Each waiter has a
/// connection of its own.
pub(super) async fn barrier(place: Place) -> Result<Measured, BenchError> {
    let load = place.load;
    let clients = place.clients(load.workers).await?;
    let Some(owner) = clients.first() else {
        return Err(BenchError::Broken(
            "a barrier needs somebody who waits".to_owned(),
        ));
    };
    let latency = Latency::default();
    let rounds = async {
        for round in 0..load.count {
            let name = place.name(&format!("{round}/barrier"));
            let held = Barrier::new(owner, name.as_str())?;
            held.hold().await?;
            let mut waiters = Vec::new();
            for client in &clients {
                let waiter = Barrier::new(client, name.as_str())?;
                waiters.push(async move { Ok(waiter.wait().await?) });
            }
            let woken = std::pin::pin!(each(waiters));
            let mut released = None;
            let release = async {
                runtime::sleep(SETTLE).await;
                released = Some(runtime::now());
                held.release().await?;
                std::future::pending::<Result<(), BenchError>>().await
            };
            match runtime::race(woken, std::pin::pin!(release)).await {
                runtime::Either::Left(woken) => woken?,
                runtime::Either::Right(failed) => failed?,
            }
            if let Some(released) = released {
                latency.add(since(released));
            }
        }
        Ok(())
    };
    let measured = place.timed(load.count, rounds).await?;
    Ok(measured.with("release to last wake", &latency))
}

/// All wait for each other, again and again, at one barrier.
pub(super) async fn cyclic(place: Place) -> Result<Measured, BenchError> {
    let load = place.load;
    let (name, sessions) = (place.name("cyclic"), sessions(&place).await?);
    let wait = Arc::new(Latency::default());
    let mut workers = Vec::new();
    for session in &sessions {
        let barrier = CyclicBarrier::new(session, name.as_str(), load.workers as usize)?;
        let wait = Arc::clone(&wait);
        workers.push(async move {
            for _ in 0..load.count {
                let start = runtime::now();
                barrier.wait().await?;
                wait.add(since(start));
            }
            Ok(())
        });
    }
    let measured = place.timed(load.count, each(workers)).await?;
    close(sessions).await?;
    Ok(measured.with("wait", &wait))
}

/// All enter and all leave, again and again; each round has a key of its own.
pub(super) async fn double(place: Place) -> Result<Measured, BenchError> {
    let load = place.load;
    let sessions = sessions(&place).await?;
    let (enter, leave) = (Arc::new(Latency::default()), Arc::new(Latency::default()));
    let mut workers = Vec::new();
    for session in &sessions {
        let (session, place) = (session.clone(), place.clone());
        let (enter, leave) = (Arc::clone(&enter), Arc::clone(&leave));
        workers.push(async move {
            for round in 0..load.count {
                let name = place.name(&format!("{round}/double"));
                let barrier = DoubleBarrier::new(&session, name, load.workers as usize)?;
                let start = runtime::now();
                barrier.enter().await?;
                enter.add(since(start));
                let start = runtime::now();
                barrier.leave().await?;
                leave.add(since(start));
            }
            Ok(())
        });
    }
    let measured = place.timed(load.count, each(workers)).await?;
    close(sessions).await?;
    Ok(measured.with("enter", &enter).with("leave", &leave))
}
