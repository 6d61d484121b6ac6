//! The plan of a run: everything that determines it, as a JSON file.

use std::collections::BTreeMap;
use std::fmt;

use etcd_sim::bug::EtcdBug;
use etcd_sim::executor::Executor;
use etcd_sim::fault::{Fault, FaultKind, Party};
use etcd_sim::network::Endpoints;
use etcd_sim::plan::{Latency, Plan, Profile, Senseless, Swarm};
use etcd_sim::seed::Stream;
use serde::{Deserialize, Serialize};

use crate::workload::{self, Bug, Parameters, Value, Workload};

/// What the field `format` of a plan says.
pub const FORMAT: &str = "etcd-recipes-plan";

/// The version of the format that this crate writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// No fault ends later than this, in milliseconds: a run waits for it.
const LATEST_MS: u64 = 86_400_000;

/// Everything that determines a simulated run.
///
/// The same plan gives the same history, byte for byte, on the same executor
/// and version of this crate.
#[derive(Clone)]
pub struct RunPlan {
    /// What the clients do.
    pub workload: &'static dyn Workload,
    /// How much of it.
    pub parameters: Parameters,
    /// The mistake that is put in.
    pub bug: Option<Bug>,
    /// What it runs on.
    pub executor: Executor,
    /// The seed and the faults.
    pub environment: Plan,
}

/// A plan as it is saved.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    format: String,
    version: u32,
    workload: String,
    parameters: BTreeMap<String, Value>,
    bug: Option<String>,
    executor: String,
    seed: u64,
    latency: Latency,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    members: usize,
    #[serde(default, skip_serializing_if = "is_default")]
    endpoints: Endpoints,
    faults: Vec<Fault>,
}

fn one() -> usize {
    1
}

fn is_one(members: &usize) -> bool {
    *members == 1
}

fn is_default(endpoints: &Endpoints) -> bool {
    *endpoints == Endpoints::default()
}

/// What is wrong with a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrongPlan {
    /// It is not a plan in JSON.
    #[error("not a plan: {0}")]
    Json(#[from] serde_json::Error),
    /// It is another kind of file.
    #[error("the field `format` is {found:?}, but a plan has {FORMAT:?}")]
    Format {
        /// What it says.
        found: String,
    },
    /// It was written by another version.
    #[error("the plan has version {found}; this program reads version {VERSION}")]
    Version {
        /// What it says.
        found: u32,
    },
    /// There is no such workload.
    #[error("there is no workload `{name}`; there are: {known}")]
    Workload {
        /// What it says.
        name: String,
        /// The workloads that exist.
        known: String,
    },
    /// The workload has no such bug.
    #[error("the workload `{workload}` has no bug `{name}`; it has: {known}")]
    Bug {
        /// What it says.
        name: String,
        /// The workload.
        workload: &'static str,
        /// The bugs that exist.
        known: String,
    },
    /// A parameter does not fit.
    #[error(transparent)]
    Parameter(#[from] workload::WrongParameter),
    /// There is no such executor in this build.
    #[error(
        "the plan wants the executor `{name}`, which this build does not have; \
         build with RUSTFLAGS=\"--cfg madsim\", or set `executor` to `tokio` (another run)"
    )]
    Executor {
        /// What it says.
        name: String,
    },
    /// A fault strikes a client that the run does not have.
    #[error("a fault at {at_ms} ms strikes client {client}, but the run has {}", counted(*clients, "client"))]
    Client {
        /// When it strikes.
        at_ms: u64,
        /// Which client it names.
        client: u32,
        /// How many there are, counted from 0.
        clients: u32,
    },
    /// A fault strikes a member that the cluster does not have.
    #[error(
        "a fault at {at_ms} ms strikes member {member}, but the cluster has {members}, counted from 0"
    )]
    Member {
        /// When it strikes.
        at_ms: u64,
        /// Which member it names.
        member: usize,
        /// How many there are, counted from 0.
        members: usize,
    },
    /// A fault ends so late that the run would take for ever.
    #[error(
        "a fault at {at_ms} ms ends {ends_ms} ms after the start; a run has to heal within a \
         day, {LATEST_MS} ms"
    )]
    Late {
        /// When it strikes.
        at_ms: u64,
        /// When it ends.
        ends_ms: u64,
    },
    /// Something in it makes no sense.
    #[error(transparent)]
    Senseless(#[from] Senseless),
    /// There is no such cluster.
    #[error("a cluster has 1 to 5 members, not {members}")]
    Members {
        /// How many it says.
        members: usize,
    },
}

