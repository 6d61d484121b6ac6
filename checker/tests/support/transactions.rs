//! Large histories of transactions, valid unless a fault is planted.

use std::collections::BTreeMap;

use etcd_checker::History;
use etcd_checker::history::{Evidence, Json, OperationId, Recorder};

use super::{Random, header};

/// What the transactions work on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// `list-append`
    List,
    /// `rw-register`
    Register,
    /// `transactions`, with known revisions.
    Revisions,
}

impl Object {
    pub fn model(self) -> &'static str {
        match self {
            Self::List => "list-append",
            Self::Register => "rw-register",
            Self::Revisions => "transactions",
        }
    }
}

/// A key: its values, and the revision of the last.
#[derive(Default)]
struct Cell {
    values: Vec<u64>,
    revision: i64,
}

/// How many keys are in use at a time, and how often each is written before another one
/// takes its place.
const KEYS: usize = 12;
const WRITES_MAX: usize = 32;

/// Micro-operations for each transaction.
const LENGTH: usize = 4;

struct Store {
    cells: BTreeMap<usize, Cell>,
    active: Vec<usize>,
    next_key: usize,
    next_value: u64,
    revision: i64,
}

impl Store {
    fn new() -> Self {
        Self {
            cells: BTreeMap::new(),
            active: (0..KEYS).collect(),
            next_key: KEYS,
            next_value: 0,
            revision: 1,
        }
    }

    /// Executes a transaction at once. Returns what it is to be told.
    fn execute(&mut self, random: &mut Random, object: Object) -> (Json, Evidence) {
        let mut text = String::from("[");
        let mut wrote = false;
        let mut touched: Vec<usize> = Vec::new();
        for _ in 0..LENGTH {
            let slot = random.below(KEYS);
            let key = self.active[slot];
            if touched.contains(&key) {
                continue;
            }
            touched.push(key);
            if text.len() > 1 {
                text.push(',');
            }
            let cell = self.cells.entry(key).or_default();
            if random.one_in(2) {
                self.next_value += 1;
                cell.values.push(self.next_value);
                cell.revision = self.revision + 1;
                wrote = true;
                let f = if object == Object::List {
                    "append"
                } else {
                    "w"
                };
                text += &format!("[\"{f}\",{key},{}]", self.next_value);
                if cell.values.len() >= WRITES_MAX {
                    self.active[slot] = self.next_key;
                    self.next_key += 1;
                }
            } else {
                let seen = match (object, cell.values.last()) {
                    (Object::List, _) => serde_json::to_string(&cell.values).unwrap(),
                    (_, None) => "null".to_owned(),
                    (Object::Register, Some(last)) => last.to_string(),
                    (Object::Revisions, Some(last)) => format!("{last},{}", cell.revision),
                };
                text += &format!("[\"r\",{key},{seen}]");
            }
        }
        text.push(']');
        self.revision += i64::from(wrote);
        let evidence = match object {
            Object::Revisions if wrote => Evidence::revision(self.revision),
            _ => Evidence::NONE,
        };
        let value = serde_json::value::RawValue::from_string(text).unwrap();
        (Json::new(&value).unwrap(), evidence)
    }
}

/// What a client is doing.
enum Doing {
    Nothing,
    Asked(OperationId),
    Done(OperationId, Json, Evidence),
}

/// A real store under clients that are never idle, each transaction of which takes effect
/// at one instant.
pub fn busy_transactions(
    random: &mut Random,
    object: Object,
    operations: usize,
    clients: usize,
) -> History {
    let mut recorder = Recorder::new(header(object.model()));
    let mut doing: Vec<Doing> = (0..clients).map(|_| Doing::Nothing).collect();
    let mut store = Store::new();
    let (mut begun, mut ended, mut time) = (0, 0, 0);
    while ended < operations {
        time += 100 + random.below(1_000) as u64;
        let client = random.below(clients);
        doing[client] = match std::mem::replace(&mut doing[client], Doing::Nothing) {
            Doing::Nothing if begun == operations => continue,
            Doing::Nothing => {
                begun += 1;
                Doing::Asked(recorder.invoke(time, client as u64, "txn", Json::NULL))
            }
            Doing::Asked(id) => {
                let (value, evidence) = store.execute(random, object);
                Doing::Done(id, value, evidence)
            }
            Doing::Done(id, value, evidence) => {
                ended += 1;
                recorder.ok(id, time, value, evidence);
                Doing::Nothing
            }
        };
    }
    recorder.finish()
}
