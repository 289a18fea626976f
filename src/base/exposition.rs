//! Metrics in the text form that every reader of Prometheus' understands (version 0.0.4), from `OpenMetrics` text.
//!
//! They differ in little: there a counter's family has no `_total`, units are said, and the end too. Agent and
//! controller serve this form, so that `curl ... | promtool check metrics` reads what a scrape reads.

use alloc::string::String;

/// Content type of [`classic`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The same metrics in the older form. Takes each family's HELP right before its TYPE, as the encoder writes them.
pub fn classic(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len() + open_metrics.len() / 16);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        let renamed = counter(line)
            || (line.starts_with("# HELP ") && lines.peek().is_some_and(|next| counter(next)));
        let mut words = line.splitn(4, ' ');
        match (renamed, words.next(), words.next(), words.next(), words.next()) {
            (true, Some(hash), Some(what), Some(name), Some(rest)) => {
                out.extend([hash, " ", what, " ", name, "_total ", rest]);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_get_their_ending_and_the_rest_stays() {
        let open = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\na_seconds_sum 1.0\n\
            # HELP b How often.\n# TYPE b counter\nb_total{why=\"x counter\"} 3\n# HELP c A counter.\n# TYPE c gauge\nc 1\n# EOF\n";
        let classic_text = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\na_seconds_sum 1.0\n\
            # HELP b_total How often.\n# TYPE b_total counter\nb_total{why=\"x counter\"} 3\n# HELP c A counter.\n# TYPE c gauge\nc 1\n";
        assert_eq!(classic(open), classic_text);
    }
}
