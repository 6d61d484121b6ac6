//! `live`: the same workloads on a real etcd.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use etcd_conform::OwnCluster;
use etcd_recipes::campaign::live::{self, LiveError, LiveReport};
use etcd_recipes::runtime;
use etcd_recipes::workload::{self, Workload};
use futures_util::future::{Either, select};
use tokio::sync::Notify;

use super::choice::{self, Chosen, Setting, Settings};
use super::conform;
use crate::connection::{Access, Given, hint};
use crate::exit_code::{self, Status};
use crate::failure::{self, Failure};
use crate::files::{DEFAULT_OUT, HistoryTarget, Pages};
use crate::interrupt;
use crate::output::{self, FAINT, HEADING, Output};
use crate::report::html::Page;
use crate::report::{count, json, progress, verdict};

const EXAMPLES: &str = "\
Examples:
  etcd-recipes live --dry-run                       what it would do, on 127.0.0.1:2379
  etcd-recipes live --endpoints 10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
  etcd-recipes live queue --history queue.jsonl     and `check queue.jsonl` agrees
  etcd-recipes live --user app --password-file secret --prefix /app/test/
  etcd-recipes live --set items=20 --set transfers=20   a short run
  etcd-recipes live --start 3                       on a cluster that it starts and ends

Writes below its prefix only, and removes the prefix at the end and on Ctrl-C.
priority-queue does so below __PREFIX too, where etcd's Go recipes keep its books.
A user needs no more than to read and write below the prefix. Never defragments
the cluster or moves its leader, and compacts it only if --start has made it: the
etcd that the environment variable ETCD names, or else the one on the PATH. Kill
members meanwhile, if they are yours: outcomes that become unknown are part of the
record.

";

/// The parameter that says whether clients compact.
const COMPACT: &str = "compact";

/// Run workloads on a real etcd.
///
/// Runs the same clients as `sim`, each with a connection of its own, against a
/// cluster that runs already, or that is started for them, records what they see,
/// and checks it.
#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}{}", exit_code::HELP))]
pub(crate) struct Live {
    /// The workloads to run; without any, all of them, one after the other
    #[arg(value_name = "WORKLOAD", value_parser = choice::workload_parser())]
    workloads: Vec<Chosen>,

    #[command(flatten)]
    given: Given,

    /// Start a cluster of so many members (1, 3 or 5) on this machine, use that and
    /// no other, and end it afterwards. Not together with options that say where
    /// another one is; what the environment says of that does not count
    #[arg(long, value_name = "MEMBERS", value_parser = members)]
    start: Option<usize>,

    /// Keep all keys below this prefix; there must be none yet [default:
    /// etcd-recipes/ and a random number]
    #[arg(long, value_name = "P")]
    prefix: Option<String>,

    /// Give a parameter of the workloads this value
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,

    /// Decides what clients do, as far as the cluster's timing allows
    /// [default: drawn at random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Say what would be done, find out whether the cluster answers, and write
    /// nothing
    #[arg(long)]
    dry_run: bool,

    /// Write the history of the run to this file, `-` is standard output; of
    /// several workloads: to files WORKLOAD-SEED.jsonl in this folder
    #[arg(long, value_name = "PATH")]
    history: Option<PathBuf>,

    /// Draw the run as a page for a browser into this file; of several
    /// workloads: as files WORKLOAD-SEED.html in this folder
    #[arg(long, value_name = "PATH")]
    html: Option<PathBuf>,

    /// Print the results as JSON to standard output
    #[arg(long)]
    json: bool,
}

/// What is to be done, once the options are understood.
struct Campaign {
    workloads: Vec<Chosen>,
    settings: Settings,
    access: Access,
    /// The cluster that was started for this.
    own: Option<Own>,
    prefix: String,
    seed: u64,
    history: Option<HistoryTarget>,
    pages: Option<Pages>,
    dry_run: bool,
    json: bool,
    output: Output,
}

/// A cluster that was started for the runs, and is ended after them.
#[derive(Clone)]
struct Own(Arc<Mutex<OwnCluster>>);

/// How often it is looked at whether the cluster is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Own {
    fn lock(&self) -> std::sync::MutexGuard<'_, OwnCluster> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many members have ended that the others can decide nothing.
    async fn is_lost(&self) {
        while self.lock().lost().is_none() {
            runtime::sleep(LOOK_AGAIN).await;
        }
    }
}

/// What came of it.
struct Results {
    status: Status,
    etcd_version: String,
    runs: Vec<json::LiveRun>,
}

