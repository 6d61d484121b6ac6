//! Nodes on tokio: a gate in front of every task that was spawned through one.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt as _;
use tokio::task::AbortHandle;

use super::panics;

/// The tasks of one node.
pub(super) struct TokioNode {
    name: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    killed: bool,
    paused: bool,
    /// Tasks that were to run while the node was paused.
    parked: Vec<Waker>,
    tasks: Vec<AbortHandle>,
    /// Finished tasks are forgotten when the list has grown this long.
    sweep_at: usize,
}

impl State {
    fn remember(&mut self, task: AbortHandle) {
        if self.tasks.len() >= self.sweep_at {
            self.tasks.retain(|task| !task.is_finished());
            self.sweep_at = 64.max(self.tasks.len() * 2);
        }
        self.tasks.push(task);
    }
}

impl TokioNode {
    pub(super) fn new(name: &str) -> Self {
        TokioNode {
            name: name.into(),
            state: Arc::default(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the module that the others ask"
    )]
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if self.lock().killed {
            return;
        }
        let gated = Gated {
            state: Arc::clone(&self.state),
            future: Box::pin(future),
        };
        let name = Arc::clone(&self.name);
        let task = tokio::task::spawn(async move {
            if let Err(payload) = AssertUnwindSafe(gated).catch_unwind().await {
                tracing::error!(node = &*name, "a task panicked");
                panics::report(payload.as_ref());
            }
        });
        self.lock().remember(task.abort_handle());
    }

    pub(super) fn kill(&self) {
        let tasks = {
            let mut state = self.lock();
            state.killed = true;
            state.parked.clear();
            std::mem::take(&mut state.tasks)
        };
        for task in tasks {
            task.abort();
        }
    }

    pub(super) fn pause(&self) {
        self.lock().paused = true;
    }

    pub(super) fn resume(&self) {
        let parked = {
            let mut state = self.lock();
            state.paused = false;
            std::mem::take(&mut state.parked)
        };
        parked.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no task panics while it holds a node's state")
    }
}

/// A task that runs only while its node does.
struct Gated<F> {
    state: Arc<Mutex<State>>,
    future: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Future for Gated<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = self
                .state
                .lock()
                .expect("no task panics while it holds a node's state");
            if state.killed {
                return Poll::Ready(());
            }
            if state.paused {
                state.parked.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        self.future.as_mut().poll(context)
    }
}
