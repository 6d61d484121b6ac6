//! The same with the Go recipes, in turns.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;
use etcd_recipes::bench::{Benchmark, Figure, Figures, Load};
use serde::Serialize;
use tokio::process::Command;

use super::{Task, Terms, label, measure};
use crate::connection::Access;
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::report::progress;

/// The Go program, and how often to ask it.
pub(super) struct Peer {
    pub(super) program: PathBuf,
    pub(super) turns: u32,
    pub(super) terms: Terms,
}

/// What came of a benchmark. All figures are medians over the turns.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) benchmark: &'static str,
    #[serde(flatten)]
    pub(super) load: Load,
    /// What is compared.
    pub(super) figure: String,
    /// None where Go has no such recipe.
    pub(super) go: Option<f64>,
    pub(super) ours: f64,
    /// How many times as fast as Go: the median of the factors of the turns.
    pub(super) factor: Option<f64>,
    /// The factor of each turn.
    pub(super) factors: Vec<f64>,
    pub(super) requests_per_operation: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) go_tries: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) our_tries: Option<f64>,
}

/// What one turn gave.
struct Turn {
    go: Option<Figures>,
    ours: Figures,
    requests_per_operation: f64,
}

impl Peer {
    /// Go, ours, Go, ours.
    pub(super) fn compare(&self, access: &Access, task: &Task) -> anyhow::Result<Comparison> {
        let mut turns = Vec::new();
        for turn in 1..=self.turns {
            let spinner =
                progress::spinner(format!("{}, turn {turn} of {}", label(task), self.turns));
            let done = self.turn(access, task);
            spinner.finish_and_clear();
            turns.push(done?);
        }
        compared(task, &turns)
    }

    fn turn(&self, access: &Access, task: &Task) -> anyhow::Result<Turn> {
        let (benchmark, load) = *task;
        let go = match benchmark.has_go {
            true => Some(super::run(1, ask(self.command(access, benchmark, load)))?),
            false => None,
        };
        let report = measure(access, task, self.terms)?;
        Ok(Turn {
            go,
            ours: report.figures(),
            requests_per_operation: report.requests_per_operation,
        })
    }

    /// How to call the Go program.
    fn command(&self, access: &Access, benchmark: &Benchmark, load: Load) -> Command {
        let mut command = Command::new(&self.program);
        command
            .kill_on_drop(true)
            .arg(format!("-endpoints={}", access.addresses().join(",")))
            .arg(format!("-workers={}", load.workers))
            .arg(format!("-producers={}", load.producers))
            .arg(format!("-n={}", load.count))
            .arg(format!("-timeout={}s", self.terms.limit.as_secs()))
            .arg(benchmark.name)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        command
    }
}

/// Runs the Go program, without anything else at work in this process.
async fn ask(mut command: Command) -> anyhow::Result<Figures> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let called = format!("{:?}", command.as_std());
    let (ran, interrupt) = (
        std::pin::pin!(command.output()),
        std::pin::pin!(signals.next()),
    );
    let ran = match futures_util::future::select(ran, interrupt).await {
        futures_util::future::Either::Left((ran, _)) => ran,
        futures_util::future::Either::Right(_) => {
            return Err(Failure::cluster("interrupted").into());
        }
    };
    let ran = ran.map_err(|error| {
        Failure::usage(format!("cannot run {called}: {error}"))
            .hint("scripts/bench-go builds it from bench/go/main.go.")
    })?;
    if !ran.status.success() {
        return Err(Failure::cluster(format!("{called} failed: {}", ran.status)).into());
    }
    serde_json::from_slice(&ran.stdout)
        .with_context(|| format!("what {called} printed is not what bench/go/main.go prints"))
}

fn compared((benchmark, load): &Task, turns: &[Turn]) -> anyhow::Result<Comparison> {
    let figure = benchmark.figure;
    let of = |figures: &Figures| figure.of(figures);
    let ours: Vec<f64> = turns.iter().filter_map(|turn| of(&turn.ours)).collect();
    let go: Vec<f64> = turns
        .iter()
        .filter_map(|turn| turn.go.as_ref().and_then(of))
        .collect();
    let factors: Vec<f64> = ours
        .iter()
        .zip(&go)
        .map(|(ours, go)| figure.factor(*ours, *go))
        .collect();
    let each = |value: fn(&Turn) -> Option<f64>| median(turns.iter().filter_map(value).collect());
    Ok(Comparison {
        benchmark: benchmark.name,
        load: *load,
        figure: match figure {
            Figure::PerSecond => format!("{}/s", benchmark.unit),
            Figure::Median(name) => format!("{name}, ms"),
        },
        go: median(go),
        ours: median(ours).context("nothing was measured")?,
        factor: median(factors.clone()),
        factors,
        requests_per_operation: each(|turn| Some(turn.requests_per_operation)).unwrap_or(0.0),
        go_tries: each(|turn| turn.go.as_ref()?.tries_per_operation),
        our_tries: each(|turn| turn.ours.tries_per_operation),
    })
}

/// The one in the middle; of an even number, the mean of the two.
fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        n if n % 2 == 1 => Some(numbers[middle]),
        _ => Some(f64::midpoint(numbers[middle - 1], numbers[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