impl Live {
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        let start = self.start;
        let mut campaign = self.campaign()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        if let Some(members) = start {
            let own = runtime.block_on(start_own(members))?;
            campaign.access = Access::plain(own.addresses());
            campaign.own = Some(Own(Arc::new(Mutex::new(own))));
        }
        let results = runtime.block_on(campaign.run())?;
        if campaign.json {
            output::json(&json::Live {
                command: "live",
                endpoints: campaign.access.addresses().to_vec(),
                prefix: campaign.prefix.clone(),
                seed: campaign.seed,
                dry_run: campaign.dry_run,
                etcd_version: results.etcd_version,
                runs: results.runs,
                exit_code: results.status.code(),
            })?;
        }
        Ok(results.status)
    }

    fn campaign(self) -> Result<Campaign, Failure> {
        let workloads = choice::workloads(&self.workloads);
        let runs = workloads.len() as u64;
        let history = HistoryTarget::of_options(
            self.history.as_deref(),
            runs,
            "one workload: live queue",
            self.json,
        )?;
        let to_stdout = history.as_ref().is_some_and(HistoryTarget::is_stdout);
        let settings = Settings::new(&self.set, &workloads)?;
        if self.start.is_none() && settings.asks_for(COMPACT) {
            return Err(
                Failure::usage("--set compact=1 would compact a cluster that others may use").hint(
                    "Let the command start a cluster of its own: --start 3. It compacts that by itself.",
                ),
            );
        }
        let access = match (self.start, self.given.option()) {
            (Some(_), Some(option)) => {
                let what = format!("--start is for a cluster of its own, {option} for another one");
                return Err(Failure::usage(what).hint("Leave out one of the two."));
            }
            // It is not started yet.
            (Some(_), None) => Access::plain(Vec::new()),
            (None, _) => self.given.connection.access()?,
        };
        Ok(Campaign {
            workloads,
            settings,
            access,
            own: None,
            prefix: prefix(self.prefix)?,
            seed: self.seed.unwrap_or_else(|| runtime::random_u64() >> 32),
            history,
            pages: Pages::of_option(self.html.as_deref(), runs)?,
            dry_run: self.dry_run,
            json: self.json,
            output: if to_stdout || self.json {
                Output::Program
            } else {
                Output::People
            },
        })
    }
}

/// The end of the prefix is a slash, so that the run stays clear of keys that
/// merely begin alike.
fn prefix(given: Option<String>) -> Result<String, Failure> {
    let Some(mut prefix) = given else {
        return Ok(format!("etcd-recipes/{:016x}/", runtime::random_u64()));
    };
    if prefix.chars().all(|c| c == '/') {
        return Err(
            Failure::usage(format!("--prefix {prefix:?} is no prefix of the run's own")).hint(
                "The run removes everything below its prefix; give it a name: --prefix /test/",
            ),
        );
    }
    if !prefix.ends_with('/') {
        prefix.push('/');
    }
    Ok(prefix)
}

impl Campaign {
    async fn run(&self) -> anyhow::Result<Results> {
        if self.dry_run {
            self.rehearse().await
        } else {
            self.perform().await
        }
    }

    /// Says what would be done.
    async fn rehearse(&self) -> anyhow::Result<Results> {
        let cluster = self.cluster().await?;
        let mut etcd_version = String::new();
        for workload in &self.workloads {
            etcd_version = cluster.prepare(*workload).await.map_err(unusable)?;
        }
        let mut text = format!(
            "would use etcd {etcd_version} at {}\nwould keep to keys below {} and remove them at the end",
            self.access,
            self.prefixes()
                .map(|prefix| format!("{prefix:?}"))
                .collect::<Vec<_>>()
                .join(" and ")
        );
        for workload in &self.workloads {
            let parameters = self.parameters(*workload);
            text += &format!(
                "\nwould run {HEADING}{}{HEADING:#} with {}: {}",
                workload.name(),
                count(workload.clients(&parameters).into(), "client"),
                parameters.shown(*workload)
            );
        }
        self.output.result(text)?;
        Ok(Results {
            status: Status::Valid,
            etcd_version,
            runs: Vec::new(),
        })
    }

    async fn perform(&self) -> anyhow::Result<Results> {
        output::note(format_args!(
            "{FAINT}etcd at {}, keys below {}, seed {}{FAINT:#}",
            self.access,
            self.prefixes().collect::<Vec<_>>().join(" and "),
            self.seed
        ));
        let (interrupt, _listener) = self.listen();
        let mut results = Results {
            status: Status::Valid,
            etcd_version: String::new(),
            runs: Vec::new(),
        };
        for workload in &self.workloads {
            match self.one(*workload, &interrupt).await {
                Ok(report) => {
                    let goes_on = !report.interrupted && report.left_behind.is_none();
                    self.tell(*workload, report, &mut results)?;
                    if !goes_on {
                        break;
                    }
                }
                Err(error) => {
                    // What an earlier workload found may be graver.
                    output::error(&error);
                    results.status = results.status.max(failure::status_of(&error));
                    break;
                }
            }
        }
        Ok(results)
    }

    /// Who interrupts the runs.
    fn listen(&self) -> (Arc<Notify>, runtime::Task) {
        if let Some(own) = self.own.clone() {
            let what_comes = "the cluster ends with the run; once more to end at once";
            return interrupt::on_interrupt(what_comes, move || own.lock().kill());
        }
        let what_comes = "removing the keys of the run; once more to leave them";
        let left = left(self.prefixes());
        interrupt::on_interrupt(what_comes, move || output::warning(left))
    }

