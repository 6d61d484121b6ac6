//! `serve`: the simulated cluster over TCP.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use etcd_recipes::campaign::plan::{FORMAT, RunPlan};
use etcd_recipes::runtime;
use etcd_sim::bug::EtcdBug;
use etcd_sim::fault::{Fault, FaultKind, Party};
use etcd_sim::network::{FaultEvent, NetworkReport};
use etcd_sim::plan::{Latency, Plan};
use etcd_sim::serve::{
    self, Idle, Options, STRANGERS, ServeError, Served, Tls, TlsError, cannot_strike,
};
use etcd_sim::version::{NoVersion, Version};
use serde::Deserialize;

use crate::command::choice;
use crate::exit_code::Status;
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output::{self, FAINT, FAULT, Output};
use crate::report::count;

const EXAMPLES: &str = r#"Examples:
  etcd-recipes serve                                one member at 127.0.0.1:2379
  etcd-recipes serve --members 3 --listen 127.0.0.1:12379   at 12379, 12380 and 12381
  etcd-recipes serve --members 3 --fault plan.json
  etcd-recipes serve --cert-file server.pem --key-file server.key   with TLS
  etcdctl --endpoints 127.0.0.1:2379 put key value

A plan is one that `sim` saved, of which only the cluster and the faults count, or
just {"members": 3, "faults": [{"at_ms": 5000, "kind": {"crash-member":
{"member": 0, "down_ms": 3000}}}]}; docs/plan-format.md lists the faults. Whoever
connects counts as client 0. Everything is in memory and gone at the end.

"#;

/// Serve a simulated etcd over TCP, in real time.
///
/// etcdctl and clients in any language can use it as they use etcd: keys, watches,
/// leases, locks, elections, users, maintenance. Faults of a plan strike it at
/// their times, counted from the start. Ends on Ctrl-C.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// Where the first member listens; the others on the ports that follow. With
    /// port 0 each takes one that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2379", value_parser = address)]
    listen: SocketAddr,

    /// How many members the cluster has: 1 to 5 [default: as the plan says, or 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    members: Option<u8>,

    /// A file with faults; `-` reads standard input
    #[arg(long, value_name = "PLAN")]
    fault: Option<PathBuf>,

    /// Decides who leads first, how long elections and messages take, and the ids
    /// that are drawn [default: as the plan says, or at random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// The release of etcd that it is: what it says of itself, and how it answers; 3.4
    /// to 3.7
    #[arg(long, value_name = "VERSION", default_value_t = Version::default(), value_parser = version)]
    etcd_version: Version,

    /// Put a known bug of etcd in
    #[arg(long, value_name = "NAME", value_parser = bug_parser())]
    bug: Option<EtcdBug>,

    /// For how many seconds a user's token is good without being used
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    auth_token_ttl: u32,

    /// The certificate of the members, in PEM: they speak TLS then
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,

    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,

    /// Authorities, in PEM: every client has to show a certificate that one of them has
    /// issued
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    trusted_ca_file: Option<PathBuf>,

    /// Want certificates of clients, as --trusted-ca-file alone does too
    #[arg(long, requires = "trusted_ca_file")]
    client_cert_auth: bool,
}

/// An address as etcd's users write it: a host may be `localhost`, and none means all
/// interfaces.
fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || "write it as 127.0.0.1:2379, localhost:2379, [::1]:2379 or :2379".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = match host {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => return text.parse().map_err(|_| wrong()),
    };
    Ok(SocketAddr::new(host, port))
}

/// A release alone: nothing is known of what comes before it.
fn version(text: &str) -> Result<Version, String> {
    if let Some((release, _)) = text.split_once(['-', '+']) {
        return Err(format!("known are releases: {release}, nothing behind it"));
    }
    let version: Version = text.parse().map_err(|error: NoVersion| error.to_string())?;
    if version.is_known() {
        Ok(version)
    } else {
        Err("known are the releases of 3.4, 3.5, 3.6 and 3.7".to_owned())
    }
}

/// Says so if nobody has compared that release with a real one.
fn note_of_version(version: Version) {
    if Version::COMPARED.contains(&version) {
        return;
    }
    let compared = Version::COMPARED.map(|version| version.to_string());
    output::note(format!(
        "etcd {version} was not compared with a real one, as {} were: it answers as etcd's \
         source and the list of its changes say",
        compared.join(", ")
    ));
}

