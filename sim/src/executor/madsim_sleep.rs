//! A timer of madsim that wakes once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A timer of madsim.
///
/// Each poll of madsim's own makes one more entry in its list of timers, none of which
/// is ever taken back: they all wake the task in the end. This one makes an entry only
/// for whoever is not on the list.
pub(crate) struct MadsimSleep {
    sleep: madsim::time::Sleep,
    entered: Option<Identity>,
}

impl MadsimSleep {
    pub(super) fn new(sleep: madsim::time::Sleep) -> Self {
        MadsimSleep {
            sleep,
            entered: None,
        }
    }
}

impl Future for MadsimSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let reader = Some(Identity::of(context.waker()));
        if self.entered == reader && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        self.entered = reader;
        Pin::new(&mut self.sleep).poll(context)
    }
}

/// Whom a waker wakes. A waker kept for that would keep its task, which may hold this
/// very timer.
///
/// Until the timer has fired, its entry keeps the waker: so long nobody else gets the
/// same addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    data: usize,
    vtable: usize,
}

impl Identity {
    fn of(waker: &Waker) -> Self {
        Identity {
            data: waker.data().addr(),
            vtable: std::ptr::from_ref(waker.vtable()).addr(),
        }
    }
}