impl RunPlan {
    /// Draws the plan of a seed.
    pub fn draw(workload: &'static dyn Workload, seed: u64) -> Self {
        Self::draw_adjusted(workload, seed, |parameters| parameters)
    }

    /// Draws the plan of a seed with parameters that `adjust` makes of those
    /// that the seed draws. Faults are drawn to fit them.
    pub fn draw_adjusted(
        workload: &'static dyn Workload,
        seed: u64,
        adjust: impl FnOnce(Parameters) -> Parameters,
    ) -> Self {
        Self::draw_with(workload, seed, None, adjust)
    }

    /// The same with a cluster of so many members and all kinds of fault. None: the seed
    /// says how many members, and which kinds (see [`Profile::members`]).
    pub fn draw_with(
        workload: &'static dyn Workload,
        seed: u64,
        members: Option<usize>,
        adjust: impl FnOnce(Parameters) -> Parameters,
    ) -> Self {
        let mut rng = Stream::Workload.rng(seed);
        let parameters = adjust(Parameters::draw(workload.parameters(), &mut rng));
        let profile = profile(workload, &parameters, members);
        RunPlan {
            environment: swarm(workload, None, seed, &profile).plan(seed, &profile),
            workload,
            parameters,
            bug: None,
            executor: Executor::BEST,
        }
    }

    /// The same run with a mistake put into the recipe, or into the simulated etcd.
    /// One that shows only in clusters of some sizes gets one of these.
    #[must_use]
    pub fn with_bug(mut self, bug: Option<Bug>) -> Self {
        self.bug = bug;
        let members = members_for(bug, self.environment.members);
        if members != self.environment.members || telling(bug).is_some() {
            let profile = profile(self.workload, &self.parameters, Some(members));
            let seed = self.environment.seed;
            self.environment = swarm(self.workload, bug, seed, &profile).plan(seed, &profile);
        }
        self
    }

