//! From events to the record of the keys and the operations.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use serde::Deserialize;

use crate::history::{
    Event, History, HistoryError, Json, Operation, Operations, Outcome, Problem, Scanner, Text,
    plain_object, put,
};

use super::record::{Put, Record, Writer};

/// An election's history. Operations are named by their index.
pub(super) struct Election<'h> {
    /// In the order of their invocations.
    pub(super) operations: Operations<'h>,
    pub(super) record: Record<'h>,
    /// Who proposed a value.
    pub(super) proposers: FxHashMap<Cow<'h, str>, usize>,
    /// How many events there are.
    pub(super) events: usize,
}

/// What a client asked, and what it was told.
pub(super) enum Call<'h> {
    /// Wants to lead with this value; the term that it was given.
    Campaign {
        value: Cow<'h, str>,
        term: Option<i64>,
    },
    /// A leader changes its value.
    Proclaim { term: i64, value: Cow<'h, str> },
    /// A leader resigns.
    Resign { term: i64 },
    /// Who leads?
    Leader(Option<Answer<'h>>),
    /// What comes next in this stream of observations?
    Observe {
        stream: Cow<'h, str>,
        answer: Option<Answer<'h>>,
    },
    /// Campaigns with this value again and again, until its work is done.
    Run,
    /// A leader acts, at one instant.
    Act { term: i64 },
    /// A write that is guarded by the leader's key.
    Write { term: i64 },
    /// A write besides.
    Mark,
    /// What happened to the keys?
    Watch,
}

/// Who leads.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Answer<'h> {
    Vacant,
    Leader(Leader<'h>),
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Leader<'h> {
    pub(super) term: i64,
    #[serde(borrow, deserialize_with = "text")]
    pub(super) value: Cow<'h, str>,
    /// The revision that gave the key this value.
    pub(super) mod_revision: Option<i64>,
}

#[derive(Deserialize)]
struct OfTerm<'h> {
    term: i64,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    value: Option<Cow<'h, str>>,
}

impl<'h> Leader<'h> {
    /// As almost every program writes it. Of anything else nothing is said here.
    fn plain(json: &'h Json) -> Option<Self> {
        let (mut term, mut value, mut mod_revision) = (None, None, None);
        plain_object(json, |name, scanner| match name {
            "term" => put(&mut term, scanner.signed()?),
            "value" => put(&mut value, scanner.text()?),
            "mod_revision" => put(&mut mod_revision, scanner.or_null(Scanner::signed)?),
            _ => None,
        })?;
        Some(Self {
            term: term?,
            value: Cow::Borrowed(value?),
            mod_revision: mod_revision.flatten(),
        })
    }
}

impl<'h> OfTerm<'h> {
    /// As almost every program writes it. Of anything else nothing is said here.
    fn plain(json: &'h Json) -> Option<Self> {
        let (mut term, mut value) = (None, None);
        plain_object(json, |name, scanner| match name {
            "term" => put(&mut term, scanner.signed()?),
            "value" => put(&mut value, scanner.or_null(Scanner::text)?),
            _ => None,
        })?;
        Some(Self {
            term: term?,
            value: value.flatten().map(Cow::Borrowed),
        })
    }
}

#[derive(Deserialize)]
struct Change<'h> {
    term: i64,
    revision: i64,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    value: Option<Cow<'h, str>>,
}

const KNOWN: &str = "campaign, proclaim, resign, leader, observe, run, act, write, mark and watch";

impl<'h> Election<'h> {
    /// Sorts out what happened to the keys, and who proposed what. What the other
    /// operations say is for [`read`](Self::read).
    pub(super) fn of(history: &'h History) -> Result<Self, HistoryError> {
        let operations = Operations::of(history);
        let mut writer = Writer::default();
        for index in in_order_of_completion(&operations) {
            record(&mut writer, &operations.get(index), index)?;
        }
        let mut election = Self {
            operations,
            record: writer.finish(),
            proposers: FxHashMap::default(),
            events: history.events().len(),
        };
        election.find_proposers()?;
        Ok(election)
    }

    /// What an operation is, once all have been read. Not kept: it takes more memory than it
    /// takes time to read it once more.
    pub(super) fn call(&self, index: usize) -> Call<'h> {
        let call = Reader::default().read(&self.operations.get(index));
        call.expect("it was read before")
    }

    /// The operations with what they are, once all have been read.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Operation<'h>, Call<'h>)> {
        let operations = self.operations.iter().enumerate();
        operations.map(|(index, operation)| (index, operation, self.call(index)))
    }

    fn find_proposers(&mut self) -> Result<(), HistoryError> {
        let proposes =
            |operation: &Operation<'_>| matches!(operation.f(), "campaign" | "proclaim" | "run");
        let proposals = self.operations.iter().filter(proposes).count();
        self.proposers.reserve(proposals);
        for (index, operation) in self.operations.iter().enumerate() {
            let value = match operation.f() {
                "campaign" | "run" => text_of(operation.invoke)?,
                "proclaim" => proclaimed(operation.invoke)?.1,
                _ => continue,
            };
            if let Some(before) = self.proposers.insert(value.clone(), index) {
                let problem = Problem::ProposedTwice {
                    value: value.into_owned(),
                    since: self.operations.get(before).invoke.line(),
                };
                return Err(HistoryError::at(operation.invoke.line(), problem));
            }
        }
        Ok(())
    }
}

/// Reads what operations are, one after the other.
#[derive(Default)]
pub(super) struct Reader<'h> {
    /// What who asked last was told: mostly the next is told the same.
    last: Option<(&'h str, Leader<'h>)>,
}

