//! A sequence that differed, taken again until it is known what it needs to differ.

use std::time::{Duration, Instant};

use proptest::strategy::ValueTree;

use crate::pair::{Differs, listened};
use crate::real::ConformError;
use crate::shrink::{shrink, without_needless};
use crate::step::Step;

/// How often a sequence that differed is tried again by itself.
const REPEATS: u32 = 3;

/// How long what differs is made shorter.
const SHRINKING_MAX: Duration = Duration::from_secs(120);

/// Two etcds, on which the same steps are taken.
pub(crate) trait Sides {
    /// Where and how the steps are answered differently, if they are.
    fn differs(&mut self, steps: &[Step]) -> Result<Option<Differs>, ConformError>;

    /// Begins with etcds that have no past.
    fn renew(&mut self) -> Result<(), ConformError>;

    /// Whether to wait less for what watches may still have to say.
    fn be_hasty(&mut self, is_hasty: bool);
}

/// What differs time and again.
#[derive(Debug)]
pub(crate) struct Found {
    /// The fewest steps that were found.
    pub(crate) steps: Vec<Step>,
    pub(crate) differs: Differs,
    /// Whether the sequence differs only after others, which `steps` has parts of.
    pub(crate) is_together: bool,
}

/// Takes a sequence that has differed again: by itself, then on new etcds after all
/// those before it. What differs again is made shorter. `each_trial` is called for
/// each shorter sequence.
pub(crate) fn pursue(
    sides: &mut impl Sides,
    tree: &mut impl ValueTree<Value = Vec<Step>>,
    earlier: impl FnOnce() -> Vec<Vec<Step>>,
    each_trial: &mut dyn FnMut(),
) -> Result<Option<Found>, ConformError> {
    let steps = tree.current();
    for _ in 0..REPEATS {
        if let Some(differs) = sides.differs(&steps)? {
            return alone(sides, tree, differs, each_trial).map(Some);
        }
    }
    together(sides, &steps, &earlier(), each_trial)
}

/// The sequence differs by itself.
fn alone(
    sides: &mut impl Sides,
    tree: &mut impl ValueTree<Value = Vec<Step>>,
    differs: Differs,
    each_trial: &mut dyn FnMut(),
) -> Result<Found, ConformError> {
    let steps = tree.current();
    let mut is_late = deadline();
    sides.be_hasty(true);
    let shortest = shrink(tree, |steps| {
        each_trial();
        Ok::<_, ConformError>(!is_late() && sides.differs(steps)?.is_some())
    })?;
    sides.be_hasty(false);
    let (steps, differs) = match sides.differs(&shortest)? {
        Some(differs) => (shortest, differs),
        None => (steps, differs),
    };
    Ok(Found {
        steps,
        differs,
        is_together: false,
    })
}

/// Whether it differs after those before it, of which as few as possible are taken
/// then, and as few of their steps.
fn together(
    sides: &mut impl Sides,
    steps: &[Step],
    earlier: &[Vec<Step>],
    each_trial: &mut dyn FnMut(),
) -> Result<Option<Found>, ConformError> {
    let mut anew = |steps: &[Step]| {
        each_trial();
        sides.renew()?;
        sides.differs(steps)
    };
    let all = joined(earlier, steps);
    let Some(differs) = anew(&all)? else {
        return Ok(None);
    };
    let mut is_late = deadline();
    let mut found = (all, differs);
    let mut last = 0;
    while last < earlier.len() && !is_late() {
        let fewer = joined(&earlier[earlier.len() - last..], steps);
        if let Some(differs) = anew(&fewer)? {
            found = (fewer, differs);
            break;
        }
        last = (last * 2).max(1);
    }
    let (mut steps, mut differs) = found;
    // What comes after the answer that differs is not needed.
    steps.truncate(differs.at + 1);
    let at_a_time = steps.len() / 2;
    steps = without_needless(steps, at_a_time, |fewer| {
        if is_late() {
            return Ok(false);
        }
        let again = anew(fewer)?;
        let is_again = again.is_some();
        if let Some(again) = again {
            differs = again;
        }
        Ok::<_, ConformError>(is_again)
    })?;
    Ok(Some(Found {
        steps,
        differs,
        is_together: true,
    }))
}