    /// Reads a saved plan and checks that it can be run.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub fn from_json(text: &str) -> Result<Self, WrongPlan> {
        let saved: Saved = serde_json::from_str(text)?;
        if saved.format != FORMAT {
            return Err(WrongPlan::Format {
                found: saved.format,
            });
        }
        if saved.version != VERSION {
            return Err(WrongPlan::Version {
                found: saved.version,
            });
        }
        let workload = find_workload(&saved.workload)?;
        let parameters = Parameters::from_named(&saved.parameters, workload)?;
        parameters.check(workload.parameters())?;
        let plan = RunPlan {
            workload,
            bug: find_bug(workload, saved.bug)?,
            executor: find_executor(&saved.executor)?,
            parameters,
            environment: Plan {
                seed: saved.seed,
                latency: saved.latency,
                members: saved.members,
                endpoints: saved.endpoints,
                faults: saved.faults,
            },
        };
        plan.check_parties()?;
        plan.environment.check_sense()?;
        plan.check_times()?;
        Ok(plan)
    }

    /// The plan as it is saved: indented JSON that ends with a line break.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.saved()).expect("plans have a JSON form");
        text.push('\n');
        text
    }

    /// The plan on one line, as the header of a history has it.
    pub(crate) fn to_json_value(&self) -> etcd_checker::history::Json {
        etcd_checker::history::Json::new(&self.saved()).expect("plans have a JSON form")
    }

    fn saved(&self) -> Saved {
        Saved {
            format: FORMAT.to_owned(),
            version: VERSION,
            workload: self.workload.name().to_owned(),
            parameters: self.parameters.named(self.workload),
            bug: self.bug.map(|bug| bug.name.to_owned()),
            executor: self.executor.name().to_owned(),
            seed: self.environment.seed,
            latency: self.environment.latency,
            members: self.environment.members,
            endpoints: self.environment.endpoints,
            faults: self.environment.faults.clone(),
        }
    }

    /// Whether the run has everybody that its faults name.
    fn check_parties(&self) -> Result<(), WrongPlan> {
        let clients = self.workload.clients(&self.parameters);
        let members = self.environment.members;
        if !(1..=5).contains(&members) {
            return Err(WrongPlan::Members { members });
        }
        for &Fault { at_ms, ref kind } in &self.environment.faults {
            for party in kind.parties() {
                match party {
                    Party::Client(client) if client >= clients => {
                        return Err(WrongPlan::Client {
                            at_ms,
                            client,
                            clients,
                        });
                    }
                    Party::Member(member) if member >= members => {
                        return Err(WrongPlan::Member {
                            at_ms,
                            member,
                            members,
                        });
                    }
                    Party::Client(_) | Party::Member(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Whether all faults pass in time.
    fn check_times(&self) -> Result<(), WrongPlan> {
        for fault in &self.environment.faults {
            let alone = Plan {
                faults: vec![fault.clone()],
                ..Plan::quiet(0)
            };
            let (at_ms, ends_ms) = (fault.at_ms, alone.heals_at_ms());
            if ends_ms > LATEST_MS {
                return Err(WrongPlan::Late { at_ms, ends_ms });
            }
        }
        Ok(())
    }

    /// What the seed draws before any single fault: which kinds there are and how
    /// often each. `members` is what [`draw_with`](Self::draw_with) was given. Tells
    /// nothing about a plan that was changed by hand.
    pub fn swarm(&self, members: Option<usize>) -> Swarm {
        let seed = self.environment.seed;
        let draw = |members| {
            let profile = profile(self.workload, &self.parameters, members);
            swarm(self.workload, self.bug, seed, &profile)
        };
        let drawn = draw(members);
        match members_for(self.bug, drawn.members()) {
            members if members == drawn.members() => drawn,
            members => draw(Some(members)),
        }
    }
}

/// No run draws more faults than this.
const FAULTS_MAX: usize = 16;

/// What faults are drawn from.
fn profile(workload: &dyn Workload, parameters: &Parameters, members: Option<usize>) -> Profile {
    Profile {
        clients: workload.clients(parameters),
        until_ms: workload.lasts_ms(parameters),
        faults_max: FAULTS_MAX,
        members,
    }
}

/// What a seed draws: no fault that finds nobody to strike, and many of those that a bug
/// needs to show.
fn swarm(workload: &dyn Workload, bug: Option<Bug>, seed: u64, profile: &Profile) -> Swarm {
    let mut drawn = Swarm::draw(seed, profile);
    if let Some(kind) = telling(bug) {
        drawn = drawn.with_many(kind);
    }
    if workload.has_watches() {
        return drawn;
    }
    drawn.without(FaultKind::BreakWatches { client: 0 }.name())
}

/// The kind of fault without which a bug does not show, where chance would seldom draw it:
/// of the members that stand still only one that has led knows too little afterwards, and
/// for no longer than a heartbeat.
fn telling(bug: Option<Bug>) -> Option<&'static str> {
    let pause = FaultKind::PauseMember {
        member: 0,
        for_ms: 0,
    };
    match etcd_bug(bug)? {
        EtcdBug::StaleReadAfterPause => Some(pause.name()),
        _ => None,
    }
}

fn etcd_bug(bug: Option<Bug>) -> Option<EtcdBug> {
    bug.and_then(|bug| EtcdBug::find(bug.name))
}

/// How many members a run has in which a bug is to show.
fn members_for(bug: Option<Bug>, members: usize) -> usize {
    let (least, most) = etcd_bug(bug).map_or((1, 5), EtcdBug::members);
    members.clamp(least, most)
}

impl fmt::Debug for RunPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

/// How many there are of those whose numbers begin with 0.
fn counted(number: u32, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}, counted from 0")
}

fn find_workload(name: &str) -> Result<&'static dyn Workload, WrongPlan> {
    workload::find(name).ok_or_else(|| WrongPlan::Workload {
        name: name.to_owned(),
        known: names(workload::all().iter().map(|workload| workload.name())),
    })
}

fn find_bug(workload: &dyn Workload, name: Option<String>) -> Result<Option<Bug>, WrongPlan> {
    let Some(name) = name else { return Ok(None) };
    let bugs = workload.bugs();
    match bugs.iter().find(|bug| bug.name == name) {
        Some(bug) => Ok(Some(*bug)),
        None => Err(WrongPlan::Bug {
            name,
            workload: workload.name(),
            known: names(bugs.iter().map(|bug| bug.name)),
        }),
    }
}

fn find_executor(name: &str) -> Result<Executor, WrongPlan> {
    [Executor::BEST, Executor::Tokio]
        .into_iter()
        .find(|executor| executor.name() == name)
        .ok_or_else(|| WrongPlan::Executor {
            name: name.to_owned(),
        })
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_being_saved_and_loaded() {
        for workload in workload::all() {
            for seed in 0..20 {
                let plan = RunPlan::draw(workload, seed).with_bug(workload.bugs().first().copied());
                let loaded = RunPlan::from_json(&plan.to_json()).unwrap();
                assert_eq!(loaded.to_json(), plan.to_json());
            }
        }
    }

    #[test]
    fn a_bug_that_a_pause_tells_is_given_many_and_others_change_no_plan() {
        let kv = workload::find("kv").unwrap();
        let bug = |name: &str| kv.bugs().iter().copied().find(|bug| bug.name == name);
        for seed in 0..40 {
            let swarm = RunPlan::draw(kv, seed)
                .with_bug(bug("etcd-20418"))
                .swarm(None);
            let of = |pauses: bool| {
                let kinds = swarm.kinds();
                let these = kinds.filter(|(name, _)| (*name == "member pause") == pauses);
                these.map(|(_, weight)| weight).sum::<u32>()
            };
            assert!(of(true) >= of(false), "{swarm}");
            let drawn = RunPlan::draw(kv, seed);
            let with = drawn.clone().with_bug(bug("etcd-torn-txn"));
            assert_eq!(with.environment, drawn.environment);
        }
    }

    #[test]
    fn a_plan_that_cannot_be_run_is_refused_with_the_reason() {
        let good = RunPlan::draw(workload::all()[0], 1).to_json();
        let refused = |from: &str, to: &str| {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            RunPlan::from_json(&bad).unwrap_err().to_string()
        };
        assert!(refused("{", "[").starts_with("not a plan"));
        assert!(refused("etcd-recipes-plan", "other").contains("\"other\""));
        assert!(refused("\"version\": 1", "\"version\": 2").contains("version 2"));
        assert!(refused("\"queue\"", "\"quux\"").contains("no workload `quux`"));
        assert!(refused("\"bug\": null", "\"bug\": \"x\"").contains("no bug `x`"));
        assert!(refused("\"items\"", "\"itemz\"").contains("`itemz`"));
        assert!(refused("\"executor\": \"", "\"executor\": \"un").contains("does not have"));
    }

    #[test]
    fn a_fault_that_says_too_little_or_comes_too_late_is_refused() {
        let read = |fault: &str| {
            let mut plan = RunPlan::draw(workload::all()[0], 1);
            plan.environment.faults = Vec::new();
            let faults = format!("\"faults\": [{fault}]");
            let text = plan.to_json().replace("\"faults\": []", &faults);
            RunPlan::from_json(&text).map_err(|error| error.to_string())
        };
        let transfer = |fields: &str| {
            read(&format!(
                r#"{{"at_ms": 5, "kind": {{"transfer-lead": {{"for_ms": 9{fields}}}}}}}"#
            ))
        };
        assert!(transfer(r#", "to": null"#).is_ok());
        let error = transfer("").unwrap_err();
        assert!(error.contains("missing field `to`"), "{error}");
        let reset = |at_ms: u64| {
            read(&format!(
                r#"{{"at_ms": {at_ms}, "kind": {{"reset": {{"client": 0}}}}}}"#
            ))
        };
        assert!(reset(LATEST_MS).is_ok());
        let error = reset(u64::MAX).unwrap_err();
        assert!(error.contains("has to heal within a day"), "{error}");
    }

    #[test]
    fn a_plan_that_makes_no_sense_is_refused_with_the_place() {
        let mut plan = RunPlan::draw_with(workload::all()[0], 1, Some(3), |given| given);
        plan.environment.endpoints = Endpoints::One(7);
        let error = RunPlan::from_json(&plan.to_json()).unwrap_err().to_string();
        assert!(error.contains("`endpoints`: `one` is a member"), "{error}");
        plan.environment.endpoints = Endpoints::All;
        let kind = FaultKind::CompactAt { revision: -5 };
        plan.environment.faults = vec![Fault { at_ms: 7, kind }];
        let error = RunPlan::from_json(&plan.to_json()).unwrap_err().to_string();
        assert!(error.contains("the fault at 7 ms"), "{error}");
    }

    #[test]
    fn no_watches_are_broken_where_there_are_none() {
        let name = FaultKind::BreakWatches { client: 0 }.name();
        let mut is_drawn = false;
        for workload in workload::all() {
            for seed in 0..100 {
                let plan = RunPlan::draw(workload, seed);
                let swarm = plan.swarm(None);
                let on = swarm.kinds().any(|(kind, _)| kind == name);
                let faults = &plan.environment.faults;
                let struck = faults.iter().any(|fault| fault.kind.name() == name);
                assert!(on || !struck, "{} {seed}", workload.name());
                assert!(workload.has_watches() || !on, "{} {seed}", workload.name());
                is_drawn |= struck;
            }
        }
        assert!(is_drawn);
    }
}
