//! Users and tokens: waits that last longer than a token.
//!
//! etcd gives a client a token when it connects, which expires; with simple
//! tokens after some time without use (`--auth-token-ttl`), with JSON web tokens
//! after a fixed time. A client that was told to
//! (`ConnectOptions::with_auto_token_refresh`) asks for a new one when a request
//! is refused; streams it cannot repair by itself.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use etcd_recipes::etcd_client::{Client, ConnectOptions, Permission};
use etcd_recipes::session::SessionState;
use etcd_recipes::{Election, Error, Mutex, Queue, Session, SessionOptions, Stm, runtime};

use futures_util::future::{join, join3};

use super::server::Server;
use super::{A_MINUTE, within};

/// How long the servers of these tests let a token live.
const TOKEN_TTL: Duration = Duration::from_secs(2);

/// A server whose simple tokens live for 2 s.
async fn simple_tokens() -> Server {
    let server = Server::with_arguments(&["--auth-token-ttl", "2"]);
    with_users(&server).await;
    server
}

/// A server whose JSON web tokens live for 2 s.
async fn web_tokens(keys: &Path) -> Server {
    let (private, public) = (keys.join("private.pem"), keys.join("public.pem"));
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).output();
        let done = done.expect("these tests make their keys with openssl");
        assert!(done.status.success(), "openssl {arguments:?}");
    };
    let (private, public) = (private.to_str().unwrap(), public.to_str().unwrap());
    openssl(&["genrsa", "-out", private, "2048"]);
    openssl(&["rsa", "-in", private, "-pubout", "-out", public]);
    let token = format!("jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl=2s");
    let server = Server::with_arguments(&["--auth-token", &token]);
    with_users(&server).await;
    server
}

