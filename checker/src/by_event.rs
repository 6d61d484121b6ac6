//! Things in the order of events, in linear time.

/// The numbers of the things in the order of the events at which they happened, and those of
/// one event in their own order. `event_of` says of one after the other at which that was;
/// what is at no event of the history is left out.
pub(crate) fn by_event(events: usize, event_of: impl Iterator<Item = usize> + Clone) -> Vec<u32> {
    // Where those of each event begin.
    let mut places = vec![0_u32; events + 1];
    for event in event_of.clone().filter(|event| *event < events) {
        places[event + 1] += 1;
    }
    let mut before = 0;
    for place in &mut places {
        before += *place;
        *place = before;
    }
    let mut in_order = vec![0; before as usize];
    for (number, event) in (0..).zip(event_of).filter(|(_, event)| *event < events) {
        let place = &mut places[event];
        in_order[*place as usize] = number;
        *place += 1;
    }
    in_order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_one_event_keep_their_order_and_those_of_none_are_left_out() {
        let events = [5, 0, usize::MAX, 2, 5, 6, 0, 2];
        let in_order = by_event(6, events.iter().copied());
        assert_eq!(in_order, [1, 6, 3, 7, 0, 4]);
        assert!(by_event(0, [0, 1].into_iter()).is_empty());
    }
}
