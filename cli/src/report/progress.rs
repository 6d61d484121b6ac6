//! That something is going on: only where standard error is a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for a sweep.
pub(crate) fn bar(name: &str, runs: u64) -> ProgressBar {
    let template =
        "{prefix:>8} {wide_bar:.green} {human_pos}/{human_len} runs, {per_sec}, {eta} left";
    visible(
        ProgressBar::with_draw_target(Some(runs), target()),
        template,
    )
    .with_prefix(name.to_owned())
}

/// A bar for requests.
pub(crate) fn requests(requests: u64) -> ProgressBar {
    let template = "{wide_bar:.green} {human_pos}/{human_len} requests, {eta} left {msg}";
    visible(
        ProgressBar::with_draw_target(Some(requests), target()),
        template,
    )
}

/// A bar, or without a length a spinner, for bytes that are read; only for what
/// takes a while.
pub(crate) fn reading(length: Option<u64>) -> ProgressBar {
    const SHORT: u64 = 1 << 24;
    match length {
        Some(length) if length < SHORT => ProgressBar::hidden(),
        Some(length) => visible(
            ProgressBar::with_draw_target(Some(length), target()),
            "reading {wide_bar:.green} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        ),
        None => visible(
            ProgressBar::with_draw_target(None, target()),
            "{spinner} reading {bytes} {elapsed}",
        ),
    }
}

/// A spinner for something whose end is not known.
pub(crate) fn spinner(message: String) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, target());
    let spinner = visible(spinner, "{spinner} {msg} {elapsed}").with_message(message);
    if !spinner.is_hidden() {
        spinner.enable_steady_tick(Duration::from_millis(100));
    }
    spinner
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

fn visible(bar: ProgressBar, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    bar.with_style(style)
}
