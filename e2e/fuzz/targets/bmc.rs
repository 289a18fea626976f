//! Target `bmc`: everything that a BMC says. The first byte chooses: a datagram, a message, a login, a whole session.

use std::time::Duration;

use base::{Instant, SystemUuid};
use drivers::{
    bmc::ipmi::{
        AwsLc, CipherSuite, Privilege,
        double::{Double, Event, Faults, GUID},
        proto::{
            Action, Answer, Config, Crypto, CryptoFailed, DATAGRAM_MAX, Failure, Hash, Keys,
            Output, PayloadType, Session, Tag, parse_chassis_status, parse_open_response,
            parse_packet, parse_rakp2, parse_rakp4, parse_request, parse_response,
            parse_system_guid,
        },
    },
    power::PowerState,
    secret::Password,
};

use super::script::{Script, within};

const WITHIN: Duration = Duration::from_secs(4);
/// Turns of one session.
const TURNS_MAX: usize = 2000;
/// What one reader may hold: a datagram, again.
const READER_BYTES: usize = 2 * DATAGRAM_MAX;

pub(crate) fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 6 {
        0 => datagram(bytes),
        1 => message(bytes),
        2 => login(bytes),
        _ => session(bytes),
    }
}

/// A packet is a part of its datagram; what is not sealed under the key is not opened.
fn datagram(bytes: &[u8]) {
    let Ok(packet) = within(READER_BYTES, || parse_packet(bytes)) else { return };
    assert!(packet.payload.len() + packet.trailer.len() < bytes.len());
    let sik = Tag::new(&[7; 20]).expect("short");
    let keys = Keys::derive(&AwsLc, CipherSuite::Suite3, &sik).expect("works");
    if packet.kind == PayloadType::Ipmi && keys.open(&AwsLc, &packet).is_ok() {
        // Sealed by whoever holds the key: only the corpus does.
        assert!(packet.encrypted && packet.authenticated);
    }
}

/// One meaning, one spelling.
fn message(bytes: &[u8]) {
    if let Ok(response) = within(READER_BYTES + bytes.len(), || parse_response(bytes)) {
        assert_eq!(response.encode(), bytes);
    }
    if let Ok((request, sequence)) = within(READER_BYTES + bytes.len(), || parse_request(bytes)) {
        assert_eq!(request.encode(sequence), bytes);
    }
    if let Ok(on) = parse_chassis_status(bytes) {
        assert_eq!(on == PowerState::On, bytes[0] & 1 == 1, "{bytes:?}");
    }
    if let Ok(guid) = parse_system_guid(bytes) {
        assert_eq!(guid.0, bytes);
    }
}

/// What was read stands in the payload, and nothing longer than it.
fn login(bytes: &[u8]) {
    if let Ok(open) = within(READER_BYTES, || parse_open_response(bytes)) {
        assert_eq!((open.tag, open.status), (bytes[0], bytes[1]));
        // one that says no may be short
        if let Some((session, _)) = open.accepted {
            assert!(open.status == 0 && bytes.len() >= 36 && session != 0);
            assert_eq!(open.console_session.to_le_bytes(), bytes[4..8]);
            assert_eq!(session.to_le_bytes(), bytes[8..12]);
        }
    }
    if let Ok(rakp2) = within(READER_BYTES + bytes.len(), || parse_rakp2(bytes))
        && let Some((random, guid, code)) = rakp2.accepted
    {
        assert_eq!(rakp2.status, 0);
        assert_eq!([&random[..], &guid[..], &code[..]].concat(), bytes[8..]);
    }
    if let Ok(rakp4) = within(READER_BYTES + bytes.len(), || parse_rakp4(bytes)) {
        assert_eq!(rakp4.code, bytes[8..]);
    }
}

/// The same bytes in each run.
struct Fixed(u8);

impl Crypto for Fixed {
    fn hmac(&self, hash: Hash, key: &[u8], parts: &[&[u8]]) -> Result<Tag, CryptoFailed> {
        AwsLc.hmac(hash, key, parts)
    }

    fn encrypt(&self, key: &[u8; 16], iv: [u8; 16], blocks: &mut [u8]) -> Result<(), CryptoFailed> {
        AwsLc.encrypt(key, iv, blocks)
    }

    fn decrypt(&self, key: &[u8; 16], iv: [u8; 16], blocks: &mut [u8]) -> Result<(), CryptoFailed> {
        AwsLc.decrypt(key, iv, blocks)
    }

    fn random(&mut self, out: &mut [u8]) -> Result<(), CryptoFailed> {
        self.0 = self.0.wrapping_add(1);
        out.fill(self.0);
        Ok(())
    }
}

