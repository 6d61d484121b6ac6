//! Where the faults of a run come from.

use std::time::Duration;

use super::swarm::{Profile, Swarm};
use super::{Latency, Plan};
use crate::fault::{ClientId, Fault, FaultKind};
use crate::network::Endpoints;

/// Where the faults of a run come from: nowhere, a list, or the seed.
///
/// ```
/// use etcd_sim::plan::Faults;
/// use etcd_sim::fault::{Fault, FaultKind};
///
/// let none = Faults::none();
/// // Each seed draws which kinds are on, and how many faults there are.
/// let swarm = Faults::swarm().at_most(8).without(["client kill"]);
/// // Twice a second an answer is lost; every ten seconds the leader crashes.
/// let rates = Faults::rates([("response lost", 2.0), ("member restart", 0.1)]);
/// // These and no others.
/// let list = Faults::list([Fault { at_ms: 500, kind: FaultKind::Compact }]);
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    source: Source,
    at_most: usize,
    /// The kinds that are drawn, as bits.
    kinds: u64,
    /// Kinds that were asked for and do not exist.
    unknown: Vec<String>,
}

#[derive(Clone, Debug)]
enum Source {
    List(Vec<Fault>),
    Swarm,
    /// By number of the kind, how many a second.
    Rates(Vec<(usize, f64)>),
}

/// No run has more faults of one kind than so many: each is looked at with each other.
const RATES_MAX: f64 = 10_000.0;

/// What else a plan is drawn from.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) members: usize,
    /// None: as the seed says, or all.
    pub(crate) endpoints: Option<Endpoints>,
    /// None: as the seed says, or no delays.
    pub(crate) latency: Option<Latency>,
    pub(crate) clients: ClientId,
    pub(crate) lasts: Duration,
}

