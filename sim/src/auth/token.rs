//! The simple tokens of one member (`server/auth/simple_token.go`).

use std::collections::BTreeMap;
use std::time::Duration;

/// How often tokens are looked at (`simpleTokenTTLResolution`).
const RESOLUTION: Duration = Duration::from_secs(1);

/// Who is logged in at one member. Each use of a token lets it live for another
/// full time; a crash forgets all.
#[derive(Debug)]
pub(crate) struct Tokens {
    ttl: Duration,
    /// When somebody began to look at tokens; none while nothing is checked.
    since: Option<Duration>,
    /// User and end of each token.
    tokens: BTreeMap<String, (String, Duration)>,
}

impl Tokens {
    pub(crate) fn new(ttl: Duration) -> Self {
        Tokens {
            ttl,
            since: None,
            tokens: BTreeMap::new(),
        }
    }

    /// From now on there are tokens.
    pub(crate) fn enable(&mut self, now: Duration) {
        self.since.get_or_insert(now);
    }

    /// From now on there are none.
    pub(crate) fn disable(&mut self) {
        self.since = None;
        self.tokens.clear();
    }

    /// A user has logged in.
    pub(crate) fn assign(&mut self, now: Duration, token: String, user: String) {
        if let Some(since) = self.since {
            self.tokens
                .retain(|_, (_, ends_at)| !is_over(since, *ends_at, now));
            self.tokens.insert(token, (user, now + self.ttl));
        }
    }

    /// Whose token this is.
    pub(crate) fn user_of(&mut self, now: Duration, token: &str) -> Option<String> {
        let since = self.since?;
        let (user, ends_at) = self.tokens.get_mut(token)?;
        if is_over(since, *ends_at, now) {
            self.tokens.remove(token);
            return None;
        }
        *ends_at = now + self.ttl;
        Some(user.clone())
    }

    /// Everybody has to log in anew; whether anybody was logged in.
    pub(crate) fn expire(&mut self) -> bool {
        let any = !self.tokens.is_empty();
        self.tokens.clear();
        any
    }

    /// A user has to log in anew.
    pub(crate) fn invalidate(&mut self, user: &str) {
        self.tokens.retain(|_, (of, _)| of != user);
    }
}

/// Whether a token is gone: the first look after its end has come.
fn is_over(since: Duration, ends_at: Duration, now: Duration) -> bool {
    let resolution = RESOLUTION.as_nanos();
    let looks = ends_at.saturating_sub(since).as_nanos() / resolution + 1;
    now.saturating_sub(since).as_nanos() >= looks * resolution
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_at_the_first_look_after_its_time() {
        let ms = Duration::from_millis;
        let mut tokens = Tokens::new(ms(2_000));
        tokens.assign(ms(0), "early".to_owned(), "a".to_owned());
        assert_eq!(tokens.user_of(ms(1), "early"), None, "nothing is checked");
        tokens.enable(ms(500));
        tokens.assign(ms(700), "t".to_owned(), "a".to_owned());
        assert_eq!(tokens.user_of(ms(2_600), "t").as_deref(), Some("a"));
        // Used at 2.6 s, so it ends at 4.6 s; looks are at 4.5 s and 5.5 s.
        assert_eq!(tokens.user_of(ms(5_499), "t").as_deref(), Some("a"));
        // Ends at 7.499 s; looks are at 6.5 s and 7.5 s.
        assert_eq!(tokens.user_of(ms(7_500), "t"), None);
        tokens.assign(ms(8_000), "u".to_owned(), "b".to_owned());
        tokens.invalidate("b");
        assert_eq!(tokens.user_of(ms(8_001), "u"), None);
    }
}
