#![no_main]

#[path = "../targets.rs"]
mod targets;

use etcd_checker::import::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::read_as(Format::Robustness, bytes));
