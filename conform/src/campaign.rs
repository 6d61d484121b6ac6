//! Many sequences, and what came of them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use etcd_sim::bug::EtcdBug;
use etcd_sim::version::Version;
use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde::Serialize;

use crate::generate::{sequence, uncompacted};
use crate::outcome::Outcome;
use crate::pair::{Compared, Differs, Pair};
use crate::pursuit::{Sides as _, pursue};
use crate::real::ConformError;
use crate::scenario::{self, Scenario};
use crate::shrink::without_needless;
use crate::step::Step;

/// After how many sequences an etcd of our own is started anew: its data stays small.
const SEQUENCES_PER_ETCD: u64 = 400;

/// How many sequences come then before the first one that compacts: an etcd that has never
/// compacted anything answers some things otherwise.
const UNCOMPACTED: u64 = 20;

/// How often a scenario that differs is tried without some of its steps, each time with an etcd
/// that was started anew.
const SCENARIO_TRIALS_MAX: u32 = 60;

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
    only: Option<Range<u64>>,
    scenarios: bool,
    bug: Option<EtcdBug>,
}

/// A comparison that is being made.
struct Run<'a> {
    campaign: &'a Campaign,
    pair: Pair,
    /// The first sequence since the etcd was last started.
    begun: u64,
    report: Report,
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
    /// How many of them were scenarios, which are not drawn.
    pub scenarios: u64,
    /// How many of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// How many were refused, by code and text.
    pub refusals: BTreeMap<String, u64>,
    /// A sequence that both answer differently, time and again.
    pub difference: Option<Difference>,
    /// Sequences that differed once, and never again, neither alone nor after the
    /// same sequences as then; and scenarios in which the etcd crashed once.
    pub unrepeated: Vec<Difference>,
}

/// A sequence that a real etcd and the simulated one answer differently. Its
/// `Display` is for people.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// Which sequence of the seed it was; none for a scenario.
    pub sequence: Option<u64>,
    /// The sequence that the etcd was started before, if this one alone is answered
    /// alike: what differs is answered so because of those between.
    pub together_from: Option<u64>,
    /// The name of the scenario.
    pub scenario: Option<&'static str>,
    /// The shortest sequence that was found, as a person reads it.
    pub steps: Vec<String>,
    /// Which of the steps is answered differently, from 0. Beyond the last: what
    /// watches have to say afterwards, or what is left when all is removed.
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
            true => writeln!(f, "  answer {} differs, - simulated, + real:", self.at + 1)?,
            false => writeln!(f, "  what comes to light then, - simulated, + real:")?,
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

    /// Only these sequences of the seed, one after the other on an etcd that has just
    /// been started.
    pub fn only(self, sequences: Range<u64>) -> Self {
        Campaign {
            only: Some(sequences),
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
        let pair = Pair::new(&self.target, self.bug)?;
        let report = Report {
            version: pair.version().to_string(),
            seed: self.seed,
            requests: 0,
            sequences: 0,
            scenarios: 0,
            kinds: BTreeMap::new(),
            refusals: BTreeMap::new(),
            difference: None,
            unrepeated: Vec::new(),
        };
        let mut run = Run {
            campaign: self,
            pair,
            begun: 0,
            report,
        };
        if self.scenarios {
            run.run_scenarios()?;
        }
        run.run_sequences(progress)?;
        Ok(run.report)
    }
}

