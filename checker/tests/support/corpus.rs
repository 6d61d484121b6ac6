//! The recorded histories below `histories/`.

#![allow(unreachable_pub, reason = "a part of each test file that uses it")]

use std::fs;
use std::path::{Path, PathBuf};

/// All histories, in the order of their names.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            found.push(path);
        }
    }
    found.sort();
    found
}