impl<'h> Reader<'h> {
    /// # Errors
    /// When it is none of an election.
    pub(super) fn read(&mut self, operation: &Operation<'h>) -> Result<Call<'h>, HistoryError> {
        call(self, operation)
    }

    fn answer(&mut self, operation: &Operation<'h>) -> Result<Option<Answer<'h>>, HistoryError> {
        let Some(ok) = operation.ok() else {
            return Ok(None);
        };
        let text = ok.value().as_str();
        if let Some((last, leader)) = &self.last
            && *last == text
        {
            return Ok(Some(Answer::Leader(leader.clone())));
        }
        let answer = answer(ok)?;
        if let Answer::Leader(leader) = &answer {
            self.last = Some((text, leader.clone()));
        }
        Ok(Some(answer))
    }
}

fn call<'h>(reader: &mut Reader<'h>, operation: &Operation<'h>) -> Result<Call<'h>, HistoryError> {
    let invoke = operation.invoke;
    Ok(match operation.f() {
        "campaign" => Call::Campaign {
            value: text_of(invoke)?,
            term: match operation.ok() {
                Some(ok) => Some(of_term(ok)?.term),
                None => None,
            },
        },
        "proclaim" => {
            let (term, value) = proclaimed(invoke)?;
            Call::Proclaim { term, value }
        }
        "resign" => Call::Resign {
            term: of_term(invoke)?.term,
        },
        "leader" => Call::Leader(reader.answer(operation)?),
        "observe" => Call::Observe {
            stream: text_of(invoke)?,
            answer: reader.answer(operation)?,
        },
        "run" => Call::Run,
        "act" => Call::Act {
            term: of_term(invoke)?.term,
        },
        "write" => Call::Write {
            term: of_term(invoke)?.term,
        },
        "mark" => Call::Mark,
        "watch" => Call::Watch,
        other => {
            let problem = Problem::UnknownOperation {
                model: "election",
                f: other.to_owned(),
                known: KNOWN,
            };
            return Err(HistoryError::at(invoke.line(), problem));
        }
    })
}

/// One process asks for the changes, so they come in the order of its answers.
fn in_order_of_completion(operations: &Operations<'_>) -> Vec<usize> {
    let is_answer = |index: &usize| {
        let operation = operations.get(*index);
        operation.outcome() == Outcome::Ok && operation.f() == "watch"
    };
    let mut answers: Vec<usize> = (0..operations.len()).filter(is_answer).collect();
    answers.sort_by_key(|index| operations.get(*index).completed);
    answers
}

fn record<'h>(
    writer: &mut Writer<'h>,
    watch: &Operation<'h>,
    told_by: usize,
) -> Result<(), HistoryError> {
    let Some(ok) = watch.ok() else { return Ok(()) };
    let parsed: Result<Vec<Change<'h>>, _> = ok.value().parse();
    for change in parsed.map_err(|error| HistoryError::value(ok, WATCH, &error))? {
        let Change {
            term,
            revision,
            value,
        } = change;
        let done = match value {
            Some(value) => {
                let put = Put {
                    revision,
                    value,
                    told_by,
                };
                writer.put(term, put)
            }
            None => writer.delete(term, revision, told_by),
        };
        done.map_err(|detail| {
            let problem = Problem::Record {
                term,
                revision,
                detail,
            };
            HistoryError::at(ok.line(), problem)
        })?;
    }
    writer.cover(ok.revision().unwrap_or(0));
    Ok(())
}

const OF_TERM: &str = r#"an object such as {"term":5}"#;
const PROCLAIM: &str = r#"an object such as {"term":5,"value":"c1-7"}"#;
const ANSWER: &str = r#"null, or an object such as {"term":5,"value":"c1-7","mod_revision":9}"#;
const WATCH: &str = r#"a list of objects such as {"term":5,"revision":9,"value":"c1-7"}, without value when deleted"#;

fn of_term(event: &Event) -> Result<OfTerm<'_>, HistoryError> {
    if let Some(of_term) = OfTerm::plain(event.value()) {
        return Ok(of_term);
    }
    let parsed = event.value().parse();
    parsed.map_err(|error| HistoryError::value(event, OF_TERM, &error))
}

/// The term and the value.
fn proclaimed(invoke: &Event) -> Result<(i64, Cow<'_, str>), HistoryError> {
    let OfTerm { term, value } = of_term(invoke)?;
    let value = value.ok_or_else(|| wrong(invoke, PROCLAIM, "the value is missing"))?;
    Ok((term, value))
}

fn answer(ok: &Event) -> Result<Answer<'_>, HistoryError> {
    if let Some(leader) = Leader::plain(ok.value()) {
        return Ok(Answer::Leader(leader));
    }
    let parsed: Result<Option<Leader<'_>>, _> = ok.value().parse();
    let leader = parsed.map_err(|error| HistoryError::value(ok, ANSWER, &error))?;
    Ok(leader.map_or(Answer::Vacant, Answer::Leader))
}

fn text_of(event: &Event) -> Result<Cow<'_, str>, HistoryError> {
    let text = event.value().text();
    text.map_err(|error| HistoryError::value(event, "a string or a whole number", &error))
}

fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    Text::deserialize(deserializer).map(|Text(text)| text)
}

fn optional_text<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'de, str>>, D::Error> {
    let text: Option<Text<'de>> = Option::deserialize(deserializer)?;
    Ok(text.map(|Text(text)| text))
}

fn wrong(event: &Event, expected: &'static str, detail: &str) -> HistoryError {
    let problem = Problem::Value {
        f: event.f().to_string(),
        expected,
        detail: detail.to_owned(),
    };
    HistoryError::at(event.line(), problem)
}