impl Setting {
    fn profile(&self, faults_max: usize) -> Profile {
        Profile {
            clients: self.clients,
            until_ms: u64::try_from(self.lasts.as_millis()).unwrap_or(u64::MAX),
            faults_max,
            members: Some(self.members),
        }
    }
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Faults::from_source(Source::List(Vec::new()))
    }

    /// These faults, at their times, whatever the seed is.
    pub fn list(faults: impl IntoIterator<Item = Fault>) -> Self {
        Faults::from_source(Source::List(faults.into_iter().collect()))
    }

    /// Each seed draws which kinds of fault there are, few or many, then how often each,
    /// and how long messages take ([`Swarm`]): that finds more than a little of everything
    /// in every run. Up to 16 faults.
    pub fn swarm() -> Self {
        Faults::from_source(Source::Swarm)
    }

    /// Faults of these kinds ([`FaultKind::NAMES`]), so many a second of simulated time
    /// on average. When they strike, and whom, and for how long, is drawn from the seed.
    pub fn rates<'a>(rates: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        let mut faults = Faults::from_source(Source::Rates(Vec::new()));
        let mut known = Vec::new();
        for (name, rate) in rates {
            match number(name) {
                Some(kind) => known.push((kind, rate)),
                None => faults.unknown.push(name.to_owned()),
            }
        }
        faults.source = Source::Rates(known);
        faults.at_most = usize::MAX;
        faults
    }

    /// No more than so many faults in a run.
    #[must_use]
    pub fn at_most(mut self, faults: usize) -> Self {
        self.at_most = faults;
        self
    }

    /// Only these kinds ([`FaultKind::NAMES`]).
    #[must_use]
    pub fn only<'a>(mut self, kinds: impl IntoIterator<Item = &'a str>) -> Self {
        self.kinds &= self.bits(kinds);
        self
    }

    /// All kinds but these ([`FaultKind::NAMES`]).
    #[must_use]
    pub fn without<'a>(mut self, kinds: impl IntoIterator<Item = &'a str>) -> Self {
        self.kinds &= !self.bits(kinds);
        self
    }

    fn from_source(source: Source) -> Self {
        Faults {
            source,
            at_most: 16,
            kinds: u64::MAX,
            unknown: Vec::new(),
        }
    }

    fn bits<'a>(&mut self, kinds: impl IntoIterator<Item = &'a str>) -> u64 {
        let mut bits = 0;
        for name in kinds {
            match number(name) {
                Some(kind) => bits |= 1 << kind,
                None => self.unknown.push(name.to_owned()),
            }
        }
        bits
    }

    /// Whether the plans of some seeds have faults, and no more than a run can have.
    ///
    /// # Errors
    ///
    /// What is wrong and what to do, for people. Whoever wants no faults says so.
    pub(crate) fn check_sense(&self, setting: &Setting) -> Result<(), String> {
        if let Some(kind) = self.unknown.first() {
            let known = FaultKind::NAMES.join(", ");
            return Err(format!(
                "there is no kind of fault {kind:?}; there are: {known}"
            ));
        }
        match &self.source {
            Source::List(faults) if faults.is_empty() => return Ok(()),
            Source::List(_) => {}
            Source::Rates(rates) => check_rates(rates, setting)?,
            Source::Swarm => {
                let mut drawn = Profile::kinds(Some(setting.members)).filter_map(number);
                if !drawn.any(|kind| self.has(kind)) {
                    return Err(nothing("no kind is left that is drawn for so many members"));
                }
            }
        }
        match self.is_empty(setting) {
            Some(why) => Err(nothing(why)),
            None => Ok(()),
        }
    }

    /// Why there is no fault, whatever the seed is.
    fn is_empty(&self, setting: &Setting) -> Option<&'static str> {
        let is_left = match &self.source {
            Source::List(faults) => faults.iter().any(|fault| self.has_kind_of(fault)),
            Source::Rates(rates) => rates
                .iter()
                .any(|(kind, rate)| self.has(*kind) && *rate > 0.0),
            Source::Swarm => true,
        };
        let is_drawn = !matches!(self.source, Source::List(_));
        if !is_left {
            Some("no kind is left that comes at all")
        } else if is_drawn && self.at_most == 0 {
            Some("there are to be 0 at most")
        } else if matches!(self.source, Source::Rates(_)) && setting.lasts.is_zero() {
            Some("there is no time for them (Builder::lasts)")
        } else {
            None
        }
    }

    /// The plan of a seed.
    pub(crate) fn plan(&self, seed: u64, setting: &Setting) -> Plan {
        let quiet = Plan {
            latency: setting.latency.unwrap_or(Latency::NONE),
            members: setting.members,
            endpoints: setting.endpoints.unwrap_or_default(),
            ..Plan::quiet(seed)
        };
        match &self.source {
            Source::List(faults) => {
                let mut faults = faults.clone();
                faults.sort_by_key(|fault| fault.at_ms);
                faults.retain(|fault| self.has_kind_of(fault));
                Plan { faults, ..quiet }
            }
            Source::Rates(rates) => {
                let chosen: Vec<_> = rates
                    .iter()
                    .copied()
                    .filter(|rate| self.has(rate.0))
                    .collect();
                let mut faults = Swarm::at_rates(seed, &setting.profile(0), &chosen);
                faults.truncate(self.at_most);
                Plan { faults, ..quiet }
            }
            Source::Swarm => {
                let profile = setting.profile(self.at_most);
                let mut drawn = Swarm::draw(seed, &profile)
                    .only(|kind| self.has(kind))
                    .plan(seed, &profile);
                drawn.latency = setting.latency.unwrap_or(drawn.latency);
                drawn.endpoints = setting.endpoints.unwrap_or(drawn.endpoints);
                drawn
            }
        }
    }

    /// What a seed draws before any single fault, in words; none where nothing is drawn.
    pub(crate) fn swarm_of(&self, seed: u64, setting: &Setting) -> Option<String> {
        let Source::Swarm = self.source else {
            return None;
        };
        let swarm = Swarm::draw(seed, &setting.profile(self.at_most));
        Some(swarm.only(|kind| self.has(kind)).to_string())
    }

    fn has(&self, kind: usize) -> bool {
        self.kinds & 1 << kind != 0
    }

    fn has_kind_of(&self, fault: &Fault) -> bool {
        number(fault.kind.name()).is_some_and(|kind| self.has(kind))
    }
}

/// Whether rates are numbers, and come to no more faults than a run can have.
fn check_rates(rates: &[(usize, f64)], setting: &Setting) -> Result<(), String> {
    for (kind, rate) in rates {
        let kind = FaultKind::NAMES[*kind];
        if !rate.is_finite() || *rate < 0.0 {
            return Err(format!(
                "the rate of {kind:?} is {rate}: say how many there are a second, 0 or more"
            ));
        }
        let expected = rate * setting.lasts.as_secs_f64();
        if expected > RATES_MAX {
            return Err(format!(
                "{rate} of {kind:?} a second for {:?} (Builder::lasts) are {expected} faults, \
                 more than {RATES_MAX}: lower the rate",
                setting.lasts
            ));
        }
    }
    Ok(())
}

fn nothing(why: &str) -> String {
    format!(
        "the faults come to nothing: {why}. Leave some, or say `Faults::none()`: \
         what is tested under no fault looks as if it had been tested under some"
    )
}

fn number(name: &str) -> Option<usize> {
    FaultKind::NAMES.iter().position(|known| *known == name)
}

