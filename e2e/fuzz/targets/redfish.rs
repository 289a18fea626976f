//! Target `redfish`: everything that a Redfish service says. The first byte chooses: a body alone, or a whole session with
//! a service whose answers the bytes spoil.

use base::SystemUuid;
use drivers::{
    bmc::redfish::proto::{
        Action, Answer, Ask, BODY_MAX, Config, Failure, Method, Output, Pass, Reply, Session, Step,
        find_system, parse_members, parse_root, parse_system, printable,
    },
    power::PowerState,
    secret::Password,
};

use super::script::{Script, within};

const UUID: &str = "4c4c4544-0042-3510-8054-b4c04f564431";
const PASSWORD: &str = "s3cret-and-long!";
const AT: &str = "/redfish/v1/Systems/1";
/// Requests of one session: root, login, list, system, list again, command, logout.
const REQUESTS_MAX: usize = 8;
/// What a reader of `bytes` may hold: texts of it, and lists of those.
const READER_FACTOR: usize = 16;
const READER_BYTES: usize = 64 * 1024;

pub(crate) fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 4 {
        0 => body(bytes),
        _ => session(bytes),
    }
}

/// Paths stay on the service and below the system; only the word is off.
fn body(bytes: &[u8]) {
    let limit = READER_FACTOR * bytes.len() + READER_BYTES;
    if let Ok(root) = within(limit, || parse_root(bytes)) {
        is_path(&root.systems);
        root.sessions.iter().for_each(|path| is_path(path));
    }
    if let Ok(members) = within(limit, || parse_members(bytes)) {
        assert!(members.len() <= 256);
        members.iter().for_each(|path| is_path(path));
    }
    if let Ok(system) = within(limit, || parse_system(bytes, AT)) {
        assert!(bytes.len() <= BODY_MAX);
        if let Some(reset) = &system.reset {
            is_path(reset);
            assert!(reset.starts_with("/redfish/v1/Systems/1/Actions/"), "{reset}");
        }
        if system.power == Some(PowerState::Off) {
            let text = String::from_utf8_lossy(bytes);
            assert!(text.contains("Off") || text.contains('\\'), "{text}");
        }
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(path) = find_system("/redfish/v1/Systems", &text) {
        is_path(&path);
    }
    assert!(printable(&text, 64).bytes().all(|b| (b' '..0x7f).contains(&b)));
}

fn is_path(path: &str) {
    assert!(path.starts_with("/redfish/v1") && path.len() <= 512, "{path}");
    assert!(!path.contains("..") || !path.split('/').any(|part| part == ".."), "{path}");
    assert!(path.bytes().all(|b| b.is_ascii_graphic() && !b"?#\\\"<>".contains(&b)), "{path}");
}

/// What the service knows about itself.
struct Service {
    power: &'static str,
    sessions: bool,
    open: usize,
    opened: usize,
    /// A power command was accepted, one that this body says.
    reset: Option<Vec<u8>>,
    /// An answer was not what it would have said.
    lied: bool,
}

/// One end; at most one command, after the identity; what was opened is closed; an answer is the truth unless the service
/// lied; looking switches nothing; passwords go to the login only, or with each request where there are no sessions.
fn session(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let action =
        script.pick(&[Action::SwitchOff, Action::SwitchOn, Action::ReadPower, Action::Identify]);
    let named = script.pick(&[None, Some("1"), Some(AT), Some("2"), Some("../1")]);
    let mut service = Service {
        power: script.pick(&["On", "Off", "PoweringOff", "PoweringOn", "Paused", "", "off"]),
        sessions: script.below(4) != 1,
        open: 0,
        opened: 0,
        reset: None,
        lied: false,
    };
    let mut session = Session::new(Config {
        user: "operator".into(),
        password: Password::new(PASSWORD.into()),
        system: named.map(Into::into),
        target: Some(SystemUuid(u128::from_be_bytes(
            *b"\x4c\x4c\x45\x44\x00\x42\x35\x10\x80\x54\xb4\xc0\x4f\x56\x44\x31",
        ))),
        action,
    });
    let mut commands = 0;
    for _ in 0..=REQUESTS_MAX {
        let (ask, command) = match session.poll_output().expect("a request or the end") {
            Output::Finished(result) => {
                session.handle_reply(&Reply::default());
                session.handle_failure(Failure::StateUnknown);
                session.handle_withdrawn();
                session.handle_abort();
                assert!(session.poll_output().is_none() && session.step() == Step::Done);
                assert!(commands <= 1);
                return truth(&service, action, &result);
            }
            Output::Ask(ask) => (ask, false),
            Output::Command(ask) => (ask, true),
        };
        is_path(&ask.path);
        assert!(session.poll_output().is_none(), "one request at a time");
        assert_eq!(command, session.step() == Step::Command);
        if command {
            commands += 1;
            assert!(action == Action::SwitchOff || action == Action::SwitchOn);
        }
        let login = session.step() == Step::Login;
        let body = ask.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned());
        assert_eq!(login, body.is_some_and(|body| body.contains(PASSWORD)), "the password leaks");
        match script.below(16) {
            1 => {
                // A logout that is lost leaves its session to the service.
                service.lied = true;
                session.handle_failure(Failure::Timeout("it"));
            }
            2 => session.handle_withdrawn(),
            3 => session.handle_abort(),
            _ => {}
        }
        if session.step() == Step::Done || session.step() == Step::Logout && !is_logout(&ask) {
            continue;
        }
        let reply = answer(&mut service, &mut script, &ask);
        session.handle_reply(&reply);
    }
    panic!("no end");
}

