//! Which calls to suspect first.

/// Of these calls as many, those that returned next to the one at which the search was stuck.
/// It looks ahead, so the one that cannot be may return a little later; what returned long
/// before it had an order.
pub(crate) fn nearest(
    calls: &[usize],
    stuck: usize,
    most: usize,
    returned: impl Fn(usize) -> Option<u64>,
) -> Vec<usize> {
    let place = returned(stuck).unwrap_or(u64::MAX);
    let mut nearest = calls.to_vec();
    nearest.sort_by_key(|call| returned(*call).map(|returned| returned.abs_diff(place)));
    nearest.truncate(most);
    nearest
}
