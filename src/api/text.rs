//! Text fields with a form: each is a string with a limit in the schema and a rule whose message says what to write.
//!
//! Reading an object never fails on their content: a broken object must not stop a watch. `compile` parses them into
//! the types of `base`, once.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

macro_rules! text {
    ($(#[$doc:meta])* $type:ident, max $max:literal, rule $rule:expr, $must:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub String);

        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $type {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "maxLength": $max,
                    "x-kubernetes-validations": [{
                        "rule": $rule,
                        "messageExpression": concat!("'\"%s\" ", $must, "'.format([self])"),
                    }],
                })
            }
        }
    };
}

text!(
    /// A DNS label, as member names, networks and templates are. Example: `ctl-1`.
    Label, max 63, rule "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "must match [a-z0-9]([-a-z0-9]*[a-z0-9])? with at most 63 characters, for example ctl-1"
);
text!(
    /// Name of another object. Example: `vip-public`.
    ObjectName, max 128, rule "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
    "is not the name of an object: write lower-case letters, digits, - and . with a letter or digit at both ends"
);
text!(
    /// Id of a resource: name of its object, or of a member of a group. Example: `web`.
    ResourceName, max 128, rule "self.matches('^[a-zA-Z0-9][a-zA-Z0-9._-]*$')",
    "is no resource id: write letters, digits, . _ and -, with a letter or digit first"
);
text!(
    /// Name of a network interface of the machine. Example: `eth1`.
    InterfaceName, max 15, rule "self.matches('^[a-zA-Z0-9][a-zA-Z0-9._-]*$')",
    "is no interface name: write it as the machine lists it, for example eth1 or bond0.100"
);
text!(
    /// An IPv4 or IPv6 address without prefix. Example: `10.0.0.11`.
    Address, max 45,
    rule "isIP(self) && ip.isCanonical(self) && !self.lowerAscii().startsWith('::ffff:') && !self.lowerAscii().startsWith('fe80:')",
    "must be an address without prefix, host name or zone, in its shortest form, neither IPv4-mapped nor link-local; for example 10.0.0.11"
);
text!(
    /// What a request asks for. Example: `/healthcheck`.
    RequestPath, max 96, rule "self.matches('^/[A-Za-z0-9/._~-]*$')",
    "must begin with / and go on with letters, digits and / . _ ~ - only, for example /healthcheck"
);
text!(
    /// A UUID as the machine's firmware reports it. Example: `4c4c4544-0042-3510-8054-b4c04f564431`.
    Uuid, max 36,
    rule "self.matches('^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$')",
    "is no UUID; read it on the machine with dmidecode -s system-uuid"
);
text!(
    /// A `ComputerSystem` of a Redfish service, by its `Id` or its path. Example: `1`, `/redfish/v1/Systems/1`.
    SystemId, max 256, rule "self.matches('^(/redfish/v1/[-._~:A-Za-z0-9]+(/[-._~:A-Za-z0-9]+)*|[-._~:A-Za-z0-9]+)$')",
    "is neither the Id of a system nor its path: write it as the BMC lists it under /redfish/v1/Systems, for example 1"
);
text!(
    /// SHA-256 of a certificate, with or without colons. Example: `openssl x509 -noout -fingerprint -sha256` prints it.
    Fingerprint, max 95, rule "self.matches('^([0-9a-fA-F]{64}|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){31})$')",
    "is no SHA-256 of a certificate: 64 hexadecimal digits, as openssl x509 -noout -fingerprint -sha256 prints them"
);
text!(
    /// A DNS name as it stands in a certificate. Example: `bmc-ctl-1.example.org`.
    HostName, max 253, rule "self.matches('^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?$')",
    "is no host name: write it as it stands in the certificate, for example bmc-ctl-1.example.org"
);
text!(
    /// Id of an incident, the ring id at which a member's debt arose. Example: `1.2a`.
    Incident, max 24, rule "self.matches('^[0-9]{1,5}[.][0-9a-f]{1,16}$')",
    "is no incident; copy it from the FencingOperation or from palisade status, for example 1.2a"
);
text!(
    /// Name of an entry of a Secret. Example: `key`.
    EntryName, max 253, rule "self.matches('^[-._a-zA-Z0-9]+$')",
    "is no entry of a Secret: write letters, digits, - _ and ."
);
text!(
    /// Name of an attribute of a member. Example: `rack`.
    AttributeName, max 63, rule "self.matches('^#?[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$')",
    "is no attribute name: write letters, digits, - _ and ., for example rack"
);
text!(
    /// Value of an attribute of a member. Example: `r12`.
    AttributeValue, max 128, rule "self.matches('^[-_.:/@a-zA-Z0-9 ]*$')",
    "is no attribute value: write letters, digits, spaces and - _ . : / @"
);
text!(
    /// PROVIDER/TYPE of an OCF agent. Example: `heartbeat/IPaddr2`, which is `ocf:heartbeat:IPaddr2` elsewhere.
    AgentName, max 129, rule "self.matches('^[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,64}$')",
    "is no OCF agent: write PROVIDER/TYPE, for example heartbeat/IPaddr2 for ocf:heartbeat:IPaddr2"
);
text!(
    /// Name of a parameter of an OCF agent, as its metadata says it. Example: `cidr_netmask`.
    ParameterName, max 64, rule "self.matches('^[A-Za-z0-9_-]+$') && !self.startsWith('CRM_meta_')",
    "is no parameter of an agent: write letters, digits, _ and -; what begins with CRM_meta_ is not set by objects"
);
text!(
    /// A time span with its unit. Example: `400ms`, `5s`, `10m`.
    Span, max 12, rule "self.matches('^[0-9]{1,9}(ms|s|m|h)$')",
    "needs a whole number and a unit out of ms, s, m, h; for example 400ms or 5s"
);

impl Span {
    /// The span, `None` for text that the schema refuses.
    pub fn duration(&self) -> Option<Duration> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = self.0.split_at(digits);
        if digits == 0 || digits > 9 {
            return None;
        }
        let number: u64 = number.parse().ok()?;
        Some(match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number * 60),
            "h" => Duration::from_secs(number * 3600),
            _ => return None,
        })
    }
}

impl Fingerprint {
    /// Its bytes, `None` for text that the schema refuses.
    pub fn bytes(&self) -> Option<[u8; 32]> {
        let digits: Vec<u8> = self.0.bytes().filter(|b| *b != b':').collect();
        if digits.len() != 64 || !self.0.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_with_and_without_colons() {
        let plain = "00ff".repeat(16);
        let colons = ["00:ff"; 16].join(":").to_uppercase();
        let wanted: Vec<u8> = [0, 0xff].repeat(16);
        for text in [plain, colons] {
            assert_eq!(Fingerprint(text).bytes().map(Vec::from), Some(wanted.clone()));
        }
        for bad in ["", "00", &"g".repeat(64), &"\u{e9}".repeat(32), &"0".repeat(65)] {
            assert_eq!(Fingerprint::from(bad).bytes(), None, "{bad:?}");
        }
    }

    #[test]
    fn a_span_needs_its_unit() {
        assert_eq!(Span::from("400ms").duration(), Some(Duration::from_millis(400)));
        assert_eq!(Span::from("10m").duration(), Some(Duration::from_secs(600)));
        for bad in ["", "3", "3sec", "-1s", "1e9s", "1.5s", "s", "99999999999s", "3 s"] {
            assert_eq!(Span::from(bad).duration(), None, "{bad:?}");
        }
    }
}
