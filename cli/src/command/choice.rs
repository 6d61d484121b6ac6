//! What a run is about: workloads, bugs and parameters as options name them.

use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use etcd_recipes::workload::{self, Bug, Parameters, Value, Workload, WrongParameter};
use etcd_sim::bug::EtcdBug;

use crate::failure::Failure;
use crate::report::count;

/// A workload.
pub(crate) type Chosen = &'static dyn Workload;

/// Takes the name of a workload.
pub(crate) fn workload_parser() -> impl TypedValueParser<Value = Chosen> {
    let name = |workload: Chosen| PossibleValue::new(workload.name()).help(workload.about());
    PossibleValuesParser::new(workload::all().map(name))
        .map(|name| workload::find(&name).expect("only these names are possible"))
}

/// Takes the name of a bug, which its workload comes with.
pub(crate) fn bug_parser() -> impl TypedValueParser<Value = (Chosen, Bug)> {
    let bugs = workload::all()
        .into_iter()
        .flat_map(Workload::bugs)
        .map(|bug| PossibleValue::new(bug.name).help(bug.about));
    PossibleValuesParser::new(bugs)
        .map(|name| workload::find_bug(&name).expect("only these names are possible"))
}

/// Some bugs of etcd show only in clusters of some sizes.
pub(crate) fn check_members(bug: EtcdBug, members: usize, hint: &str) -> Result<(), Failure> {
    match does_not_show(bug, members) {
        Some(text) => Err(Failure::usage(text).hint(hint)),
        None => Ok(()),
    }
}

/// That a bug of etcd does not show in a cluster of so many members, if it does not.
pub(crate) fn does_not_show(bug: EtcdBug, members: usize) -> Option<String> {
    let (least, most) = bug.members();
    if (least..=most).contains(&members) {
        return None;
    }
    let sizes = match least == most {
        true => count(least as u64, "member"),
        false => format!("{least} to {}", count(most as u64, "member")),
    };
    Some(format!(
        "{bug} shows only in clusters of {sizes}, not of {members}"
    ))
}

/// The workloads that were named, each once; all when none was.
pub(crate) fn workloads(named: &[Chosen]) -> Vec<Chosen> {
    let is_named =
        |workload: &Chosen| named.is_empty() || named.iter().any(|n| n.name() == workload.name());
    workload::all().into_iter().filter(is_named).collect()
}

/// A parameter's value, `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    name: String,
    value: Value,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or("give it as NAME=VALUE, such as items=50")?;
        let (Ok(value), name) = (value.parse(), name.to_owned());
        Ok(Setting { name, value })
    }
}

impl Setting {
    fn number(&self, workload: &dyn Workload) -> Result<u64, WrongParameter> {
        self.value.number(&self.name, workload.choices(&self.name))
    }
}

/// Values that override those that a workload would have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(Vec<Setting>);

impl Settings {
    /// Checks that every value fits: some workload has the parameter, and no
    /// workload that has it refuses the value.
    pub(crate) fn new(settings: &[Setting], workloads: &[Chosen]) -> Result<Self, Failure> {
        let settings = Settings(settings.to_vec());
        for setting in &settings.0 {
            if !workloads
                .iter()
                .any(|workload| has(*workload, &setting.name))
            {
                return Err(unknown(setting, workloads));
            }
        }
        for workload in workloads {
            let wrong = |error| Failure::usage(format!("--set: {error}"));
            for setting in settings.0.iter().filter(|s| has(*workload, &s.name)) {
                setting.number(*workload).map_err(wrong)?;
            }
            settings
                .apply(*workload, workload::live_parameters(*workload))
                .check(workload.parameters())
                .map_err(wrong)?;
        }
        Ok(settings)
    }

    /// Whether this parameter is given, and not as 0.
    pub(crate) fn asks_for(&self, name: &str) -> bool {
        let mut given = self.0.iter().filter(|setting| setting.name == name);
        given.any(|setting| setting.value != Value::Number(0))
    }

    /// The parameters of a workload with the values given.
    pub(crate) fn apply(&self, workload: &dyn Workload, parameters: Parameters) -> Parameters {
        let known = self.0.iter().filter(|setting| has(workload, &setting.name));
        known.fold(parameters, |parameters, setting| {
            match setting.number(workload) {
                Ok(number) => parameters.with(&setting.name, number),
                Err(_) => parameters,
            }
        })
    }

    /// As options, for a command line that says the same for this workload.
    pub(crate) fn options(&self, workload: &dyn Workload) -> String {
        let known = self.0.iter().filter(|setting| has(workload, &setting.name));
        known
            .map(|setting| format!(" --set {}={}", setting.name, setting.value))
            .collect()
    }
}

fn has(workload: &dyn Workload, name: &str) -> bool {
    workload.parameters().iter().any(|known| known.name == name)
}

fn unknown(setting: &Setting, workloads: &[Chosen]) -> Failure {
    let of_one = |workload: &Chosen| {
        let names: Vec<_> = workload
            .parameters()
            .iter()
            .map(|known| known.name)
            .collect();
        format!("{} has {}", workload.name(), names.join(", "))
    };
    let known: Vec<_> = workloads.iter().map(of_one).collect();
    Failure::usage(format!("--set: there is no parameter `{}`", setting.name))
        .hint(known.join("; "))
}