/// A whole session over a network that the bytes direct, against a BMC that errs as they say. Whatever comes, an
/// answer is the truth unless the BMC itself lied, one end is said, and nothing leaves after the deadline.
fn session(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let suite = script.pick(&[CipherSuite::Suite3, CipherSuite::Suite17]);
    let action =
        script.pick(&[Action::SwitchOff, Action::SwitchOn, Action::ReadPower, Action::Identify]);
    let mut double = Double::new(&[suite]);
    double.power = script.below(2) == 0;
    let was_on = double.power;
    double.faults = faults(&mut script);
    let begin = Instant::from_millis(1000);
    let config = Config {
        user: b"operator".to_vec(),
        password: Password::new(b"s3cret-and-long!".to_vec()),
        privilege: Privilege::Operator,
        suite,
        target: Some(SystemUuid(u128::from_be_bytes(GUID))),
        action,
        within: WITHIN,
        resend_after: Duration::from_millis(500),
    };
    let mut now = begin;
    let mut session = Session::new(Fixed(0), config, now);
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for _ in 0..TURNS_MAX {
        let mut answers = Vec::new();
        while let Some(output) = session.poll_output() {
            let bytes = match output {
                Output::Finished(result) => {
                    assert_eq!(session.poll_output(), None, "nothing follows the end");
                    assert_eq!(session.poll_timeout(), None);
                    session.handle_timeout(now + WITHIN);
                    assert_eq!(session.poll_output(), None, "silence after the end");
                    return truth(&double, was_on, action, &result);
                }
                Output::SendCommand(bytes) if script.below(32) == 1 => {
                    session.handle_withdrawn(now);
                    seen.push(bytes);
                    continue;
                }
                Output::Send(bytes) | Output::SendCommand(bytes) => bytes,
            };
            assert!(now < begin + WITHIN, "sent after the deadline");
            for arrived in network(&mut script, bytes, &mut seen) {
                answers.extend(double.handle(&arrived));
            }
        }
        if answers.is_empty() {
            let (at, _) = session.poll_timeout().expect("a session that goes on has a timer");
            now = now.max(at);
            session.handle_timeout(now);
        }
        for answer in answers {
            now = now + Duration::from_millis(1);
            for arrived in network(&mut script, answer, &mut seen) {
                session.handle_datagram(now, &arrived);
            }
        }
    }
    panic!("no end");
}

fn faults(script: &mut Script<'_>) -> Faults {
    let invents = (0..script.below(4))
        .map(|_| (script.below(8) as u8, script.byte(), script.bytes().to_vec()))
        .collect();
    Faults {
        ignores_commands: false,
        forgets_privilege_once: script.below(8) == 1,
        mute_close: script.below(8) == 1,
        mute: None,
        refuses: None,
        downgrades: (script.below(16) == 1).then(|| [script.byte(), script.byte(), script.byte()]),
        busy: script.pick(&[0, 0, 0, 3]),
        short_status: script.below(8) == 1,
        invents,
    }
}

/// Lost, repeated, changed, or an old one once more.
fn network(script: &mut Script<'_>, bytes: Vec<u8>, seen: &mut Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    seen.push(bytes.clone());
    match script.below(12) {
        1 => vec![],
        2 => vec![bytes.clone(), bytes],
        3 | 4 => {
            // by difference: what is sealed has other bytes in each run
            let mut changed = bytes.clone();
            for _ in 0..=script.below(3) {
                let at = usize::from(script.byte()) * 2 % changed.len();
                changed[at] ^= script.byte().max(1);
            }
            vec![changed, bytes]
        }
        5 => {
            let length = usize::from(script.byte()).min(bytes.len());
            vec![bytes[..length].to_vec(), bytes]
        }
        6 => vec![script.bytes().to_vec(), bytes],
        7 => vec![seen[script.below(seen.len())].clone(), bytes],
        _ => vec![bytes],
    }
}

fn truth(double: &Double, was_on: bool, action: Action, result: &Result<Answer, Failure>) {
    let lied = double.lied;
    match result {
        Ok(Answer::Accepted) => {
            let wanted = if action == Action::SwitchOff { Event::Off } else { Event::On };
            assert!(lied || double.events.contains(&wanted), "accepted, and nothing was switched");
        }
        Ok(Answer::Power(state)) => {
            assert!(lied || (*state == PowerState::On) == was_on, "{state:?} is not the truth");
        }
        Ok(Answer::Identity(identity)) => assert!(lied || identity.0 == GUID),
        Err(_) => {}
    }
    if action == Action::ReadPower || action == Action::Identify {
        assert_eq!(double.power, was_on, "looking switched the power");
    }
}