/// Sequences one after the other, emptied between.
fn joined(earlier: &[Vec<Step>], steps: &[Step]) -> Vec<Step> {
    let mut all = Vec::new();
    for sequence in earlier {
        all.extend(listened(sequence));
        all.push(Step::Wipe);
    }
    all.extend_from_slice(steps);
    all
}

/// Says from some time on that it is late.
#[expect(clippy::disallowed_methods, reason = "a real etcd lives in real time")]
fn deadline() -> impl FnMut() -> bool {
    let begin = Instant::now();
    move || begin.elapsed() > SHRINKING_MAX
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbPutRequest;
    use proptest::strategy::{Just, Strategy as _};
    use proptest::test_runner::TestRunner;

    use super::*;

    /// Differs at a put that comes as the second step or later after a list of leases,
    /// but only the first time since it was made: as an etcd before its first
    /// compaction.
    #[derive(Default)]
    struct Once {
        has_listed: bool,
        is_over: bool,
        renewals: u32,
        /// Never differs a second time.
        is_fluke: bool,
    }

    impl Sides for Once {
        fn differs(&mut self, steps: &[Step]) -> Result<Option<Differs>, ConformError> {
            for (at, step) in steps.iter().enumerate() {
                match step {
                    Step::Leases => self.has_listed = true,
                    Step::Put(_) if self.has_listed && !self.is_over => {
                        self.is_over = true;
                        let diff = "another answer".to_owned();
                        return Ok((!self.is_fluke).then_some(Differs { at, diff }));
                    }
                    _ => {}
                }
            }
            Ok(None)
        }

        fn renew(&mut self) -> Result<(), ConformError> {
            *self = Once {
                renewals: self.renewals + 1,
                is_fluke: self.is_fluke,
                ..Once::default()
            };
            Ok(())
        }

        fn be_hasty(&mut self, _: bool) {}
    }

    fn put() -> Step {
        Step::Put(PbPutRequest::default())
    }

    fn wait() -> Step {
        Step::Wait(Duration::ZERO)
    }

    /// A campaign on these sides, the last of whose sequences differs.
    fn pursued(sides: &mut Once, sequences: &[Vec<Step>]) -> Option<Found> {
        let (last, earlier) = sequences.split_last().unwrap();
        for sequence in earlier {
            assert!(sides.differs(sequence).unwrap().is_none());
        }
        assert!(sides.is_fluke || sides.differs(last).unwrap().is_some());
        let strategy = Just(last.clone());
        let mut tree = strategy.new_tree(&mut TestRunner::deterministic()).unwrap();
        let earlier = || earlier.to_vec();
        pursue(sides, &mut tree, earlier, &mut || {}).unwrap()
    }

    #[test]
    fn what_differs_only_after_other_sequences_is_found_with_what_it_needs_of_them() {
        let idle = || vec![wait(); 5];
        let mut sequences = vec![idle(); 20];
        sequences[7] = vec![wait(), Step::Leases, wait()];
        sequences.push(vec![wait(), put(), wait(), put()]);
        let mut sides = Once::default();
        let found = pursued(&mut sides, &sequences).expect("it differs again");
        assert_eq!(found.steps, [Step::Leases, put()]);
        assert_eq!(found.differs.at, 1);
        assert!(found.is_together);
        assert!(sides.renewals > 0);
    }

    #[test]
    fn what_differs_only_on_a_new_etcd_needs_no_other_sequences() {
        let mut sequences = vec![vec![wait()]; 3];
        sequences.push(vec![wait(), Step::Leases, wait(), put()]);
        let found = pursued(&mut Once::default(), &sequences).expect("it differs again");
        assert_eq!(found.steps, [Step::Leases, put()]);
    }

    #[test]
    fn what_does_not_even_differ_after_the_same_sequences_is_not_found() {
        let sequences = [vec![Step::Leases], vec![put()]];
        let mut fluke = Once {
            is_fluke: true,
            ..Once::default()
        };
        assert!(pursued(&mut fluke, &sequences).is_none());
        assert_eq!(fluke.renewals, 1);
    }
}
