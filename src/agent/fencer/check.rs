//! Looks at the fence devices before they are needed: can this member reach them, log in, and do they belong to the machine
//! that they are to switch off? Pure: when to look and what to say; [`super`] carries it out.
//!
//! Invariants: nothing is switched; a device is looked at by one call at a time, and a look gives way to a command; a login
//! that was refused is not repeated before five minutes or a new credential, because BMCs lock accounts; weather is no
//! news: what is not a person's fault is said when it was seen twice in a row, and in the words that stand already.

use std::{collections::BTreeMap, time::Duration};

use api::names::reason;
use base::{FenceDevice, FenceDriver, Instant, Label};
use cluster::{DEVICES_SAID_MAX, DeviceFinding};
use drivers::power::{DeviceIdentity, PowerError};
use fencing::DeviceError;

/// Between two looks at a device that can be used.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After one that did not go well.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// After a login that was refused.
const LOGIN_AGAIN: Duration = Duration::from_secs(300);
/// Between the starts of two looks: many devices are not asked at once.
const SPREAD: Duration = Duration::from_millis(250);
/// For a look as a whole.
pub(super) const LOOK_TIME_MAX: Duration = Duration::from_secs(10);

/// What a look has found.
pub(super) type Found = Result<DeviceIdentity, LookError>;

/// Why a device cannot be used from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LookError {
    /// It was not even asked.
    NotOpened(DeviceError),
    /// By its own answer, or for want of one.
    Power(PowerError),
}

/// A look that is to be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Handed back with what it found.
    pub(super) number: u64,
    pub(super) device: FenceDevice,
}

struct One {
    device: FenceDevice,
    at: Instant,
    /// The look under way.
    number: Option<u64>,
    said: Option<DeviceFinding>,
    /// What was seen last, if it is not believed yet.
    doubt: Option<&'static str>,
}

/// All devices that this member may have to use.
#[derive(Default)]
pub(super) struct Looks {
    all: BTreeMap<Label, One>,
    next: u64,
    /// Secrets that cannot be used, and why.
    secrets: BTreeMap<String, String>,
    /// Secrets were looked for at least once.
    fetched: bool,
}

impl Looks {
    /// The devices of the accepted revision. One that is described anew is looked at anew, and nothing is said of it before.
    /// True: what is said changes.
    pub(super) fn devices(&mut self, now: Instant, devices: Vec<FenceDevice>) -> bool {
        let before = self.findings();
        let mut kept = std::mem::take(&mut self.all);
        for device in devices.into_iter().take(DEVICES_SAID_MAX) {
            let known = kept.remove(&device.name).filter(|one| one.device == device);
            let one = known.unwrap_or(One {
                device,
                at: now + LOOK_AGAIN / 10,
                number: None,
                said: None,
                doubt: None,
            });
            self.all.insert(one.device.name.clone(), one);
        }
        before != self.findings()
    }

    /// What the look for Secrets has found. `new`: among them are some that were not known.
    pub(super) fn secrets(&mut self, now: Instant, wrong: BTreeMap<String, String>, new: bool) {
        for one in self.all.values_mut() {
            let secret = &one.device.credentials;
            if new || !self.fetched || self.secrets.get(secret) != wrong.get(secret) {
                one.at = now;
            }
        }
        (self.secrets, self.fetched) = (wrong, true);
    }

    /// What is known to be wrong with Secrets.
    pub(super) fn wrong_secrets(&self) -> BTreeMap<String, String> {
        self.secrets.clone()
    }

    /// The next look, if one is due.
    pub(super) fn poll_look(&mut self, now: Instant) -> Option<Look> {
        let (secrets, fetched) = (&self.secrets, self.fetched);
        let fit = |d: &FenceDevice| d.identity.is_some() && !secrets.contains_key(&d.credentials);
        let due =
            |one: &&mut One| one.number.is_none() && one.at <= now && fetched && fit(&one.device);
        let one = self.all.values_mut().find(due)?;
        self.next += 1;
        one.number = Some(self.next);
        let look = Look { number: self.next, device: one.device.clone() };
        for other in self.all.values_mut().filter(|other| other.number.is_none()) {
            other.at = other.at.max(now + SPREAD);
        }
        Some(look)
    }

