//! A sequence that differs, made shorter.

use proptest::strategy::ValueTree;

use crate::step::Step;

/// How many sequences are tried at most.
const TRIALS_MAX: u32 = 500;

/// The shortest sequence that was found for which `differs` holds: the values in it
/// are made smaller, and then whatever can be taken out is.
///
/// # Errors
///
/// Those of `differs`.
pub(crate) fn shrink<E>(
    tree: &mut impl ValueTree<Value = Vec<Step>>,
    mut differs: impl FnMut(&[Step]) -> Result<bool, E>,
) -> Result<Vec<Step>, E> {
    let mut shortest = tree.current();
    let mut trials = 0;
    let mut goes_on = tree.simplify();
    while goes_on && trials < TRIALS_MAX {
        trials += 1;
        let candidate = tree.current();
        goes_on = if differs(&candidate)? {
            shortest = candidate;
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    trials = 0;
    without_needless(shortest, 1, |candidate| {
        trials += 1;
        Ok(trials < TRIALS_MAX && differs(candidate)?)
    })
}

/// A part of the sequence for which `differs` holds, and without any step of which
/// it holds no more: so many steps are taken out at a time, then half as many ..
///
/// # Errors
///
/// Those of `differs`.
pub(crate) fn without_needless<E>(
    mut steps: Vec<Step>,
    mut at_a_time: usize,
    mut differs: impl FnMut(&[Step]) -> Result<bool, E>,
) -> Result<Vec<Step>, E> {
    loop {
        let before = steps.len();
        let mut end = before;
        while end > 0 {
            let start = end.saturating_sub(at_a_time);
            let candidate = [&steps[..start], &steps[end..]].concat();
            if !candidate.is_empty() && differs(&candidate)? {
                steps = candidate;
            }
            end = start;
        }
        match at_a_time {
            0 | 1 if steps.len() == before => return Ok(steps),
            0 | 1 => {}
            _ => at_a_time /= 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use etcd_sim::version::Version;
    use proptest::strategy::Strategy as _;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::generate::sequence;

    /// Two kinds of steps are needed, and nothing else.
    fn differs(steps: &[Step]) -> Result<bool, Infallible> {
        let has = |is: fn(&Step) -> bool| steps.iter().any(is);
        Ok(has(|step| matches!(step, Step::Put(_))) && has(|step| matches!(step, Step::Leases)))
    }

    #[test]
    fn what_a_difference_does_not_need_is_taken_out() {
        let mut runner = TestRunner::deterministic();
        let mut seen = 0;
        while seen < 5 {
            let mut tree = sequence(Version::default()).new_tree(&mut runner).unwrap();
            if differs(&tree.current()) == Ok(true) {
                let Ok(shortest) = shrink(&mut tree, differs);
                assert_eq!(shortest.len(), 2, "{shortest:?}");
                seen += 1;
            }
        }
    }
}
