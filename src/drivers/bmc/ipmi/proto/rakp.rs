//! Open Session and RAKP 1 to 4 (IPMI 2.0, 13.17 to 13.24, 13.31): who are you, and do both know the password.
//!
//! The numbers that both sides chose, the role and the user name go into every code, so a man in the middle changes
//! none of them. RAKP 2 gives a crackable HMAC of the password to anyone who asks (CVE-2013-4786): hence the advice
//! about random passwords in SAFETY.md 4.4.

use std::vec::Vec;

use super::{
    suite::{CipherSuite, Crypto, CryptoFailed, Privilege, Tag},
    wire::{Malformed, Reader},
};

/// Only the name finds the account, not name and privilege together.
const NAME_ONLY_LOOKUP: u8 = 0x10;
/// "Invalid integrity check value" (table 13-15): what we say to a BMC that does not know the password.
pub(crate) const STATUS_BAD_CHECK: u8 = 0x0f;

/// What both sides chose before the password comes in.
pub(crate) struct Handshake {
    pub(crate) suite: CipherSuite,
    pub(crate) console_session: u32,
    pub(crate) bmc_session: u32,
    pub(crate) console_random: [u8; 16],
    pub(crate) bmc_random: [u8; 16],
    pub(crate) bmc_guid: [u8; 16],
    pub(crate) role: u8,
    pub(crate) user: Vec<u8>,
}

/// Answer to Open Session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenResponse {
    /// The tag of the question.
    pub tag: u8,
    /// Zero, or why not (table 13-15).
    pub status: u8,
    /// Our session id, repeated.
    pub console_session: u32,
    /// What follows in an answer of status zero: the BMC's session id and the three algorithms.
    pub accepted: Option<(u32, [u8; 3])>,
}

/// RAKP message 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rakp2 {
    /// The tag of the question.
    pub tag: u8,
    /// Zero, or why not.
    pub status: u8,
    /// Our session id, repeated.
    pub console_session: u32,
    /// Random number, GUID and code of the BMC, in an answer of status zero.
    pub accepted: Option<([u8; 16], [u8; 16], Vec<u8>)>,
}

/// RAKP message 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rakp4 {
    /// The tag of the question.
    pub tag: u8,
    /// Zero, or why not.
    pub status: u8,
    /// Our session id, repeated.
    pub console_session: u32,
    /// The check value of status zero.
    pub code: Vec<u8>,
}

pub(crate) const fn role(privilege: Privilege) -> u8 {
    privilege.level() | NAME_ONLY_LOOKUP
}

pub(crate) fn open_request(
    tag: u8,
    privilege: Privilege,
    session: u32,
    suite: CipherSuite,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.extend([tag, privilege.level(), 0, 0]);
    out.extend(session.to_le_bytes());
    for (kind, algorithm) in (0_u8..).zip(suite.algorithms()) {
        out.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
    }
    out
}

pub(crate) fn rakp1(tag: u8, handshake: &Handshake) -> Vec<u8> {
    let mut out = Vec::with_capacity(44);
    out.extend([tag, 0, 0, 0]);
    out.extend(handshake.bmc_session.to_le_bytes());
    out.extend(handshake.console_random);
    out.extend([handshake.role, 0, 0, handshake.user_len()]);
    out.extend(&handshake.user);
    out
}

/// With the code when the BMC proved itself, with a status and no code when it did not: that frees its session.
pub(crate) fn rakp3(tag: u8, status: u8, bmc_session: u32, code: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + code.len());
    out.extend([tag, status, 0, 0]);
    out.extend(bmc_session.to_le_bytes());
    out.extend(code);
    out
}

impl Handshake {
    fn user_len(&self) -> u8 {
        // 16 at most, checked where the configuration is made.
        u8::try_from(self.user.len()).unwrap_or(0)
    }

