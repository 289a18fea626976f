//! Every parser that reads a BMC's bytes, replayed and mutated.

use std::{fs, path::Path};

use super::double::Double;
use crate::{
    bmc::ipmi::{AwsLc, CipherSuite, Privilege, proto::*},
    fuzz,
    secret::Password,
};

const DATAGRAMS: &str = "bmc/ipmi/corpus/datagram";
const MESSAGES: &str = "bmc/ipmi/corpus/message";
const LOGINS: &str = "bmc/ipmi/corpus/login";

#[test]
fn fuzz_ipmi_datagram() {
    let sik = Tag::new(&[7; 20]).expect("short");
    let keys = Keys::derive(&AwsLc, CipherSuite::Suite3, &sik).expect("works");
    fuzz::run(DATAGRAMS, |bytes| {
        if let Ok(packet) = parse_packet(bytes) {
            assert!(packet.payload.len() + packet.trailer.len() < bytes.len());
            let _ = keys.open(&AwsLc, &packet);
        }
    });
}

#[test]
fn fuzz_ipmi_message() {
    fuzz::run(MESSAGES, |bytes| {
        if let Ok(response) = parse_response(bytes) {
            assert_eq!(response.encode(), bytes, "one meaning, one spelling");
        }
        if let Ok((request, sequence)) = parse_request(bytes) {
            assert_eq!(request.encode(sequence), bytes);
        }
        let _ = parse_chassis_status(bytes);
        let _ = parse_system_guid(bytes);
    });
}

#[test]
fn fuzz_ipmi_login() {
    fuzz::run(LOGINS, |bytes| {
        let _ = parse_open_response(bytes);
        let _ = parse_rakp2(bytes);
        let _ = parse_rakp4(bytes);
    });
}

/// `cargo test -p drivers write_ipmi_corpus -- --ignored` writes the clean conversations; findings are added by hand.
#[test]
#[ignore = "writes files of the tree"]
fn write_ipmi_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let write = |folder: &str, name: String, bytes: &[u8]| {
        fs::create_dir_all(root.join(folder)).expect("folder");
        fs::write(root.join(folder).join(name), bytes).expect("written");
    };
    for suite in [CipherSuite::Suite3, CipherSuite::Suite17] {
        for (action, label) in [(Action::SwitchOff, "off"), (Action::ReadPower, "status")] {
            let mut double = Double::new(&[suite]);
            let target = Some(base::SystemUuid(u128::from_be_bytes(super::double::GUID)));
            let config = Config {
                user: b"operator".to_vec(),
                password: Password::new(b"s3cret-and-long!".to_vec()),
                privilege: Privilege::Operator,
                suite,
                target,
                action,
                within: core::time::Duration::from_secs(1),
                resend_after: core::time::Duration::from_secs(1),
            };
            let now = base::Instant::ZERO;
            let mut session = Session::new(AwsLc, config, now);
            let mut step = 0;
            while let Some(Output::Send(bytes) | Output::SendCommand(bytes)) = session.poll_output()
            {
                let answer = double.handle(&bytes).expect("answered");
                let name = format!("suite{}-{label}-{step}", suite.id());
                write(DATAGRAMS, format!("{name}-q"), &bytes);
                write(DATAGRAMS, format!("{name}-a"), &answer);
                let packet = parse_packet(&answer).expect("own words");
                if packet.kind != PayloadType::Ipmi {
                    write(LOGINS, name, packet.payload);
                }
                session.handle_datagram(now, &answer);
                step += 1;
            }
        }
    }
    for (name, code, data) in
        [("ok", 0, vec![1, 0, 0x40, 0]), ("refused", 0xd4, vec![]), ("guid", 0, vec![0xab; 16])]
    {
        let response = Response { netfn: 1, command: 1, sequence: 5, code, data };
        write(MESSAGES, format!("response-{name}"), &response.encode());
    }
    let request = Request { netfn: 0, command: 2, data: vec![0] };
    write(MESSAGES, "request-off".into(), &request.encode(9));
}
