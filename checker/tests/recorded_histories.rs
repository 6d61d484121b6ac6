//! The histories in `histories/` get the verdicts that their index says.
//!
//! The index is the tables in `histories/README.md`: a line for each file with its
//! model, the verdict, and the lines of the file on which the operations that prove
//! it begin. A file without a line in a table fails the test, which then says what
//! the line would be.

#[path = "support/corpus.rs"]
mod corpus;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use etcd_checker::search::Budget;
use etcd_checker::{History, Model, Verdict, check, linearization};

/// What the index says of a file.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    model: String,
    verdict: String,
    witness: String,
}

#[test]
fn every_recorded_history_gets_the_verdict_of_the_index() {
    let folder = folder();
    let index = index(&fs::read_to_string(folder.join("README.md")).unwrap());
    let files = corpus::files(&folder);
    assert!(files.len() >= 20, "only {} histories", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&folder).unwrap().display().to_string();
        let row = judge(file, index.get(&name));
        if index.get(&name) != Some(&row) {
            let Row {
                model,
                verdict,
                witness,
            } = row;
            wrong.push(format!(
                "| [{name}]({name}) | `{model}` | {verdict} | {witness} | .. |"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "these lines of histories/README.md are not, or no longer, right; they would be\n{}",
        wrong.join("\n")
    );
    let missing: Vec<&String> = index
        .keys()
        .filter(|name| !files.contains(&folder.join(name)))
        .collect();
    assert!(missing.is_empty(), "there are no files {missing:?}");
}

/// The last column of the table in `docs/guarantees.md` is true of the valid histories.
#[test]
fn every_model_has_a_row_among_the_guarantees_that_tells_whether_it_has_an_order() {
    let path = folder().join("../docs/guarantees.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, table) = text
        .split_once("## What a valid verdict guarantees")
        .unwrap();
    let mut told: BTreeMap<Model, Vec<&str>> = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [models, _, _, order] = cells[..] else {
            panic!("{row}");
        };
        for name in models.split('`').skip(1).step_by(2) {
            told.entry(name.parse().unwrap()).or_default().push(order);
        }
    }
    for model in Model::all() {
        assert!(told.contains_key(model), "no row tells of {model}");
    }
    for file in corpus::files(&folder()) {
        let history = History::read_from(BufReader::new(File::open(&file).unwrap())).unwrap();
        let model = Model::of(&history).unwrap();
        if !check(&history, model).unwrap().is_valid() {
            continue;
        }
        let order = linearization(&history, model, &Budget::default()).unwrap();
        let name = file.display();
        match told[&model][..] {
            ["yes"] | ["yes", "yes"] => assert!(order.order().is_some(), "{name}"),
            ["no"] => assert!(order.order().is_none(), "{name}"),
            // Whether there is one depends on the history.
            [order] | [order, "no"] if order.starts_with("if ") || order.contains("; if ") => {}
            ref other => panic!("{model}: {other:?}"),
        }
    }
}

/// What the checker says of a file; against the model of the index, if it has one.
fn judge(file: &Path, expected: Option<&Row>) -> Row {
    let history = History::read_from(BufReader::new(File::open(file).unwrap()))
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let model: Model = match expected {
        Some(row) => row.model.parse().unwrap(),
        None => Model::of(&history).unwrap(),
    };
    let verdict =
        check(&history, model).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (name, witness) = match &verdict {
        Verdict::Valid(_) => ("valid".to_owned(), Vec::new()),
        Verdict::Violation(violation) => {
            let lines = violation.witness.iter().map(|one| one.invoked.line);
            (format!("`{}`", violation.kind.name), lines.collect())
        }
        _ => ("unknown".to_owned(), Vec::new()),
    };
    let witness: Vec<String> = witness.iter().map(usize::to_string).collect();
    Row {
        model: model.name().to_owned(),
        verdict: name,
        witness: witness.join(" "),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../histories")
}

/// The lines of the tables that name a file.
fn index(readme: &str) -> BTreeMap<String, Row> {
    let rows = readme.lines().filter_map(|line| {
        let mut cells = line
            .strip_prefix("| [")?
            .split('|')
            .map(|cell| cell.trim().to_owned());
        let name = cells.next()?.split(']').next()?.to_owned();
        let row = Row {
            model: cells.next()?.trim_matches('`').to_owned(),
            verdict: cells.next()?,
            witness: cells.next()?,
        };
        Some((name, row))
    });
    rows.collect()
}
