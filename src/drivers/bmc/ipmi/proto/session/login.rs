//! The way in: Open Session, RAKP 1 to 4. Each step either goes on, or says why not and leaves nothing prepared at the
//! BMC.

use base::Instant;

use super::{Failure, Link, Session, State, Step};
use crate::bmc::ipmi::proto::{
    rakp::{self, Handshake},
    rmcp::{Packet, PayloadType},
    seal::Keys,
    suite::{Crypto, CryptoFailed, Resend, equal},
    wire::Malformed,
};

impl<C: Crypto> Session<C> {
    pub(super) fn opened(&mut self, now: Instant, packet: &Packet<'_>) -> Result<(), Malformed> {
        let response = rakp::parse_open_response(packet.payload)?;
        // Some BMCs leave our id out when they say no.
        let short_refusal = response.status != 0 && response.console_session == 0;
        if response.tag != 0 || (response.console_session != self.console_session && !short_refusal)
        {
            return Err(Malformed("an answer to somebody else"));
        }
        let Some((bmc_session, algorithms)) = response.accepted else {
            self.finish(Err(match response.status {
                // authentication, integrity or confidentiality algorithm, no match of suites (table 13-15)
                0x04..=0x07 | 0x10 | 0x11 => Failure::SuiteRefused(response.status),
                code => Failure::Refused { what: "opening a session", code },
            }));
            return Ok(());
        };
        if algorithms != self.config.suite.algorithms() {
            // The BMC would downgrade us to a suite without authentication, integrity or secrecy.
            self.finish(Err(Failure::Violation("it chose other algorithms than were offered")));
            return Ok(());
        }
        let mut console_random = [0; 16];
        if self.crypto.random(&mut console_random).is_err() {
            self.finish(Err(Failure::Crypto));
            return Ok(());
        }
        let handshake = Handshake {
            suite: self.config.suite,
            console_session: self.console_session,
            bmc_session,
            console_random,
            bmc_random: [0; 16],
            bmc_guid: [0; 16],
            role: rakp::role(self.config.privilege),
            user: self.config.user.clone(),
        };
        self.send_plain(PayloadType::Rakp1, &rakp::rakp1(0, &handshake));
        self.state = State::Greeting { handshake, resend: self.first_try(now) };
        Ok(())
    }

    pub(super) fn greeted(
        &mut self,
        now: Instant,
        mut handshake: Handshake,
        resend: Resend,
        packet: &Packet<'_>,
    ) -> Result<(), Malformed> {
        let parsed = rakp::parse_rakp2(packet.payload)
            .and_then(|rakp2| for_us(rakp2.tag, rakp2.console_session, &handshake).map(|()| rakp2));
        let rakp2 = match parsed {
            Ok(rakp2) => rakp2,
            Err(error) => {
                self.state = State::Greeting { handshake, resend };
                return Err(error);
            }
        };
        let Some((random, guid, code)) = rakp2.accepted else {
            self.finish(Err(refused_login(rakp2.status)));
            return Ok(());
        };
        handshake.bmc_random = random;
        handshake.bmc_guid = guid;
        let password = self.config.password.expose();
        let codes = handshake
            .bmc_code(&self.crypto, password)
            .and_then(|bmc| Ok((bmc, handshake.console_code(&self.crypto, password)?)));
        let Ok((expected, ours)) = codes else {
            self.finish(Err(Failure::Crypto));
            return Ok(());
        };
        if !equal(expected.as_slice(), &code) {
            // Said to the BMC too: it frees the session that it prepared (13.22).
            let no = rakp::rakp3(0, rakp::STATUS_BAD_CHECK, handshake.bmc_session, &[]);
            self.send_plain(PayloadType::Rakp3, &no);
            self.finish(Err(Failure::Authentication("it does not hold this password")));
            return Ok(());
        }
        let payload = rakp::rakp3(0, 0, handshake.bmc_session, ours.as_slice());
        self.send_plain(PayloadType::Rakp3, &payload);
        self.state = State::Proving { handshake, payload, resend: self.first_try(now) };
        Ok(())
    }

    pub(super) fn proved(
        &mut self,
        now: Instant,
        handshake: Handshake,
        payload: Vec<u8>,
        resend: Resend,
        packet: &Packet<'_>,
    ) -> Result<(), Malformed> {
        let parsed = rakp::parse_rakp4(packet.payload)
            .and_then(|rakp4| for_us(rakp4.tag, rakp4.console_session, &handshake).map(|()| rakp4));
        let rakp4 = match parsed {
            Ok(rakp4) => rakp4,
            Err(error) => {
                self.state = State::Proving { handshake, payload, resend };
                return Err(error);
            }
        };
        if rakp4.status != 0 {
            self.finish(Err(refused_login(rakp4.status)));
            return Ok(());
        }
        match self.keys(&handshake, &rakp4.code) {
            Err(CryptoFailed) => self.finish(Err(Failure::Crypto)),
            Ok(None) => {
                self.finish(Err(Failure::Authentication("its check value is wrong")));
            }
            Ok(Some(keys)) => {
                let Handshake { bmc_session, console_session, .. } = handshake;
                let link =
                    Link { bmc_session, console_session, keys, sent: 0, seen: 0, question: 0 };
                self.ask(now, link, Step::Raise);
            }
        }
        Ok(())
    }

    /// The keys of the session if the BMC's last code proves that it has them too.
    fn keys(&self, handshake: &Handshake, code: &[u8]) -> Result<Option<Keys>, CryptoFailed> {
        let suite = self.config.suite;
        let sik = handshake.session_key(&self.crypto, self.config.password.expose())?;
        let expected = handshake.check_value(&self.crypto, &sik)?;
        if !equal(expected.truncated(suite.integrity_len()), code) {
            return Ok(None);
        }
        Keys::derive(&self.crypto, suite, &sik).map(Some)
    }
}

/// Whether an answer of the login belongs to our question.
fn for_us(tag: u8, console_session: u32, handshake: &Handshake) -> Result<(), Malformed> {
    if tag == 0 && console_session == handshake.console_session {
        Ok(())
    } else {
        Err(Malformed("an answer to somebody else"))
    }
}

const fn refused_login(status: u8) -> Failure {
    match status {
        0x09 | 0x0a => Failure::Authentication("this privilege is not allowed to the user"),
        0x0c | 0x0d => Failure::Authentication("it does not know this user"),
        0x0f => Failure::Authentication("it holds another password"),
        code => Failure::Refused { what: "logging in", code },
    }
}
