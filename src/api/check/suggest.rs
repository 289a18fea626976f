//! "Did you mean": the nearest of the names that would have been right.

/// Names farther apart than this are no typing mistake.
const DISTANCE_MAX: usize = 3;

/// The nearest candidate within reach; the first of equals.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (distance(&lower, &c.to_lowercase()), c))
        .filter(|(d, c)| *d <= DISTANCE_MAX && *d * 2 < c.len().max(2))
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

pub(super) fn did_you_mean(hint: Option<&str>) -> String {
    hint.map(|h| format!("; did you mean {h:?}?")).unwrap_or_default()
}

/// Edits between two words (Levenshtein), over characters; long words are cut, they are no typing mistake.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_is_recognised_and_nonsense_is_not() {
        assert_eq!(closest("quorom", ["members", "quorum"]), Some("quorum"));
        assert_eq!(closest("HAproxy", ["HAProxy"]), Some("HAProxy"));
        assert_eq!(closest("elephant", ["members", "quorum"]), None);
    }
}