/// Users `root` and `worker`; the latter may use what begins with `work/`.
async fn with_users(server: &Server) {
    let mut client = server.client().await;
    client.user_add("root", "secret", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("worker", "secret", None).await.unwrap();
    client.role_add("workers").await.unwrap();
    let prefix = Permission::read_write("work/").with_prefix();
    client
        .role_grant_permission("workers", prefix)
        .await
        .unwrap();
    client.user_grant_role("worker", "workers").await.unwrap();
    client.auth_enable().await.unwrap();
}

async fn worker(server: &Server, refresh: bool) -> Client {
    let options = ConnectOptions::new()
        .with_user("worker", "secret")
        .with_auto_token_refresh(refresh);
    Client::connect([server.endpoint()], Some(options))
        .await
        .unwrap()
}

fn short_session() -> SessionOptions {
    SessionOptions::new().ttl(Duration::from_secs(3))
}

/// Waits of every kind that outlast `rounds` tokens, with idle times between, so
/// that whoever is woken finds its token expired.
async fn recipes_survive(server: &Server, rounds: u32) {
    let (waiting, acting) = (worker(server, true).await, worker(server, true).await);
    let session = Session::with_options(&waiting, short_session())
        .await
        .unwrap();
    let other = Session::with_options(&acting, short_session())
        .await
        .unwrap();
    for round in 0..rounds {
        let (queue, feeder) = (
            Queue::new(&waiting, "work/jobs").unwrap(),
            Queue::new(&acting, "work/jobs").unwrap(),
        );
        let (mutex, held) = (
            Mutex::new(&session, "work/lock").unwrap(),
            Mutex::new(&other, "work/lock").unwrap(),
        );
        let (candidate, leader) = (
            Election::new(&session, "work/election").unwrap(),
            Election::new(&other, "work/election").unwrap(),
        );
        let guard = held.lock().await.unwrap();
        let term = leader.campaign("first").await.unwrap();
        let act = async {
            runtime::sleep(TOKEN_TTL * 2).await;
            feeder.enqueue(format!("job {round}")).await.unwrap();
            guard.unlock().await.unwrap();
            term.resign().await.unwrap();
        };
        let wait = async {
            // On the heap: together they are large.
            let item = Box::pin(queue.dequeue());
            let lock = Box::pin(mutex.lock());
            let campaign = Box::pin(candidate.campaign("second"));
            let (item, lock, campaign) = join3(item, lock, campaign).await;
            assert_eq!(item.unwrap().value, format!("job {round}").as_bytes());
            lock.unwrap().unlock().await.unwrap();
            campaign.unwrap().resign().await.unwrap();
        };
        within(A_MINUTE, join(Box::pin(wait), Box::pin(act))).await;
        let stm = Stm::new(&waiting);
        let done = stm.run(|txn| async move {
            txn.put("work/round", round.to_string());
            txn.get("work/none").await
        });
        done.await.unwrap();
        for session in [&session, &other] {
            assert!(matches!(session.state(), SessionState::Healthy), "{round}");
        }
    }
    session.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn waits_survive_simple_tokens_that_expire() {
    let server = simple_tokens().await;
    Box::pin(recipes_survive(&server, 3)).await;
}

#[tokio::test]
async fn waits_survive_json_web_tokens_that_expire() {
    let keys = tempfile::tempdir().unwrap();
    let server = web_tokens(keys.path()).await;
    Box::pin(recipes_survive(&server, 3)).await;
}

/// The same for minutes: run by hand, with `--ignored`.
#[tokio::test]
#[ignore = "takes minutes"]
async fn waits_survive_tokens_that_expire_for_minutes() {
    let keys = tempfile::tempdir().unwrap();
    let (simple, web) = (simple_tokens().await, web_tokens(keys.path()).await);
    let simple = Box::pin(recipes_survive(&simple, 40));
    let web = Box::pin(recipes_survive(&web, 40));
    within(A_MINUTE * 10, join(simple, web)).await;
}

/// A stream that breaks after the token has expired is opened with the expired
/// one; etcd then cancels the watch as if the user had no permission.
#[tokio::test]
async fn a_watch_that_is_opened_with_an_expired_token_goes_on() {
    let keys = tempfile::tempdir().unwrap();
    for server in [simple_tokens().await, web_tokens(keys.path()).await] {
        let (waiting, acting) = (worker(&server, true).await, worker(&server, true).await);
        runtime::sleep(TOKEN_TTL * 2).await;
        let watch = etcd_recipes::watch::PrefixWatch::new(&waiting, "work/expired/");
        let put = async {
            runtime::sleep(Duration::from_millis(500)).await;
            let mut client = acting.clone();
            client.put("work/expired/a", "1", None).await.unwrap();
        };
        let wait = async {
            let mut client = waiting.clone();
            let mut revision = 1;
            loop {
                // At first with the expired token. Then, as recipes do, a read, which
                // renews it.
                watch.wait_for_put_after(revision).await.unwrap();
                let read = client.get("work/expired/a", None).await.unwrap();
                if !read.kvs().is_empty() {
                    return;
                }
                revision = read.header().unwrap().revision();
            }
        };
        within(A_MINUTE, join(wait, put)).await;
    }
}

#[tokio::test]
async fn without_the_setting_the_error_names_it() {
    let server = simple_tokens().await;
    let client = worker(&server, false).await;
    let queue = Queue::new(&client, "work/jobs").unwrap();
    queue.enqueue("one").await.unwrap();
    runtime::sleep(TOKEN_TTL * 2).await;
    let error = queue.enqueue("two").await.unwrap_err();
    assert!(error.is_refused(), "{error}");
    let text = error.to_string();
    assert!(text.contains("with_auto_token_refresh"), "{text}");
    let error = queue.dequeue().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("with_auto_token_refresh"), "{text}");
}

/// A key that cannot be given back is in nobody's way for longer than its lease, and the next
/// attempt of the same session is told why, instead of waiting for it.
#[tokio::test]
async fn a_lock_whose_unlock_was_refused_for_its_token_does_not_wait_for_ever() {
    let server = simple_tokens().await;
    let client = worker(&server, false).await;
    let session = Session::with_options(&client, short_session())
        .await
        .unwrap();
    let mutex = Mutex::new(&session, "work/lock").unwrap();
    let guard = mutex.lock().await.unwrap();
    runtime::sleep(TOKEN_TTL * 2).await;
    let refused = within(A_MINUTE, guard.unlock()).await.unwrap_err();
    assert!(refused.is_refused(), "{refused}");
    let again = within(A_MINUTE, mutex.lock()).await.unwrap_err();
    let text = again.to_string();
    assert!(text.contains("with_auto_token_refresh"), "{text}");
}

#[tokio::test]
async fn a_wait_without_permission_is_refused() {
    let server = simple_tokens().await;
    let client = worker(&server, true).await;
    let elsewhere = Queue::new(&client, "private/jobs").unwrap();
    let error = within(A_MINUTE, elsewhere.dequeue()).await.unwrap_err();
    assert!(error.is_refused(), "{error}");
    let watch = etcd_recipes::watch::PrefixWatch::new(&client, "private/");
    let error = within(A_MINUTE, watch.wait_for_put_after(1)).await;
    assert!(error.unwrap_err().is_refused());
}

/// A commit reads ahead what was lately read. If that is no longer permitted, it
/// is no concern of a transaction on other keys.
#[tokio::test]
async fn a_transaction_does_without_reading_ahead_what_it_may_no_longer_read() {
    let server = simple_tokens().await;
    let root = ConnectOptions::new().with_user("root", "secret");
    let mut root = Client::connect([server.endpoint()], Some(root))
        .await
        .unwrap();
    let lent = Permission::read("lent");
    root.role_grant_permission("workers", lent).await.unwrap();
    let stm = Stm::new(&worker(&server, true).await);
    let copy = |from: &'static str, to: &'static str| {
        stm.run(move |txn| async move {
            let value = txn.get(from).await?.unwrap_or_default();
            txn.put(to, value);
            Ok::<_, Error>(())
        })
    };
    copy("lent", "work/a").await.unwrap();
    root.role_revoke_permission("workers", "lent", None)
        .await
        .unwrap();
    copy("work/a", "work/b").await.unwrap();
    copy("work/b", "work/c").await.unwrap();
}
