//! Models that are defined by the order of the versions of each key (Adya 1999, Bailis and others
//! 2014), literally: all orders are tried, and all dependencies drawn.

#![allow(unreachable_pub, reason = "shared by tests")]

/// A transaction that took effect.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// By key: where it stands among those that wrote it.
    pub wrote: [Option<usize>; 3],
    /// By key: how many of the writers of the key come before what it read.
    pub read: [Option<usize>; 3],
    /// Those of whom it has seen a write, with the key.
    pub saw: Vec<(usize, usize)>,
}

/// What is forbidden besides cycles of `ww` and `wr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// A cycle with one `rw`.
    Single,
    /// One in which at most one transaction only reads.
    Update,
    /// That a transaction has seen a write of another, and an older version of another key than
    /// that one wrote.
    Fractured,
}

/// Whether the transactions, with this order of the versions, show nothing of it.
pub fn holds(nodes: &[Node], forbidden: Forbidden) -> bool {
    let all: Vec<usize> = (0..nodes.len()).collect();
    let seen = closure(nodes, &all, false);
    if all.iter().any(|node| seen[*node] & 1 << node != 0) {
        return false;
    }
    match forbidden {
        Forbidden::Single => !all.iter().any(|reader| {
            let mut missed = all.iter().filter(|node| misses(nodes, *reader, **node));
            missed.any(|writer| seen[*writer] & 1 << reader != 0)
        }),
        Forbidden::Update => {
            let writes = |node: &usize| nodes[*node].wrote.iter().any(Option::is_some);
            let (writers, readers): (Vec<usize>, Vec<usize>) = all.iter().partition(|n| writes(n));
            let with = |reader: Option<usize>| {
                let among: Vec<usize> = writers.iter().copied().chain(reader).collect();
                let behind = closure(nodes, &among, true);
                !among.iter().any(|node| behind[*node] & 1 << node != 0)
            };
            with(None) && readers.into_iter().all(|reader| with(Some(reader)))
        }
        Forbidden::Fractured => !all.iter().any(|reader| {
            nodes[*reader].saw.iter().any(|(writer, key)| {
                (0..3).any(|other| {
                    let (read, wrote) = (nodes[*reader].read[other], nodes[*writer].wrote[other]);
                    other != *key && matches!((read, wrote), (Some(read), Some(at)) if at >= read)
                })
            })
        }),
    }
}

/// Whether a transaction read an older version of a key than another one wrote.
fn misses(nodes: &[Node], reader: usize, writer: usize) -> bool {
    let is_older = |key: usize| matches!((nodes[reader].read[key], nodes[writer].wrote[key]), (Some(read), Some(wrote)) if wrote >= read);
    reader != writer && (0..3).any(is_older)
}

/// By transaction: those that come behind it by `ww` and `wr`, and by `rw` if asked for.
fn closure(nodes: &[Node], among: &[usize], with_missed: bool) -> Vec<u32> {
    let mut behind = vec![0_u32; nodes.len()];
    for one in among {
        for other in among.iter().filter(|other| *other != one) {
            let follows = (0..3).any(|key| {
                let Some(wrote) = nodes[*one].wrote[key] else {
                    return false;
                };
                nodes[*other].wrote[key].is_some_and(|later| later > wrote)
                    || nodes[*other].read[key] == Some(wrote + 1)
            });
            if follows || with_missed && misses(nodes, *one, *other) {
                behind[*one] |= 1 << other;
            }
        }
    }
    for middle in among {
        for one in among {
            if behind[*one] & 1 << middle != 0 {
                behind[*one] |= behind[*middle];
            }
        }
    }
    behind
}
