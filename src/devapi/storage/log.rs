//! The log's bytes: a line that says what it is, then records. Pure.
//!
//! ```text
//!   record = "DREC" length:u32le check:8 payload      check = SHA-256(length payload), the first 8 bytes
//!   payload = {"revision": N, "changes": [[table, namespace, name, object or null], ...]} as JSON
//! ```

use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::Change;
use crate::meta::Key;

/// First line of every log.
pub(crate) const HEADER: &[u8] = b"palisade devapi log 1\n";
const MAGIC: &[u8; 4] = b"DREC";
const FRAME: usize = 4 + 4 + 8;
/// A record larger than this was never written: one write changes few objects, a collection some thousands.
const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// Changes of one write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// The revision of the last change.
    pub(crate) revision: u64,
    pub(crate) changes: Vec<Change>,
}

/// What a log's bytes hold.
#[derive(Debug, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) records: Vec<Record>,
    /// Everything before is whole.
    pub(crate) good_to: usize,
    /// Whether whole records stand behind the first bad byte: then this is no torn end but damage.
    pub(crate) damaged: bool,
}

fn check(length: [u8; 4], payload: &[u8]) -> [u8; 8] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&length);
    context.update(payload);
    let mut out = [0; 8];
    out.copy_from_slice(&context.finish().as_ref()[..8]);
    out
}

/// A record as bytes.
pub(crate) fn encode(revision: u64, changes: &[(u64, Change)]) -> Vec<u8> {
    let changes: Vec<Value> =
        changes.iter().map(|(_, c)| json!([c.table, c.key.namespace, c.key.name, c.new])).collect();
    let payload = json!({"revision": revision, "changes": changes}).to_string().into_bytes();
    assert!(payload.len() <= PAYLOAD_BYTES_MAX, "the limits of objects forbid such a record");
    let length = u32::try_from(payload.len()).expect("bounded by PAYLOAD_BYTES_MAX").to_le_bytes();
    let mut bytes = Vec::with_capacity(FRAME + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&check(length, &payload));
    bytes.extend_from_slice(&payload);
    bytes
}

/// The record at the start of `bytes` and its length; `None` if it is not whole.
fn decode(bytes: &[u8]) -> Option<(Record, usize)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let size = u32::from_le_bytes(*length) as usize;
    if size > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = rest.get(..size)?;
    if check(*length, payload) != *sum {
        return None;
    }
    let value: Value = serde_json::from_slice(payload).ok()?;
    let changes = value["changes"].as_array()?.iter().map(change).collect::<Option<Vec<_>>>()?;
    Some((Record { revision: value["revision"].as_u64()?, changes }, FRAME + size))
}

fn change(value: &Value) -> Option<Change> {
    let text = |i: usize| value.get(i).and_then(Value::as_str).map(str::to_owned);
    let object = value.get(3)?;
    Some(Change {
        table: text(0)?,
        key: Key { namespace: text(1)?, name: text(2)? },
        new: (!object.is_null()).then(|| object.clone()),
    })
}

/// Reads a log. Never fails: what is no log at all has no good byte.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed { records: Vec::new(), good_to: 0, damaged: false };
    if !bytes.starts_with(HEADER) {
        parsed.damaged = !HEADER.starts_with(bytes);
        return parsed;
    }
    parsed.good_to = HEADER.len();
    while let Some((record, size)) = decode(&bytes[parsed.good_to..]) {
        parsed.records.push(record);
        parsed.good_to += size;
    }
    let rest = &bytes[parsed.good_to..];
    parsed.damaged = rest
        .windows(MAGIC.len())
        .enumerate()
        .skip(1)
        .any(|(at, word)| word == MAGIC && decode(&rest[at..]).is_some());
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(revision: u64, name: &str) -> Vec<u8> {
        let new = Some(json!({"metadata": {"name": name}}));
        let change = Change { table: "t".into(), key: Key::new("ns", name), new };
        encode(revision, &[(revision, change)])
    }

    fn log() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = HEADER.to_vec();
        let mut ends = vec![bytes.len()];
        for i in 0..4 {
            bytes.extend(record(i, &format!("object-{i}")));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn a_log_cut_at_any_byte_keeps_every_whole_record() {
        let (bytes, ends) = log();
        for cut in 0..=bytes.len() {
            let parsed = parse(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
            assert_eq!(parsed.records.len(), whole, "cut at {cut}");
            assert!(!parsed.damaged, "a torn end is no damage: cut at {cut}");
        }
    }

    #[test]
    fn any_flipped_byte_is_noticed() {
        let (bytes, ends) = log();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x20;
            let parsed = parse(&bad);
            let before = ends.iter().filter(|end| **end <= at).count().saturating_sub(1);
            assert_eq!(parsed.records.len(), before, "flipped at {at}");
            let last = at >= ends[ends.len() - 2];
            assert_eq!(parsed.damaged, !last, "records behind a bad one are damage: {at}");
        }
    }
}
