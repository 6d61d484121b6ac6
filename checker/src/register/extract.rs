//! From events to calls on registers.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Answer, Ask};
use crate::anomaly;
use crate::history::{History, HistoryError, Operation};
use crate::keyed::{Keyed, parameters, text, unknown_operation};
use crate::names::Names;
use crate::object::Object;
use crate::search::{Call, Failure, NON_LINEARIZABLE, Named};
use crate::verdict::Kind;
use crate::writers::Writers;

/// What registers there are, and what they hold.
pub(crate) struct Registers<'h> {
    keys: Names<'h>,
    values: Names<'h>,
    /// The value before the first write.
    pub(super) initial: u32,
    writers: Writers,
}

/// The number of `null`.
const NULL: u32 = 0;

/// The number of the only register, if nobody names any.
const ONLY: u32 = 0;

#[derive(Deserialize, Default)]
struct Parameters<'h> {
    #[serde(borrow, default)]
    initial: Option<&'h RawValue>,
}

impl<'h> Object<'h> for Registers<'h> {
    fn of(history: &'h History) -> Result<Self, HistoryError> {
        let mut registers = Self {
            keys: Names::reserving_zero(),
            values: Names::reserving_zero(),
            initial: NULL,
            writers: Writers::default(),
        };
        let parameters: Parameters<'h> = parameters(history)?;
        let initial = parameters.initial.map(RawValue::get);
        registers.initial = registers.number(initial.and_then(text));
        Ok(registers)
    }

    fn call(
        &mut self,
        operation: &Operation<'h>,
    ) -> Result<((u32, Ask), Option<Answer>), HistoryError> {
        let event = operation.invoke;
        let mut keyed = Keyed::of(event)?;
        let key = keyed.key.take();
        let key = key.map_or(ONLY, |key| self.keys.number(key));
        let ok = operation.ok().map(Keyed::of).transpose()?;
        let (ask, answer) = match event.f() {
            "read" => {
                let answer = ok.map(|ok| Answer::Read(self.number(ok.text())));
                (Ask::Read, answer)
            }
            "write" => (Ask::Write(self.number(keyed.text())), None),
            "cas" => {
                let (old, new): (&RawValue, &RawValue) =
                    keyed.parse(event, "a list of the old and the new value")?;
                let old = self.number(text(old.get()));
                let new = self.number(text(new.get()));
                let answer = ok.map(|ok| Answer::Compared(!ok.is_false()));
                (Ask::CompareAndSet { old, new }, answer)
            }
            _ => {
                let known = "read, write and cas";
                return Err(unknown_operation(event, "register", known));
            }
        };
        if ask != Ask::Read {
            self.writers.note(operation);
        }
        Ok(((key, ask), answer))
    }

    /// What was written only later is told with who wrote it.
    fn named(&self, calls: &[Call<(u32, Ask), Answer>], failure: &Failure) -> Named {
        let refuted = &calls[failure.refuted];
        self.writers.named(self.kind(calls, failure), refuted, || {
            let met = met(refuted)?;
            Some((self.show_value(met), writers(calls, refuted.input.0, met)))
        })
    }

    fn kind(&self, calls: &[Call<(u32, Ask), Answer>], failure: &Failure) -> Kind {
        let refuted = &calls[failure.refuted];
        let (key, ask) = refuted.input;
        if refuted.output == Some(Answer::Compared(false)) {
            return anomaly::SPURIOUS_FAILURE;
        }
        let Some(seen) = met(refuted) else {
            return NON_LINEARIZABLE;
        };
        let writes = writers(calls, key, seen);
        let was_first = seen == self.initial;
        match ask {
            Ask::CompareAndSet { .. } => anomaly::wrong_comparison(refuted, was_first, writes),
            _ => anomaly::wrong_read(refuted, was_first, writes),
        }
    }
}

/// The value that a call found, or that its comparison held for.
fn met(call: &Call<(u32, Ask), Answer>) -> Option<u32> {
    match (call.input.1, call.output) {
        (Ask::Read, Some(Answer::Read(value))) => Some(value),
        (Ask::CompareAndSet { .. }, Some(Answer::Compared(false))) => None,
        (Ask::CompareAndSet { old, .. }, _) => Some(old),
        _ => None,
    }
}

/// The calls that may have written this value to the key.
fn writers(
    calls: &[Call<(u32, Ask), Answer>],
    key: u32,
    value: u32,
) -> impl Iterator<Item = &Call<(u32, Ask), Answer>> {
    calls.iter().filter(move |call| {
        let (other, ask) = call.input;
        other == key && writes(ask, call.output) == Some(value)
    })
}

/// The value that an operation may have written.
pub(super) fn writes(ask: Ask, answer: Option<Answer>) -> Option<u32> {
    match ask {
        Ask::Read => None,
        Ask::Write(value) => Some(value),
        Ask::CompareAndSet { new, .. } => (answer != Some(Answer::Compared(false))).then_some(new),
    }
}

impl<'h> Registers<'h> {
    pub(super) fn show_value(&self, value: u32) -> String {
        match value {
            NULL => "null".to_owned(),
            value => format!("`{}`", self.values.text(value)),
        }
    }

    fn number(&mut self, value: Option<Cow<'h, str>>) -> u32 {
        value.map_or(NULL, |text| self.values.number(text))
    }
}
