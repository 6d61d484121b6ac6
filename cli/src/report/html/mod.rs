//! A history and its verdict as one self-contained page: a lane for each client,
//! a bar for each operation, the operations that prove a violation highlighted.
//!
//! The page needs no network and no other file. Its parts lie in
//! `cli/templates/history/`: the words are put into `page.html` here, escaped; the
//! operations ride along as JSON ([`data`]), which the scripts draw. Nothing that
//! a history says can become markup or script.
//!
//! - [`data`]: the operations in columns, and their lanes;
//! - [`bands`], [`holds`]: what lies behind the bars: faults, leaders, leases, and who
//!   held what;
//! - [`words`]: the verdict in words, and where the history comes from;
//! - [`called`]: what the operations of the proof are called;
//! - [`pieces`]: words between which there is code;
//! - [`index`]: the first page of a folder of pages;
//! - [`safe_json`]: JSON that may stand between `<script>` tags.

mod bands;
mod called;
mod data;
mod holds;
mod index;
mod pieces;
mod safe_json;
mod words;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use askama::Template;
use etcd_checker::{History, Model, Verdict};

use self::data::Data;
pub(crate) use self::index::Index;
use self::words::Words;

/// What a page shows.
pub(crate) struct Page<'a> {
    /// How the history is called, such as the name of its file.
    pub(crate) name: &'a str,
    pub(crate) history: &'a History,
    pub(crate) model: Model,
    pub(crate) verdict: &'a Verdict,
    /// The command line that does the run again, where that is possible.
    pub(crate) reproduce: Option<String>,
}

#[derive(Template)]
#[template(path = "history/page.html")]
struct Filled<'a> {
    page: &'a Page<'a>,
    words: Words,
    style: &'static str,
    scripts: [&'static str; 6],
    /// Safe between `<script>` tags; see [`safe_json`].
    data: String,
}

impl Page<'_> {
    /// Writes the page to this file.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let failed = || format!("cannot write the page to {}", path.display());
        // All is there before the file is: where it is not, no empty page is left.
        let filled = self.filled().with_context(failed)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let mut file = BufWriter::new(File::create(path).with_context(failed)?);
        let written = filled.write_into(&mut file).and_then(|()| file.flush());
        if written.is_err() && path.is_file() {
            fs::remove_file(path).ok();
        }
        written.with_context(failed)
    }

    fn filled(&self) -> io::Result<Filled<'_>> {
        let data = Data::of(self.history, self.model, self.verdict);
        Ok(Filled {
            page: self,
            words: Words::of(self, &data),
            style: include_str!("../../../templates/history/page.css"),
            scripts: [
                include_str!("../../../templates/history/data.js"),
                include_str!("../../../templates/history/scene.js"),
                include_str!("../../../templates/history/view.js"),
                include_str!("../../../templates/history/draw.js"),
                include_str!("../../../templates/history/panel.js"),
                include_str!("../../../templates/history/main.js"),
            ],
            data: safe_json::to_string(&data)?,
        })
    }
}
