//! The lasting watches of a connection, shared by whoever waits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use etcd_client::Client;

use super::lasting::Range;
use super::mirror::{Handle, Mirror};
use crate::request::{DEFAULT_REQUEST_DEADLINE, Requests};

/// The lasting watches of one connection. Clones are the same.
///
/// Each session has its own unless it is told to
/// [share](crate::SessionOptions::watches) one: sessions of one process that
/// wait under the same name then cost etcd one watch, however many they are.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use etcd_recipes::etcd_client::Client;
/// use etcd_recipes::{Session, SessionOptions, watch::Watches};
///
/// let client = Client::connect(["127.0.0.1:2379"], None).await?;
/// let watches = Watches::new(&client);
/// let mut sessions = Vec::new();
/// for _ in 0..100 {
///     let options = SessionOptions::new().watches(&watches);
///     sessions.push(Session::with_options(&client, options).await?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Watches {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    requests: Requests,
    mirrors: Mutex<BTreeMap<Range, Weak<Handle>>>,
}

impl Watches {
    /// No watches yet: each is opened when somebody first waits for it, and
    /// closed when nobody can any more.
    pub fn new(client: &Client) -> Self {
        Self::with_requests(client, Requests::new(client, DEFAULT_REQUEST_DEADLINE))
    }

    pub(crate) fn with_requests(client: &Client, requests: Requests) -> Self {
        Self {
            inner: Arc::new(Inner {
                client: client.clone(),
                requests,
                mirrors: Mutex::default(),
            }),
        }
    }

    /// The local copy of the keys that begin with `prefix`.
    pub(crate) fn mirror(&self, prefix: &str) -> Mirror {
        self.mirror_of(Range::Prefix(prefix.to_owned()))
    }

    /// The local copy of one key.
    pub(crate) fn mirror_of_key(&self, key: &str) -> Mirror {
        self.mirror_of(Range::Key(key.to_owned()))
    }

    fn mirror_of(&self, range: Range) -> Mirror {
        let mut mirrors = self
            .inner
            .mirrors
            .lock()
            // Whole at every moment.
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = mirrors.get(&range).and_then(Weak::upgrade) {
            return Mirror::of(handle);
        }
        mirrors.retain(|_, handle| handle.strong_count() > 0);
        let requests = self.inner.requests.clone();
        let mirror = Mirror::new(&self.inner.client, requests, range.clone());
        mirrors.insert(range, mirror.downgrade());
        mirror
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").finish_non_exhaustive()
    }
}