fn bug_parser() -> impl clap::builder::TypedValueParser<Value = EtcdBug> {
    let names = PossibleValuesParser::new(EtcdBug::ALL.iter().map(|bug| bug.name()));
    names.map(|name| EtcdBug::find(&name).expect("the parser knows no other names"))
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        let plan = self.plan()?;
        self.check_bug(plan.members)?;
        note_of_version(self.etcd_version);
        let options = Options {
            plan,
            version: self.etcd_version,
            bug: self.bug,
            auth_token_ttl: Duration::from_secs(self.auth_token_ttl.into()),
            observer: Some(Arc::new(tell)),
            tls: self.tls()?,
            ..Options::new(self.listen)
        };
        let scheme = options.tls.as_ref().map_or("", |_| "https://");
        let serve = async move |served| until_interrupted(served, scheme).await;
        let report = serve::run(options, serve).map_err(cannot_serve)??;
        Output::People.result(summary(&report))?;
        Ok(Status::Valid)
    }

    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let (Some(certificate), Some(key)) = (&self.cert_file, &self.key_file) else {
            return Ok(None);
        };
        let tls = match &self.trusted_ca_file {
            None => Tls::from_files(certificate, key),
            Some(trusted) => Tls::with_client_certificates(certificate, key, trusted),
        };
        Ok(Some(tls.map_err(|error| no_tls(&error))?))
    }

    fn check_bug(&self, members: usize) -> Result<(), Failure> {
        let Some(bug) = self.bug else {
            return Ok(());
        };
        let (least, most) = bug.members();
        let fitting = members.clamp(least, most);
        let hint = match self.members {
            None if self.fault.is_some() => {
                format!("Say --members {fitting}, or write it into the plan.")
            }
            _ => format!("Say --members {fitting}."),
        };
        choice::check_members(bug, members, &hint)
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        let mut plan = match &self.fault {
            Some(path) => read(path, self.members.is_some())?,
            None => Plan::quiet(runtime::random_u64() >> 32),
        };
        if let Some(seed) = self.seed {
            plan.seed = seed;
        }
        let planned = plan.faults.len();
        if let Some(members) = self.members {
            let members = usize::from(members);
            let exists =
                |party: &Party| !matches!(party, Party::Member(member) if *member >= members);
            warn_of_idle_faults(
                &plan,
                planned,
                &format!("there is no such member of {members}"),
                |kind| kind.parties().iter().all(exists),
            );
            plan = plan.with_members(members);
        }
        for (idle, why) in [
            (Idle::NoSuchClient, "there is no other"),
            (Idle::Process, "its process is not ours to pause or kill"),
            (Idle::Clock, "its clock is not ours to set"),
        ] {
            let why = format!("who connects is client {STRANGERS}, and {why}");
            warn_of_idle_faults(&plan, planned, &why, |kind| {
                cannot_strike(kind) != Some(idle)
            });
        }
        Ok(plan)
    }
}

/// A plan for a cluster alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    seed: Option<u64>,
    latency: Option<Latency>,
    #[serde(default = "one")]
    members: usize,
    faults: Vec<Fault>,
}

/// Nobody serves for longer than a year.
const LATEST_MS: u64 = 365 * 86_400_000;

fn one() -> usize {
    1
}

