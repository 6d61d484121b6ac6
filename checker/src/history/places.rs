//! Where in their lines the parts of events are.

use std::num::NonZeroU32;

/// The columns of an event's parts, in bytes counted from 1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// Of the operation's name.
    pub(crate) f: Option<usize>,
    /// Of the value.
    pub(crate) value: Option<usize>,
}

/// The places of all events of a file. They say nothing of what happened, so
/// all are equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    events: Vec<[Option<NonZeroU32>; 2]>,
    /// Of the model and the parameters in the header.
    header: [Option<usize>; 2],
}

impl Places {
    pub(crate) fn push(&mut self, place: Place) {
        // Lines are shorter than 2^32 bytes.
        let column = |column: Option<usize>| NonZeroU32::new(u32::try_from(column?).ok()?);
        self.events.push([column(place.f), column(place.value)]);
    }

    /// Makes room for so many more, if there is any.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.events.try_reserve_exact(more).ok();
    }

    pub(crate) fn set_header(&mut self, model: Option<usize>, parameters: Option<usize>) {
        self.header = [model, parameters];
    }

    pub(crate) fn header(&self, field: &str) -> Option<usize> {
        match field {
            "model" => self.header[0],
            "parameters" => self.header[1],
            _ => None,
        }
    }

    pub(crate) fn get(&self, event: usize) -> Option<Place> {
        let [f, value] = *self.events.get(event)?;
        let column = |column: Option<NonZeroU32>| usize::try_from(column?.get()).ok();
        Some(Place {
            f: column(f),
            value: column(value),
        })
    }
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}
