//! Bodies that nobody should send: an error each time, never a panic, never an answer.

use base::SplitMix64;

use super::answers::{MACHINE, reply, session};
use crate::bmc::redfish::proto::{
    Action, BODY_MAX, Failure, Output, Reply, find_system, parse_members, parse_root, parse_system,
};

const AT: &str = "/redfish/v1/Systems/1";

#[test]
fn long_deep_and_mistyped_bodies_are_refused() {
    let deep = "[".repeat(100_000);
    let long = format!(r#"{{"UUID":"{}"}}"#, "a".repeat(BODY_MAX));
    for body in
        ["", "{", "[]", "null", "\u{1f4a9}", r#"{"UUID":7}"#, r#"{"UUID":"x"}"#, &deep, &long]
    {
        assert!(parse_system(body.as_bytes(), AT).is_err(), "{:.40}", body);
    }
    assert!(parse_system(&[0xff, 0xfe, b'{'], AT).is_err());
    let deep = format!(r#"{{"UUID":"{MACHINE}","Oem":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let _ = parse_system(deep.as_bytes(), AT);
    let many = format!(
        r#"{{"Members":[{}]}}"#,
        vec![r#"{"@odata.id":"/redfish/v1/Systems/1"}"#; 257].join(",")
    );
    assert!(parse_members(many.as_bytes()).is_err());
    for path in [
        "http://10.0.0.1/redfish/v1/Systems",
        "//10.0.0.1/x",
        "/redfish/v10",
        "/x",
        "",
        "/redfish/v1/a?b",
    ] {
        let root = format!(r#"{{"Systems":{{"@odata.id":"{path}"}}}}"#);
        assert!(parse_root(root.as_bytes()).is_err(), "{path}");
    }
    // sessions at no path: the password does not go out with each request instead
    let root = r#"{"Systems":{"@odata.id":"/redfish/v1/Systems"},"Links":{"Sessions":{"@odata.id":"//x"}}}"#;
    assert!(parse_root(root.as_bytes()).is_err());
    for id in ["", "1/../2", "a b", "/etc/passwd", "/redfish/v1/../x", "..", "1/Actions"] {
        assert!(find_system("/redfish/v1/Systems", id).is_err(), "{id}");
    }
}

#[test]
fn a_body_beyond_the_limit_ends_the_session() {
    let mut session = session(Action::SwitchOff, None);
    assert!(session.poll_output().is_some());
    session.handle_reply(&Reply {
        status: 200,
        body: vec![b' '; BODY_MAX + 1],
        ..Reply::default()
    });
    let Some(Output::Finished(Err(Failure::Violation(_)))) = session.poll_output() else {
        panic!("a violation")
    };
}

#[test]
fn a_redirect_is_never_followed() {
    for status in [300, 301, 302, 303, 307, 308] {
        let mut session = session(Action::SwitchOff, None);
        assert!(session.poll_output().is_some());
        let location = Some("https://10.0.0.9/redfish/v1/".into());
        session.handle_reply(&Reply { location, ..reply(status, "") });
        let Some(Output::Finished(Err(Failure::Violation(why)))) = session.poll_output() else {
            panic!("a violation")
        };
        assert!(why.contains("redirect"));
    }
}

#[test]
fn noise_never_panics() {
    let good = format!(
        r##"{{"UUID":"{MACHINE}","PowerState":"Off","Actions":{{"#ComputerSystem.Reset":{{"target":"{AT}/Actions/ComputerSystem.Reset"}}}}}}"##
    );
    assert!(parse_system(good.as_bytes(), AT).is_ok());
    let mut random = SplitMix64::new(7);
    for _ in 0..20_000 {
        let mut body = good.clone().into_bytes();
        for _ in 0..=random.next_u64() % 3 {
            let at = usize::try_from(random.next_u64()).unwrap_or(0) % body.len();
            body[at] = random.next_u64().to_le_bytes()[0];
        }
        let _ = (parse_system(&body, AT), parse_root(&body), parse_members(&body));
    }
}
