//! A value that was in a queue.

use crate::index::{Index, number};

/// When a value came and went: the events of the operations on it.
///
/// There are many, and checkers look at them in another order than they came in. So they take
/// little room.
#[derive(Clone, Copy)]
pub(crate) struct Item<P> {
    pub(crate) priority: P,
    enqueue_invoked: u32,
    enqueue_returned: Index,
    dequeue_invoked: Index,
    dequeue_returned: Index,
}

/// Instants are events, [`usize::MAX`] being never.
impl<P> Item<P> {
    /// A value whose enqueue began at this event.
    pub(crate) fn new(priority: P, invoked: usize) -> Self {
        Self {
            priority,
            enqueue_invoked: number(invoked),
            enqueue_returned: Index::NONE,
            dequeue_invoked: Index::NONE,
            dequeue_returned: Index::NONE,
        }
    }

    pub(crate) fn acknowledge(&mut self, returned: usize) {
        self.enqueue_returned = Index::of(returned);
    }

    /// Somebody got it; who does not know it never returned.
    pub(crate) fn take(&mut self, invoked: usize, returned: Option<usize>) {
        self.dequeue_invoked = Index::of(invoked);
        self.dequeue_returned = returned.map_or(Index::NONE, Index::of);
    }

    /// Nobody got it after all.
    pub(crate) fn put_back(&mut self) {
        self.dequeue_invoked = Index::NONE;
        self.dequeue_returned = Index::NONE;
    }

    pub(crate) fn enqueue_invoked(&self) -> usize {
        self.enqueue_invoked as usize
    }

    /// Never when its outcome is not known.
    pub(crate) fn enqueue_returned(&self) -> usize {
        self.enqueue_returned.or_never()
    }

    /// Never when nobody got it.
    pub(crate) fn dequeue_invoked(&self) -> usize {
        self.dequeue_invoked.or_never()
    }

    pub(crate) fn dequeue_returned(&self) -> usize {
        self.dequeue_returned.or_never()
    }

    pub(crate) fn is_dequeued(&self) -> bool {
        self.dequeue_invoked != Index::NONE
    }

    /// The event that began its dequeue.
    pub(crate) fn dequeue(&self) -> Option<usize> {
        self.dequeue_invoked.get()
    }

    /// Whether it certainly was in the queue, at some time at least.
    pub(crate) fn is_certain(&self) -> bool {
        self.is_dequeued() || self.enqueue_returned != Index::NONE
    }

    /// The events that there are.
    pub(crate) fn events(&self) -> impl Iterator<Item = usize> {
        let enqueue = [Index::of(self.enqueue_invoked()), self.enqueue_returned];
        let dequeue = [self.dequeue_invoked, self.dequeue_returned];
        enqueue.into_iter().chain(dequeue).filter_map(Index::get)
    }

    /// The events that began the operations on it.
    pub(crate) fn begun(&self) -> impl Iterator<Item = usize> {
        [self.enqueue_invoked()].into_iter().chain(self.dequeue())
    }
}
