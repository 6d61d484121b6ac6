//! Many sequences, and what came of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use etcd_sim::bug::EtcdBug;
use etcd_sim::version::Version;
use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde::Serialize;

use crate::generate::sequence;
use crate::listen::PATIENCE;
use crate::outcome::Outcome;
use crate::pair::{Compared, Pair};
use crate::real::ConformError;
use crate::scenario;
use crate::shrink::shrink;
use crate::step::Step;

/// After how many sequences an etcd of our own is started anew: what happens before
/// the first compaction is seen often, and its data stays small.
const SEQUENCES_PER_ETCD: u64 = 400;

/// How often a sequence that differed is tried again.
const REPEATS: u32 = 3;

/// How long a sequence that differs is made shorter.
const SHRINKING_MAX: Duration = Duration::from_secs(120);

/// How long an answer of a watch is waited for meanwhile.
const SHORT_PATIENCE: Duration = Duration::from_millis(700);

/// The real etcd.
#[derive(Clone, Debug)]
pub enum Target {
    /// One that is started, with data in a folder of its own, and killed at the end.
    Start {
        /// The program: a path, or a name to be found on the `PATH`.
        program: PathBuf,
    },
    /// One that runs already. All of its keys and leases are removed, again and
    /// again.
    Running {
        /// Its URL.
        endpoint: String,
        /// Not even if it is in use shall it be spared.
        destroy_data: bool,
    },
}

/// A comparison to be made.
#[derive(Clone, Debug)]
pub struct Campaign {
    target: Target,
    seed: u64,
    requests: u64,
    only: Option<u64>,
    scenarios: bool,
    bug: Option<EtcdBug>,
}

/// How far a comparison has come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// So many requests were sent to both.
    Requests(u64),
    /// A sequence has differed, and is made shorter.
    Shrinking {
        /// How many sequences were tried.
        trials: u64,
    },
}

/// What came of a comparison.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The release of the real etcd.
    pub version: String,
    /// What the requests were drawn from.
    pub seed: u64,
    /// How many requests both have answered, those of scenarios included.
    pub requests: u64,
    /// In how many sequences, each on an empty etcd.
    pub sequences: u64,
    /// How many of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// How many were refused, by code and text.
    pub refusals: BTreeMap<String, u64>,
    /// A sequence that both answer differently, time and again.
    pub difference: Option<Difference>,
    /// Sequences that differed once, and never again.
    pub unrepeated: Vec<Difference>,
}

/// A sequence that a real etcd and the simulated one answer differently. Its
/// `Display` is for people.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// Which sequence of the seed it was; none for a scenario.
    pub sequence: Option<u64>,
    /// The name of the scenario.
    pub scenario: Option<&'static str>,
    /// The shortest sequence that was found, as a person reads it.
    pub steps: Vec<String>,
    /// Which of the steps is answered differently, from 0. Beyond the last: what
    /// watches have to say afterwards.
    pub at: usize,
    /// The lines in which the answers differ: `-` the simulated, `+` the real one.
    pub diff: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:>2}. {step}", number + 1)?;
        }
        match self.at < self.steps.len() {
            true => writeln!(f, "  answer {}, - simulated, + real:", self.at + 1)?,
            false => writeln!(f, "  what the watches say then, - simulated, + real:")?,
        }
        f.write_str(self.diff.trim_end())
    }
}

impl Campaign {
    /// A comparison of 1000 requests and all scenarios.
    pub fn new(target: Target, seed: u64) -> Self {
        Campaign {
            target,
            seed,
            requests: 1000,
            only: None,
            scenarios: true,
            bug: None,
        }
    }

    /// How many random requests are to be sent at least, unless a difference is found.
    pub fn requests(self, requests: u64) -> Self {
        Campaign { requests, ..self }
    }

    /// Only this sequence of the seed.
    pub fn only(self, sequence: u64) -> Self {
        Campaign {
            only: Some(sequence),
            scenarios: false,
            ..self
        }
    }

    /// Whether the [scenarios](crate::scenario) come first.
    pub fn scenarios(self, scenarios: bool) -> Self {
        Campaign { scenarios, ..self }
    }

    /// Puts a known bug into the simulated etcd: to see that it is found.
    pub fn bug(self, bug: Option<EtcdBug>) -> Self {
        Campaign { bug, ..self }
    }

