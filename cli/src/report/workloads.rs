//! What there is to choose from: workloads, their parameters, their bugs.

use std::fmt::Write as _;

use etcd_recipes::workload::{self, Parameter, Workload};

use crate::output::{FAINT, HEADING};

/// The answer to `sim --list`, for people.
pub(crate) fn list() -> String {
    let workloads: Vec<String> = workload::all().into_iter().map(one).collect();
    workloads.join("\n\n")
}

fn one(workload: &dyn Workload) -> String {
    let mut text = format!(
        "{HEADING}{}{HEADING:#}  {}\n",
        workload.name(),
        workload.about()
    );
    text += "  parameters, for --set NAME=VALUE:";
    for parameter in workload.parameters() {
        line(&mut text, parameter.name, parameter.about);
        write!(text, " {FAINT}({}){FAINT:#}", values(workload, parameter))
            .expect("a string takes everything");
    }
    text += "\n  broken twins, for --bug NAME:";
    for bug in workload.bugs() {
        line(&mut text, bug.name, bug.about);
    }
    write!(
        text,
        "\n  {FAINT}checked against the model {}{FAINT:#}",
        workload.model()
    )
    .expect("a string takes everything");
    text
}

fn line(text: &mut String, name: &str, about: &str) {
    write!(text, "\n    {name:<23} {about}").expect("a string takes everything");
}

fn values(workload: &dyn Workload, parameter: &Parameter) -> String {
    let choices = workload.choices(parameter.name);
    if !choices.is_empty() {
        return choices.join(", ");
    }
    let range = |(min, max): (u64, u64)| {
        if min == max {
            format!("{min}")
        } else {
            format!("{min} to {max}")
        }
    };
    format!(
        "sim: {}; live: {}; possible: {}",
        range(parameter.drawn),
        parameter.live,
        range(parameter.bounds)
    )
}
