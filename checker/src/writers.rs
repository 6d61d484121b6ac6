//! Who wrote when, for sentences about what was read before.

use crate::anomaly::FUTURE_READ;
use crate::history::Operation;
use crate::search::{Call, Named};
use crate::verdict::Kind;

/// The operations that write, in the order in which they began.
#[derive(Default)]
pub(crate) struct Writers(Vec<Writer>);

struct Writer {
    /// The index of the event with which it begins.
    begun: u64,
    process: u64,
    line: usize,
}

impl Writers {
    /// Notes one that began after all others.
    pub(crate) fn note(&mut self, operation: &Operation<'_>) {
        self.0.push(Writer {
            begun: operation.invoked as u64,
            process: operation.process(),
            line: operation.invoke.line(),
        });
    }

    /// The violation of a call that met a value, told with who wrote that only afterwards where
    /// that is what is wrong. `met` shows the value, and gives the calls that may have written
    /// it.
    pub(crate) fn named<'c, I: 'c, O: 'c, W: Iterator<Item = &'c Call<I, O>>>(
        &self,
        kind: Kind,
        refuted: &Call<I, O>,
        met: impl FnOnce() -> Option<(String, W)>,
    ) -> Named {
        let met = (kind.name == FUTURE_READ.name).then(met).flatten();
        let clause = met.and_then(|(value, writes)| self.only_afterwards(&value, refuted, writes));
        Named { kind, clause }
    }

    fn only_afterwards<'c, I: 'c, O: 'c>(
        &self,
        value: &str,
        refuted: &Call<I, O>,
        writes: impl Iterator<Item = &'c Call<I, O>>,
    ) -> Option<String> {
        let others = writes.filter(|write| !std::ptr::eq(*write, refuted));
        let begun = others.map(|write| write.invoked).min()?;
        let at = self.0.binary_search_by_key(&begun, |writer| writer.begun);
        let Writer { process, line, .. } = self.0[at.ok()?];
        Some(format!(
            "it met {value}, which was written only afterwards, by process {process} in line {line}"
        ))
    }
}
