//! `conform`: the simulated etcd beside a real one.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use etcd_conform::exclusion;
use etcd_conform::timing::{self, Timing};
use etcd_conform::{Campaign, ConformError, Difference, Progress, Report, Target};
use etcd_recipes::runtime;
use etcd_sim::bug::EtcdBug;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::command::choice;
use crate::exit_code::{self, Status};
use crate::failure::Failure;
use crate::output::{self, BAD, DOUBT, FAINT, GOOD, Output};
use crate::report::{count, progress, reproduce};
use crate::stopwatch::Stopwatch;

const EXAMPLES: &str = "\
Examples:
  etcd-recipes conform                          an etcd of its own, from the PATH
  ETCD=/opt/etcd/etcd etcd-recipes conform --requests 100000
  etcd-recipes conform --seed 7 --sequence 12   one sequence again
  etcd-recipes conform --endpoints 127.0.0.1:2379 --destroy-data
  etcd-recipes conform --timing                 what the simulation's constants model

It starts the etcd that the environment variable ETCD names, or else the one on the
PATH, and kills it at the end. A cluster that is given by --endpoints is emptied and
compacted again and again: it is refused if it holds keys or leases, unless
--destroy-data is said.

";

/// Compare the simulated etcd with a real one, request by request.
///
/// Random requests, many of them hostile, go to both, and every answer is compared
/// field by field. The simulated etcd answers as the release does that the real one
/// says it is. A difference is made as short as possible and printed; it counts as a
/// safety violation.
#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}{}", exit_code::HELP))]
pub(crate) struct Conform {
    /// Send at least this many random requests to each of both, beside those of the
    /// scenarios; 0 plays the scenarios alone
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    requests: u64,

    /// What the requests are drawn from [default: drawn at random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Only this sequence of the seed, or A to B-1, as a report names them
    #[arg(long, value_name = "N", requires = "seed", conflicts_with = "requests")]
    #[arg(value_parser = sequences)]
    sequence: Option<Range<u64>>,

    /// The etcd that runs already, without TLS; of several members the first is asked
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    endpoints: Vec<String>,

    /// Empty the cluster of --endpoints even if it is in use
    #[arg(long, requires = "endpoints")]
    destroy_data: bool,

    /// Measure instead how long a real etcd takes to tell watches, to end leases and
    /// to elect a leader
    #[arg(long, conflicts_with_all = ["endpoints", "seed", "requests", "sequence"])]
    timing: bool,

    /// Put a known bug of etcd into the simulated one, to see it found; see `sim --help`
    #[arg(long, value_name = "NAME", value_parser = bug, conflicts_with = "timing")]
    bug: Option<EtcdBug>,

    /// Print the result as JSON to standard output
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    command: &'static str,
    etcd: String,
    #[serde(flatten)]
    report: Report,
    left_out: Vec<&'static str>,
    took_seconds: f64,
    exit_code: u8,
}

/// What `--json` prints with `--timing`.
#[derive(Serialize)]
struct TimingDocument {
    command: &'static str,
    etcd: String,
    #[serde(flatten)]
    timing: Timing,
}

impl Conform {
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        let output = match self.json {
            true => Output::Program,
            false => Output::People,
        };
        if self.timing {
            return self.measure(output);
        }
        if let Some(bug) = self.bug {
            let hint = "Here there is one; `sim --bug` draws a cluster that fits.";
            choice::check_members(bug, 1, hint)?;
        }
        let target = self.target()?;
        let etcd = shown(&target);
        let seed = self.seed.unwrap_or_else(|| runtime::random_u64() >> 32);
        let mut campaign = Campaign::new(target, seed)
            .requests(self.requests)
            .bug(self.bug);
        if let Some(sequence) = self.sequence.clone() {
            campaign = campaign.only(sequence);
        }
        output::note(format_args!("{FAINT}etcd: {etcd}, seed {seed}{FAINT:#}"));
        let bar = progress::requests(self.requests);
        let stopwatch = Stopwatch::start();
        let report = campaign.run(&mut |progress| show(&bar, self.requests, progress));
        bar.finish_and_clear();
        let report = report.map_err(unusable)?;
        let took = stopwatch.elapsed();
        let status = status(&report);
        output.result(text(&report, took))?;
        if let Some(difference) = &report.difference {
            output.result(self.reproduction(seed, difference))?;
        }
        if self.json {
            let version = report.version.parse().unwrap_or_default();
            let left_out = exclusion::ALL.iter().filter(|e| e.applies_to(version));
            output::json(&Document {
                command: "conform",
                etcd,
                left_out: left_out.map(|exclusion| exclusion.name).collect(),
                report,
                took_seconds: took.as_secs_f64(),
                exit_code: status.code(),
            })?;
        }
        Ok(status)
    }

    fn target(&self) -> Result<Target, Failure> {
        let Some(endpoint) = self.endpoints.first() else {
            return Ok(Target::Start { program: program() });
        };
        let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !has_port || address.contains('/') {
            let what = format!("--endpoints {endpoint:?} is not an address");
            return Err(Failure::usage(what).hint("Give it as HOST:PORT, such as 127.0.0.1:2379."));
        }
        Ok(Target::Running {
            endpoint: format!("http://{address}"),
            destroy_data: self.destroy_data,
        })
    }

    fn reproduction(&self, seed: u64, difference: &Difference) -> String {
        let mut arguments = format!("conform --seed {seed}");
        match difference.sequence {
            Some(sequence) => {
                let text = match difference.together_from {
                    Some(first) => format!("{first}..{}", sequence + 1),
                    None => sequence.to_string(),
                };
                arguments += &format!(" --sequence {text}");
            }
            None => arguments += " --requests 0",
        }
        if let Some(bug) = self.bug {
            arguments += &format!(" --bug {}", bug.name());
        }
        if !self.endpoints.is_empty() {
            arguments += &format!(" --endpoints {}", self.endpoints.join(","));
        }
        if self.destroy_data {
            arguments += " --destroy-data";
        }
        let command = reproduce::command_line(&arguments);
        match named().filter(|_| self.endpoints.is_empty()) {
            Some(etcd) => format!(
                "  reproduce: ETCD={} {command}",
                reproduce::path(Path::new(&etcd))
            ),
            None => format!("  reproduce: {command}"),
        }
    }

    fn measure(&self, output: Output) -> anyhow::Result<Status> {
        let program = program();
        let etcd = program.display().to_string();
        output::note(format_args!(
            "{FAINT}etcd: {etcd}; this takes a minute{FAINT:#}"
        ));
        let timing = timing::measure(&program).map_err(unusable)?;
        output.result(&timing)?;
        if self.json {
            output::json(&TimingDocument {
                command: "conform",
                etcd,
                timing,
            })?;
        }
        Ok(Status::Valid)
    }
}

