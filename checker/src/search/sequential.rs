//! What a user says about an object: its states, and what operations do to them.

use std::fmt::Debug;
use std::hash::Hash;

use super::{Aspect, Call, Clock, Others};

/// A call without which it cannot be told whether there is an order.
#[derive(Clone, Debug)]
pub struct Kept<O> {
    /// Its index among the calls that were asked about.
    pub call: usize,
    /// A simpler output that does instead of its own, if there is one.
    pub instead: Option<O>,
}

impl<O> Kept<O> {
    /// This one of the calls, as what it matters.
    pub(super) fn of<'s, I>(&'s self, calls: &[Call<&'s I, &'s O>]) -> Call<&'s I, &'s O> {
        let call = calls[self.call];
        Call {
            output: self.instead.as_ref().or(call.output),
            ..call
        }
    }

    /// This call as it is.
    pub fn as_it_is(call: usize) -> Self {
        Self {
            call,
            instead: None,
        }
    }
}

/// An object as it behaves when operations come one by one.
///
/// ```
/// use etcd_checker::search::{Budget, Call, Found, Sequential, search};
///
/// /// A stack of numbers: `Some` pushes, `None` pops.
/// struct Stack;
///
/// impl Sequential for Stack {
///     type State = Vec<u64>;
///     type Input = Option<u64>;
///     type Output = Option<u64>;
///     type Part = ();
///
///     fn part(&self, _: &Option<u64>) {}
///
///     fn initial(&self, _: &()) -> Vec<u64> {
///         Vec::new()
///     }
///
///     fn step(
///         &self,
///         state: &Vec<u64>,
///         input: &Option<u64>,
///         output: Option<&Option<u64>>,
///     ) -> impl IntoIterator<Item = Vec<u64>> {
///         let mut next = state.clone();
///         let result = match input {
///             Some(number) => {
///                 next.push(*number);
///                 None
///             }
///             None => next.pop(),
///         };
///         // Nobody may know what came of it.
///         output.is_none_or(|output| *output == result).then_some(next)
///     }
/// }
///
/// let calls = [
///     Call::returned(Some(7), None, 0..=10),
///     Call::returned(None, Some(7), 5..=8),
///     Call::returned(None, Some(7), 20..=30),
/// ];
/// let found = search(&Stack, &calls, &Budget::default());
/// let Found::NotLinearizable(failure) = found else { panic!() };
/// assert_eq!(failure.witness, [1, 2], "7 was popped twice, whatever happened to the push");
/// ```
pub trait Sequential: Sync {
    /// Everything that later operations depend on.
    type State: Clone + Eq + Hash + Debug;
    /// What is asked of the object.
    type Input: Eq + Hash + Sync;
    /// What comes of it.
    type Output: Eq + Hash + Sync;
    /// A part of the object on which operations depend on nothing outside of it,
    /// such as a key. Parts are checked one by one, for an object is linearizable
    /// exactly when each of its parts is (Herlihy and Wing 1990; Horn and Kroening
    /// call it P-compositionality). `()` for an object that is one whole.
    type Part: Ord + Clone + Debug + Sync;

    /// The part to which an operation belongs.
    fn part(&self, input: &Self::Input) -> Self::Part;

    /// The state of a part before the first operation.
    fn initial(&self, part: &Self::Part) -> Self::State;

    /// The states that the operation can lead to from this one, if it has this
    /// output; none when it cannot have it. Without an output nobody knows what came
    /// of the operation, and any is possible.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> impl IntoIterator<Item = Self::State>;

    /// As [`Sequential::step`], which it calls if it is left out; for steps that may
    /// take long, and look at the clock now and then. What a step returns after the
    /// clock has run out is not looked at.
    fn step_in_time(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
        clock: &Clock,
    ) -> impl IntoIterator<Item = Self::State> {
        let _ = clock;
        self.step(state, input, output)
    }

    /// Whether the operation leaves every state as it is in which it can have this
    /// output. Such operations never make the search branch; without this, each of
    /// `k` concurrent reads may double it.
    fn only_reads(&self, input: &Self::Input, output: Option<&Self::Output>) -> bool {
        let _ = (input, output);
        false
    }

    /// Whether [`Sequential::can_become`] ever says no.
    const LOOKS_AHEAD: bool = false;

