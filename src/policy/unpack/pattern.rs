//! POSIX extended expressions over resource names: what constraints with patterns need, with a bound on the work.
//!
//! `. * + ? ( ) | [ ] ^ $ \` and captures; no back references, no bounds in braces.

use alloc::{vec, vec::Vec};

/// Steps of one match; names are short, so this is only reached by hostile patterns, which then match nothing.
const STEPS_MAX: u32 = 100_000;

enum Item {
    Any,
    Char(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
    Begin,
    End,
    Group(usize, Vec<Vec<(Self, Repeat)>>),
}

#[derive(Clone, Copy)]
struct Repeat {
    min: u32,
    max: u32,
}

/// A parsed expression.
pub(crate) struct Pattern {
    branches: Vec<Vec<(Item, Repeat)>>,
}

impl Pattern {
    /// `None` for what is no expression.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let chars: Vec<char> = text.chars().take(1024).collect();
        let (mut at, mut groups) = (0, 0);
        let branches = parse_branches(&chars, &mut at, &mut groups, 0)?;
        (at == chars.len()).then_some(Self { branches })
    }

    /// The captured texts (whole match first), if the expression matches anywhere in the text.
    pub(crate) fn find<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let chars: Vec<(usize, char)> = text.char_indices().collect();
        for start in 0..=chars.len() {
            let mut matcher = Matcher { chars: &chars, steps: 0, captures: vec![None; 10] };
            let mut end = None;
            let found = matcher.branches(&self.branches, start, &mut |_, at| {
                end = Some(at);
                true
            });
            if found {
                let offset = |at: usize| chars.get(at).map_or(text.len(), |(offset, _)| *offset);
                matcher.captures[0] = end.map(|end| (start, end));
                let captured = matcher
                    .captures
                    .iter()
                    .map(|span| span.map_or("", |(from, to)| &text[offset(from)..offset(to)]));
                return Some(captured.collect());
            }
        }
        None
    }
}

fn parse_branches(
    chars: &[char],
    at: &mut usize,
    groups: &mut usize,
    depth: u32,
) -> Option<Vec<Vec<(Item, Repeat)>>> {
    if depth > 16 {
        return None;
    }
    let mut branches = vec![Vec::new()];
    while let Some(c) = chars.get(*at).copied() {
        let item = match c {
            ')' if depth > 0 => break,
            '|' => {
                *at += 1;
                branches.push(Vec::new());
                continue;
            }
            '.' => Item::Any,
            '^' => Item::Begin,
            '$' => Item::End,
            '\\' => {
                *at += 1;
                Item::Char(*chars.get(*at)?)
            }
            '(' => {
                *at += 1;
                *groups += 1;
                let number = *groups;
                let inner = parse_branches(chars, at, groups, depth + 1)?;
                if chars.get(*at) != Some(&')') {
                    return None;
                }
                Item::Group(number, inner)
            }
            '[' => parse_set(chars, at)?,
            '*' | '+' | '?' => return None,
            c => Item::Char(c),
        };
        *at += 1;
        let repeat = match chars.get(*at) {
            Some('*') => Repeat { min: 0, max: u32::MAX },
            Some('+') => Repeat { min: 1, max: u32::MAX },
            Some('?') => Repeat { min: 0, max: 1 },
            _ => Repeat { min: 1, max: 1 },
        };
        if (repeat.min, repeat.max) != (1, 1) {
            *at += 1;
        }
        branches.last_mut()?.push((item, repeat));
    }
    Some(branches)
}

/// Leaves `at` on the closing bracket.
fn parse_set(chars: &[char], at: &mut usize) -> Option<Item> {
    *at += 1;
    let negated = chars.get(*at) == Some(&'^');
    *at += usize::from(negated);
    let first = *at;
    let mut ranges = Vec::new();
    loop {
        let low = *chars.get(*at)?;
        if low == ']' && *at > first {
            return Some(Item::Set { negated, ranges });
        }
        let ranged =
            chars.get(*at + 1) == Some(&'-') && chars.get(*at + 2).is_some_and(|c| *c != ']');
        let high = if ranged { *chars.get(*at + 2)? } else { low };
        *at += if ranged { 3 } else { 1 };
        ranges.push((low, high));
    }
}

struct Matcher<'a> {
    chars: &'a [(usize, char)],
    steps: u32,
    captures: Vec<Option<(usize, usize)>>,
}

type Next<'n, 'a> = &'n mut dyn FnMut(&mut Matcher<'a>, usize) -> bool;

impl<'a> Matcher<'a> {
    fn branches(
        &mut self,
        branches: &[Vec<(Item, Repeat)>],
        at: usize,
        next: Next<'_, 'a>,
    ) -> bool {
        branches.iter().any(|branch| self.sequence(branch, 0, at, next))
    }

    fn sequence(
        &mut self,
        items: &[(Item, Repeat)],
        done: u32,
        at: usize,
        next: Next<'_, 'a>,
    ) -> bool {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return false;
        }
        let Some((item, repeat)) = items.first() else { return next(self, at) };
        if done < repeat.max
            && self.item(item, at, &mut |matcher, after| {
                // an item that takes nothing must not repeat for ever
                if after == at && done >= repeat.min {
                    return false;
                }
                matcher.sequence(items, done + 1, after, next)
            })
        {
            return true;
        }
        done >= repeat.min && self.sequence(&items[1..], 0, at, next)
    }

    fn item(&mut self, item: &Item, at: usize, next: Next<'_, 'a>) -> bool {
        let current = self.chars.get(at).map(|(_, c)| *c);
        let one = match item {
            Item::Any => current.is_some(),
            Item::Char(c) => current == Some(*c),
            Item::Set { negated, ranges } => current.is_some_and(|c| {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }),
            Item::Begin => return at == 0 && next(self, at),
            Item::End => return at == self.chars.len() && next(self, at),
            Item::Group(number, branches) => {
                return self.branches(branches, at, &mut |matcher, after| {
                    let saved = matcher.captures.get(*number).copied().flatten();
                    if let Some(slot) = matcher.captures.get_mut(*number) {
                        *slot = Some((at, after));
                    }
                    if next(matcher, after) {
                        return true;
                    }
                    if let Some(slot) = matcher.captures.get_mut(*number) {
                        *slot = saved;
                    }
                    false
                });
            }
        };
        one && next(self, at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn names_match_as_posix_says() {
        for (pattern, name, matches) in [
            ("^rsc[0-9]$", "rsc3", true),
            ("^rsc[0-9]$", "rsc33", false),
            ("rsc", "my-rsc-1", true),
            ("^(db|web)-[a-z]+$", "web-x", true),
            ("a.*b?c", "axxc", true),
            ("^[^a]", "abc", false),
            ("(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaac", false),
        ] {
            let found = Pattern::parse(pattern).expect(pattern).find(name).is_some();
            assert_eq!(found, matches, "{pattern} on {name}");
        }
        assert!(Pattern::parse("*x").is_none());
        assert!(Pattern::parse("(x").is_none());
    }

    #[test]
    fn captures_are_what_the_groups_took() {
        let found = Pattern::parse("^(.*)-(.)$").expect("valid").find("db-1").expect("matches");
        assert_eq!(&found[..3], ["db-1", "db", "1"]);
    }
}
