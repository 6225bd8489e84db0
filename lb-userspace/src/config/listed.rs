//! A value that is one or a list of them.

use super::source::{Placed, Reported};
use super::table::Entry;

/// Reads the value, or each item of the list; all of them, so that every mistake is told.
pub(super) fn read<'a, T>(
    entry: &Entry<'a>,
    example: &str,
    reader: impl Fn(&Entry<'a>) -> Result<T, Reported>,
) -> Result<Vec<Placed<'a, T>>, Reported> {
    if !entry.is_list() {
        return reader(entry).map(|value| vec![Placed { value, spot: entry.spot }]);
    }
    let items = entry.items(example)?;
    if items.is_empty() {
        return Err(entry.problem(format!("{} is an empty list", entry.key), format!("write {example}")));
    }
    let items: Vec<_> =
        items.iter().map(|item| Ok(Placed { value: reader(item)?, spot: item.spot })).collect();
    items.into_iter().collect()
}

/// Puts the items into one order, whatever that of the file, and reports each that is there twice.
pub(super) fn distinct<'a, T: Ord + Copy>(
    mut items: Vec<Placed<'a, T>>,
    twice: impl Fn(T) -> String,
) -> Result<Vec<Placed<'a, T>>, Reported> {
    // Stable: of two equal ones the later stays the later.
    items.sort_by_key(|item| item.value);
    let mut outcome = Ok(());
    for (before, item) in items.iter().zip(items.iter().skip(1)) {
        if before.value == item.value {
            outcome = Err(item.spot.problem(twice(item.value), "remove one of the two"));
        }
    }
    outcome.map(|()| items)
}

/// The values without their places.
pub(super) fn values<T: Copy>(items: &[Placed<'_, T>]) -> Vec<T> {
    items.iter().map(|item| item.value).collect()
}
