//! From anomalies to a verdict.

use super::anomaly::Anomaly;
use super::consistency::Consistency;
use super::findings::Found;
use super::sentence::{Names, Sentence};
use crate::history::{History, Operation};
use crate::liveness::{Deadline, STUCK};
use crate::verdict::{
    Class, CountedAnomaly, Guarantee, Isolation, Summary, Verdict, Violation, count,
};

/// A weak model that nobody requires is decided by a search through all orders of versions only
/// in histories of no more transactions than this: in long ones that may take minutes, and it is
/// but one more thing that is wrong.
pub(crate) const UNASKED_MAX: usize = 100;

/// All that a history shows.
pub(crate) struct Evidence {
    /// In the order in which reports name them.
    pub(crate) found: Vec<(Anomaly, Found)>,
    /// Anomalies of which it is not known whether they occur.
    pub(crate) unknown: Vec<Anomaly>,
    /// Why not, as a sentence.
    pub(crate) reason: String,
}

/// Whether the models that are required hold, and which others do.
pub(crate) fn verdict(
    history: &History,
    operations: &[Operation<'_>],
    required: &[Consistency],
    evidence: Evidence,
) -> Verdict {
    let isolation = evidence.isolation(required);
    let guarantee = evidence.guarantee();
    let is_forbidden = |anomaly: Anomaly| required.iter().any(|model| model.forbids(anomaly));
    if evidence
        .found
        .iter()
        .any(|(anomaly, _)| is_forbidden(*anomaly))
    {
        return violated(required, evidence, isolation, guarantee);
    }
    if let Some(stuck) = find_stuck(history, operations) {
        return Verdict::Violation(stuck);
    }
    if evidence
        .unknown
        .iter()
        .any(|anomaly| is_forbidden(*anomaly))
    {
        return Verdict::Unknown {
            reason: evidence.reason,
        };
    }
    if let Some(model) = required.iter().find(|model| !evidence.decides(**model)) {
        return Verdict::Unknown {
            reason: format!(
                "whether {} holds cannot be told: nothing was found that breaks it, but that is not \
                 certain to find all that does; the strongest that holds is {}",
                model.name(),
                isolation.strongest.join(", ")
            ),
        };
    }
    let mut summary = Summary::of(operations);
    let mut names = Names::default();
    for (anomaly, found) in &evidence.found {
        let sentence = names.fill(&found.sentence);
        let note = format!("{anomaly}, which is allowed here: {sentence}");
        summary.notes.push(note);
    }
    summary.guarantee = guarantee;
    summary.isolation = Some(Box::new(isolation));
    Verdict::Valid(summary)
}

/// Whether it is known that the models hold that are required, or that one of them does not, as
/// far as what was `found` and what is `open` tell.
pub(crate) fn is_known(required: &[Consistency], found: &[Anomaly], open: &[Anomaly]) -> bool {
    let forbidden =
        |model: Consistency, some: &[Anomaly]| some.iter().any(|anomaly| model.forbids(*anomaly));
    let is_satisfied = |model: Consistency| {
        model.is_decided() && !forbidden(model, found) && !forbidden(model, open)
    };
    let follows = |model: Consistency| {
        let mut all = Consistency::ALL.into_iter();
        all.any(|stronger| stronger.implies(model) && is_satisfied(stronger))
    };
    required.iter().any(|model| forbidden(*model, found))
        || !required.is_empty() && required.iter().all(|model| follows(*model))
}

impl Evidence {
    fn breaks(&self, model: Consistency) -> bool {
        self.found
            .iter()
            .any(|(anomaly, _)| model.forbids(*anomaly))
    }

    pub(crate) fn satisfies(&self, model: Consistency) -> bool {
        let may_break = || self.unknown.iter().any(|anomaly| model.forbids(*anomaly));
        model.is_decided() && !self.breaks(model) && !may_break()
    }

    /// Whether a model that nothing was found to break holds for certain: because all that
    /// could was looked for, or because it follows from one of which that is so.
    fn decides(&self, model: Consistency) -> bool {
        let follows = |stronger: Consistency| stronger.implies(model) && self.satisfies(stronger);
        model.is_decided() || Consistency::ALL.into_iter().any(follows)
    }

    /// The strongest models that hold: each that does and follows from no other.
    pub(super) fn strongest(&self) -> Vec<Consistency> {
        let holds = Consistency::ALL
            .into_iter()
            .filter(|model| self.satisfies(*model));
        let holds: Vec<Consistency> = holds.collect();
        let follows = |model: &Consistency| {
            holds
                .iter()
                .any(|other| other != model && other.implies(*model))
        };
        holds
            .iter()
            .copied()
            .filter(|model| !follows(model))
            .collect()
    }

    fn guarantee(&self) -> Option<Guarantee> {
        let strongest = self.strongest().first().copied()?;
        let stronger = Consistency::ALL
            .into_iter()
            .filter(|other| other.implies(strongest));
        let mut others = stronger.filter(|other| *other != strongest);
        Some(Guarantee {
            name: strongest.name(),
            meaning: strongest.meaning(),
            is_exact: others.all(|other| self.breaks(other)),
        })
    }

    fn isolation(&self, required: &[Consistency]) -> Isolation {
        let names = |models: &[Consistency]| models.iter().map(|model| model.name()).collect();
        let broken: Vec<Consistency> = Consistency::ALL
            .into_iter()
            .filter(|model| self.breaks(*model))
            .collect();
        let is_weakest = |model: &Consistency| {
            !broken
                .iter()
                .any(|other| other != model && model.implies(*other))
        };
        let (not, also_not): (Vec<Consistency>, _) =
            broken.iter().partition(|model| is_weakest(model));
        Isolation {
            required: names(required),
            strongest: names(&self.strongest()),
            not: names(&not),
            also_not: names(&also_not),
            anomalies: self
                .found
                .iter()
                .map(|(anomaly, found)| CountedAnomaly {
                    name: anomaly.name(),
                    seen: found.count,
                })
                .collect(),
        }
    }
}

fn violated(
    required: &[Consistency],
    evidence: Evidence,
    isolation: Isolation,
    guarantee: Option<Guarantee>,
) -> Verdict {
    let is_forbidden = |anomaly: Anomaly| required.iter().any(|model| model.forbids(anomaly));
    let mut anomalies = evidence.found.iter().map(|(anomaly, _)| *anomaly);
    let first = anomalies.find(|anomaly| is_forbidden(*anomaly));
    let first = first.expect("something forbidden was found");
    // Of those that differ in nothing but the order that they need, what needs the fewest
    // transactions.
    let shown = evidence.found.iter().filter(|(anomaly, _)| {
        is_forbidden(*anomaly) && (*anomaly == first || anomaly.is_alike(first))
    });
    let shown = shown.min_by_key(|(_, found)| found.violation.witness.len());
    let shown = shown.map_or(first, |(anomaly, _)| *anomaly);
    let (primary, others): (Vec<_>, Vec<_>) = evidence
        .found
        .into_iter()
        .partition(|(anomaly, _)| *anomaly == shown);
    let primary = primary.into_iter().next();
    let (_, primary) = primary.expect("something forbidden was found");
    let also = told_once(&primary.sentence, others);
    let mut violation = primary.violation;
    violation.also.extend(also);
    violation.also.push(summed_up(&isolation));
    violation.guarantee = guarantee;
    violation.isolation = Some(Box::new(isolation));
    Verdict::Violation(violation)
}

/// The sentences of anomalies by their names. What was told already, of this anomaly or that, is
/// not told again. Who has a name in the first sentence has the same one here.
fn told_once(first: &Sentence, others: Vec<(Anomaly, Found)>) -> Vec<String> {
    let mut told: Vec<(String, Sentence)> = Vec::new();
    for (anomaly, Found { sentence, .. }) in others {
        match told.iter_mut().find(|(_, other)| *other == sentence) {
            Some((names, _)) => *names += &format!(", {anomaly}"),
            None => told.push((anomaly.to_string(), sentence)),
        }
    }
    let mut names = Names::default();
    names.fill(first);
    let line = |(anomalies, sentence): (String, Sentence)| match sentence {
        sentence if sentence == *first => format!("{anomalies}: the same"),
        sentence => format!("{anomalies}: {}", names.fill(&sentence)),
    };
    told.into_iter().map(line).collect()
}

fn summed_up(isolation: &Isolation) -> String {
    let list = |names: &[&str]| names.join(", ");
    let strongest = match isolation.strongest.as_slice() {
        [] if isolation.not.contains(&Consistency::ReadUncommitted.name()) => {
            "the history satisfies not even read-uncommitted".to_owned()
        }
        [] => "whether a weaker one holds is not known".to_owned(),
        strongest => format!("the strongest that holds is {}", list(strongest)),
    };
    let mut broken = list(&isolation.not);
    if !isolation.also_not.is_empty() {
        let stronger = count(isolation.also_not.len() as u64, "stronger model");
        broken += &format!(", and with it {stronger}");
    }
    format!(
        "{} was required; {strongest}; broken: {broken}",
        list(&isolation.required)
    )
}

fn find_stuck(history: &History, operations: &[Operation<'_>]) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let stuck = deadline.overdue(operations);
    let (first, others) = stuck.split_first()?;
    let mut violation = Violation::new(Class::Liveness, STUCK, deadline.sentence(first), [*first]);
    if !others.is_empty() {
        violation.also.push(format!(
            "{} had not finished either",
            count(others.len() as u64, "other operation")
        ));
    }
    Some(violation)
}

#[cfg(test)]
mod tests {
    use super::super::anomaly::{Dependencies, Order};
    use super::*;

    #[test]
    fn what_is_required_is_known_as_soon_as_nothing_that_is_open_matters_to_it() {
        use Consistency as C;
        let cycle = |dependencies| Anomaly::Cycle(dependencies, Order::Any);
        let skew = cycle(Dependencies::G2Item);
        let (single, nonadjacent) = (
            cycle(Dependencies::GSingle),
            cycle(Dependencies::GNonadjacent),
        );
        for (required, found, open, expected) in [
            (&[C::SnapshotIsolation][..], None, skew, true),
            (&[C::SnapshotIsolation], None, nonadjacent, false),
            (&[C::SnapshotIsolation], Some(single), nonadjacent, true),
            (&[C::SnapshotIsolation, C::Serializable], None, skew, false),
            // It is known only from a stronger one.
            (&[C::MonotonicView], None, nonadjacent, true),
            (&[C::MonotonicView], None, single, false),
            // Who requires nothing wants to know everything.
            (&[], None, skew, false),
        ] {
            let found: Vec<Anomaly> = found.into_iter().collect();
            let known = is_known(required, &found, &[open]);
            assert_eq!(known, expected, "{required:?} {found:?} {open}");
        }
    }
}
