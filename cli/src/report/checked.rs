//! Many histories at once: one row for each.

use comfy_table::{Cell, CellAlignment, Table, presets};
use etcd_checker::Verdict;
use etcd_checker::verdict::Class;

use super::json::CheckedFile;
use super::{count, grouped};

/// The table, without a line break at the end.
pub(crate) fn table(files: &[CheckedFile], skipped: u64) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_row(["", "format", "model", "operations", "verdict", ""]);
    for file in files {
        let (operations, verdict, kind) = told(file);
        table.add_row([
            Cell::new(&file.file),
            Cell::new(file.format.unwrap_or("-")),
            Cell::new(file.model.unwrap_or("-")),
            Cell::new(operations).set_alignment(CellAlignment::Right),
            Cell::new(verdict),
            Cell::new(kind),
        ]);
    }
    let mut text = table.trim_fmt();
    let with = |verdict: &str| {
        let number = files.iter().filter(|file| told(file).1 == verdict).count();
        (number as u64, verdict.to_owned())
    };
    let counts: Vec<String> = ["valid", "safety", "liveness", "undecided", "unreadable"]
        .into_iter()
        .map(with)
        .filter(|(number, _)| *number > 0)
        .map(|(number, verdict)| format!("{} {verdict}", grouped(number)))
        .collect();
    text += &format!(
        "\n\n{} {}: {}",
        grouped(files.len() as u64),
        if files.len() == 1 {
            "history"
        } else {
            "histories"
        },
        counts.join(", ")
    );
    if skipped > 0 {
        let (are, files) = (
            if skipped == 1 { "is" } else { "are" },
            count(skipped, "file"),
        );
        text += &format!("; {files} {are} none");
    }
    text
}

/// The number of operations where it is known, the verdict, and its kind.
fn told(file: &CheckedFile) -> (String, &'static str, &'static str) {
    match &file.verdict {
        None => ("-".to_owned(), "unreadable", ""),
        Some(Verdict::Valid(summary)) => (grouped(summary.operations), "valid", ""),
        Some(Verdict::Violation(violation)) => {
            let class = match violation.class {
                Class::Safety => "safety",
                Class::Liveness => "liveness",
            };
            ("-".to_owned(), class, violation.kind.name)
        }
        Some(_) => ("-".to_owned(), "undecided", ""),
    }
}
