"""A session of python-etcd3: prints what it sees, without ids and times."""

import sys
import threading
import time

import etcd3
import etcd3.exceptions

host, port = sys.argv[1].rsplit(":", 1)
client = etcd3.client(host=host, port=int(port), timeout=10)


def show(what, *seen):
    print(what, *seen, flush=True)


def key_value(pair):
    value, meta = pair
    if meta is None:
        return None
    return meta.key, value, meta.version, meta.create_revision, meta.mod_revision


client.put("a", "1")
client.put("a", "2")
client.put("dir/x", "1")
client.put("dir/y", "2")
show("get", key_value(client.get("a")))
show("none", key_value(client.get("none")))
show("prefix", [key_value(pair) for pair in client.get_prefix("dir/", sort_order="descend", sort_target="key")])
show("all", len(list(client.get_all())))
show("replace", client.replace("a", "2", "3"), client.replace("a", "2", "4"))
show("create", client.put_if_not_exists("new", "1"), client.put_if_not_exists("new", "2"))
show("delete", client.delete("new"), client.delete("new"))
show("delete prefix", client.delete_prefix("dir/").deleted)
show(
    "transaction",
    client.transaction(
        compare=[client.transactions.value("a") == "3", client.transactions.version("a") > 0],
        success=[client.transactions.put("t", "yes"), client.transactions.get("a")],
        failure=[client.transactions.put("t", "no")],
    )[0],
)

events, cancel = client.watch_prefix("w/")
client.put("w/1", "a")
client.delete("w/1")
for event in (next(events), next(events)):
    show("event", type(event).__name__, event.key, event.value)
cancel()

seen = threading.Event()
watch = client.add_watch_callback("callback", lambda _: seen.set())
client.put("callback", "1")
show("callback", seen.wait(10))
client.cancel_watch(watch)

lease = client.lease(60)
client.put("leased", "1", lease=lease)
show("lease", lease.granted_ttl, 50 < lease.remaining_ttl <= 60, lease.keys)
show("refresh", [answer.TTL for answer in lease.refresh()])
lease.revoke()
show("revoked", key_value(client.get("leased")))

with client.lock("jobs", ttl=20) as lock:
    show("locked", lock.is_acquired())
    other = client.lock("jobs", ttl=20)
    show("other", other.acquire(timeout=1))
show("unlocked", other.acquire(timeout=5))
other.release()

client.compact(3)
try:
    events, cancel = client.watch("a", start_revision=2)
    next(events)
except etcd3.exceptions.RevisionCompactedError as error:
    show("compacted", error.compacted_revision)

show("status", client.status().leader is not None)
show("members", [(member.name != "", len(member.client_urls)) for member in client.members])
show("alarms", list(client.list_alarms()))
client.defragment()
time.sleep(0)
with open("/dev/null", "wb") as file:
    client.snapshot(file)
show("end")