    /// Says what needs no look. True: what is said changes.
    pub(super) fn settle(&mut self, now: Instant) -> bool {
        let before = self.findings();
        for one in self.all.values_mut().filter(|one| one.number.is_none() && one.at <= now) {
            if !self.fetched {
                one.at = now + SPREAD;
            } else if let Some(wrong) = self.secrets.get(&one.device.credentials) {
                one.at = now + LOOK_EVERY;
                one.doubt = None;
                one.said = Some(finding(&one.device, reason::CREDENTIALS_INVALID, wrong.clone()));
            } else if one.device.identity.is_none() {
                one.at = now + LOOK_EVERY;
                one.doubt = None;
                let text = "the machine's UUID is not known, so the device could belong to any machine: write spec.identity.systemUuid, or start the agent there once";
                one.said = Some(finding(&one.device, reason::IDENTITY_UNKNOWN, text.into()));
            }
        }
        before != self.findings()
    }

    /// A look ended. True: what is said changes.
    pub(super) fn handle_found(&mut self, now: Instant, number: u64, found: Found) -> bool {
        let under_way = |one: &&mut One| one.number == Some(number);
        // Of a device that was described anew meanwhile: void.
        let Some(one) = self.all.values_mut().find(under_way) else { return false };
        one.number = None;
        let (word, text) = match judge(&one.device, found) {
            Ok(()) => ("", String::new()),
            Err(wrong) => wrong,
        };
        one.at = now
            + match word {
                "" => LOOK_EVERY,
                reason::CREDENTIALS_INVALID => LOGIN_AGAIN,
                _ => LOOK_AGAIN,
            };
        let known = one.said.as_ref().is_some_and(|said| said.reason == word);
        let weather = matches!(word, reason::UNREACHABLE | reason::PROTOCOL_VIOLATION);
        if weather && !known && one.doubt != Some(word) {
            one.doubt = Some(word);
            return false;
        }
        one.doubt = None;
        if weather && known {
            // Slow today, refused tomorrow: one state, and one text for it.
            return false;
        }
        let now_said = finding(&one.device, word, text);
        let changed = one.said.as_ref() != Some(&now_said);
        one.said = Some(now_said);
        changed
    }

    /// The device is needed for a command, or its look was given up: later.
    pub(super) fn give_way(&mut self, now: Instant, device: &Label) -> Option<u64> {
        let one = self.all.get_mut(device)?;
        one.at = now + LOOK_AGAIN;
        one.number.take()
    }

    /// What is to be said of all of them.
    pub(super) fn findings(&self) -> Vec<DeviceFinding> {
        self.all.values().filter_map(|one| one.said.clone()).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.all.values().filter(|one| one.number.is_none()).map(|one| one.at).min()
    }
}

fn finding(device: &FenceDevice, reason: &str, text: String) -> DeviceFinding {
    DeviceFinding { device: device.name.clone(), reason: reason.into(), text }
}

