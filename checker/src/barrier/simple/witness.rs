//! Which answers a violation needs.
//!
//! ```text
//! hold -> true     |---|
//! release -> true    |----|
//! ..                            what was before, of which nothing need be known
//! hold -> true                   |---|
//! wait                                |---|      the answer that nothing explains
//! ```
//!
//! What is wrong with an answer is mostly to be found shortly before it. So a pass in which
//! nothing is known leaves marks, the nearer to that answer the more, and questions on what is
//! known begin at one of them: each takes as long as what came after it. Where everybody waits
//! for somebody else, each answer that one would leave out could have made way for another
//! one, and so on from the beginning. Then what had ended before some event is given, and the
//! marks are those of a pass in which everything is known. Very many may go on when the wrong
//! answer comes, each of which was told only later that it did not help: so those are looked at
//! first that ended last of what it takes.

use std::cell::Cell;
use std::cmp::Reverse;

use super::super::bounds::Bounds;
use super::super::minimal::{FEW, Known, Needed, few_of};
use super::step::Step;
use super::sweep::{Course, Stop, Sweep};
use crate::search::Others;
use crate::unsat_core::{self, Answer, Core};

/// How much work it may take to leave out what is not needed, in steps of the search and events
/// passed: no time, so that a history has the same witness everywhere. What takes long where
/// nothing is given mostly ends in more than people like to read.
const WORK_MAX: u64 = 500_000;
const WORK_MAX_NOTHING_GIVEN: u64 = 60_000;

/// So many events that are passed are as much work as a step.
const EVENTS_PER_STEP: usize = 8;

/// So many events before the answer that nothing explains are looked at first.
const NEAR: usize = 64;

/// What is asked on the way to a witness.
struct Questions<'q> {
    course: &'q Course<'q>,
    /// When the answer came that nothing explains.
    end: usize,
    bounds: &'q Bounds<'q>,
    work: Cell<u64>,
    work_max: u64,
}

/// The answers that alone make the history impossible, whose first answer that nothing explains
/// is that of the step that `failed`.
///
/// `line` says on which line a step returned.
pub(super) fn needed(
    course: &Course<'_>,
    failed: usize,
    line: impl Fn(usize) -> u64,
    bounds: &Bounds<'_>,
) -> Needed {
    let questions = |work_max| Questions {
        course,
        end: course.steps[failed].completed,
        bounds,
        work: Cell::new(0),
        work_max,
    };
    let nothing_given = || questions(WORK_MAX_NOTHING_GIVEN);
    let in_their_time = nothing_given().in_their_time();
    let at_any_time = nothing_given().at_any_time(in_their_time.as_ref());
    let shortest = at_any_time.or(in_their_time);
    if let Some(needed) = shortest.as_ref()
        && needed.is_short()
    {
        return shortest.expect("it is there");
    }
    let recent = questions(WORK_MAX).recent(line);
    match shortest {
        Some(needed) if needed.indices.len() <= recent.indices.len() => needed,
        _ => recent,
    }
}