fn is_logout(ask: &Ask) -> bool {
    ask.method == Method::Delete
}

fn answer(service: &mut Service, script: &mut Script<'_>, ask: &Ask) -> Reply {
    let mut reply = honest(service, ask);
    match script.below(8) {
        1 => {
            service.lied = true;
            script.edit(&mut reply.body);
        }
        2 => {
            service.lied = true;
            reply.status =
                script.pick(&[0, 100, 200, 202, 204, 301, 400, 401, 403, 404, 405, 409, 500, 503]);
        }
        3 => {
            service.lied = true;
            reply.location = Some(String::from_utf8_lossy(script.bytes()).into_owned());
        }
        4 => {
            service.lied = true;
            reply.token = Some(String::from_utf8_lossy(script.bytes()).into_owned().into());
        }
        5 => {
            service.lied = true;
            reply.body = script.bytes().to_vec();
        }
        _ => {}
    }
    reply
}

fn honest(service: &mut Service, ask: &Ask) -> Reply {
    let reply = |status, body: String| Reply { status, body: body.into(), ..Reply::default() };
    match (ask.method, ask.path.as_str()) {
        (Method::Get, "/redfish/v1/") => {
            let links = if service.sessions {
                r#","Links":{"Sessions":{"@odata.id":"/redfish/v1/S"}}"#
            } else {
                ""
            };
            reply(200, format!(r#"{{"Systems":{{"@odata.id":"/redfish/v1/Systems"}}{links}}}"#))
        }
        (Method::Post, "/redfish/v1/S") if service.sessions => {
            service.open += 1;
            service.opened += 1;
            Reply {
                token: Some("t0ken".to_owned().into()),
                location: Some("/redfish/v1/S/1".into()),
                ..reply(201, String::new())
            }
        }
        (Method::Delete, "/redfish/v1/S/1") => {
            service.open = 0;
            reply(204, String::new())
        }
        _ if matches!(&ask.pass, Pass::None) => reply(401, String::new()),
        (Method::Get, "/redfish/v1/Systems") => {
            reply(200, format!(r#"{{"Members":[{{"@odata.id":"{AT}"}}]}}"#))
        }
        (Method::Get, AT) => reply(
            200,
            format!(
                r##"{{"UUID":"{UUID}","PowerState":"{}","Actions":{{"#ComputerSystem.Reset":{{"target":"{AT}/Actions/ComputerSystem.Reset"}}}}}}"##,
                service.power
            ),
        ),
        (Method::Post, path) if path.ends_with("/Actions/ComputerSystem.Reset") => {
            service.reset = ask.body.as_ref().map(|body| body.to_vec());
            reply(204, String::new())
        }
        _ => reply(404, String::new()),
    }
}

fn truth(service: &Service, action: Action, result: &Result<Answer, Failure>) {
    if !service.lied {
        assert!(service.open == 0 && service.opened <= 1, "a session was left open");
    }
    match (action, &service.reset) {
        (_, None) => {}
        (Action::SwitchOff, Some(body)) => assert_eq!(body, br#"{"ResetType":"ForceOff"}"#),
        (Action::SwitchOn, Some(body)) => assert_eq!(body, br#"{"ResetType":"On"}"#),
        _ => panic!("looking switched the power"),
    }
    match result {
        Ok(Answer::Accepted) => assert!(service.lied || service.reset.is_some()),
        Ok(Answer::Power(PowerState::Off)) => assert!(service.lied || service.power == "Off"),
        Ok(Answer::Power(PowerState::On)) => assert!(service.lied || service.power != "Off"),
        Ok(Answer::Identity(identity)) => {
            assert!(service.lied || identity.readings()[0].to_string() == UUID);
        }
        Err(_) => {}
    }
}