/// Path, value, rule and remedy, in words that stay the same while nothing changes.
fn judge(device: &FenceDevice, found: Found) -> Result<(), (&'static str, String)> {
    let error = match found {
        Ok(found) => match device.identity {
            Some(machine) if found.is(machine) => return Ok(()),
            Some(machine) => {
                let text = format!(
                    "the BMC reports {found}, but the machine is {machine}: cables or addresses are crossed; correct the address or spec.targets"
                );
                return Err((reason::WRONG_IDENTITY, text));
            }
            None => return Err((reason::IDENTITY_UNKNOWN, String::new())),
        },
        Err(error) => error,
    };
    let secret = &device.credentials;
    let (driver, place) = match &device.driver {
        FenceDriver::Ipmi { address, port, .. } => ("ipmi", format!("{address} port {port}")),
        FenceDriver::Redfish(service) => {
            ("redfish", format!("{} port {}", service.address, service.port))
        }
    };
    let silent = || {
        let text = format!(
            "spec.{driver}: no answer from {place}: check address, network and power of the BMC"
        );
        (reason::UNREACHABLE, text)
    };
    Err(match error {
        LookError::NotOpened(DeviceError::NoCredentials) => {
            let text = format!(
                "secret {secret:?} could not be read yet, and this member has no copy of it: see whether the API can be reached"
            );
            (reason::CREDENTIALS_INVALID, text)
        }
        LookError::NotOpened(error) => (reason::DEVICE_MISFIT, format!("spec.{driver}: {error}")),
        LookError::Power(error) => match error {
            PowerError::AuthenticationFailed(_) => {
                (reason::CREDENTIALS_INVALID, format!("secret {secret:?}: {error}"))
            }
            PowerError::Timeout(_) | PowerError::Unreachable(_) => silent(),
            PowerError::Misfit(why) => (reason::DEVICE_MISFIT, format!("spec.{driver}: {why}")),
            PowerError::Untrusted(why) => {
                (reason::CERTIFICATE_UNTRUSTED, format!("spec.{driver}: {why}"))
            }
            PowerError::WrongIdentity { .. } => (reason::WRONG_IDENTITY, error.to_string()),
            PowerError::Refused { .. } | PowerError::RefusedByHttp { .. } => {
                (reason::REFUSED, error.to_string())
            }
            PowerError::ProtocolViolation(_)
            | PowerError::StateUnknown
            | PowerError::Superseded => (reason::PROTOCOL_VIOLATION, error.to_string()),
        },
    })
}

#[cfg(test)]
mod tests {
    use base::SystemUuid;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn device(name: &str, identity: Option<u128>) -> FenceDevice {
        FenceDevice {
            name: name.parse().expect("valid"),
            driver: FenceDriver::Ipmi {
                address: [10, 9, 0, 1].into(),
                port: 623,
                cipher_suite: 17,
            },
            credentials: name.into(),
            targets: vec![],
            level: 1,
            delay: Duration::ZERO,
            identity: identity.map(SystemUuid),
        }
    }

    /// With one device, its Secret known, and the time when its first look is due.
    fn one() -> (Looks, Instant) {
        let mut looks = Looks::default();
        assert!(!looks.devices(at(0), vec![device("bmc-1", Some(7))]), "nothing is known of it");
        looks.secrets(at(1), BTreeMap::new(), true);
        (looks, at(1))
    }

    fn look(looks: &mut Looks, now: Instant, found: Result<u128, PowerError>) -> bool {
        looks.settle(now);
        let look = looks.poll_look(now).unwrap_or_else(|| panic!("due at {now:?}"));
        assert_eq!(looks.poll_look(now), None, "one at a time");
        let found = found.map(|id| DeviceIdentity(id.to_be_bytes())).map_err(LookError::Power);
        looks.handle_found(now, look.number, found)
    }

    fn said(looks: &Looks) -> (String, String) {
        let all = looks.findings();
        (all[0].reason.clone(), all[0].text.clone())
    }

    #[test]
    fn a_device_that_can_be_used_is_said_once_and_looked_at_each_minute() {
        let (mut looks, now) = one();
        assert!(look(&mut looks, now, Ok(7)));
        assert_eq!(said(&looks), (String::new(), String::new()));
        assert_eq!(looks.poll_timeout(), Some(now + LOOK_EVERY));
        assert!(!looks.settle(at(60)) && looks.poll_look(at(60)).is_none());
        assert!(!look(&mut looks, at(61), Ok(7)), "silence");
    }

