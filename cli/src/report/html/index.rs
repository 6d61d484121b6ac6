//! The first page of a folder of pages.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use askama::Template;

use super::pieces::{self, Piece};
use super::{Page, words};

/// A table of the pages of a folder.
#[derive(Default, Template)]
#[template(path = "history/index.html")]
pub(crate) struct Index {
    rows: Vec<Row>,
}

struct Row {
    /// Where the page is, from the folder on.
    page: String,
    name: String,
    model: &'static str,
    state: &'static str,
    headline: String,
    sentence: Vec<Piece>,
}

impl Index {
    /// Adds a page, which lies at `file` in the folder.
    pub(crate) fn add(&mut self, file: &str, page: &Page<'_>) {
        let (state, headline, sentence) = words::in_short(page.verdict);
        self.rows.push(Row {
            page: address(file),
            name: page.name.to_owned(),
            model: page.model.name(),
            state,
            headline,
            sentence: pieces::of(&sentence),
        });
    }

    /// Writes `index.html` into the folder.
    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join("index.html");
        let text = self.render().context("cannot make the index")?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A path as the address of a link: what has a meaning there is spelled out.
fn address(path: &str) -> String {
    let mut address = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            address.push(char::from(byte));
        } else {
            address += &format!("%{byte:02X}");
        }
    }
    address
}
