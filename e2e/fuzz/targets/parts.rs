//! Target `parts`: what ring part, executor, fencer and its reader of Secrets say to each other (CLUSTER.md section 8).

use agent::{
    fencer::Credentials,
    ipc::frame::{self, FrameError},
    messages::{FromExecutor, FromFencer, Ping, Pong, ToExecutor, ToFencer},
};
use futures::FutureExt as _;
use serde::{Serialize, de::DeserializeOwned};

use super::script::within;

/// A frame, its content again, and lists: one of unknown length begins with at most 1 MiB.
const FRAME_FACTOR: usize = 64;
const LIST_BYTES: usize = 4 << 20;

pub(crate) fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 8 {
        0 => stream::<ToExecutor>(bytes),
        1 => stream::<FromExecutor>(bytes),
        2 => stream::<ToFencer>(bytes),
        3 => stream::<FromFencer>(bytes),
        4 => {
            stream::<Ping>(bytes);
            stream::<Pong>(bytes);
        }
        5 => credentials(bytes),
        // one whole frame, so that nobody has to guess its length
        6 => framed(bytes, &[stream::<ToExecutor>, stream::<ToFencer>]),
        _ => framed(bytes, &[stream::<FromExecutor>, stream::<FromFencer>]),
    }
}

fn framed(bytes: &[u8], readers: &[fn(&[u8])]) {
    let mut whole = (bytes.len() as u32).to_le_bytes().to_vec();
    whole.extend_from_slice(bytes);
    readers.iter().for_each(|reader| reader(&whole));
}

/// Everything up to the first frame that cannot be read; what was read is written and read again.
fn stream<T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug>(bytes: &[u8]) {
    let mut rest = bytes;
    let mut buffer = Vec::new();
    loop {
        let limit = FRAME_FACTOR * bytes.len() + LIST_BYTES + claimed(rest);
        let read = within(limit, || {
            frame::read::<T>(&mut rest, &mut buffer).now_or_never().expect("all bytes are there")
        });
        let message = match read {
            Ok(message) => message,
            Err(FrameError::TooLong(length)) => {
                return assert!(length > frame::FRAME_BYTES_MAX);
            }
            Err(_) => return,
        };
        let mut again = Vec::new();
        let written = frame::write(&mut again, &message).now_or_never().expect("a vector");
        assert!(written.is_ok(), "{message:?} was read and cannot be written");
        let read: Option<Result<T, _>> =
            frame::read(&mut again.as_slice(), &mut buffer).now_or_never();
        assert_eq!(read.and_then(Result::ok), Some(message));
    }
}

/// The length that a frame claims, where it is allowed.
fn claimed(bytes: &[u8]) -> usize {
    let length = bytes.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    if length <= frame::FRAME_BYTES_MAX { length } else { 0 }
}

/// Limits hold for what is read as for what was taken.
fn credentials(bytes: &[u8]) {
    let Some(read) = within(FRAME_FACTOR * bytes.len() + 4096, || Credentials::decode(bytes))
    else {
        return;
    };
    let written = read.encode();
    assert!(written.len() <= bytes.len());
    let again = Credentials::decode(&written).expect("own words");
    assert!(*again.encode() == *written, "decode of encode is something else");
    let mut taken = Credentials::default();
    taken.take(again.into_map());
    assert!(*taken.encode() == *written, "more, or longer ones, than are ever taken");
}
