//! What members answer to plain HTTP beside gRPC: `/health`, `/livez`, `/readyz`,
//! `/metrics` and `/version` (`server/etcdserver/api/etcdhttp` in etcd's source). There is
//! no JSON gateway.

use std::time::Duration;

use etcd_client::proto::PbAlarmMember;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use tonic::body::Body;

use super::metrics;
use crate::cluster::{CORRUPT, ClusterError, Member, NO_SPACE};
use crate::executor::{now, sleep, sleep_until};
use crate::network::HELD;
use crate::version::{Excludes, Profile};

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_SNIFF: (HeaderName, HeaderValue) = (
    http::header::X_CONTENT_TYPE_OPTIONS,
    HeaderValue::from_static("nosniff"),
);

/// How often a member is looked at again that answers nothing until somebody says so.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Why a member is not healthy, in etcd's words.
type Reason = String;

/// The answer to a request that is not gRPC.
pub(super) async fn answer(etcd: &Member, method: &Method, uri: &Uri) -> Response<Body> {
    let profile = etcd.version().profile();
    let query = Query(uri.query().unwrap_or_default());
    if method == Method::OPTIONS {
        return with_cors(Response::new(Body::empty()));
    }
    // Whatever the method is.
    if uri.path() == "/metrics" {
        let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
        return respond(StatusCode::OK, kind, metrics::text(etcd));
    }
    let checks = match uri.path() {
        "/health" | "/version" => None,
        path => match checks(profile, path) {
            Some(checks) => Some(checks),
            None => return error(StatusCode::NOT_FOUND, "404 page not found"),
        },
    };
    if method != Method::GET {
        let mut refused = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        let allowed = HeaderValue::from_static("GET");
        refused.headers_mut().insert(ALLOW, allowed);
        return refused;
    }
    match checks {
        Some(checks) => probe(etcd, &query, checks).await,
        None if uri.path() == "/version" => version(etcd),
        None => health(etcd, profile, &query).await,
    }
}

fn version(etcd: &Member) -> Response<Body> {
    let (version, cluster) = (etcd.version(), etcd.options().minor_version());
    let text = format!(r#"{{"etcdserver":"{version}","etcdcluster":"{cluster}"}}"#);
    respond(StatusCode::OK, JSON, text)
}

async fn health(etcd: &Member, profile: Profile, query: &Query<'_>) -> Response<Body> {
    let unhealthy = unhealthy(etcd, profile, query).await;
    let (is_healthy, reason) = (unhealthy.is_none(), unhealthy.unwrap_or_default());
    let text = if profile.health.says_why {
        let reason = serde_json::Value::from(reason);
        format!(r#"{{"health":"{is_healthy}","reason":{reason}}}"#)
    } else {
        format!(r#"{{"health":"{is_healthy}"}}"#)
    };
    if is_healthy {
        respond(StatusCode::OK, PLAIN, text)
    } else {
        error(StatusCode::SERVICE_UNAVAILABLE, &text)
    }
}

async fn unhealthy(etcd: &Member, profile: Profile, query: &Query<'_>) -> Option<Reason> {
    if let Some(alarm) = first_alarm(&etcd.lock().alarms(), profile.health.excludes, query) {
        return Some(format!("ALARM {alarm}"));
    }
    let is_local = profile.health.can_be_local && query.first("serializable") == Some("true");
    if !is_local && !etcd.has_leader() {
        return Some("RAFT NO LEADER".to_owned());
    }
    let read = read(etcd, is_local);
    let done = match profile.health.reads_within {
        Some(limit) => {
            let (read, limit) = (std::pin::pin!(read), std::pin::pin!(sleep(limit)));
            match futures_util::future::select(read, limit).await {
                futures_util::future::Either::Left((done, _)) => done,
                futures_util::future::Either::Right(_) => Err(ClusterError::Timeout),
            }
        }
        None => read.await,
    };
    done.err().map(|error| format!("RANGE ERROR:{error}"))
}

/// The first alarm that is not left out.
fn first_alarm(
    alarms: &[PbAlarmMember],
    excludes: Excludes,
    query: &Query<'_>,
) -> Option<&'static str> {
    let mut excluded: Vec<&str> = match excludes {
        Excludes::Nothing => Vec::new(),
        Excludes::Once | Excludes::All => query.all("exclude").collect(),
    };
    alarms.iter().map(name).find(|alarm| {
        let at = excluded.iter().position(|excluded| excluded == alarm);
        if let (Some(at), Excludes::Once) = (at, excludes) {
            let name = excluded[at];
            excluded.retain(|excluded| *excluded != name);
        }
        at.is_none()
    })
}

fn name(alarm: &PbAlarmMember) -> &'static str {
    match alarm.alarm {
        NO_SPACE => "NOSPACE",
        CORRUPT => "CORRUPT",
        _ => "UNKNOWN",
    }
}

/// What one of the checks of `/livez` and `/readyz` looks at.
#[derive(Clone, Copy)]
enum Check {
    Corruption,
    LocalRead,
    Read,
    /// A member that answers here is none.
    Learner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::Corruption => "data_corruption",
            Check::LocalRead => "serializable_read",
            Check::Read => "linearizable_read",
            Check::Learner => "non_learner",
        }
    }

    async fn failed(self, etcd: &Member) -> Option<Reason> {
        match self {
            Check::Corruption => {
                let alarms = etcd.lock().alarms();
                let is_raised = alarms.iter().any(|alarm| alarm.alarm == CORRUPT);
                is_raised.then(|| "alarm activated: CORRUPT".to_owned())
            }
            Check::LocalRead | Check::Read => {
                let done = read(etcd, matches!(self, Check::LocalRead)).await;
                done.err().map(|error| error.to_string())
            }
            Check::Learner => None,
        }
    }
}