impl Run<'_> {
    fn run_scenarios(&mut self) -> Result<(), ConformError> {
        for scenario in scenario::ALL {
            let Some(difference) = self.run_scenario(scenario)? else {
                continue;
            };
            // If chance has ended it, it lives the next time.
            let has_ended = self.pair.has_ended();
            if has_ended {
                self.renew(0)?;
            }
            if !has_ended || self.run_scenario(scenario)?.is_some() {
                self.report.difference = Some(self.shortened(scenario, difference)?);
                return Ok(());
            }
            self.report.unrepeated.push(difference);
        }
        self.renew(0)
    }

    fn run_scenario(&mut self, scenario: &Scenario) -> Result<Option<Difference>, ConformError> {
        let steps = (scenario.steps)();
        let compared = self.pair.compare(&steps)?;
        self.report.count(&compared);
        self.report.scenarios += 1;
        let differs = compared.differs;
        Ok(differs.map(|differs| of_scenario(scenario, &steps, differs)))
    }

    /// The same difference without the steps that it does not need.
    fn shortened(
        &mut self,
        scenario: &Scenario,
        difference: Difference,
    ) -> Result<Difference, ConformError> {
        let mut steps = (scenario.steps)();
        steps.truncate(difference.at + 1);
        let half = steps.len().div_ceil(2);
        let (mut shortest, mut trials) = (difference, 0);
        without_needless(steps, half, |steps| {
            trials += 1;
            if trials > SCENARIO_TRIALS_MAX {
                return Ok::<_, ConformError>(false);
            }
            self.renew(0)?;
            let differs = self.pair.compare(steps)?.differs;
            let found = differs.map(|differs| of_scenario(scenario, steps, differs));
            let is_found = found.is_some();
            if let Some(found) = found {
                shortest = found;
            }
            Ok(is_found)
        })?;
        Ok(shortest)
    }

    fn run_sequences(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), ConformError> {
        let only = self.campaign.only.clone();
        let sequences = only.clone().unwrap_or(0..u64::MAX);
        let goal = match only {
            Some(_) => u64::MAX,
            None => self.report.requests + self.campaign.requests,
        };
        self.begun = sequences.start;
        for sequence in sequences {
            if self.report.difference.is_some() || self.report.requests >= goal {
                break;
            }
            if sequence > self.begun && sequence.is_multiple_of(SEQUENCES_PER_ETCD) {
                self.renew(sequence)?;
            }
            self.run_sequence(sequence, progress)?;
            progress(Progress::Requests(self.report.requests));
        }
        Ok(())
    }

    fn run_sequence(
        &mut self,
        sequence: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ConformError> {
        let version = self.pair.version();
        let mut tree = self.campaign.tree(sequence, version);
        let steps = tree.current();
        let compared = self.pair.compare(&steps)?;
        self.report.count(&compared);
        let Some(first) = compared.differs else {
            return Ok(());
        };
        let told = |of: &[Step], differs: Differs, together_from: Option<u64>| Difference {
            sequence: Some(sequence),
            together_from,
            scenario: None,
            steps: texts(of),
            at: differs.at,
            diff: differs.diff,
        };
        let earlier = || {
            let earlier = self.begun..sequence;
            let drawn = earlier.map(|earlier| self.campaign.tree(earlier, version).current());
            drawn.collect()
        };
        let mut trials = 0;
        let found = pursue(&mut self.pair, &mut tree, earlier, &mut || {
            trials += 1;
            progress(Progress::Shrinking { trials });
        })?;
        match found {
            Some(found) => {
                let together_from = found.is_together.then_some(self.begun);
                let difference = told(&found.steps, found.differs, together_from);
                self.report.difference = Some(difference);
            }
            None => {
                self.report.unrepeated.push(told(&steps, first, None));
                // What it was, may have left something behind.
                self.renew(sequence + 1)?;
            }
        }
        Ok(())
    }

    /// Starts the etcd anew, before this sequence.
    fn renew(&mut self, sequence: u64) -> Result<(), ConformError> {
        self.pair.renew()?;
        self.begun = sequence;
        Ok(())
    }
}

impl Campaign {
    /// The nth sequence of the seed.
    fn tree(&self, sequence: u64, version: Version) -> impl ValueTree<Value = Vec<Step>> + use<> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&sequence.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let strategy = match sequence % SEQUENCES_PER_ETCD < UNCOMPACTED {
            true => uncompacted(version),
            false => self::sequence(version),
        };
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

fn of_scenario(scenario: &Scenario, steps: &[Step], differs: Differs) -> Difference {
    Difference {
        sequence: None,
        together_from: None,
        scenario: Some(scenario.name),
        // What comes after the answer that differs has nothing to do with it.
        steps: texts(&steps[..steps.len().min(differs.at + 1)]),
        at: differs.at,
        diff: differs.diff,
    }
}

fn texts(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbWatchRequestUnion;

    use super::*;

    fn is_from_below_zero(step: &Step) -> bool {
        let Step::Watch { requests, .. } = step else {
            return false;
        };
        let mut unions = requests.iter().map(|request| &request.request_union);
        unions.any(|union| {
            matches!(union, Some(PbWatchRequestUnion::CreateRequest(create))
                if create.start_revision < 0)
        })
    }

    #[test]
    fn the_first_sequences_of_each_etcd_compact_nothing_and_watch_from_below_zero() {
        let program = PathBuf::new();
        let campaign = Campaign::new(Target::Start { program }, 1);
        let mut from_below_zero = 0;
        for begun in (0..10).map(|number| number * SEQUENCES_PER_ETCD) {
            let steps = |sequence| campaign.tree(sequence, Version::default()).current();
            let is_compaction = |step: &Step| matches!(step, Step::Compact(_));
            let young = begun..begun + UNCOMPACTED;
            for steps in young.map(steps) {
                assert!(!steps.iter().any(is_compaction));
                from_below_zero += steps.iter().filter(|step| is_from_below_zero(step)).count();
            }
            let mut later = (begun + UNCOMPACTED..begun + SEQUENCES_PER_ETCD).map(steps);
            assert!(later.any(|steps| steps.iter().any(is_compaction)));
        }
        assert!(from_below_zero >= 5, "{from_below_zero}");
    }
}
