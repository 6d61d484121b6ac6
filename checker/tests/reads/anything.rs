//! No input makes a reader panic, hang or forget where the fault is: the functions that
//! are fuzzed, over the corpus and over mutations of it.

#[path = "../../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

use etcd_checker::import::Format;

use crate::support::Random;

/// Mutations of each file of the corpus, unless `MUTATIONS` in the environment says how many.
const MUTATIONS: usize = 400;

fn mutations() -> usize {
    let said = std::env::var("MUTATIONS").ok();
    said.map_or(MUTATIONS, |number| {
        number.parse().expect("MUTATIONS is a whole number")
    })
}

/// Pieces that make a difference in one format or another.
const PIECES: [&[u8]; 44] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"\"",
    b"\\",
    b":",
    b",",
    b";",
    b"#",
    b"#_",
    b"^",
    b"#{",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"nil",
    b"null",
    b":invoke",
    b":ok",
    b":info",
    b":fail",
    b"-1",
    b"0",
    b"9223372036854775807",
    b"18446744073709551616",
    b"1e999",
    b"1/0",
    b"0x1f",
    b"36r",
    b"#\"",
    b"#'",
    b"\\u",
    b"\xff",
    b"\xf0\x9f\x98\x80",
    b"\xed\xa0\x80",
    b"\x00",
    b"true",
    b"[[[[[[[[",
    b"#a #b ",
    b"\xef\xbb\xbf",
];

#[test]
fn mutations_of_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut seen: u64 = 0;
    for folder in [
        "jsonl",
        "jepsen",
        "jepsen_log",
        "monitor",
        "robustness",
        "any",
    ] {
        let format = match folder {
            "any" => None,
            name => Some(name.replace('_', "-").parse().unwrap()),
        };
        let mut files: Vec<_> = fs::read_dir(corpus.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "the corpus has nothing for {folder}");
        for file in files {
            let bytes = fs::read(file).unwrap();
            try_out(format, &bytes);
            targets::read_any(&bytes);
            let mut random = Random(seen);
            for _ in 0..mutations() {
                try_out(format, &mutated(&bytes, &mut random));
            }
            seen += 1;
        }
    }
    assert!(seen >= 15, "only {seen} files are in the corpus");
}

#[test]
fn no_format_minds_the_files_of_another() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for folder in fs::read_dir(corpus).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            for &format in Format::all() {
                targets::read_as(format, &bytes);
            }
        }
    }
}

#[test]
fn depth_and_length_are_bounded() {
    for piece in [
        "[", "{:a ", "#{", "#_", "^", "#a ", "\"", "\\", ";", "(", "{\"a\":",
    ] {
        let many = piece.repeat(200_000);
        for &format in Format::all() {
            targets::read_as(format, many.as_bytes());
        }
        targets::read_any(many.as_bytes());
    }
    let wide = format!("{{:type :ok, :value [{}]}}", "[] ".repeat(200_000));
    targets::read_as(Format::Jepsen, wide.as_bytes());
}

fn try_out(format: Option<Format>, bytes: &[u8]) {
    match format {
        Some(format) => targets::read_as(format, bytes),
        None => targets::read_any(bytes),
    }
}

/// One to four changes: bytes flipped, taken out, doubled, cut off, or pieces put in.
fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let length = 1 + random.below(20.min(bytes.len() - at));
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => drop(bytes.drain(at..at + length)),
            2 => {
                let part = bytes[at..at + length].to_vec();
                bytes.splice(at..at, part);
            }
            3 => bytes.truncate(at),
            4 => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at + length, piece.iter().copied());
            }
        }
    }
    bytes
}