    /// What the BMC must send in RAKP 2, under the key of the password.
    pub(crate) fn bmc_code(
        &self,
        crypto: &impl Crypto,
        password: &[u8],
    ) -> Result<Tag, CryptoFailed> {
        let parts: [&[u8]; 8] = [
            &self.console_session.to_le_bytes(),
            &self.bmc_session.to_le_bytes(),
            &self.console_random,
            &self.bmc_random,
            &self.bmc_guid,
            &[self.role],
            &[self.user_len()],
            &self.user,
        ];
        crypto.hmac(self.suite.hash(), password, &parts)
    }

    /// What we send in RAKP 3.
    pub(crate) fn console_code(
        &self,
        crypto: &impl Crypto,
        password: &[u8],
    ) -> Result<Tag, CryptoFailed> {
        let parts: [&[u8]; 5] = [
            &self.bmc_random,
            &self.console_session.to_le_bytes(),
            &[self.role],
            &[self.user_len()],
            &self.user,
        ];
        crypto.hmac(self.suite.hash(), password, &parts)
    }

    /// The session integrity key; without a BMC key of its own its key is the password's ("one-key login").
    pub(crate) fn session_key(
        &self,
        crypto: &impl Crypto,
        password: &[u8],
    ) -> Result<Tag, CryptoFailed> {
        let parts: [&[u8]; 5] =
            [&self.console_random, &self.bmc_random, &[self.role], &[self.user_len()], &self.user];
        crypto.hmac(self.suite.hash(), password, &parts)
    }

    /// What the BMC must send in RAKP 4, before it is cut to the integrity length.
    pub(crate) fn check_value(&self, crypto: &impl Crypto, key: &Tag) -> Result<Tag, CryptoFailed> {
        let parts: [&[u8]; 3] =
            [&self.console_random, &self.bmc_session.to_le_bytes(), &self.bmc_guid];
        crypto.hmac(self.suite.hash(), key.as_slice(), &parts)
    }
}

/// Reads the answer to Open Session. One that says no is short at some BMCs and long at others.
pub fn parse_open_response(payload: &[u8]) -> Result<OpenResponse, Malformed> {
    let mut reader = Reader::new(payload, "Open Session response too short");
    let [tag, status] = reader.array()?;
    if status != 0 {
        let console_session = reader.take(2).and_then(|_| reader.u32()).unwrap_or(0);
        return Ok(OpenResponse { tag, status, console_session, accepted: None });
    }
    reader.take(2)?;
    let console_session = reader.u32()?;
    let bmc_session = reader.u32()?;
    let mut algorithms = [0; 3];
    for (kind, algorithm) in (0_u8..).zip(&mut algorithms) {
        let block: [u8; 8] = reader.array()?;
        if block[0] != kind || block[3] != 8 {
            return Err(Malformed("an algorithm of another kind in Open Session response"));
        }
        *algorithm = block[4] & 0x3f;
    }
    if bmc_session == 0 {
        return Err(Malformed("session id 0"));
    }
    Ok(OpenResponse { tag, status, console_session, accepted: Some((bmc_session, algorithms)) })
}

/// Reads RAKP message 2.
pub fn parse_rakp2(payload: &[u8]) -> Result<Rakp2, Malformed> {
    let mut reader = Reader::new(payload, "RAKP 2 too short");
    let [tag, status, _, _] = reader.array()?;
    let console_session = reader.u32()?;
    if status != 0 {
        return Ok(Rakp2 { tag, status, console_session, accepted: None });
    }
    let random = reader.array()?;
    let guid = reader.array()?;
    let code = reader.rest();
    if code.len() > 32 {
        return Err(Malformed("RAKP 2 with a code longer than any hash"));
    }
    Ok(Rakp2 { tag, status, console_session, accepted: Some((random, guid, code.to_vec())) })
}

/// Reads RAKP message 4.
pub fn parse_rakp4(payload: &[u8]) -> Result<Rakp4, Malformed> {
    let mut reader = Reader::new(payload, "RAKP 4 too short");
    let [tag, status, _, _] = reader.array()?;
    let console_session = reader.u32()?;
    let code = reader.rest();
    if code.len() > 32 {
        return Err(Malformed("RAKP 4 with a code longer than any hash"));
    }
    Ok(Rakp4 { tag, status, console_session, code: code.to_vec() })
}