    /// Whether the object can come from this state to one in which an operation that only
    /// reads can have this output, when no other operations than `changes` happen in
    /// between. What is known of those is what is known of a call: without an output they
    /// may have done anything, or nothing.
    ///
    /// Says no only where that is certain. It saves the search from trying orders of changes
    /// of which the next read shows that they are wrong: without it, each of `k` concurrent
    /// changes whose order the state remembers may multiply its work by `k`.
    fn can_become<'c>(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
        changes: impl Iterator<Item = (&'c Self::Input, Option<&'c Self::Output>)>,
    ) -> bool
    where
        Self: 'c,
    {
        let _ = (state, input, output, changes);
        true
    }

    /// Whether [`Sequential::preference`] ever says anything.
    const PREFERS: bool = false;

    /// How soon an operation should be tried in this state, where `next` is the one that has to
    /// take effect before any other can return: those of smaller numbers first, and of the same
    /// number that which must return first.
    ///
    /// It matters only to how long a search takes to find an order, not to whether there is one.
    fn preference(
        &self,
        state: &Self::State,
        call: (&Self::Input, Option<&Self::Output>),
        next: (&Self::Input, Option<&Self::Output>),
    ) -> u8 {
        let _ = (state, call, next);
        0
    }

    /// An order of these calls of one part, by their index, that the object can do, where there
    /// is a quicker way to one than to try all; calls that did not return need not be in it.
    /// None where there is no order, and where none is found like that: then it is searched for.
    ///
    /// It is taken as it is: one that is none makes a verdict wrong.
    fn order(&self, calls: &[Call<&Self::Input, &Self::Output>]) -> Option<Vec<usize>> {
        let _ = calls;
        None
    }

    /// Which calls there is no order without, in few guesses: each is a set of calls of one
    /// part, by their index, that may prove by themselves that nothing explains what `stuck`
    /// and all that returned before it tell. Better guesses come first.
    ///
    /// Guesses are checked, so they may be wrong; with a right one it takes little to find a
    /// witness, however long the history is. Without any, calls are left out by halves.
    fn suspects(
        &self,
        calls: &[Call<&Self::Input, &Self::Output>],
        stuck: usize,
    ) -> Vec<Vec<usize>> {
        let _ = (calls, stuck);
        Vec::new()
    }

    /// Which of these calls of one part, of which some did not return, can matter to the
    /// question whether there is an order, and as what: there must be one of those that are
    /// kept exactly when there is one of all.
    ///
    /// Asked where a witness is looked for. Little is known there of most calls, so what need
    /// not be tried at any place saves the most. Calls that did not return may take effect until
    /// a time that is not told here if `others` do so in their time, and at any time otherwise.
    fn what_matters(
        &self,
        calls: &[Call<&Self::Input, &Self::Output>],
        others: Others,
    ) -> Vec<Kept<Self::Output>> {
        let _ = others;
        (0..calls.len()).map(Kept::as_it_is).collect()
    }

    /// The states in which the object may be right after this operation, whatever it was
    /// before; [`None`] where they are too many to be told. Must not leave out any.
    ///
    /// Where a witness is looked for, what happened before such an operation is of no interest
    /// any more. Without it the history is searched from its beginning each time.
    fn states_after(
        &self,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Vec<Self::State>> {
        let _ = (input, output);
        None
    }

    /// Smaller questions about these calls of one part. None that has an answer only sometimes
    /// when the calls have an order: each must have one whenever they do. Those come first that
    /// are about what happened next to where the search was `stuck`.
    ///
    /// Asked where a search takes long, or finds no short witness. Without it there are none.
    fn aspects(
        &self,
        calls: &[Call<&Self::Input, &Self::Output>],
        stuck: usize,
    ) -> impl Iterator<Item = Aspect<Self::Input, Self::Output>> {
        let _ = (calls, stuck);
        std::iter::empty()
    }

    /// As [`Sequential::show`], of what an aspect of this number tells about the state.
    fn show_aspect(&self, number: u32, state: &Self::State) -> String {
        let _ = number;
        self.show(state)
    }

    /// Whether outputs say something about other calls, such as their order. Then
    /// [`Sequential::what_matters`] is asked whenever less is known than at first.
    const OUTPUTS_REFER_TO_CALLS: bool = false;

    /// The bytes that a state holds besides its own size. Without it they are not
    /// counted, and the search may take more memory than it was allowed.
    fn heap_bytes(&self, state: &Self::State) -> usize {
        let _ = state;
        0
    }

    /// A state as people read it.
    fn show(&self, state: &Self::State) -> String {
        format!("{state:?}")
    }
}
