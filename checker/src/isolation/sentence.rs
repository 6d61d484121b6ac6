//! Sentences in which transactions have names.
//!
//! Several are told of one history, and a name must mean the same in all of them. Which of them
//! are told, and which one comes first, is only known when all has been found: until then a
//! sentence has gaps where names belong.

use std::collections::BTreeMap;

use super::explain::Parties;

/// A sentence with gaps for the names of its transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sentence {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(Place),
}

/// Where a transaction stands: its line, by which names are given, and its invocation among the
/// events, for several files have the same lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    line: usize,
    event: usize,
}

impl Sentence {
    pub(super) fn then(mut self, text: impl Into<String>) -> Self {
        self.pieces.push(Piece::Text(text.into()));
        self
    }

    /// Goes on with the name of a transaction, or with what it is called when nobody reported it.
    pub(super) fn name(self, parties: &dyn Parties, txn: u32) -> Self {
        let Some(operation) = parties.operation(txn) else {
            return self.then(parties.unreported(txn));
        };
        let place = Place {
            line: operation.invoke.line(),
            event: operation.invoked,
        };
        self.then_piece(Piece::Name(place))
    }

    /// Goes on with all of these, one after the other.
    pub(super) fn join(mut self, others: impl IntoIterator<Item = Self>, between: &str) -> Self {
        for (index, other) in others.into_iter().enumerate() {
            if index > 0 {
                self = self.then(between);
            }
            self.pieces.extend(other.pieces);
        }
        self
    }

    fn then_piece(mut self, piece: Piece) -> Self {
        self.pieces.push(piece);
        self
    }
}

impl From<String> for Sentence {
    fn from(text: String) -> Self {
        Self::default().then(text)
    }
}

/// The names that were given: `T1`, `T2` and so on.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<Place, usize>);

impl Names {
    /// The sentence with its names. Transactions that have none yet get the next ones, in the
    /// order of their lines.
    pub(crate) fn fill(&mut self, sentence: &Sentence) -> String {
        let places = sentence.pieces.iter().filter_map(|piece| match piece {
            Piece::Name(place) => Some(*place),
            Piece::Text(_) => None,
        });
        let mut new: Vec<Place> = places.filter(|place| !self.0.contains_key(place)).collect();
        new.sort_unstable();
        new.dedup();
        let numbers = self.0.len() + 1..;
        self.0.extend(new.into_iter().zip(numbers));
        let said = sentence.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Name(place) => format!("T{}", self.0[place]),
        });
        said.collect()
    }
}