    /// Makes the comparison. Ends at the first difference that repeats itself.
    ///
    /// # Errors
    ///
    /// [`ConformError`], when the two cannot be compared.
    pub fn run(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report, ConformError> {
        let mut pair = Pair::new(&self.target, self.bug)?;
        let mut report = Report {
            version: pair.version().to_string(),
            seed: self.seed,
            requests: 0,
            sequences: 0,
            kinds: BTreeMap::new(),
            refusals: BTreeMap::new(),
            difference: None,
            unrepeated: Vec::new(),
        };
        if self.scenarios {
            self.run_scenarios(&mut pair, &mut report)?;
        }
        let goal = report.requests + self.requests;
        let mut sequence = self.only.unwrap_or(0);
        while report.difference.is_none() && report.requests < goal {
            let is_own = matches!(self.target, Target::Start { .. });
            if is_own && sequence % SEQUENCES_PER_ETCD == SEQUENCES_PER_ETCD - 1 {
                pair = Pair::new(&self.target, self.bug)?;
            }
            self.run_sequence(&mut pair, sequence, &mut report, progress)?;
            progress(Progress::Requests(report.requests));
            if self.only.is_some() {
                break;
            }
            sequence += 1;
        }
        Ok(report)
    }

    fn run_scenarios(&self, pair: &mut Pair, report: &mut Report) -> Result<(), ConformError> {
        for scenario in scenario::ALL {
            let steps = (scenario.steps)();
            let compared = pair.compare(&steps)?;
            report.count(&compared);
            if let Some(differs) = compared.differs {
                report.difference = Some(Difference {
                    sequence: None,
                    scenario: Some(scenario.name),
                    steps: texts(&steps),
                    at: differs.at,
                    diff: differs.diff,
                });
                return Ok(());
            }
        }
        Ok(())
    }

    fn run_sequence(
        &self,
        pair: &mut Pair,
        sequence: u64,
        report: &mut Report,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ConformError> {
        let mut tree = self.tree(sequence, pair.version());
        let steps = tree.current();
        let compared = pair.compare(&steps)?;
        report.count(&compared);
        let Some(first) = compared.differs else {
            return Ok(());
        };
        let told = |steps: &[Step], at: usize, diff: String| Difference {
            sequence: Some(sequence),
            scenario: None,
            steps: texts(steps),
            at,
            diff,
        };
        let mut repeats = false;
        for _ in 0..REPEATS {
            repeats = repeats || self.differs(pair, &steps)?.is_some();
        }
        if !repeats {
            report.unrepeated.push(told(&steps, first.at, first.diff));
            return Ok(());
        }
        let mut trials = 0;
        let begin = now();
        let shortest = shrink(&mut tree, |steps| {
            trials += 1;
            progress(Progress::Shrinking { trials });
            if begin.elapsed() > SHRINKING_MAX {
                return Ok(false);
            }
            pair.be_patient_for(SHORT_PATIENCE);
            Ok::<_, ConformError>(self.differs(pair, steps)?.is_some())
        })?;
        pair.be_patient_for(PATIENCE);
        let last = self.differs(pair, &shortest)?;
        report.difference = Some(match last {
            Some((at, diff)) => told(&shortest, at, diff),
            None => told(&steps, first.at, first.diff),
        });
        Ok(())
    }

    /// Where and how a sequence is answered differently, if it is. An etcd that has
    /// crashed is started anew.
    fn differs(
        &self,
        pair: &mut Pair,
        steps: &[Step],
    ) -> Result<Option<(usize, String)>, ConformError> {
        if pair.has_ended() {
            *pair = Pair::new(&self.target, self.bug)?;
        }
        let differs = pair.compare(steps)?.differs;
        Ok(differs.map(|differs| (differs.at, differs.diff)))
    }

    /// The nth sequence of the seed.
    fn tree(&self, sequence: u64, version: Version) -> impl ValueTree<Value = Vec<Step>> + use<> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&sequence.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let strategy = self::sequence(version);
        strategy
            .new_tree(&mut runner)
            .expect("nothing that is made up is rejected")
    }
}

impl Report {
    fn count(&mut self, compared: &Compared) {
        self.sequences += 1;
        for taken in &compared.taken {
            let requests = taken.step.requests();
            self.requests += requests;
            if requests > 0 {
                *self.kinds.entry(taken.step.kind()).or_default() += requests;
            }
            if let Outcome::Refusal(text) = &taken.outcome {
                *self.refusals.entry(text.clone()).or_default() += 1;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a real etcd lives in real time")]
fn now() -> Instant {
    Instant::now()
}

fn texts(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}
