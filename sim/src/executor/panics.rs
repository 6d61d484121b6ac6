//! Panics of a run, with the line that panicked.
//!
//! The hook of the process is wrapped, once. On threads that run no simulation it
//! does what it did before.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::pin::pin;
use std::sync::Once;
use std::task::{Poll, Waker};

use futures_util::FutureExt as _;

use super::{Panicked, Panics};

#[derive(Default)]
struct Seen {
    /// The first panic of this run.
    first: Option<Panicked>,
    /// Who is to be woken when there is one.
    waker: Option<Waker>,
    /// Whether the program may catch its panics: then one counts only when it comes to
    /// where nobody can catch it any more.
    may_be_caught: bool,
    /// The last panic that may yet be caught.
    last: Option<Panicked>,
}

impl Seen {
    /// The first panic, or else the one with this payload.
    fn take(&mut self, payload: &(dyn Any + Send)) -> Panicked {
        let message = message(payload);
        let last = self.last.take().filter(|last| last.message == message);
        let seen = self.first.take().or(last);
        seen.unwrap_or(Panicked {
            message,
            location: None,
        })
    }
}

thread_local! {
    /// None on threads that run no simulation.
    static RUN: Cell<Option<Panics>> = const { Cell::new(None) };
    static SEEN: RefCell<Seen> = RefCell::default();
    static ADVICE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Sees to it that panics of simulations are noticed.
pub(super) fn watch() {
    static WRAPPED: Once = Once::new();
    WRAPPED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let run = RUN.get();
            if run.is_some() {
                notice(info);
            }
            if run != Some(Panics::Silent) {
                before(info);
            }
        }));
    });
}

/// What the program of this thread's run catches does not count.
pub(super) fn may_be_caught() {
    SEEN.with_borrow_mut(|seen| seen.may_be_caught = true);
}

/// This thread runs a simulation from now on, and nothing else. `advice`: what to say
/// beside what tokio says where it finds no runtime of its own.
pub(super) fn enter(panics: Panics, advice: Option<&'static str>) {
    RUN.set(Some(panics));
    ADVICE.set(advice);
}

fn notice(info: &PanicHookInfo<'_>) {
    let mut panicked = Panicked {
        message: message(info.payload()),
        location: info.location().map(ToString::to_string),
    };
    if let Some(advice) = ADVICE.get().filter(|_| misses_tokio(&panicked.message)) {
        panicked.message = format!("{advice} ({})", panicked.message);
    }
    // A panic while it is borrowed is one of this module: nothing to add.
    let waker = SEEN.try_with(|seen| {
        let mut seen = seen.try_borrow_mut().ok()?;
        if seen.may_be_caught {
            seen.last = Some(panicked);
            return None;
        }
        seen.first.get_or_insert(panicked);
        seen.waker.take()
    });
    if let Ok(Some(waker)) = waker {
        waker.wake();
    }
}

/// Whether this is what tokio's tasks and timers say where no runtime of tokio runs, or one
/// without timers.
fn misses_tokio(message: &str) -> bool {
    ["there is no reactor running", "timers are disabled"]
        .iter()
        .any(|words| message.contains(words))
}

/// Runs `body`, but stops as soon as any task panics: on tokio a panic ends only its own
/// task, and a test that goes on after one would prove nothing.
pub(super) async fn until_panic<T>(body: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut body = pin!(AssertUnwindSafe(body).catch_unwind());
    std::future::poll_fn(|context| {
        if let Some(panicked) = poll(context.waker()) {
            return Poll::Ready(Err(panicked));
        }
        let body = body.as_mut().poll(context);
        // Also one in the very poll that ends the body.
        match poll(context.waker()) {
            Some(panicked) => Poll::Ready(Err(panicked)),
            None => body.map_err(|payload| panicked(payload.as_ref())),
        }
    })
    .await
}

/// The first panic of this run, if there was one. Else the waker is woken by it.
fn poll(waker: &Waker) -> Option<Panicked> {
    SEEN.with_borrow_mut(|seen| {
        let first = seen.first.take();
        seen.waker = Some(waker.clone());
        first
    })
}

/// The first panic of this run, or else the one that has just been caught.
pub(super) fn panicked(payload: &(dyn Any + Send)) -> Panicked {
    SEEN.with_borrow_mut(|seen| seen.take(payload))
}

/// Reports a panic that has ended a task of a [`Node`](super::Node), if its hook has
/// not: because it might have been caught, or because somebody replaced the hook.
pub(super) fn report(payload: &(dyn Any + Send)) {
    let waker = SEEN.with_borrow_mut(|seen| {
        let panicked = seen.take(payload);
        seen.first = Some(panicked);
        seen.waker.take()
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The text of a panic's payload.
pub(super) fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