/// Reads a plan. Its faults may strike members that it does not have if somebody else says
/// how many there are.
fn read(path: &Path, has_other_members: bool) -> anyhow::Result<Plan> {
    let name = path.display().to_string();
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin().lock())
    } else {
        fs::read_to_string(path)
    };
    let text = text.with_context(|| format!("{name}: cannot read the file"))?;
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("{name}: {why}"))
            .hint("Give a plan that `sim` saved, or {\"faults\": [..]}; docs/plan-format.md lists the faults.")
    };
    if text.contains(FORMAT) {
        let plan = RunPlan::from_json(&text).map_err(|error| wrong(&error))?;
        return Ok(plan.environment);
    }
    if !matches!(text.trim_start().as_bytes(), [b'{', ..]) {
        return Err(wrong(&"it is no JSON object").into());
    }
    let faults: Faults = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    if !(1..=5).contains(&faults.members) {
        return Err(wrong(&"a cluster has 1 to 5 members").into());
    }
    let mut plan = Plan {
        latency: faults.latency.unwrap_or(Latency::NONE),
        members: faults.members,
        faults: faults.faults,
        ..Plan::quiet(faults.seed.unwrap_or_else(|| runtime::random_u64() >> 32))
    };
    for Fault { at_ms, kind } in &plan.faults {
        let missing = kind.parties().into_iter().find_map(|party| match party {
            Party::Member(member) if member >= plan.members => Some(member),
            _ => None,
        });
        if let Some(member) = missing.filter(|_| !has_other_members) {
            let why = format!(
                "a fault at {at_ms} ms ({}) strikes member {member}, but there are {}, counted \
                 from 0",
                kind.name(),
                plan.members
            );
            return Err(wrong(&why).into());
        }
    }
    plan.check_sense().map_err(|senseless| wrong(&senseless))?;
    if plan.heals_at_ms() > LATEST_MS {
        let why = format!("the last fault ends after {} ms", plan.heals_at_ms());
        return Err(wrong(&why).into());
    }
    plan.faults.sort_by_key(|fault| fault.at_ms);
    Ok(plan)
}

/// Says which of the faults, of so many in all, cannot strike, and why.
fn warn_of_idle_faults(
    plan: &Plan,
    planned: usize,
    why: &str,
    can_strike: impl Fn(&FaultKind) -> bool,
) {
    let kinds = plan.faults.iter().map(|fault| &fault.kind);
    let idle: Vec<&FaultKind> = kinds.filter(|kind| !can_strike(kind)).collect();
    if idle.is_empty() {
        return;
    }
    let mut names: Vec<&str> = idle.iter().map(|kind| kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    output::warning(format!(
        "{} of {} cannot strike here ({}): {why}",
        idle.len(),
        count(planned as u64, "fault"),
        names.join(", ")
    ));
}

/// Says where the members are, and waits for Ctrl-C.
async fn until_interrupted(served: Served, scheme: &str) -> anyhow::Result<NetworkReport> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let simulation = served.simulation();
    let endpoints = served.endpoints().iter();
    let endpoints: Vec<String> = endpoints
        .map(|address| format!("{scheme}{address}"))
        .collect();
    Output::People.result(format!(
        "serving etcd {} at {}\n{FAINT}seed {}; Ctrl-C ends it{FAINT:#}",
        simulation.member().version(),
        endpoints.join(","),
        simulation.plan().seed,
    ))?;
    signals.next().await;
    Ok(simulation.report())
}

/// Tells of a fault as it strikes.
fn tell(event: &FaultEvent) {
    let mut text = format!(
        "{FAINT}{}{FAINT:#} {FAULT}{}{FAULT:#}",
        event.at, event.kind
    );
    if let Some(member) = event.member {
        text += &format!(", member {member}");
    }
    if !event.call.is_empty() {
        text += &format!(", {}", event.call);
    }
    output::note(text);
}

fn summary(report: &NetworkReport) -> String {
    let mut text = format!("served {}", count(report.calls, "call"));
    for (kind, times) in &report.faults {
        text += &format!("\n   {kind}  {times}");
    }
    text
}

fn no_tls(error: &TlsError) -> Failure {
    let hint = match error {
        TlsError::Read { .. } => "Give files that are there and can be read.",
        TlsError::Pem { .. } => {
            "Certificates in PEM begin with -----BEGIN CERTIFICATE-----, keys with -----BEGIN PRIVATE KEY----- or the like."
        }
        TlsError::Pair { .. } => "Give --cert-file and --key-file that were made together.",
        _ => "Give the certificates of authorities with --trusted-ca-file.",
    };
    Failure::usage(error).hint(hint)
}

fn cannot_serve(error: ServeError) -> anyhow::Error {
    match error {
        ServeError::Listen { .. } | ServeError::NoPort { .. } => Failure::usage(error)
            .hint("Give another address: --listen 127.0.0.1:12379, or port 0 for any.")
            .into(),
        error => error.into(),
    }
}