    async fn one(&self, workload: Chosen, interrupt: &Notify) -> anyhow::Result<LiveReport> {
        let parameters = self.parameters(workload);
        // Anew for each, because members come and go.
        let cluster = self.cluster().await?;
        let spinner = progress::spinner(format!("{}, Ctrl-C ends it", workload.name()));
        let mut is_lost = false;
        let ends = async {
            match &self.own {
                None => interrupt.notified().await,
                Some(own) => {
                    let (asked, lost) = (pin!(interrupt.notified()), pin!(own.is_lost()));
                    is_lost = matches!(select(asked, lost).await, Either::Right(_));
                }
            }
        };
        let report = live::run(&cluster, workload, &parameters, ends).await;
        spinner.finish_and_clear();
        let lost = || self.own.as_ref().and_then(|own| own.lock().lost());
        let report = match report {
            // Who is asked to end may take the cluster along.
            Ok(report) if is_safety(&report) || report.interrupted && !is_lost => {
                return Ok(report);
            }
            report => report,
        };
        match lost() {
            None => report.map_err(unusable),
            // Nobody can say what would have become of it.
            Some(how) => {
                let name = workload.name();
                let what = format!("{name}: the cluster that was started is gone, {how}");
                Err(Failure::cluster(what).into())
            }
        }
    }

    fn tell(
        &self,
        workload: Chosen,
        report: LiveReport,
        results: &mut Results,
    ) -> anyhow::Result<()> {
        let LiveReport {
            history,
            verdict,
            etcd_version,
            interrupted,
            left_behind,
        } = report;
        let name = format!("{}-{}", workload.name(), self.seed);
        // What breaks a promise on a real cluster cannot be run again.
        let fallback = HistoryTarget::Folder(Path::new(DEFAULT_OUT).to_owned());
        let target = self
            .history
            .as_ref()
            .or_else(|| (!verdict.is_valid()).then_some(&fallback));
        let subject = format!("{} on etcd {etcd_version}", workload.name());
        if interrupted {
            output::warning("interrupted; the history ends early");
        }
        self.output.result(verdict::text(&subject, &verdict))?;
        let saved = match target {
            Some(target) => target.write(&name, &history)?,
            None => None,
        };
        if let Some(saved) = &saved {
            self.output
                .result(format_args!("  history: {}", saved.display()))?;
        }
        if let Some(pages) = &self.pages {
            let page = Page {
                name: &subject,
                history: &history,
                model: workload.model(),
                verdict: &verdict,
                reproduce: None,
            };
            let page = pages.save(&name, &page)?;
            self.output
                .result(format_args!("  page:    {}", page.display()))?;
        }
        results.status = results.status.max(verdict::status(&verdict));
        if let Some(why) = left_behind.as_ref().filter(|_| self.own.is_none()) {
            let prefixes = workload.prefixes(&self.prefix).into_iter();
            output::warning(format_args!("{}: {why}", left(prefixes)));
            results.status = results.status.max(Status::Cluster);
        }
        results.etcd_version = etcd_version;
        results.runs.push(json::LiveRun {
            workload: workload.name(),
            verdict,
            history: saved.map(|path| path.display().to_string()),
            interrupted,
            left_behind,
        });
        Ok(())
    }

    /// Below which keys the workloads write, each once.
    fn prefixes(&self) -> impl Iterator<Item = String> {
        let all = self.workloads.iter();
        let all = all.flat_map(|workload| workload.prefixes(&self.prefix));
        all.collect::<BTreeSet<_>>().into_iter()
    }

    async fn cluster(&self) -> Result<live::Cluster, Failure> {
        let cluster = self.access.cluster(&self.prefix, self.seed).await?;
        Ok(live::Cluster {
            is_own: self.own.is_some(),
            ..cluster
        })
    }

    fn parameters(&self, workload: &dyn Workload) -> workload::Parameters {
        let mut parameters = workload::live_parameters(workload);
        let compacts = workload.parameters().iter().any(|p| p.name == COMPACT);
        if self.own.is_some() && compacts {
            parameters = parameters.with(COMPACT, 1);
        }
        self.settings.apply(workload, parameters)
    }
}

fn members(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("a cluster has 1, 3 or 5 members".to_owned()),
    }
}

fn is_safety(report: &LiveReport) -> bool {
    verdict::status(&report.verdict) == Status::Safety
}

async fn start_own(members: usize) -> Result<OwnCluster, Failure> {
    let started = OwnCluster::start(&conform::program(), members).await;
    started.map_err(conform::unusable)
}

fn unusable(error: LiveError) -> anyhow::Error {
    match &error {
        LiveError::Unusable { reason, .. } => match hint(reason) {
            Some(hint) => Failure::cluster(&error).hint(hint).into(),
            None => Failure::cluster(&error).into(),
        },
        LiveError::Occupied { .. } => Failure::cluster(&error).into(),
        // The run was recorded wrongly, which is nobody's fault but ours.
        _ => error.into(),
    }
}

fn left(prefixes: impl Iterator<Item = String>) -> String {
    let each = prefixes.map(|prefix| {
        format!("keys may be left below {prefix}; `etcdctl del --prefix {prefix}` removes them")
    });
    each.collect::<Vec<_>>().join("; ")
}
