//! Guesses what was meant by a word that is not known.

/// The known word that is most like this one, if any is near enough to be what was meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase().replace('-', "_");
    // A third of the letters may be wrong: "wieght" finds "weight", "foo" finds nothing.
    let tolerance = word.chars().count().max(3) / 3;
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
    known
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Words as a sentence lists them: `a, b or c`.
pub(super) fn alternatives(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_of_the_pen_and_no_more() {
        let known = ["name", "weight", "address", "port"];
        assert_eq!(nearest("wieght", known), Some("weight"));
        assert_eq!(nearest("Weight", known), Some("weight"));
        assert_eq!(nearest("adress", known), Some("address"));
        assert_eq!(nearest("ports", known), Some("port"));
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn lists_read_like_a_sentence() {
        assert_eq!(alternatives(&["a", "b", "c"]), "a, b or c");
        assert_eq!(alternatives(&["a"]), "a");
    }
}
