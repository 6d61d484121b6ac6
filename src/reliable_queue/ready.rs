//! Which items nobody has claimed.

use etcd_client::{GetOptions, GetResponse, Txn, TxnOp, TxnOpResponse};

use super::Inner;
use super::layout;
use crate::error::{self, Error};
use crate::request::{Purpose, revision_of};

/// How many items to look at in one request.
const PAGE: usize = 64;

/// An item that nobody had claimed, as of some revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadyItem {
    pub(super) number: u64,
    pub(super) key: String,
    pub(super) mod_revision: i64,
}

/// The first of the items that nobody had claimed at `revision`. Empty only if
/// there was none.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) revision: i64,
    pub(super) items: Vec<ReadyItem>,
}

impl Inner {
    /// Reads up to `wanted` items that nobody has claimed, all as of one revision.
    pub(super) async fn read_ready(&self, wanted: usize) -> Result<Ready, Error> {
        loop {
            match self.read_pages(wanted).await {
                // Further pages are of the first one's revision.
                Err(error) if error.etcd_error().is_some_and(error::is_compacted) => {}
                done => return done,
            }
        }
    }

    async fn read_pages(&self, wanted: usize) -> Result<Ready, Error> {
        let why = Purpose {
            operation: "read the head of",
            target: self.name.as_str(),
        };
        // Items and claims at one revision; a claim belongs to an item that exists,
        // so those of a page are no more than the page has items.
        let read = Txn::new().and_then([self.page_of_items(0), self.page_of_claims(0)]);
        let answer = self.requests.read(why, read).await?;
        let revision = revision_of(answer.header());
        let responses = answer.op_responses();
        let [TxnOpResponse::Get(items), TxnOpResponse::Get(claims)] = responses.as_slice() else {
            return Err(Error::unreadable_answer(why.operation, why.target));
        };
        let mut ready = self.unclaimed(items, claims);
        let (mut more, mut last) = (items.more(), self.last_number(items));
        while ready.len() < wanted
            && more
            && let Some(number) = last
        {
            let at = |(start, end): (String, String)| {
                let options = page_options(end).with_revision(revision);
                (start, options)
            };
            let (start, options) = at(layout::items_from(&self.name, number + 1));
            let items = self.requests.range(why, start.as_bytes(), options).await?;
            let (start, options) = at(layout::claims_from(&self.name, number + 1));
            let claims = self.requests.range(why, start.as_bytes(), options).await?;
            ready.extend(self.unclaimed(&items, &claims));
            (more, last) = (items.more(), self.last_number(&items));
        }
        if ready.is_empty() && more {
            let prefix = layout::items(&self.name);
            return Err(Error::foreign_data(
                &prefix,
                "a whole page of keys there are no items",
            ));
        }
        ready.truncate(wanted);
        Ok(Ready {
            revision,
            items: ready,
        })
    }

    fn page_of_items(&self, number: u64) -> TxnOp {
        let (start, end) = layout::items_from(&self.name, number);
        TxnOp::get(start, Some(page_options(end)))
    }

    fn page_of_claims(&self, number: u64) -> TxnOp {
        let (start, end) = layout::claims_from(&self.name, number);
        TxnOp::get(start, Some(page_options(end)))
    }

    fn last_number(&self, items: &GetResponse) -> Option<u64> {
        let prefix = layout::items(&self.name);
        let mut numbers = items.kvs().iter().rev();
        numbers.find_map(|kv| layout::number_in(&prefix, kv.key()))
    }

    fn unclaimed(&self, items: &GetResponse, claims: &GetResponse) -> Vec<ReadyItem> {
        let prefix = layout::claims(&self.name);
        let claimed: std::collections::BTreeSet<u64> = claims
            .kvs()
            .iter()
            .filter_map(|kv| layout::number_in(&prefix, kv.key()))
            .collect();
        let prefix = layout::items(&self.name);
        let items = items.kvs().iter().filter_map(|kv| {
            let number = layout::number_in(&prefix, kv.key())?;
            Some(ReadyItem {
                number,
                key: layout::item_key(&self.name, number),
                mod_revision: kv.mod_revision(),
            })
        });
        items
            .filter(|item| !claimed.contains(&item.number))
            .collect()
    }
}

fn page_options(end: String) -> GetOptions {
    GetOptions::new()
        .with_range(end)
        .with_limit(PAGE as i64)
        .with_keys_only()
}