impl Default for Faults {
    fn default() -> Self {
        Faults::none()
    }
}

impl<const N: usize> From<[Fault; N]> for Faults {
    fn from(faults: [Fault; N]) -> Self {
        Faults::list(faults)
    }
}

impl From<Vec<Fault>> for Faults {
    fn from(faults: Vec<Fault>) -> Self {
        Faults::list(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: Setting = Setting {
        members: 3,
        endpoints: None,
        latency: None,
        clients: 2,
        lasts: Duration::from_secs(10),
    };

    #[test]
    fn rates_are_kept_on_average_and_one_does_not_change_the_others() {
        let both = Faults::rates([("response lost", 2.0), ("client pause", 0.5)]);
        let alone = Faults::rates([("client pause", 0.5)]);
        let of = |faults: &Faults, name: &str| -> Vec<Fault> {
            let plans = (0..100).map(|seed| faults.plan(seed, &SETTING));
            let all = plans.flat_map(|plan| plan.faults);
            all.filter(|fault| fault.kind.name() == name).collect()
        };
        let lost = of(&both, "response lost").len();
        assert!((1_900..=2_100).contains(&lost), "{lost}");
        assert_eq!(of(&both, "client pause"), of(&alone, "client pause"));
        assert!((420..=580).contains(&of(&alone, "client pause").len()));
    }

    #[test]
    fn only_the_kinds_that_are_wanted_are_drawn() {
        for seed in 0..100 {
            let only = Faults::swarm().only(["client pause", "reset"]);
            for fault in only.plan(seed, &SETTING).faults {
                assert!(["client pause", "reset"].contains(&fault.kind.name()));
            }
            let without = Faults::swarm().without(["client pause"]);
            for fault in without.plan(seed, &SETTING).faults {
                assert_ne!(fault.kind.name(), "client pause");
            }
            assert!(
                Faults::swarm()
                    .only([])
                    .plan(seed, &SETTING)
                    .faults
                    .is_empty()
            );
        }
    }

    #[test]
    fn faults_that_are_some_make_sense() {
        let lost = Fault {
            at_ms: 5,
            kind: FaultKind::LoseRequest { client: 0 },
        };
        for faults in [
            Faults::none(),
            Faults::list([]),
            Faults::list([lost]).only(["request lost"]),
            Faults::swarm(),
            Faults::swarm().only(["reset"]).at_most(1),
            Faults::rates([("reset", 0.0), ("compaction", 1_000.0)]),
            Faults::rates([("tokens expired", 0.1)]),
        ] {
            assert_eq!(faults.check_sense(&SETTING), Ok(()), "{faults:?}");
        }
    }

    #[test]
    fn faults_that_do_not_come_or_cannot_are_refused_with_what_to_do() {
        let lost = Fault {
            at_ms: 5,
            kind: FaultKind::LoseRequest { client: 0 },
        };
        let nothing = "Leave some, or say `Faults::none()`";
        let number = "say how many there are a second";
        for (faults, advice) in [
            (Faults::swarm().without(["rset"]), "\"rset\"; there are: "),
            (Faults::rates([("rset", 1.0)]), "\"rset\"; there are: "),
            (Faults::swarm().only([]), nothing),
            (Faults::swarm().only(["reset"]).without(["reset"]), nothing),
            (Faults::swarm().only(["tokens expired"]), nothing),
            (Faults::swarm().at_most(0), nothing),
            (Faults::rates([]), nothing),
            (Faults::rates([("reset", 0.0)]), nothing),
            (Faults::rates([("reset", 1.0)]).without(["reset"]), nothing),
            (Faults::rates([("reset", f64::NAN)]), number),
            (Faults::rates([("delay", 1.0), ("reset", -1.0)]), number),
            (Faults::rates([("reset", f64::INFINITY)]), number),
            (Faults::rates([("reset", 1e12)]), "lower the rate"),
            (Faults::list([lost]).without(["request lost"]), nothing),
        ] {
            let refused = faults.check_sense(&SETTING).unwrap_err();
            assert!(refused.contains(advice), "{faults:?}: {refused}");
        }
        let one = Setting {
            members: 1,
            ..SETTING
        };
        let several = Faults::swarm().only(["leader transfer"]);
        assert_eq!(several.check_sense(&SETTING), Ok(()));
        assert!(several.check_sense(&one).unwrap_err().contains(nothing));
        let at_once = Setting {
            lasts: Duration::ZERO,
            ..SETTING
        };
        let rates = Faults::rates([("reset", 1.0)]);
        assert!(rates.check_sense(&at_once).unwrap_err().contains(nothing));
    }
}
