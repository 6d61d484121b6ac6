//! Which seeds a sweep runs.

use std::ops::Range;
use std::str::FromStr;

use etcd_recipes::runtime;

/// What `--seeds` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seeds {
    /// These, the last one excluded.
    Range(Range<u64>),
    /// This many, from a start that is drawn.
    Random(u64),
}

impl Seeds {
    /// The seeds. A random start is drawn here: ask once.
    pub(crate) fn range(&self) -> Range<u64> {
        match self {
            Seeds::Range(range) => range.clone(),
            // 32 bits can still be read out loud.
            Seeds::Random(count) => {
                let start = runtime::random_u64() >> 32;
                start..start + count
            }
        }
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            digits
                .parse::<u64>()
                .map_err(|_| format!("`{digits}` is not a number; give N, A..B or random:N"))
        };
        let seeds = if let Some(count) = text.strip_prefix("random:") {
            let count = number(count)?;
            if count > u64::from(u32::MAX) {
                return Err(format!("{count} seeds are too many; at most {}", u32::MAX));
            }
            return if count == 0 {
                Err(none())
            } else {
                Ok(Seeds::Random(count))
            };
        } else if let Some((from, to)) = text.split_once("..") {
            number(from)?..number(to)?
        } else {
            0..number(text)?
        };
        if seeds.is_empty() {
            Err(none())
        } else {
            Ok(Seeds::Range(seeds))
        }
    }
}

fn none() -> String {
    "there is no seed in that; in A..B, A is the first and B is one past the last".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_count_a_range_or_drawn() {
        assert_eq!("1000".parse(), Ok(Seeds::Range(0..1000)));
        assert_eq!("5..8".parse(), Ok(Seeds::Range(5..8)));
        let seeds: Seeds = "random:10".parse().unwrap();
        let range = seeds.range();
        assert_eq!(range.end - range.start, 10);
    }

    #[test]
    fn what_names_no_seed_is_refused() {
        for text in [
            "", "0", "8..5", "5..5", "random:0", "random:", "-1", "1..x", "a",
        ] {
            assert!(text.parse::<Seeds>().is_err(), "{text}");
        }
    }
}
