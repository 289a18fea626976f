//! Secrets, redacted by type (SAFETY.md 4.4): no `Debug`, no `Serialize`, no `Display`; wiped when dropped.

use zeroize::Zeroizing;

/// A password. It can be used, but not printed: there is no `Debug`.
///
/// ```compile_fail
/// println!("{:?}", drivers::secret::Password::new(b"x".to_vec()));
/// ```
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes; the caller's copy is gone with them.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the cryptography of one session. Do not copy them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