/// What is checked behind a path.
enum Checks {
    /// All of `/livez` or `/readyz`. The order is ours: that of etcd is another one each
    /// time.
    All(Vec<Check>),
    One(Check),
}

fn checks(profile: Profile, path: &str) -> Option<Checks> {
    use Check::{Corruption, Learner, LocalRead, Read};
    if !profile.health.has_probes {
        return None;
    }
    let (of, one) = match path.strip_prefix('/')?.split_once('/') {
        Some((of, one)) => (of, Some(one)),
        None => (path.strip_prefix('/')?, None),
    };
    let all = match of {
        "livez" => vec![LocalRead],
        "readyz" if profile.health.looks_for_learners => vec![Corruption, LocalRead, Read, Learner],
        "readyz" => vec![Corruption, LocalRead, Read],
        _ => return None,
    };
    let Some(one) = one else {
        return Some(Checks::All(all));
    };
    let found = all.into_iter().find(|check| check.name() == one);
    found.map(Checks::One)
}

async fn probe(etcd: &Member, query: &Query<'_>, checks: Checks) -> Response<Body> {
    let (mut told, mut is_well) = (String::new(), true);
    let checks = match checks {
        Checks::One(check) => vec![check],
        Checks::All(mut all) => {
            all.retain(|check| {
                query
                    .all("exclude")
                    .all(|excluded| excluded != check.name())
            });
            all
        }
    };
    for check in checks {
        let name = check.name();
        match check.failed(etcd).await {
            None => told += &format!("[+]{name} ok\n"),
            Some(why) => {
                is_well = false;
                told += &format!("[-]{name} failed: {why}\n");
            }
        }
    }
    if !is_well {
        return error(StatusCode::SERVICE_UNAVAILABLE, &told);
    }
    if query.first("verbose").is_none() {
        told.clear();
    }
    let mut well = respond(StatusCode::OK, PLAIN, told + "ok\n");
    well.headers_mut().extend([NO_SNIFF]);
    well
}

/// Reads something, as `root` does: linearizable, or what the member has.
async fn read(etcd: &Member, is_local: bool) -> Result<(), ClusterError> {
    loop {
        match etcd.stalled_until() {
            until if until <= now() => break,
            // It may end at any time.
            HELD => sleep(LOOK_AGAIN).await,
            until => sleep_until(until).await,
        }
    }
    if is_local {
        return Ok(());
    }
    etcd.confirm_read().await
}

/// What follows `?` in an address.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// All values of this name that say something.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values(name).filter(|value| !value.is_empty())
    }

    /// The first value of this name.
    fn first(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.split('&');
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter_map(move |(of, value)| (of == name).then_some(value))
    }
}

/// An answer as Go's `http.Error` gives it.
fn error(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = respond(status, PLAIN, format!("{text}\n"));
    answer.headers_mut().extend([NO_SNIFF]);
    answer
}

fn respond(status: StatusCode, content_type: HeaderValue, text: String) -> Response<Body> {
    let mut answer = Response::new(Body::new(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    with_cors(answer)
}

/// Pages of any origin may ask (`--cors`).
fn with_cors(mut answer: Response<Body>) -> Response<Body> {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        (
            "access-control-allow-methods",
            "POST, GET, OPTIONS, PUT, DELETE",
        ),
        (
            "access-control-allow-headers",
            "accept, content-type, authorization",
        ),
    ] {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    answer
}
