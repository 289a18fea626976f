//! Whole sessions: what is asked, and what the answers come to.

use base::SystemUuid;
use zeroize::Zeroizing;

use crate::{
    bmc::redfish::proto::{
        Action, Answer, Ask, Config, Failure, Method, Output, Pass, Reply, Session, Step,
    },
    power::PowerState,
    secret::Password,
};

pub(super) const MACHINE: &str = "4c4c4544-0042-3510-8054-b4c04f564431";
const ROOT: &str = r#"{"Systems":{"@odata.id":"/redfish/v1/Systems"},"Links":{"Sessions":{"@odata.id":"/redfish/v1/SessionService/Sessions"}}}"#;
const PASSWORD: &str = "s3cret-and-long!";

pub(super) fn session(action: Action, system: Option<&str>) -> Session {
    let target: SystemUuid = MACHINE.parse().expect("valid");
    Session::new(Config {
        user: "operator".into(),
        password: Password::new(PASSWORD.into()),
        system: system.map(Into::into),
        target: (action != Action::Identify).then_some(target),
        action,
    })
}

pub(super) fn reply(status: u16, body: &str) -> Reply {
    Reply { status, body: body.into(), ..Reply::default() }
}

fn system(power: &str, kinds: &str) -> String {
    format!(
        r##"{{"Id":"1","UUID":"{MACHINE}","PowerState":{power},"Actions":{{"#ComputerSystem.Reset":{{"target":"/redfish/v1/Systems/1/Actions/ComputerSystem.Reset","ResetType@Redfish.AllowableValues":{kinds}}}}}}}"##
    )
}

