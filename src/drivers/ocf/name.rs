//! What may become part of a file's or a variable's name.

/// Of one name.
const BYTES_MAX: usize = 64;

/// `[A-Za-z0-9_-]+`.
pub(super) fn plain(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= BYTES_MAX && text.bytes().all(allowed)
}
