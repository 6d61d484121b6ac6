//! Orders of many transactions, looked for where it matters.
//!
//! Without real time every transaction may come before every other one, and a search among
//! all of them is of quadratic size. But what is wrong is mostly wrong in one place:
//!
//! ```text
//! T T T T T T │ T T T x T T │ T T T T T T         x: where real time allows no order
//!             └─ a window ──┘
//! ```
//!
//! - Some that have no order prove that all have none. So windows of a growing width around
//!   `x` are searched first.
//! - An order in which real time counts outside the window, and not within, is an order. So
//!   where the window alone has one, it is widened into a *block* whose transactions may come
//!   in any order, while all others keep to real time.
//!
//! Where a few blocks do not tell, there are many such places, and all transactions are searched
//! at once. Only where that does not tell either, more blocks are made.

use super::super::anomaly::Order;
use super::super::txns::{NONE, What};
use super::orders::{Ideal, Interval, Orders, Question};
use crate::unsat_core::Answer;

/// How many transactions on either side of a conflict are looked at.
const WIDTHS: [u32; 4] = [8, 32, 128, 512];
/// How many places may be put right one by one before all transactions are searched at once, and
/// how many if that is of no avail.
pub(super) const BLOCKS_FIRST_MAX: usize = 2;
pub(super) const BLOCKS_MAX: usize = 64;
/// A window of more transactions than this, which are most of all, spares nothing.
const WINDOW_MAX: usize = 1_000;

/// Transactions that may come in any order: the first, and the last.
type Block = (u32, u32);

/// What a search near a conflict tells.
pub(super) enum Nearby {
    Possible,
    /// These have no order.
    Impossible(Vec<u32>),
    Unknown,
}

impl Nearby {
    /// What else tells it, if it is not known.
    pub(super) fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Unknown => other(),
            known => known,
        }
    }
}

/// Whether there is an order of all transactions, where real time allows none around
/// `conflict`: as far as no more than so many blocks tell.
pub(super) fn search(
    orders: &Orders<'_, '_>,
    question: Question<'_>,
    conflict: &[u32],
    blocks_max: usize,
) -> Nearby {
    let mut place = conflict.to_vec();
    let mut blocks: Vec<Block> = Vec::new();
    while let Some(block) = block(orders, question.ideal, &blocks, &place) {
        blocks = with(blocks, block);
        if blocks.len() > blocks_max {
            break;
        }
        let times = times(orders, &blocks);
        let relaxed = Question {
            times: Some(&times),
            ..question
        };
        let all = orders.all();
        // Where few blocks suffice, that shows soon.
        let found = match blocks_max {
            BLOCKS_FIRST_MAX => orders.exists_nearby(relaxed, &all),
            _ => orders.exists(relaxed, &all),
        };
        match found.answer {
            Answer::Possible => return Nearby::Possible,
            Answer::Unknown => break,
            Answer::Impossible => match window(orders, question, &found.conflict) {
                Nearby::Unknown => place = found.conflict,
                nearby => return nearby,
            },
        }
    }
    Nearby::Unknown
}

/// Whether some transactions near a conflict have no order.
pub(super) fn window(orders: &Orders<'_, '_>, question: Question<'_>, conflict: &[u32]) -> Nearby {
    let all = orders.all().len();
    for width in WIDTHS {
        let near = near(orders, conflict, width);
        let is_all = near.len() == all;
        if near.len() > WINDOW_MAX && near.len() > all / 2 {
            break;
        }
        match orders.exists_nearby(question, &near).answer {
            Answer::Impossible => return Nearby::Impossible(near),
            Answer::Possible if is_all => return Nearby::Possible,
            _ if is_all => return Nearby::Unknown,
            _ => {}
        }
    }
    Nearby::Unknown
}

/// The transactions around some others, and around those of which these have read.
fn near(orders: &Orders<'_, '_>, conflict: &[u32], width: u32) -> Vec<u32> {
    let read = conflict.iter().flat_map(|txn| writers_read(orders, *txn));
    let mut centres: Vec<u32> = conflict.iter().copied().chain(read).collect();
    centres.sort_unstable();
    centres.dedup();
    let count = u32::try_from(orders.txns.len()).unwrap_or(u32::MAX);
    let mut near: Vec<u32> = centres
        .into_iter()
        .flat_map(|txn| txn.saturating_sub(width)..count.min(txn.saturating_add(width + 1)))
        .filter(|txn| orders.versions.happened[*txn as usize])
        .collect();
    near.sort_unstable();
    near.dedup();
    near
}

/// Who wrote what a transaction read.
fn writers_read<'o>(orders: &'o Orders<'_, '_>, txn: u32) -> impl Iterator<Item = u32> + 'o {
    let micro = orders.txns.micro(txn).iter();
    micro.filter_map(|micro| {
        let What::Read(seen) = micro.what else {
            return None;
        };
        let place = orders.versions.version_read(orders.txns, seen)?;
        let version = &orders.versions.keys[micro.key as usize][place];
        (version.writer != NONE).then_some(version.writer)
    })
}

/// A block for what has no order near a conflict while real time counts outside of `blocks`.
/// None when such a block is there already and cannot be widened.
fn block(
    orders: &Orders<'_, '_>,
    ideal: Ideal,
    blocks: &[Block],
    conflict: &[u32],
) -> Option<Block> {
    let times = times(orders, blocks);
    let question = Question {
        ideal,
        order: Order::RealTime,
        times: Some(&times),
    };
    let core = match window(orders, question, conflict) {
        Nearby::Impossible(near) => orders.core(question, near).things,
        _ => conflict.to_vec(),
    };
    let (first, last) = (*core.iter().min()?, *core.iter().max()?);
    let count = u32::try_from(orders.txns.len()).unwrap_or(u32::MAX);
    let widened = WIDTHS.into_iter().map(|width| {
        let end = count.saturating_sub(1).min(last.saturating_add(width));
        (first.saturating_sub(width), end)
    });
    let is_new = |block: &Block| {
        let holds = |other: &&Block| other.0 <= block.0 && block.1 <= other.1;
        !blocks.iter().any(|other| holds(&other))
    };
    // A conflict within a block asks for a wider one.
    widened.skip(1).find(is_new)
}

/// Blocks, ascending and apart.
fn with(mut blocks: Vec<Block>, block: Block) -> Vec<Block> {
    blocks.push(block);
    blocks.sort_unstable();
    let mut apart: Vec<Block> = Vec::new();
    for block in blocks {
        match apart.last_mut() {
            Some(last) if block.0 <= last.1 => last.1 = last.1.max(block.1),
            _ => apart.push(block),
        }
    }
    apart
}

/// When transactions happened, if those of a block may have done so at any time from the
/// begin of the first to the end of the last.
fn times(orders: &Orders<'_, '_>, blocks: &[Block]) -> Vec<Interval> {
    let mut times = orders.times.clone();
    for (first, last) in blocks {
        let block = &mut times[*first as usize..=*last as usize];
        let begin = block[0].0;
        let end = block.iter().map(|time| time.1).max().unwrap_or(begin);
        block.fill((begin, end));
    }
    times
}
