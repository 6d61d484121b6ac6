//! Who wrote when, for sentences about what was read before.

use crate::history::Operation;

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

    /// What an operation met that was written only by the one that began then.
    pub(crate) fn only_afterwards(&self, value: &str, begun: u64) -> Option<String> {
        let at = self.0.binary_search_by_key(&begun, |writer| writer.begun);
        let Writer { process, line, .. } = self.0[at.ok()?];
        Some(format!(
            "it met {value}, which was written only afterwards, by process {process} in line {line}"
        ))
    }
}
