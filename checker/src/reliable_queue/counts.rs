//! Values that nobody can have touched: counted in one sweep.

use super::extract::{NEVER, Queue};

/// A question: of the values that were certainly in the queue before `since`, how
/// many had nothing happen to them until `until`?
pub(super) struct Question {
    pub(super) since: usize,
    pub(super) until: usize,
}

/// The answers. `touched` says at which event something may first have happened to
/// a value. O((n + q) log n).
pub(super) fn untouched(
    queue: &Queue<'_>,
    touched: &[usize],
    questions: &[Question],
) -> Vec<usize> {
    let mut events: Vec<usize> = touched.to_vec();
    events.sort_unstable();
    events.dedup();
    let mut counts = Counts(vec![0; events.len() + 1]);
    let mut items: Vec<usize> = (0..queue.items.len())
        .filter(|item| queue.enqueued(*item) != NEVER)
        .collect();
    items.sort_unstable_by_key(|item| queue.enqueued(*item));
    let mut order: Vec<usize> = (0..questions.len()).collect();
    order.sort_unstable_by_key(|question| questions[*question].since);
    let mut answers = vec![0; questions.len()];
    let (mut next, mut inside) = (0, 0);
    for question in order {
        let Question { since, until } = questions[question];
        while next < items.len() && queue.enqueued(items[next]) < since {
            counts.add(events.partition_point(|event| *event < touched[items[next]]));
            inside += 1;
            next += 1;
        }
        let gone = counts.below(events.partition_point(|event| *event <= until));
        answers[question] = inside - gone;
    }
    answers
}

/// A Fenwick tree.
struct Counts(Vec<usize>);

impl Counts {
    fn add(&mut self, index: usize) {
        let mut node = index + 1;
        while node < self.0.len() {
            self.0[node] += 1;
            node += node & node.wrapping_neg();
        }
    }

    /// How many were added with an index below this one.
    fn below(&self, index: usize) -> usize {
        let (mut node, mut sum) = (index, 0);
        while node > 0 {
            sum += self.0[node];
            node -= node & node.wrapping_neg();
        }
        sum
    }
}
