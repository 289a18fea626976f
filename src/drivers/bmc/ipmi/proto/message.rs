//! IPMI messages over LAN (IPMI 2.0, 13.8): addresses, network function, command, two checksums.

use std::vec::Vec;

use super::wire::{Malformed, Reader};

/// The BMC's slave address.
const BMC: u8 = 0x20;
/// Software id of a remote console.
const CONSOLE: u8 = 0x81;
/// Longest message data that is looked at.
const DATA_MAX: usize = 128;

/// A command to the BMC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Even; the answer's is one more.
    pub netfn: u8,
    /// Command within it.
    pub command: u8,
    /// Parameters.
    pub data: Vec<u8>,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Odd.
    pub netfn: u8,
    /// Command that is answered.
    pub command: u8,
    /// Sequence number of the question, 6 bits.
    pub sequence: u8,
    /// Completion code; 0 is success.
    pub code: u8,
    /// What follows it.
    pub data: Vec<u8>,
}

/// Two's complement of the sum: the sum over the bytes and their checksum is zero.
pub(crate) fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

fn frame(to: u8, netfn: u8, from: u8, sequence: u8, command: u8, data: &[u8]) -> Vec<u8> {
    let head = [to, netfn << 2];
    let mut body = Vec::with_capacity(data.len() + 4);
    body.extend([from, (sequence & 0x3f) << 2, command]);
    body.extend(data);
    let mut out = Vec::with_capacity(data.len() + 7);
    out.extend(head);
    out.push(checksum(&head));
    out.extend(&body);
    out.push(checksum(&body));
    out
}

fn unframe(bytes: &[u8], to: u8, from: u8) -> Result<(u8, u8, u8, &[u8]), Malformed> {
    let mut reader = Reader::new(bytes, "ends within a message header");
    let head: [u8; 3] = reader.array()?;
    let body = reader.rest();
    if checksum(&head) != 0 || checksum(body) != 0 {
        return Err(Malformed("a message checksum is wrong"));
    }
    let (_, body) = body.split_last().ok_or(Malformed("ends within a message header"))?;
    let mut reader = Reader::new(body, "ends within a message header");
    let [sender, sequence, command] = reader.array()?;
    if head[0] != to || sender != from || head[1] & 3 != 0 || sequence & 3 != 0 {
        return Err(Malformed("a message between others"));
    }
    if reader.rest().len() > DATA_MAX + 1 {
        return Err(Malformed("more data than any answer has"));
    }
    Ok((head[1] >> 2, sequence >> 2, command, &body[3..]))
}

impl Request {
    /// On the wire.
    pub fn encode(&self, sequence: u8) -> Vec<u8> {
        frame(BMC, self.netfn, CONSOLE, sequence, self.command, &self.data)
    }
}

impl Response {
    /// On the wire; for doubles.
    pub fn encode(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.data.len() + 1);
        data.push(self.code);
        data.extend(&self.data);
        frame(CONSOLE, self.netfn, BMC, self.sequence, self.command, &data)
    }
}

/// Reads an answer of a BMC.
pub fn parse_response(bytes: &[u8]) -> Result<Response, Malformed> {
    let (netfn, sequence, command, data) = unframe(bytes, CONSOLE, BMC)?;
    let (code, data) = data.split_first().ok_or(Malformed("an answer without completion code"))?;
    if netfn & 1 == 0 {
        return Err(Malformed("a question where an answer belongs"));
    }
    Ok(Response { netfn, command, sequence, code: *code, data: data.to_vec() })
}

/// Reads a question to a BMC, with its sequence number; for doubles.
pub fn parse_request(bytes: &[u8]) -> Result<(Request, u8), Malformed> {
    let (netfn, sequence, command, data) = unframe(bytes, BMC, CONSOLE)?;
    Ok((Request { netfn, command, data: data.to_vec() }, sequence))
}