    #[test]
    fn a_device_that_is_silent_once_is_no_news_and_one_that_stays_silent_is_said_in_one_way() {
        let (mut looks, now) = one();
        look(&mut looks, now, Ok(7));
        let gone = || Err(PowerError::Unreachable("No route to host (os error 113)".into()));
        assert!(!look(&mut looks, at(61), gone()), "seen once");
        assert!(!look(&mut looks, at(71), Ok(7)));
        assert!(!look(&mut looks, at(131), gone()));
        assert!(look(&mut looks, at(141), Err(PowerError::Timeout("RMCP+ open session"))), "twice");
        let text = "spec.ipmi: no answer from 10.9.0.1 port 623: check address, network and power of the BMC";
        assert_eq!(said(&looks), ("Unreachable".into(), text.into()));
        for n in 0..50 {
            let error = if n % 2 == 0 { gone() } else { Err(PowerError::Timeout("login")) };
            assert!(!look(&mut looks, at(151 + 10 * n), error), "silence");
        }
        assert!(look(&mut looks, at(651), Ok(7)), "back, at once");
    }

    #[test]
    fn a_login_that_was_refused_waits_for_a_new_credential_so_that_no_account_is_locked() {
        let (mut looks, now) = one();
        let refused = || Err(PowerError::AuthenticationFailed("RAKP 2"));
        assert!(look(&mut looks, now, refused()), "a person's fault: at once");
        assert_eq!(said(&looks).0, "CredentialsInvalid");
        assert!(said(&looks).1.starts_with("secret \"bmc-1\": the BMC refused the login"));
        looks.secrets(at(30), BTreeMap::new(), false);
        assert_eq!(looks.poll_timeout(), Some(now + LOGIN_AGAIN), "the same as before");
        looks.secrets(at(55), BTreeMap::new(), true);
        assert!(look(&mut looks, at(55), Ok(7)));
    }

    #[test]
    fn a_secret_that_is_wrong_is_said_without_a_look_and_so_is_a_machine_without_identity() {
        let mut looks = Looks::default();
        looks.devices(at(0), vec![device("bmc-1", Some(7)), device("bmc-2", None)]);
        assert!(!looks.settle(at(9)), "nothing is known of Secrets yet");
        assert_eq!(looks.poll_look(at(9)), None, "and nobody is asked");
        let wrong = "secret \"bmc-1\" lacks key \"username\": add it".to_owned();
        looks.secrets(at(10), BTreeMap::from([("bmc-1".into(), wrong.clone())]), true);
        assert!(looks.settle(at(10)));
        assert_eq!(looks.poll_look(at(10)), None);
        let found = looks.findings();
        assert_eq!((found[0].reason.as_str(), &found[0].text), ("CredentialsInvalid", &wrong));
        assert_eq!(found[1].reason, "IdentityUnknown");
        // repaired: looked at, and the finding stands until then
        looks.secrets(at(35), BTreeMap::new(), true);
        assert!(look(&mut looks, at(35), Ok(7)));
        assert_eq!(said(&looks).0, "");
    }

    #[test]
    fn crossed_cables_and_several_systems_are_said_with_what_to_write() {
        let (mut looks, now) = one();
        assert!(look(&mut looks, now, Ok(8)));
        assert_eq!(said(&looks).0, "WrongIdentity");
        let four = "4 systems at this BMC; set systemId (1, 2, 3, 4)";
        assert!(look(&mut looks, at(11), Err(PowerError::Misfit(four.into()))));
        assert_eq!(said(&looks), ("DeviceMisfit".into(), format!("spec.ipmi: {four}")));
    }

    #[test]
    fn a_look_gives_way_to_a_command_and_what_it_finds_then_is_void() {
        let (mut looks, now) = one();
        look(&mut looks, now, Ok(7));
        let look = looks.poll_look(at(61)).expect("due");
        assert_eq!(looks.give_way(at(62), &look.device.name), Some(look.number));
        let lost = Err(LookError::Power(PowerError::AuthenticationFailed("x")));
        assert!(!looks.handle_found(at(63), look.number, lost));
        assert_eq!(said(&looks).0, "");
        assert!(looks.devices(at(64), vec![device("bmc-1", Some(9))]), "described anew: unsaid");
        assert_eq!(looks.findings(), []);
    }
}