fn all() -> String {
    system(r#""On""#, r#"["On","ForceOff","ForceRestart"]"#)
}

/// What is asked next, and whether it is a command.
fn next(session: &mut Session) -> (Ask, bool) {
    match session.poll_output() {
        Some(Output::Ask(ask)) => (ask, false),
        Some(Output::Command(ask)) => (ask, true),
        Some(Output::Finished(result)) => panic!("it ended: {result:?}"),
        None => panic!("nothing is asked"),
    }
}

/// Up to the answer of the login; what was opened is at `/redfish/v1/SessionService/Sessions/7`.
fn log_in(session: &mut Session) {
    assert_eq!(next(session).0.path, "/redfish/v1/");
    session.handle_reply(&reply(200, ROOT));
    let (ask, command) = next(session);
    assert!(ask.method == Method::Post && !command && matches!(ask.pass, Pass::None));
    let body = ask.body.expect("the login");
    assert_eq!(*body, br#"{"UserName":"operator","Password":"s3cret-and-long!"}"#);
    session.handle_reply(&Reply {
        status: 201,
        token: Some(Zeroizing::new("t0ken".into())),
        location: Some("https://10.9.0.11/redfish/v1/SessionService/Sessions/7".into()),
        body: Vec::new(),
    });
}

/// The end, after the logout if there is one to come.
fn end(session: &mut Session) -> Result<Answer, Failure> {
    let result = match session.poll_output() {
        Some(Output::Finished(result)) => result,
        Some(Output::Ask(ask)) => {
            assert!(ask.method == Method::Delete && session.step() == Step::Logout, "{}", ask.path);
            assert_eq!(ask.path, "/redfish/v1/SessionService/Sessions/7");
            assert!(matches!(&ask.pass, Pass::Token(token) if **token == "t0ken"));
            session.handle_reply(&reply(204, ""));
            match session.poll_output() {
                Some(Output::Finished(result)) => result,
                _ => panic!("no end after the logout"),
            }
        }
        Some(Output::Command(_)) => panic!("a command"),
        None => panic!("silence"),
    };
    session.handle_failure(Failure::StateUnknown);
    session.handle_abort();
    assert!(session.poll_output().is_none(), "nothing follows the end");
    result
}

fn run(action: Action, answer: &Reply) -> Result<Answer, Failure> {
    let mut session = session(action, Some("1"));
    log_in(&mut session);
    let (ask, command) = next(&mut session);
    assert!(ask.path == "/redfish/v1/Systems/1" && ask.method == Method::Get && !command);
    session.handle_reply(answer);
    end(&mut session)
}

/// Up to the command, answered by this.
fn command(before: &str, answer: &Reply) -> Result<Answer, Failure> {
    let mut session = session(Action::SwitchOff, Some("1"));
    log_in(&mut session);
    next(&mut session);
    session.handle_reply(&reply(200, &system(before, r#"["ForceOff"]"#)));
    let (ask, command) = next(&mut session);
    assert!(command && ask.path.ends_with("/Actions/ComputerSystem.Reset"));
    assert_eq!(*ask.body.expect("the kind"), br#"{"ResetType":"ForceOff"}"#);
    session.handle_reply(answer);
    end(&mut session)
}

//= SAFETY.md#S4
//= type=test
#[test]
fn a_reset_that_was_taken_says_nothing_about_the_power() {
    for status in [200, 202, 204] {
        // also when the answer itself claims to be off
        let answer = reply(status, &system(r#""Off""#, "[]"));
        assert_eq!(command(r#""On""#, &answer), Ok(Answer::Accepted), "{status}");
    }
}

//= SAFETY.md#S4
//= type=test
#[test]
fn only_off_is_off() {
    for (said, read) in [
        (r#""Off""#, Ok(Answer::Power(PowerState::Off))),
        (r#""On""#, Ok(Answer::Power(PowerState::On))),
        (r#""PoweringOff""#, Ok(Answer::Power(PowerState::On))),
        (r#""PoweringOn""#, Ok(Answer::Power(PowerState::On))),
        (r#""Paused""#, Ok(Answer::Power(PowerState::On))),
        (r#""off""#, Err(Failure::StateUnknown)),
        (r#""""#, Err(Failure::StateUnknown)),
        ("null", Err(Failure::StateUnknown)),
    ] {
        assert_eq!(run(Action::ReadPower, &reply(200, &system(said, "[]"))), read, "{said}");
    }
}

//= SAFETY.md#S8
//= type=test
#[test]
fn another_machine_is_not_switched_and_not_read() {
    let other = all().replace(MACHINE, "00000000-0042-3510-8054-b4c04f564431");
    for action in [Action::ReadPower, Action::SwitchOff, Action::SwitchOn] {
        let result = run(action, &reply(200, &other));
        assert!(matches!(result, Err(Failure::WrongIdentity(_))), "{result:?}");
    }
    for blank in ["", "00000000-0000-0000-0000-000000000000"] {
        let result = run(Action::ReadPower, &reply(200, &all().replace(MACHINE, blank)));
        assert!(matches!(&result, Err(Failure::Unusable(why)) if why.contains("UUID")));
    }
    // the bytes of DMI, as some firmware writes them
    let smbios = all().replace(MACHINE, "44454c4c-4200-1035-8054-b4c04f564431");
    let result = run(Action::ReadPower, &reply(200, &smbios));
    assert_eq!(result, Ok(Answer::Power(PowerState::On)));
}

//= SAFETY.md#S8
//= type=test
#[test]
fn a_reset_at_another_system_is_refused() {
    for target in [
        "/redfish/v1/Systems/2/Actions/ComputerSystem.Reset",
        "/redfish/v1/Systems/1/Actions/../../2/Actions/ComputerSystem.Reset",
        "/redfish/v1/Systems/1/Actions/%2e%2E/%2e%2e/2/Actions/ComputerSystem.Reset",
        "https://10.0.0.9/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
        "/redfish/v1/Systems/1/Actions/x y",
        "",
    ] {
        let own = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
        let result = run(Action::SwitchOff, &reply(200, &all().replace(own, target)));
        assert!(matches!(result, Err(Failure::Violation(_))), "{target}: {result:?}");
    }
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let only = system(r#""On""#, r#"["On","GracefulShutdown","\u001b[31mX"]"#);
    let Err(Failure::Unusable(why)) = run(Action::SwitchOff, &reply(200, &only)) else {
        panic!("it cannot be switched off")
    };
    assert!(why.contains("no ForceOff but On, GracefulShutdown, [31mX; use another"), "{why}");
    let none = format!(r#"{{"UUID":"{MACHINE}","PowerState":"On"}}"#);
    let result = run(Action::SwitchOff, &reply(200, &none));
    assert!(matches!(&result, Err(Failure::Unusable(why)) if why.contains("Operator")));
    // no list: then it is tried
    let no_list = all()
        .replace(r#","ResetType@Redfish.AllowableValues":["On","ForceOff","ForceRestart"]"#, "");
    let mut session = session(Action::SwitchOn, Some("/redfish/v1/Systems/1"));
    log_in(&mut session);
    next(&mut session);
    session.handle_reply(&reply(200, &no_list));
    assert_eq!(*next(&mut session).0.body.expect("kind"), br#"{"ResetType":"On"}"#);
}

#[test]
fn a_refusal_is_no_success_unless_it_is_off_already() {
    let answer = reply(
        409,
        &format!(
            r#"{{"error":{{"message":"general","@Message.ExtendedInfo":[{{"Message":"busy\u0007 now"}}]}},"x":"{PASSWORD}"}}"#
        ),
    );
    let Err(Failure::Refused { what, status: 409, said }) = command(r#""On""#, &answer) else {
        panic!("a refusal")
    };
    assert_eq!((what, said.0.as_str()), ("the power command", "busy now"));
    assert_eq!(command(r#""Off""#, &answer), Ok(Answer::Accepted), "what counts is read after it");
    let answer = reply(500, &format!(r#"{{"error":{{"message":"bad {PASSWORD}"}}}}"#));
    let Err(Failure::Refused { said, .. }) = command(r#""Off""#, &answer) else {
        panic!("a refusal")
    };
    assert_eq!(said.0, "", "a password is not repeated");
}

#[test]
fn a_login_that_fails_is_told_apart() {
    for (status, expected) in [
        (401, Failure::Authentication("HTTP 401")),
        (403, Failure::Authentication("HTTP 403")),
        (302, Failure::Violation("it redirects the login, which is never followed")),
        (503, Failure::Refused { what: "the login", status: 503, said: Default::default() }),
    ] {
        let mut session = session(Action::SwitchOff, Some("1"));
        next(&mut session);
        session.handle_reply(&reply(200, ROOT));
        next(&mut session);
        session.handle_reply(&reply(status, ""));
        assert_eq!(end(&mut session), Err(expected));
    }
}

#[test]
fn name_and_password_go_out_only_where_there_are_no_sessions() {
    let no_sessions = r#"{"Systems":{"@odata.id":"/redfish/v1/Systems"}}"#;
    for (root, login) in [(no_sessions, false), (ROOT, true)] {
        let mut session = session(Action::ReadPower, Some("1"));
        next(&mut session);
        session.handle_reply(&reply(200, root));
        if login {
            next(&mut session);
            session.handle_reply(&reply(405, ""));
        }
        let (ask, _) = next(&mut session);
        assert!(matches!(ask.pass, Pass::Basic) && ask.path == "/redfish/v1/Systems/1");
        session.handle_reply(&reply(401, ""));
        assert_eq!(end(&mut session), Err(Failure::Authentication("HTTP 401")));
    }
}

#[test]
fn the_only_system_is_found_and_of_several_none_is_guessed() {
    let members = |ids: &[&str]| {
        let list: Vec<String> =
            ids.iter().map(|id| format!(r#"{{"@odata.id":"/redfish/v1/Systems/{id}"}}"#)).collect();
        reply(200, &format!(r#"{{"Members":[{}]}}"#, list.join(",")))
    };
    let mut one = session(Action::ReadPower, None);
    log_in(&mut one);
    assert_eq!(next(&mut one).0.path, "/redfish/v1/Systems");
    one.handle_reply(&members(&["437XR1138R2"]));
    assert_eq!(next(&mut one).0.path, "/redfish/v1/Systems/437XR1138R2");
    let ended = |named: Option<&str>, ids: &[&str]| {
        let mut session = session(Action::SwitchOff, named);
        log_in(&mut session);
        next(&mut session);
        if named.is_some() {
            session.handle_reply(&reply(404, ""));
            next(&mut session);
        }
        session.handle_reply(&members(ids));
        match end(&mut session) {
            Err(Failure::Unusable(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let four = ended(None, &["1", "2", "3", "4"]);
    assert_eq!(four, "4 systems at this BMC; set systemId (1, 2, 3, 4)");
    let missing = ended(Some("9"), &["1"]);
    assert_eq!(missing, r#"no system "9" at this BMC; set systemId to one of: 1"#);
    assert!(ended(None, &[]).contains("plugged in"));
}

#[test]
fn whoever_goes_away_leaves_no_session_behind() {
    // before the login, during it, after it, with the command on its lips
    let mut first = session(Action::SwitchOff, Some("1"));
    next(&mut first);
    first.handle_abort();
    assert_eq!(end(&mut first), Err(Failure::Superseded));

    let mut during = session(Action::SwitchOff, Some("1"));
    next(&mut during);
    during.handle_reply(&reply(200, ROOT));
    next(&mut during);
    during.handle_abort();
    assert!(during.poll_output().is_none(), "the login is waited for");
    during.handle_reply(&Reply {
        status: 201,
        token: Some(Zeroizing::new("t0ken".into())),
        location: Some("/redfish/v1/SessionService/Sessions/7".into()),
        body: Vec::new(),
    });
    assert_eq!(during.step(), Step::Logout);
    assert_eq!(end(&mut during), Err(Failure::Superseded));

    for verb in [Session::handle_abort, Session::handle_withdrawn] {
        let mut session = session(Action::SwitchOff, Some("1"));
        log_in(&mut session);
        next(&mut session);
        session.handle_reply(&reply(200, &all()));
        let (_, command) = next(&mut session);
        assert!(command);
        verb(&mut session);
        assert_eq!(end(&mut session), Err(Failure::Superseded));
    }
}
