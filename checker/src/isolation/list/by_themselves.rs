//! What some transactions show by themselves, without all others: which of a witness can be
//! spared.
//!
//! ```text
//! T1  append x 1                T3 has read the longest list of all, and so it is what tells that
//! T2  append x 2, r y = []      1 came before 2. But T4 tells it as well, and is needed anyway:
//! T3  r x = [1, 2, 3]           without T3 there is the same cycle
//! T4  r x = [1, 2], append y 1
//! ```

use super::super::anomaly::Anomaly;
use super::super::effort::Effort;
use super::super::findings::Found;
use super::super::sentence::Sentence;
use super::super::txns::Txns;
use super::edges::Lists;
use super::versions::Versions;
use super::{NAMES, evidence};
use crate::search::Budget;
use crate::unsat_core::{Answer, ONE_BY_ONE_MAX, core};

/// How many bytes it may take to look at a few transactions.
const TRY_BYTES: usize = 1 << 20;

/// Of transactions that show an anomaly by themselves, ascending, fewer that do, with the sentence
/// about them; none when each of them is needed.
pub(super) fn fewer(
    txns: &Txns<'_>,
    anomaly: Anomaly,
    members: &[u32],
) -> Option<(Sentence, Vec<u32>)> {
    let shows = |some: &[u32]| match shown(txns, anomaly, some) {
        Some(_) => Answer::Impossible,
        None => Answer::Possible,
    };
    if members.len() > ONE_BY_ONE_MAX || shows(members) == Answer::Possible {
        return None;
    }
    let core = core(members.to_vec(), ONE_BY_ONE_MAX, shows).things;
    if core.len() == members.len() {
        return None;
    }
    let found = shown(txns, anomaly, &core)?;
    Some((found.sentence, core))
}

/// The anomaly, if these transactions show it.
fn shown(txns: &Txns<'_>, anomaly: Anomaly, some: &[u32]) -> Option<Found> {
    let budget = Budget {
        time: None,
        memory_bytes: TRY_BYTES,
    };
    let part = &mut txns.among(some, &NAMES)?;
    let versions = &Versions::of(part);
    let lists = Lists {
        txns: part,
        versions,
        is_part: true,
    };
    let mut found = evidence(&lists, &[], &Effort::of(&budget))
        .found
        .into_iter();
    let (_, found) = found.find(|(other, _)| *other == anomaly)?;
    Some(found)
}
