//! Frames on a stream: length (u32, little-endian), postcard.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest frame. A report of 4096 instances stays below a third of it.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
// an executor's report is passed on whole
const _: () = assert!(FRAME_BYTES_MAX <= cluster::REPORT_MAX);

/// Why a connection between two parts is over. The receiving part has taken nothing of the frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed it, between two frames.
    #[error("closed")]
    Closed,
    /// The system said so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes, above the limit; the two parts are of different versions")]
    TooLong(usize),
    /// Not what the type says.
    #[error("a frame that cannot be read ({0}); the two parts are of different versions")]
    Malformed(postcard::Error),
}

/// Writes one frame.
pub async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FrameError> {
    let mut bytes = vec![0_u8; 4];
    bytes = postcard::to_extend(message, bytes).map_err(FrameError::Malformed)?;
    let length = bytes.len() - 4;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    // Below the limit, so it fits.
    bytes[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    stream.write_all(&bytes).await?;
    Ok(())
}

/// Reads one frame. `buffer` is reused; it does not stay large after a large frame.
pub async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<T, FrameError> {
    let mut length = [0_u8; 4];
    if let Err(error) = stream.read_exact(&mut length).await {
        return Err(if error.kind() == io::ErrorKind::UnexpectedEof {
            FrameError::Closed
        } else {
            error.into()
        });
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    buffer.clear();
    buffer.shrink_to(64 * 1024);
    buffer.resize(length, 0);
    stream.read_exact(buffer).await?;
    let (message, rest) = postcard::take_from_bytes(buffer).map_err(FrameError::Malformed)?;
    if !rest.is_empty() {
        return Err(FrameError::Malformed(postcard::Error::DeserializeBadEncoding));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_read_back_and_the_end_is_told_from_an_error() {
        let (mut a, mut b) = tokio::io::duplex(1024);
        write(&mut a, &("hello".to_owned(), 7_u32)).await.expect("written");
        let mut buffer = Vec::new();
        let read_back: (String, u32) = read(&mut b, &mut buffer).await.expect("read");
        assert_eq!(read_back, ("hello".to_owned(), 7));
        drop(a);
        let end = read::<u32>(&mut b, &mut buffer).await;
        assert!(matches!(end, Err(FrameError::Closed)), "{end:?}");
    }

    #[tokio::test]
    async fn a_hostile_length_allocates_nothing() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0x7f, 1, 2, 3];
        let mut buffer = Vec::new();
        let refused = read::<u32>(&mut bytes, &mut buffer).await;
        assert!(matches!(refused, Err(FrameError::TooLong(_))), "{refused:?}");
        assert_eq!(buffer.capacity(), 0);
        let mut trailing: &[u8] = &[2, 0, 0, 0, 1, 9];
        let refused = read::<u8>(&mut trailing, &mut buffer).await;
        assert!(matches!(refused, Err(FrameError::Malformed(_))), "{refused:?}");
    }
}
