//! The verdict in words, and where the history comes from.

use etcd_checker::history::{Event, Process, Source};
use etcd_checker::verdict::{Class, WitnessOperation};
use etcd_checker::{History, Verdict, Violation};

use super::Page;
use super::bands::Kind;
use super::data::{Data, Order};
use super::pieces::{self, Piece};
use crate::report::count;

/// What the page says above the picture.
pub(super) struct Words {
    /// `valid`, `violation` or `unknown`: decides the colour.
    pub(super) state: &'static str,
    /// The verdict in a few words.
    pub(super) headline: String,
    /// What the name of the violation means.
    pub(super) meaning: Option<&'static str>,
    /// What happened.
    pub(super) sentence: Vec<Piece>,
    /// What else is worth knowing, each a sentence.
    pub(super) notes: Vec<Vec<Piece>>,
    pub(super) witness: Vec<Witness>,
    /// Where the history comes from.
    pub(super) source: String,
    /// What it consists of.
    pub(super) contents: String,
    /// The kinds of band that there are.
    pub(super) bands: Vec<Kind>,
    /// Whether there are operations that an undecided verdict is about.
    pub(super) has_named: bool,
}

/// An operation that proves a violation.
pub(super) struct Witness {
    /// Index of the operation.
    pub(super) operation: usize,
    /// Its name in the proof.
    pub(super) called: String,
    pub(super) who: String,
    pub(super) what: String,
    pub(super) place: String,
}

impl Words {
    pub(super) fn of(page: &Page<'_>, data: &Data) -> Self {
        let (state, headline, sentence) = in_short(page.verdict);
        let mut sentence = with_clients(&sentence, page.history);
        if data.order.as_ref().is_some_and(Order::is_linearization) {
            sentence += " The box \u{201c}linearization\u{201d} shows an order of the operations that \
                         explains it all.";
        }
        let violation = page.verdict.violation();
        let notes = notes(page.verdict, data).into_iter();
        let with_links = |text: &str| pieces::linked(text, |line| data.operation_in(line));
        Words {
            state,
            headline,
            meaning: violation.map(|violation| violation.kind.meaning),
            sentence: with_links(&sentence),
            notes: notes
                .map(|note| with_links(&with_clients(&note, page.history)))
                .collect(),
            witness: violation.map_or_else(Vec::new, |violation| witness(violation, data)),
            source: source(&page.history.header().source),
            contents: contents(page, data),
            bands: data.kinds().into_iter().collect(),
            has_named: !data.named.is_empty(),
        }
    }
}

/// The verdict: `valid`, `violation` or `unknown`; a headline; a sentence.
pub(super) fn in_short(verdict: &Verdict) -> (&'static str, String, String) {
    match verdict {
        Verdict::Valid(_) => {
            let sentence = "The promise was kept: nothing that the clients saw contradicts it.";
            ("valid", "Valid".to_owned(), sentence.to_owned())
        }
        Verdict::Violation(violation) => {
            let class = match violation.class {
                Class::Safety => "Safety",
                Class::Liveness => "Liveness",
            };
            let headline = format!("{class} violation: {}", violation.kind.name);
            ("violation", headline, violation.sentence.clone())
        }
        Verdict::Unknown { reason } => ("unknown", "Undecided".to_owned(), reason.clone()),
        other => ("unknown", "Undecided".to_owned(), other.to_string()),
    }
}

/// The sentence with the client behind each `process 7` that it names: the lanes of the
/// picture are called after clients.
fn with_clients(sentence: &str, history: &History) -> String {
    const PROCESS: &str = "process ";
    let client_of = |process: u64| {
        let is_its = |event: &&Event| event.process() == Process::Number(process);
        history.events().iter().find(is_its)?.client()
    };
    let mut text = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some(at) = rest.find(PROCESS) {
        let (before, after) = rest.split_at(at + PROCESS.len());
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        text += before;
        text += &after[..digits];
        if let Some(client) = after[..digits].parse().ok().and_then(client_of) {
            text += &format!(" (client {client})");
        }
        rest = &after[digits..];
    }
    text + rest
}

/// What else is worth knowing, each a sentence.
fn notes(verdict: &Verdict, data: &Data) -> Vec<String> {
    match verdict {
        Verdict::Valid(summary) => {
            let guarantee = summary.guarantee.iter();
            guarantee
                .map(|guarantee| format!("strongest level: {guarantee}"))
                .chain(summary.notes.iter().cloned())
                .chain(no_linearization(data))
                .collect()
        }
        Verdict::Violation(violation) => {
            let guarantee = violation.guarantee.iter();
            violation
                .also
                .iter()
                .map(|also| format!("also: {also}"))
                .chain(guarantee.map(|guarantee| format!("what does hold: {guarantee}")))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn no_linearization(data: &Data) -> Option<String> {
    let reason = data.no_linearization.as_ref()?;
    Some(format!("no linearization: {reason}"))
}

fn witness(violation: &Violation, data: &Data) -> Vec<Witness> {
    let operations = data.witness.iter().zip(&data.witness_names);
    let told = violation.witness.iter().zip(operations);
    told.map(|(told, (operation, called))| Witness {
        operation: *operation,
        called: called.clone(),
        who: match told.client {
            Some(client) => format!("client {client} (process {})", told.process),
            None => format!("process {}", told.process),
        },
        what: pieces::short(&told.description),
        place: place(told),
    })
    .collect()
}

/// `lines 4 and 9, 0.004 s to 0.009 s`
fn place(told: &WitnessOperation) -> String {
    let begun = told.invoked.line;
    let lines = match told.completed {
        Some(end) if end.line != begun => format!("lines {begun} and {}", end.line),
        _ => format!("line {begun}"),
    };
    let since = told.seconds(told.invoked);
    match told.completed {
        _ if !told.is_timed => lines,
        Some(end) => format!("{lines}, {since} to {}", told.seconds(end)),
        None => format!("{lines}, since {since}"),
    }
}

fn source(source: &Source) -> String {
    match source {
        Source::Simulation { seed, .. } => format!("a simulation, seed {seed}"),
        Source::Live {
            endpoints,
            etcd_version,
            ..
        } => format!(
            "a real cluster, etcd {etcd_version} at {}",
            endpoints.join(", ")
        ),
        Source::Other { description } if description.is_empty() => "elsewhere".to_owned(),
        Source::Other { description } => description.clone(),
    }
}

fn contents(page: &Page<'_>, data: &Data) -> String {
    let operations = count(data.operations.len() as u64, "operation");
    let clients = data.lanes.iter().filter(|lane| lane.is_client).count();
    let clients = count(clients as u64, "client");
    if !page.history.has_times() {
        return format!("{operations} by {clients}");
    }
    let lasted = page.history.events().last().map_or(0, Event::time);
    let digits = if page.history.has_fine_times() { 9 } else { 3 };
    let fraction = lasted % 1_000_000_000 / 10_u64.pow(9 - digits);
    let digits = digits as usize;
    format!(
        "{operations} by {clients} in {}.{fraction:0digits$} s",
        lasted / 1_000_000_000
    )
}
