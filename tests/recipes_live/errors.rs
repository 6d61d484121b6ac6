use std::time::Duration;

use etcd_recipes::etcd_client::{Client, ConnectOptions, Permission, RoleRevokePermissionOptions};
use etcd_recipes::{Queue, QueueOptions, Stm, runtime};

use super::proxy::Proxy;
use super::server::{Server, connect, free_port};
use super::{A_MINUTE, all, within};

#[tokio::test]
async fn what_cannot_be_sent_did_not_happen() {
    let endpoint = format!("127.0.0.1:{}", free_port());
    let client = Client::connect([endpoint], None).await.unwrap();
    let queue = Queue::new(&client, "nobody/jobs").unwrap();
    let error = within(A_MINUTE, queue.enqueue("x")).await.unwrap_err();
    assert!(error.is_not_sent(), "{error:?}");
    let options = QueueOptions::new().request_deadline(Duration::from_millis(300));
    let queue = Queue::with_options(&client, "nobody/jobs", options).unwrap();
    let error = within(A_MINUTE, queue.try_dequeue()).await.unwrap_err();
    assert!(error.is_definite(), "{error:?}");
}

#[tokio::test]
async fn what_was_sent_and_not_answered_may_have_happened() {
    let server = Server::shared();
    let direct = server.client().await;
    let proxy = Proxy::new(server.port());
    let client = connect(&proxy.endpoint()).await;
    let options = QueueOptions::new().request_deadline(Duration::from_millis(300));
    let queue = Queue::with_options(&client, "maybe/jobs", options).unwrap();
    proxy.lose_answers();
    let error = queue.enqueue("x").await.unwrap_err();
    assert!(
        error.is_outcome_unknown() && error.is_deadline_elapsed(),
        "{error}"
    );
    // It had happened.
    let other = Queue::new(&direct, "maybe/jobs").unwrap();
    assert_eq!(other.dequeue().await.unwrap().value, b"x");
    proxy.heal();
    // A connection that breaks while a request is on its way.
    let slow = Queue::new(&connect(&proxy.endpoint()).await, "maybe/jobs").unwrap();
    proxy.lose_answers();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let _task = runtime::spawn(async move {
        sender.send(slow.enqueue("y").await).ok();
    });
    runtime::sleep(Duration::from_millis(200)).await;
    proxy.heal();
    let error = within(A_MINUTE, receiver).await.unwrap().unwrap_err();
    assert!(
        error.is_outcome_unknown() && !error.is_deadline_elapsed(),
        "{error:?}"
    );
    assert_eq!(other.dequeue().await.unwrap().value, b"y");
}

#[tokio::test]
async fn what_etcd_refuses_did_not_happen() {
    let server = Server::shared();
    let client = server.client().await;
    let queue = Queue::new(&client, "refused/jobs").unwrap();
    let error = queue.enqueue(vec![0; 3_000_000]).await.unwrap_err();
    assert!(error.is_definite(), "{error:?}");
    assert!(queue.is_empty().await.unwrap());
    let stm = Stm::new(&client);
    let error = stm
        .run(|txn| async move {
            for n in 0..129 {
                txn.put(format!("refused/{n}"), "");
            }
            Ok::<_, etcd_recipes::Error>(())
        })
        .await
        .unwrap_err();
    assert!(error.to_string().contains("too many operations"), "{error}");
    assert!(!error.is_outcome_unknown());
}

#[tokio::test]
async fn missing_permission_is_told_to_everybody() {
    let server = Server::own();
    let mut root = server.client().await;
    let options = Some(ConnectOptions::new().with_user("worker", "w"));
    let can = Permission::read_write("allowed/").with_prefix();
    root.role_add("worker").await.unwrap();
    root.role_grant_permission("worker", can).await.unwrap();
    for (user, role) in [("root", "root"), ("worker", "worker")] {
        let password = &user[..1];
        root.user_add(user, password, None).await.unwrap();
        if role == "root" {
            root.role_add(role).await.unwrap();
        }
        root.user_grant_role(user, role).await.unwrap();
    }
    root.auth_enable().await.unwrap();
    let client = Client::connect([server.endpoint()], options).await.unwrap();
    let allowed = QueueOptions::new().receipts("allowed/receipts");
    let allowed = Queue::with_options(&client, "allowed/jobs", allowed).unwrap();
    allowed.enqueue("x").await.unwrap();
    let item = allowed.dequeue_with_receipt("c").await.unwrap();
    allowed.acknowledge(&item).await.unwrap();
    let denied = Queue::new(&client, "denied/jobs").unwrap();
    assert!(denied.enqueue("x").await.unwrap_err().is_refused());
    let error = denied.dequeue().await.unwrap_err();
    assert!(
        error.is_refused() && error.to_string().contains("permission denied"),
        "{error}"
    );

    // Permission that goes while somebody waits.
    let waiting = allowed.clone();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let _task = runtime::spawn(async move {
        sender.send(waiting.dequeue().await).ok();
    });
    runtime::sleep(Duration::from_millis(500)).await;
    let root_options = Some(ConnectOptions::new().with_user("root", "r"));
    let mut root = Client::connect([server.endpoint()], root_options)
        .await
        .unwrap();
    let revoked = RoleRevokePermissionOptions::new().with_prefix();
    root.role_revoke_permission("worker", "allowed/", Some(revoked))
        .await
        .unwrap();
    // etcd looks at permission when a watch is opened.
    server.stop();
    server.start();
    let error = within(A_MINUTE, receiver).await.unwrap().unwrap_err();
    assert!(error.is_refused(), "{error:?}");
}

#[tokio::test]
async fn a_write_that_exceeds_the_quota_has_an_unknown_outcome() {
    const QUOTA: &str = "8388608";
    let server = Server::with_arguments(&["--quota-backend-bytes", QUOTA]);
    let client = server.client().await;
    let queue = Queue::new(&client, "full/jobs").unwrap();
    // Side by side, so that some pass etcd's first look at the quota and
    // exceed it when they are applied.
    let producers = (0..32).map(|producer: u32| {
        let queue = queue.clone();
        async move {
            let mut ended = Vec::new();
            for n in 0..20 {
                let mut value = format!("{producer}-{n}-").into_bytes();
                value.resize(100_000, b'.');
                if let Err(error) = queue.enqueue(value).await {
                    ended.push((format!("{producer}-{n}-"), error));
                }
            }
            ended
        }
    });
    let failed = within(A_MINUTE, all(producers.collect())).await.concat();
    assert!(!failed.is_empty());
    let mut kept = Vec::new();
    while let Some(item) = queue.peek().await.unwrap() {
        let end = item.value.iter().position(|&byte| byte == b'.').unwrap();
        kept.push(String::from_utf8(item.value[..end].to_vec()).unwrap());
        // What deletes is let through.
        queue.dequeue().await.unwrap();
    }
    let mut applied = 0;
    for (item, error) in &failed {
        if kept.contains(item) {
            assert!(error.is_outcome_unknown(), "{item} is there: {error}");
            applied += 1;
        }
    }
    println!("{applied} of {} refused items are there", failed.len());
}
