//! What a sweep amounts to: one row for each workload and one for all.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Row, Table, presets};
use etcd_recipes::campaign::sweep::Summary;
use etcd_sim::fault::FaultKind;

use super::grouped;

/// A row.
pub(crate) struct Line<'a> {
    /// The workload.
    pub(crate) name: &'a str,
    /// What its runs amount to.
    pub(crate) summary: &'a Summary,
    /// How long they took.
    pub(crate) elapsed: Duration,
    /// It sums up the others.
    pub(crate) is_total: bool,
}

/// The tables, without a line break at the end: a row for each workload, then how
/// often each kind of fault occurred in all of them.
pub(crate) fn text(rows: &[Line<'_>]) -> String {
    let mut table = plain();
    let names = COLUMNS.iter().map(|(name, _)| (*name).to_owned());
    let times = ["simulated", "took", "seeds/s"].map(str::to_owned);
    table.add_row(row("", names.chain(times)));
    for line in rows {
        let summary = line.summary;
        let numbers = COLUMNS.iter().map(|(_, number)| grouped(number(summary)));
        let times = [
            duration(seconds(summary)),
            duration(line.elapsed.as_secs_f64()),
            rate(seeds_per_second(summary, line.elapsed)),
        ];
        table.add_row(row(line.name, numbers.chain(times)));
    }
    let mut text = table.trim_fmt();
    for (heading, table) in [
        ("faults that occurred", faults(rows)),
        ("strongest level of isolation", guarantees(rows)),
    ] {
        if !table.is_empty() {
            text += &format!("\n\n{heading}\n{table}");
        }
    }
    text
}

type Number = fn(&Summary) -> u64;

/// What is told of each workload.
const COLUMNS: [(&str, Number); 9] = [
    ("runs", |summary| summary.runs),
    ("operations", |summary| summary.operations),
    ("unknown", |summary| summary.unknown_outcomes),
    ("unanswered", |summary| summary.applied_unanswered),
    ("faults", |summary| summary.faults.values().sum()),
    ("valid", |summary| summary.valid),
    ("safety", |summary| summary.safety_violations),
    ("liveness", |summary| summary.liveness_violations),
    ("undecided", |summary| summary.unknown),
];

/// What the columns mean, for `--help`.
pub(crate) const LEGEND: &str = "\
Columns of the table:
  unknown     operations whose outcome the client never learned
  unanswered  writes that etcd applied although their answer was lost
  faults      faults that took effect
  valid, safety, liveness, undecided
              runs by verdict: kept every promise, broke one, got stuck, unclear";

/// How often each kind of fault occurred, in all rows together.
fn faults(rows: &[Line<'_>]) -> String {
    let all = all(rows);
    counted(kinds(&all).map(|kind| (kind, occurred(&all, kind))))
}

/// How many runs showed which level, where the model knows several.
fn guarantees(rows: &[Line<'_>]) -> String {
    let all = all(rows);
    counted(all.guarantees.iter().map(|(name, count)| (*name, *count)))
}

fn all(rows: &[Line<'_>]) -> Summary {
    let mut all = Summary::default();
    rows.iter()
        .filter(|line| !line.is_total)
        .for_each(|line| all.merge(line.summary));
    all
}

fn counted<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut table = plain();
    for (name, count) in counts {
        table.add_row(row(&format!("  {name}"), std::iter::once(grouped(count))));
    }
    table.trim_fmt()
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// Simulated time in seconds.
pub(crate) fn seconds(summary: &Summary) -> f64 {
    summary.simulated_ns as f64 / 1e9
}

/// Runs per second of real time.
pub(crate) fn seeds_per_second(summary: &Summary, elapsed: Duration) -> f64 {
    summary.runs as f64 / elapsed.as_secs_f64().max(1e-9)
}

/// The kinds of fault that are worth a row: of a single run those that occurred,
/// of a sweep all that could, because one that never occurred was not tried.
fn kinds(all: &Summary) -> impl Iterator<Item = &'static str> {
    FaultKind::NAMES
        .into_iter()
        .filter(move |kind| match all.runs {
            0 | 1 => occurred(all, kind) > 0,
            _ => all.faults.contains_key(kind),
        })
}

fn occurred(summary: &Summary, kind: &str) -> u64 {
    summary.faults.get(kind).copied().unwrap_or_default()
}

fn row(name: &str, values: impl Iterator<Item = String>) -> Row {
    let values = values.map(|value| Cell::new(value).set_alignment(CellAlignment::Right));
    let cells: Vec<Cell> = std::iter::once(Cell::new(name)).chain(values).collect();
    Row::from(cells)
}

fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        grouped(per_second.round() as u64)
    }
}

/// `850 ms`, `12.3 s`, `4 min`, `7.5 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(0.0123), "12 ms");
        assert_eq!(duration(12.34), "12.3 s");
        assert_eq!(duration(600.0), "10 min");
        assert_eq!(duration(27_000.0), "7.5 h");
    }

    #[test]
    fn a_row_for_each_workload_and_the_faults_of_all() {
        let summary = Summary {
            runs: 1_200,
            valid: 1_200,
            // Those that struck, and those that might have.
            faults: [("reset", 3), ("delay", 0)].into(),
            ..Summary::default()
        };
        let line = |name, is_total| Line {
            name,
            summary: &summary,
            elapsed: Duration::from_secs(2),
            is_total,
        };
        let table = text(&[line("queue", false), line("total", true)]);
        let row = |name: &str| {
            let row = table
                .lines()
                .find(|row| row.trim().starts_with(name))
                .unwrap();
            row.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            row("queue"),
            "queue 1 200 0 0 0 3 1 200 0 0 0 0 ms 2.0 s 600"
        );
        assert_eq!(row("reset"), "reset 3");
        assert_eq!(row("delay"), "delay 0");
        assert!(!table.contains("member crash"), "{table}");
    }
}
