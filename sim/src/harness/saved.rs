//! A plan as a file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::executor::Executor;
use crate::fault::{Fault, Party};
use crate::network::Endpoints;
use crate::plan::{Latency, Plan};

const FORMAT: &str = "etcd-sim-plan";
const VERSION: u32 = 1;

/// The plan of a failing run as it is saved, and what it ran on.
///
/// JSON, to be read and changed by hand: the kinds of fault and their fields are those
/// of [`FaultKind`](crate::fault::FaultKind), in kebab-case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedPlan {
    /// The test that failed with it, for people.
    pub test: String,
    /// What it ran on. The same plan is another run on another executor.
    pub executor: Executor,
    /// The plan.
    pub plan: Plan,
}

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrongPlanFile {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// It is no plan in JSON.
    #[error("{path} is not a plan: {error}")]
    Json {
        /// Which file.
        path: String,
        /// What is wrong, with line and column.
        error: serde_json::Error,
    },
    /// It is another kind of file, or of another version.
    #[error(
        "{path} says `{format}` version {version}; this version of etcd-sim reads `{FORMAT}` version {VERSION}"
    )]
    Format {
        /// Which file.
        path: String,
        /// What it says.
        format: String,
        /// Which version it says.
        version: u32,
    },
    /// This build has no such executor.
    #[error(
        "{path} wants the executor `{executor}`, which this build does not have: build with RUSTFLAGS=\"--cfg madsim\", or write \"tokio\" (another run)"
    )]
    Executor {
        /// Which file.
        path: String,
        /// What it says.
        executor: String,
    },
    /// There is no such cluster, a fault strikes a member that it does not have, or
    /// something else in the plan makes no sense.
    #[error("{path}: {what}")]
    Members {
        /// Which file.
        path: String,
        /// What is wrong.
        what: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    version: u32,
    test: String,
    executor: String,
    seed: u64,
    latency: Latency,
    members: usize,
    #[serde(default)]
    endpoints: Endpoints,
    faults: Vec<Fault>,
}

impl SavedPlan {
    /// Reads a file and checks that it can be run.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub fn load(path: &Path) -> Result<Self, WrongPlanFile> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| WrongPlanFile::Io {
            path: name(),
            error,
        })?;
        let file: File = serde_json::from_str(&text).map_err(|error| WrongPlanFile::Json {
            path: name(),
            error,
        })?;
        if (file.format.as_str(), file.version) != (FORMAT, VERSION) {
            return Err(WrongPlanFile::Format {
                path: name(),
                format: file.format,
                version: file.version,
            });
        }
        let Some(executor) = Executor::find(&file.executor) else {
            return Err(WrongPlanFile::Executor {
                path: name(),
                executor: file.executor,
            });
        };
        let plan = Plan {
            seed: file.seed,
            latency: file.latency,
            members: file.members,
            endpoints: file.endpoints,
            faults: file.faults,
        };
        let saved = SavedPlan {
            test: file.test,
            executor,
            plan,
        };
        let senseless = || {
            saved
                .plan
                .check_sense()
                .err()
                .map(|wrong| wrong.to_string())
        };
        match wrong_members(&saved.plan).or_else(senseless) {
            Some(what) => Err(WrongPlanFile::Members { path: name(), what }),
            None => Ok(saved),
        }
    }

    /// The file's text: indented JSON that ends with a line break.
    pub fn to_json(&self) -> String {
        let plan = self.plan.clone();
        let file = File {
            format: FORMAT.to_owned(),
            version: VERSION,
            test: self.test.clone(),
            executor: self.executor.name().to_owned(),
            seed: plan.seed,
            latency: plan.latency,
            members: plan.members,
            endpoints: plan.endpoints,
            faults: plan.faults,
        };
        let mut text = serde_json::to_string_pretty(&file).expect("plans have a JSON form");
        text.push('\n');
        text
    }

    /// Writes the file into a folder, which is made; the file's path.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, WrongPlanFile> {
        let test: String = self.test.chars().map(in_file_name).collect();
        let path = folder.join(format!("{test}-{}.json", self.plan.seed));
        let written =
            std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, self.to_json()));
        written.map_err(|error| WrongPlanFile::Io {
            path: path.display().to_string(),
            error,
        })?;
        Ok(path)
    }
}

fn in_file_name(letter: char) -> char {
    if letter.is_alphanumeric() || "_-.".contains(letter) {
        letter
    } else {
        '-'
    }
}

/// What is wrong with the members that a plan names, if anything is.
pub(crate) fn wrong_members(plan: &Plan) -> Option<String> {
    let members = plan.members;
    if !(1..=5).contains(&members) {
        return Some(format!("a cluster has 1 to 5 members, not {members}"));
    }
    plan.faults.iter().find_map(|fault| {
        let unknown = |party: &Party| matches!(*party, Party::Member(member) if member >= members);
        let party = fault.kind.parties().into_iter().find(unknown)?;
        Some(format!(
            "the fault at {} ms strikes {party:?}, but the cluster has {members} member{}, counted from 0",
            fault.at_ms,
            if members == 1 { "" } else { "s" }
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Profile;

    const PROFILE: Profile = Profile {
        clients: 3,
        until_ms: 5_000,
        faults_max: 12,
        members: Some(3),
    };

    #[test]
    fn a_plan_survives_being_saved_and_loaded_and_a_wrong_file_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let saved = SavedPlan {
            test: "module::a test".to_owned(),
            executor: Executor::BEST,
            plan: Plan::draw(7, &PROFILE),
        };
        let path = saved.save(folder.path()).unwrap();
        assert!(path.ends_with("module--a-test-7.json"), "{path:?}");
        assert_eq!(SavedPlan::load(&path).unwrap(), saved);

        let refused = |from: &str, to: &str| {
            let text = saved.to_json();
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text);
            std::fs::write(&path, bad).unwrap();
            let refused = SavedPlan::load(&path).unwrap_err().to_string();
            assert!(refused.contains("module--a-test-7.json"), "{refused}");
            refused
        };
        assert!(refused("{", "[").contains("not a plan"));
        assert!(refused("etcd-sim-plan", "other").contains("`other`"));
        assert!(refused("\"version\": 1", "\"version\": 2").contains("version 2"));
        assert!(refused("\"executor\": \"", "\"executor\": \"un").contains("does not have"));
        assert!(refused("\"members\": 3", "\"members\": 9").contains("not 9"));
        assert!(refused("\"min_us\": ", "\"min_us\": 99999").contains("`latency`"));
    }
}
