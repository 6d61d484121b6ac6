//! What a plan may say that makes no sense.

use super::Plan;
use crate::fault::FaultKind;
use crate::network::Endpoints;

/// Something in a plan that makes no sense: where it is, and what may be there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {rule}")]
pub struct Senseless {
    place: String,
    rule: String,
}

impl Plan {
    /// Whether everything in the plan makes sense. Who is not there is another question:
    /// a plan may be for a cluster of another size.
    ///
    /// ```
    /// use etcd_sim::plan::{Latency, Plan};
    ///
    /// let latency = Latency { min_us: 9, max_us: 1 };
    /// let wrong = Plan { latency, ..Plan::quiet(1) }.check_sense().unwrap_err();
    /// assert!(wrong.to_string().starts_with("`latency`"));
    /// ```
    ///
    /// # Errors
    ///
    /// The first thing that does not.
    pub fn check_sense(&self) -> Result<(), Senseless> {
        let wrong = |place: &str, rule: String| {
            let place = place.to_owned();
            Err(Senseless { place, rule })
        };
        let latency = self.latency;
        if latency.min_us > latency.max_us {
            let rule = format!(
                "`min_us` is at most `max_us`, but {} is more than {}",
                latency.min_us, latency.max_us
            );
            return wrong("`latency`", rule);
        }
        if let Endpoints::One(member) = self.endpoints
            && member >= self.members
        {
            let rule = format!(
                "`one` is a member, but there is no member {member} of {}, counted from 0",
                self.members
            );
            return wrong("`endpoints`", rule);
        }
        for fault in &self.faults {
            if let Some(rule) = fault.kind.broken_rule() {
                let place = format!("the fault at {} ms ({})", fault.at_ms, fault.kind.name());
                return wrong(&place, rule.to_owned());
            }
        }
        Ok(())
    }
}

impl FaultKind {
    /// What its fields should be, if they are not.
    fn broken_rule(&self) -> Option<&'static str> {
        let (is_broken, rule) = match self {
            FaultKind::FragmentEvents { bytes, .. } => (*bytes == 0, "`bytes` is at least 1"),
            FaultKind::DelayLink { between, .. } => {
                (between.0 == between.1, "`between` names two different ones")
            }
            FaultKind::Cut { from, to, .. } => (
                from.is_empty() || to.is_empty(),
                "`from` and `to` each name somebody",
            ),
            FaultKind::CompactAt { revision } => (*revision < 1, "`revision` is at least 1"),
            _ => return None,
        };
        is_broken.then_some(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Party};
    use crate::plan::{Latency, Profile};

    fn with(kind: FaultKind) -> Plan {
        Plan {
            faults: vec![Fault { at_ms: 5, kind }],
            ..Plan::quiet(1)
        }
    }

    #[test]
    fn what_is_drawn_makes_sense() {
        for seed in 0..300 {
            let profile = Profile {
                clients: 4,
                until_ms: 1_000,
                faults_max: 12,
                members: Some(3),
            };
            Plan::draw(seed, &profile).check_sense().unwrap();
        }
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_place() {
        let one = Party::Member(0);
        let cut = |from: &[Party], to: &[Party]| {
            with(FaultKind::Cut {
                from: from.to_vec(),
                to: to.to_vec(),
                one_way: false,
                for_ms: 1,
            })
        };
        let to_itself = with(FaultKind::DelayLink {
            between: (one, one),
            by_ms: 1,
            jitter_ms: 0,
            for_ms: 1,
        });
        let fragments = with(FaultKind::FragmentEvents {
            member: 0,
            bytes: 0,
            for_ms: 1,
        });
        let swapped = Plan {
            latency: Latency {
                min_us: 2,
                max_us: 1,
            },
            ..Plan::quiet(1)
        };
        let nowhere = Plan {
            members: 3,
            endpoints: Endpoints::One(7),
            ..Plan::quiet(1)
        };
        for (plan, reason) in [
            (fragments, "the fault at 5 ms (events fragmented): `bytes`"),
            (to_itself, "the fault at 5 ms (link delay): `between`"),
            (cut(&[], &[one]), "(link cut): `from` and `to`"),
            (cut(&[one], &[]), "(link cut): `from` and `to`"),
            (
                with(FaultKind::CompactAt { revision: -5 }),
                "(compaction at revision): `revision` is at least 1",
            ),
            (swapped, "`latency`: `min_us` is at most"),
            (nowhere, "`endpoints`: `one` is a member, but there is no"),
        ] {
            let error = plan.check_sense().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
