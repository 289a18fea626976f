//! Target `state`: the files of a machine. A disk that somebody put back is hostile too (SAFETY.md 4.7); what they say
//! to the engine is target `cluster`.

use agent::{
    config::Config,
    executor::restate_record,
    keys::{KEY_FILE_BYTES_MAX, RingKeys},
    state::{FileKind, Identity, content, header},
};
use drivers::{
    process::{Exit, Record as ProcessRecord, parse_template},
    vip::Record as AddressRecord,
};
use policy::revision::Revision;
use serde::{Serialize, de::DeserializeOwned};

use super::script::within;

const KINDS: [FileKind; 9] = [
    FileKind::Identity,
    FileKind::Incarnation,
    FileKind::RingSequence,
    FileKind::Promise,
    FileKind::State,
    FileKind::Revision,
    FileKind::RingKeys,
    FileKind::Credentials,
    FileKind::Bootstrap,
];
/// A list of unknown length begins with at most 1 MiB.
const LIST_BYTES: usize = 4 << 20;

pub(crate) fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 11 {
        0 => files(bytes),
        1 => written(bytes),
        2 => binary::<Identity>(bytes),
        3 => binary::<Revision>(bytes),
        4 => binary::<u64>(bytes),
        5 => keys(bytes),
        6 => {
            let again = within(64 * bytes.len() + LIST_BYTES, || restate_record(bytes));
            if let Some(again) = again {
                assert!(again.len() <= bytes.len());
                assert_eq!(restate_record(&again), Some(again));
            }
        }
        7 => json::<AddressRecord>(bytes, |record| inside(record.resource.as_str())),
        8 => json::<ProcessRecord>(bytes, |record| {
            inside(record.resource.as_str()) && inside(record.template.as_str())
        }),
        9 => {
            json::<Exit>(bytes, |_| true);
            if let Ok(text) = core::str::from_utf8(bytes) {
                let _ = toml_config(text);
            }
        }
        _ => template(bytes),
    }
}

/// A name that is a file of its own below its folder.
fn inside(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// Any bytes as any file: at most one kind believes them, and what is believed is what would have been written.
fn files(bytes: &[u8]) {
    let believed: Vec<_> =
        KINDS.into_iter().filter(|kind| within(0, || content(bytes, *kind)).is_ok()).collect();
    assert!(believed.len() <= 1, "one file, believed as {believed:?}");
    for kind in believed {
        let inner = content(bytes, kind).expect("believed");
        assert_eq!([header(kind, inner).as_slice(), inner].concat(), bytes);
    }
}

/// What was written is believed, and no longer when one byte of it was changed.
fn written(bytes: &[u8]) {
    let [kind, at, flip, inner @ ..] = bytes else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let mut file = header(kind, inner);
    file.extend_from_slice(inner);
    assert_eq!(content(&file, kind), Ok(inner));
    let at = usize::from(*at) % file.len();
    file[at] ^= (*flip).max(1);
    assert!(content(&file, kind).is_err(), "byte {at} was changed and nobody saw it");
}

fn binary<T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug>(bytes: &[u8]) {
    let read = within(64 * bytes.len() + LIST_BYTES, || postcard::from_bytes::<T>(bytes));
    if let Ok(value) = read {
        let again = postcard::to_allocvec(&value).expect("our own type");
        assert!(again.len() <= bytes.len());
        assert_eq!(postcard::from_bytes::<T>(&again).ok(), Some(value));
    }
}

fn json<T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug>(
    bytes: &[u8],
    sound: impl Fn(&T) -> bool,
) {
    let read = within(64 * bytes.len() + 4096, || serde_json::from_slice::<T>(bytes));
    if let Ok(value) = read {
        assert!(sound(&value), "{value:?} leaves its folder");
        let again = serde_json::to_vec(&value).expect("our own type");
        assert_eq!(serde_json::from_slice::<T>(&again).ok(), Some(value));
    }
}

/// Refused without being repeated; taken, and the same when written again.
fn keys(bytes: &[u8]) {
    match RingKeys::parse(bytes) {
        Ok(keys) => {
            assert!(bytes.len() <= KEY_FILE_BYTES_MAX);
            let text = keys.to_text();
            let Ok(again) = RingKeys::parse(text.as_bytes()) else { panic!("own words") };
            assert_eq!(*again.to_text(), *text);
        }
        Err(error) => {
            let said = error.to_string();
            let text = String::from_utf8_lossy(bytes);
            let words = text.split_ascii_whitespace().filter(|word| word.len() >= 12);
            for word in words {
                assert!(!said.contains(word), "a refusal that repeats what may be a key");
            }
        }
    }
}

/// What root wrote: limits hold, the program is absolute.
fn template(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(template) = parse_template(text) {
        assert!(template.argv[0].starts_with('/') && template.working_dir.is_absolute());
        assert!(template.argv.len() <= 64 && template.environment.len() <= 64);
        assert!(template.argv.iter().all(|word| !word.contains('\0')));
    }
}

fn toml_config(text: &str) -> Option<Config> {
    let config = Config::parse(text).ok()?;
    if let Some(watchdog) = &config.watchdog {
        assert!(!watchdog.timeout().is_zero(), "a watchdog that bites at once");
    }
    Some(config)
}
