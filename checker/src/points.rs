//! Operations at points in time.

use std::borrow::Borrow;

use crate::history::Operation;

/// Operations, each as early as it can be: a point is the index of the event right after
/// which the operation takes effect.
///
/// If every operation is put behind all that must come before it, then its point is the last
/// invocation among them and itself. So it is late only if something that must come before it
/// was invoked after it had returned: then there is no order at all.
#[derive(Default)]
pub(crate) struct Points {
    /// Points and operations, in an order in which they can be at the same point.
    placed: Vec<(usize, usize)>,
}

impl Points {
    /// Places an operation behind the points of those that come before it, of which `after` is
    /// the last. Returns its point.
    pub(crate) fn place(&mut self, index: usize, operation: &Operation<'_>, after: usize) -> usize {
        let point = operation.invoked.max(after);
        self.placed.push((point, index));
        point
    }

    /// All operations, those at the same point as they were placed; none when one is later than
    /// it can be.
    pub(crate) fn in_order<'h, O: Borrow<Operation<'h>>>(
        mut self,
        operation: impl Fn(usize) -> O,
    ) -> Option<Vec<usize>> {
        self.placed.sort_by_key(|(point, _)| *point);
        let in_time = |(point, index): (usize, usize)| {
            (point < operation(index).borrow().returned()).then_some(index)
        };
        self.placed.into_iter().map(in_time).collect()
    }
}