impl Questions<'_> {
    fn steps(&self) -> &[Step] {
        self.course.steps
    }

    /// Whether the history is possible as far as this is known, which is nothing but `listed` of
    /// what began behind the mark. None if nothing more should be asked.
    fn ask(&self, mark: &Sweep<'_>, known: &Known, listed: &[usize]) -> Option<Answer> {
        if self.is_spent() {
            return None;
        }
        // Nothing can be wrong behind the last answer that counts.
        let listed = listed.iter().map(|index| &self.steps()[*index]);
        let answered = listed.filter(|step| step.answer.is_some());
        let end = answered.map(|step| step.completed + 1).max().unwrap_or(0);
        let bounds = self.bounds.of_question();
        let result = mark.with(known).run(end, &bounds);
        let work = (mark.distance(end) / EVENTS_PER_STEP) as u64 + bounds.steps();
        self.work.set(self.work.get() + work);
        Some(match result {
            Ok(()) => Answer::Possible,
            Err(Stop::Failed(_)) => Answer::Impossible,
            Err(Stop::Spent(_)) => Answer::Unknown,
        })
    }

    fn is_spent(&self) -> bool {
        self.bounds.is_over() || self.work.get() > self.work_max
    }

    fn known(&self, listed: &[usize], others: Others) -> Known {
        Known::of(self.steps().len(), listed, others)
    }

    /// Those that are over, and began between two events.
    fn between(&self, from: usize, until: usize) -> Vec<usize> {
        let is_it = |index: &usize| {
            let step = &self.steps()[*index];
            step.is_over() && (from..=until).contains(&step.invoked)
        };
        let first = self.steps().partition_point(|step| step.invoked < from);
        let last = self.steps().partition_point(|step| step.invoked <= until);
        (first..last).filter(is_it).collect()
    }

    /// As few as make it impossible if the others took effect in their time.
    fn in_their_time(&self) -> Option<Needed> {
        let others = Others::InTheirTime;
        self.near(others, |start, ask| {
            let listed = self.between(start, self.end);
            let core = unsat_core::core_while(listed, usize::MAX, ask);
            Some(self.of(core, &[], others))
        })
    }

    /// A few that make it impossible whatever the others did at any time; rather of these.
    fn at_any_time(&self, rather: Option<&Needed>) -> Option<Needed> {
        let others = Others::AtAnyTime;
        let rather = rather.filter(|needed| needed.is_short());
        let rather = rather.map_or(&[][..], |needed| &needed.indices);
        self.near(others, |start, ask| {
            let mut order = self.between(start, self.end);
            order.reverse();
            order.sort_by_key(|step| !rather.contains(step));
            let most = rather.len().max(FEW);
            let few = few_of(order, most, |listed| ask(listed).unwrap_or(Answer::Unknown));
            let core = Core {
                things: few?,
                is_least: true,
            };
            Some(self.of(core, &[], others))
        })
    }

    /// What is found among those that began not long before the answer and make it impossible:
    /// given the event from which on they began, and whether some of them do.
    fn near(
        &self,
        others: Others,
        find: impl FnOnce(usize, &dyn Fn(&[usize]) -> Option<Answer>) -> Option<Needed>,
    ) -> Option<Needed> {
        let nothing = self.known(&[], others);
        let distances = std::iter::successors(Some(NEAR), |events| Some(events * 2));
        let starts: Vec<usize> = distances
            .map(|distance| self.end.saturating_sub(distance))
            .take_while(|start| *start > 0)
            .chain([0])
            .collect();
        let marks = self.marks(&nothing, &starts);
        for (start, mark) in starts.into_iter().zip(&marks) {
            let ask = |listed: &[usize]| {
                let known = self.known(listed, others);
                self.ask(mark, &known, listed)
            };
            if ask(&self.between(start, self.end))? == Answer::Impossible {
                return find(start, &ask);
            }
        }
        None
    }

    /// The passes that know this, at each of these events, which go backwards.
    fn marks<'k>(&'k self, known: &'k Known, events: &[usize]) -> Vec<Sweep<'k>> {
        let mut sweep = Sweep::new(self.course, known);
        let mut marks = Vec::with_capacity(events.len());
        for event in events.iter().rev() {
            // Nothing is impossible up to there, and then less is known.
            if sweep.run(*event, self.bounds).is_err() {
                break;
            }
            marks.push(sweep.with(known));
        }
        marks.resize_with(events.len(), || Sweep::new(self.course, known));
        marks.reverse();
        marks
    }

    /// A few that make it impossible together with all that had ended before some event. One
    /// alone does not say what is in its way, but is better than many.
    fn recent(&self, line: impl Fn(usize) -> u64) -> Needed {
        let completed = |step: &usize| self.steps()[*step].completed;
        let by = self.impossible_by();
        let mut ended = self.between(0, by);
        ended.retain(|step| completed(step) <= by);
        ended.sort_unstable_by_key(|step| Reverse(completed(step)));
        let places = std::iter::successors(Some(0), |place| Some(place * 2 + 1));
        let mut places: Vec<usize> = places.take_while(|place| *place < ended.len()).collect();
        if self.is_spent() {
            // Nothing can be left out any more. What ended before the wrong answer is right.
            let since_wrong = ended.partition_point(|step| completed(step) > self.end);
            places = vec![since_wrong];
        }
        // Those that take longer begin earlier, so the marks go backwards, too.
        let start = |place: &usize| self.first_over_since(completed(&ended[*place]), by);
        let starts: Vec<usize> = places.iter().map(start).collect();
        let all = Known::all(self.steps().len());
        let marks = self.marks(&all, &starts);
        let mut found: Option<Needed> = None;
        for (place, mark) in places.into_iter().zip(&marks) {
            let since = ended[place];
            let others = Others::InTheirTimeSince(line(since));
            let given = self.over_before(completed(&since));
            let mut listed = ended[..=place].to_vec();
            listed.sort_unstable();
            let core = unsat_core::core_while(listed, usize::MAX, |listed| {
                let known = self.known(&[&given, listed].concat(), others);
                self.ask(mark, &known, listed)
            });
            let needed = self.of(core, &given, others);
            let is_short = needed.is_short();
            let says_more = is_short && needed.indices.len() > 1;
            if found.is_none() || says_more {
                found = Some(needed);
            }
            if says_more || !is_short {
                break;
            }
        }
        found.expect("an answer is wrong")
    }

    /// The first event such that what had ended by then makes it impossible. Those who went on
    /// when the wrong answer came may have been told only later that they did not help.
    fn impossible_by(&self) -> usize {
        let steps = self.steps();
        let mut open = self.between(0, self.end);
        open.retain(|step| steps[*step].completed >= self.end);
        open.sort_unstable_by_key(|step| steps[*step].completed);
        let all = Known::all(steps.len());
        let marks = self.marks(&all, &[self.first_over_since(self.end, self.end)]);
        let given = self.over_before(self.end);
        let others = Others::InTheirTime;
        let number = unsat_core::smallest(open.len(), |number| {
            let last = number
                .checked_sub(1)
                .map(|last| steps[open[last]].completed);
            let mut listed = self.between(0, last.unwrap_or(0));
            listed.retain(|step| {
                let completed = steps[*step].completed;
                self.end <= completed && Some(completed) <= last
            });
            let known = self.known(&[&given[..], &listed].concat(), others);
            self.ask(&marks[0], &known, &listed) == Some(Answer::Impossible)
        });
        let last = number.checked_sub(1);
        last.map_or(self.end, |last| steps[open[last]].completed)
    }

    /// When the first of those began that were not over before this event, and began by another.
    fn first_over_since(&self, event: usize, by: usize) -> usize {
        let steps = self.steps().iter().take_while(|step| step.invoked <= by);
        let mut over = steps.filter(|step| step.is_over() && step.completed >= event);
        over.next().map_or(0, |first| first.invoked)
    }

    /// Those that ended before this event.
    fn over_before(&self, event: usize) -> Vec<usize> {
        let mut over = self.between(0, event);
        over.retain(|index| self.steps()[*index].completed < event);
        over
    }

    fn of(&self, core: Core<usize>, given: &[usize], others: Others) -> Needed {
        Needed {
            known: self.known(&[given, &core.things].concat(), others),
            indices: core.things,
            is_least: core.is_least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::barrier::simple::step::Action;
    use crate::search::Budget;
    use std::time::Duration;

    /// Two raise the barrier, and somebody who went on meanwhile does not.
    fn steps() -> Vec<Step> {
        let hold = |answer, invoked, completed| Step {
            action: Action::Hold,
            answer: Some(answer),
            has_failed: false,
            lease: None,
            invoked,
            completed,
            operation: 0,
        };
        vec![hold(true, 0, 1), hold(false, 2, 5), hold(true, 3, 4)]
    }

    #[test]
    fn when_the_time_is_over_those_who_went_on_are_listed() {
        let steps = steps();
        let course = Course::new(&steps);
        let budget = Budget {
            time: Some(Duration::ZERO),
            ..Budget::default()
        };
        let clock = budget.clock();
        let bounds = Bounds::of(&budget, &clock);
        let late = needed(&course, 2, |_| 7, &bounds);
        assert_eq!(late.indices, [1, 2]);
        assert!(!late.is_least);
        assert_eq!(late.known.others(), Others::InTheirTimeSince(7));

        let early = needed(&course, 2, |_| 7, &Bounds::none());
        assert_eq!(early.indices, [0, 2]);
        assert!(early.is_least);
    }
}
