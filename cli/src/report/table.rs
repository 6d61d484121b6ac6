//! What a sweep amounts to: one column for each workload and one for all.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Row, Table, presets};
use etcd_recipes::campaign::sweep::Summary;
use etcd_sim::fault::FaultKind;

use super::grouped;

/// A column.
pub(crate) struct Column<'a> {
    /// The workload.
    pub(crate) name: &'a str,
    /// What its runs amount to.
    pub(crate) summary: &'a Summary,
    /// How long they took.
    pub(crate) elapsed: Duration,
}

/// The table, without a line break at the end.
pub(crate) fn text(columns: &[Column<'_>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_row(row("", columns.iter().map(|column| column.name.to_owned())));
    let summaries = || columns.iter().map(|column| column.summary);
    let mut numbers = |name: &str, number: &dyn Fn(&Summary) -> u64| {
        table.add_row(row(
            name,
            summaries().map(|summary| grouped(number(summary))),
        ));
    };
    numbers("runs", &|summary| summary.runs);
    numbers("operations", &|summary| summary.operations);
    numbers("  with unknown outcome", &|summary| {
        summary.unknown_outcomes
    });
    numbers("writes applied, answer lost", &|summary| {
        summary.applied_unanswered
    });
    numbers("  runs with such a write", &|summary| {
        summary.runs_with_applied_unanswered
    });
    numbers("faults that occurred", &|summary| {
        summary.faults.values().sum()
    });
    for kind in kinds(columns) {
        numbers(&format!("  {kind}"), &|summary| occurred(summary, kind));
    }
    numbers("verdict valid", &|summary| summary.valid);
    numbers("  safety violation", &|summary| summary.safety_violations);
    numbers("  liveness violation", &|summary| {
        summary.liveness_violations
    });
    numbers("  undecided", &|summary| summary.unknown);
    let simulated = |summary: &Summary| duration(seconds(summary));
    table.add_row(row("simulated time", summaries().map(simulated)));
    let taken = columns
        .iter()
        .map(|column| duration(column.elapsed.as_secs_f64()));
    table.add_row(row("real time", taken));
    let rates = columns
        .iter()
        .map(|column| rate(seeds_per_second(column.summary, column.elapsed)));
    table.add_row(row("seeds per second", rates));
    table.trim_fmt()
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
/// of a sweep all, because one that never occurred was not tried.
fn kinds(columns: &[Column<'_>]) -> impl Iterator<Item = &'static str> {
    let runs: u64 = columns.iter().map(|column| column.summary.runs).sum();
    let has_any = |kind: &&str| {
        columns
            .iter()
            .any(|column| occurred(column.summary, kind) > 0)
    };
    FaultKind::NAMES
        .into_iter()
        .filter(move |kind| runs > 1 || has_any(kind))
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
    fn a_column_for_each_workload() {
        let summary = Summary {
            runs: 1_200,
            valid: 1_200,
            ..Summary::default()
        };
        let column = |name| Column {
            name,
            summary: &summary,
            elapsed: Duration::from_secs(2),
        };
        let table = text(&[column("queue"), column("total")]);
        let line = |name: &str| {
            let line = table
                .lines()
                .find(|line| line.trim().starts_with(name))
                .unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("queue"), "queue total");
        assert_eq!(line("runs"), "runs 1 200 1 200");
        assert_eq!(line("seeds per second"), "seeds per second 600 600");
    }
}