/// `N` or `A..B`.
fn sequences(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    let (start, end) = match text.split_once("..") {
        Some((start, end)) => (number(start)?, number(end)?),
        None => {
            let sequence = number(text)?;
            (sequence, sequence.saturating_add(1))
        }
    };
    match start < end {
        true => Ok(start..end),
        false => Err("there is no sequence in it; give N, or A..B with A less than B".to_owned()),
    }
}

fn bug(name: &str) -> Result<EtcdBug, String> {
    let names = || EtcdBug::ALL.iter().map(|bug| bug.name());
    EtcdBug::find(name)
        .ok_or_else(|| format!("known are {}", names().collect::<Vec<_>>().join(", ")))
}

/// The etcd that is started.
pub(super) fn program() -> PathBuf {
    named().unwrap_or_else(|| "etcd".into()).into()
}

/// The etcd that the environment names.
fn named() -> Option<OsString> {
    std::env::var_os("ETCD").filter(|name| !name.is_empty())
}

fn shown(target: &Target) -> String {
    match target {
        Target::Start { program } => program.display().to_string(),
        Target::Running { endpoint, .. } => endpoint.clone(),
    }
}

fn show(bar: &ProgressBar, requests: u64, progress: Progress) {
    match progress {
        Progress::Requests(sent) => bar.set_position(sent.min(requests)),
        Progress::Shrinking { trials } => {
            let tried = count(trials, "shorter sequence");
            bar.set_message(format!("a difference; {tried} tried"));
        }
        _ => {}
    }
}

fn status(report: &Report) -> Status {
    if report.difference.is_some() {
        Status::Safety
    } else if report.unrepeated.is_empty() {
        Status::Valid
    } else {
        Status::Undecided
    }
}

/// How much was sent, and what of it nobody has drawn.
fn sent(report: &Report) -> String {
    let drawn = match report.sequences - report.scenarios {
        0 => ", the scenarios alone".to_owned(),
        _ if report.scenarios == 0 => String::new(),
        _ => format!(", {} of them", count(report.scenarios, "scenario")),
    };
    format!(
        "{} in {}{drawn}, seed {}",
        count(report.requests, "request"),
        count(report.sequences, "sequence"),
        report.seed
    )
}

fn text(report: &Report, took: Duration) -> String {
    let sent = sent(report);
    let version = &report.version;
    let mut text = match &report.difference {
        None => format!(
            "{GOOD}etcd {version}: no difference{GOOD:#} in {sent}, in {:.0} s",
            took.as_secs_f64()
        ),
        Some(difference) => format!(
            "{BAD}etcd {version}: a difference{BAD:#} after {sent}{}\n{}",
            match difference.scenario {
                Some(name) => format!(", scenario: {name}"),
                None => String::new(),
            },
            output::plain(&difference.to_string())
        ),
    };
    for difference in &report.unrepeated {
        text += &format!(
            "\n{DOUBT}differed once, and not again{DOUBT:#} ({}):\n{}",
            match difference.scenario {
                Some(name) => format!("scenario {name}"),
                None => format!("sequence {}", difference.sequence.unwrap_or_default()),
            },
            output::plain(&difference.to_string())
        );
    }
    text
}

pub(super) fn unusable(error: ConformError) -> Failure {
    let hint = match &error {
        ConformError::CannotStart { .. } => Some(
            "Install etcd (Debian and Ubuntu: apt-get install etcd-server), or name one: \
             ETCD=/path/to/etcd",
        ),
        ConformError::InUse { .. } => {
            Some("Give an empty cluster, or say --destroy-data if nobody needs what is there.")
        }
        ConformError::Killed { .. } => {
            Some("Run it again; if it is for want of memory, give the machine more.")
        }
        ConformError::Unreachable { .. } => Some("Is etcd running there, without TLS and users?"),
        _ => None,
    };
    let failure = Failure::cluster(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
