//! The results for people.

use comfy_table::{CellAlignment, Table, presets};
use etcd_recipes::bench::{Load, Report};

use super::peer::Comparison;

pub(super) fn of_reports(reports: &[Report]) -> Table {
    let mut table = new(&[
        "recipe",
        "workers",
        "done",
        "per second",
        "latency, ms:",
        "p50",
        "p90",
        "p99",
        "max",
        "requests each",
        "of them",
    ]);
    for report in reports {
        let mut head = vec![
            report.benchmark.to_owned(),
            crowd(report.load),
            format!("{} {}", report.operations, report.unit),
            number(report.per_second),
        ];
        let mut tail = vec![number(report.requests_per_operation), of_them(report)];
        for (name, latency) in &report.latencies {
            let mut row = std::mem::take(&mut head);
            row.resize(4, String::new());
            row.push((*name).to_owned());
            row.extend(
                [
                    latency.p50_ms,
                    latency.p90_ms,
                    latency.p99_ms,
                    latency.max_ms,
                ]
                .map(number),
            );
            row.append(&mut tail);
            table.add_row(row);
        }
    }
    table
}

pub(super) fn of_comparisons(comparisons: &[Comparison]) -> Table {
    let mut table = new(&[
        "recipe",
        "workers",
        "figure",
        "Go",
        "here",
        "factor",
        "requests each",
        "tries, Go",
        "here",
    ]);
    for comparison in comparisons {
        let tries = |tries: Option<f64>| tries.map(number).unwrap_or_default();
        table.add_row([
            comparison.benchmark.to_owned(),
            crowd(comparison.load),
            comparison.figure.clone(),
            comparison.go.map_or_else(|| "-".to_owned(), number),
            number(comparison.ours),
            comparison.factor.map_or_else(|| "-".to_owned(), number),
            number(comparison.requests_per_operation),
            tries(comparison.go_tries),
            tries(comparison.our_tries),
        ]);
    }
    table
}

fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    let is_text =
        |name: &str| ["recipe", "latency, ms:", "of them", "figure", "done"].contains(&name);
    for (column, name) in table.column_iter_mut().zip(header) {
        if !is_text(name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// `10`, or `10 + 50` with producers first.
fn crowd(load: Load) -> String {
    match load.producers {
        0 => load.workers.to_string(),
        producers => format!("{producers} + {}", load.workers),
    }
}

/// What was sent, the most first.
fn of_them(report: &Report) -> String {
    let operations = report.operations.max(1) as f64;
    let mut kinds: Vec<_> = report.requests.by_kind.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let each =
        |(kind, count): (&&str, &u64)| format!("{kind} {}", number(*count as f64 / operations));
    let mut kinds: Vec<_> = kinds.into_iter().map(each).collect();
    if let Some(tries) = report.tries_per_operation {
        kinds.push(format!("tries {}", number(tries)));
    }
    kinds.join(", ")
}

/// Three digits or so.
fn number(number: f64) -> String {
    let digits = match number.abs() {
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        n if n >= 0.095 => 2,
        _ => 3,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_three_digits_or_so() {
        let numbers = [12345.6, 99.96, 12.34, 1.234, 0.0123];
        let texts = numbers.map(number);
        assert_eq!(texts, ["12346", "100", "12.3", "1.23", "0.012"]);
    }
}
