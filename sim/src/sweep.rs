//! Many runs in parallel, their results in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// Does `run` for all items on `jobs` threads and hands each result over in the order
/// of the items, as soon as it and all before it are there.
///
/// `each` returns whether to go on. What it sees does not depend on `jobs`.
pub fn in_order<P: Sync, R: Send>(
    items: &[P],
    jobs: usize,
    run: impl Fn(&P) -> R + Sync,
    mut each: impl FnMut(&P, R) -> bool,
) {
    if jobs <= 1 {
        for item in items {
            if !each(item, run(item)) {
                return;
            }
        }
        return;
    }
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (sender, receiver) = mpsc::sync_channel(jobs * 4);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next, stop, run) = (sender.clone(), &next, &stop, &run);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    if sender.send((index, run(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut turn = 0;
        for (index, result) in receiver {
            waiting.insert(index, result);
            while let Some(result) = waiting.remove(&turn) {
                if !each(&items[turn], result) {
                    stop.store(true, Ordering::Relaxed);
                    return;
                }
                turn += 1;
            }
        }
    });
}
