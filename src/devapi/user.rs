//! Who asks: the one user, or whom that user impersonates (`kubectl --as`).
//!
//! Nothing is authorized here: whoever is impersonated may do everything. Admission policies see who it is.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::failure::Failure;

const EXTRA: &str = "impersonate-extra-";
const ACCOUNT: &str = "system:serviceaccount:";
/// Groups and further values of one impersonated user.
const WORDS_MAX: usize = 64;

/// A user as admission policies see one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Who owns the token.
    pub(crate) fn admin() -> Self {
        Self {
            name: "devapi:admin".to_owned(),
            uid: String::new(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            extra: BTreeMap::new(),
        }
    }

    /// The user of a request of the admin's.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let all = |name: &str| -> Vec<String> {
            let values = headers.get_all(name).iter();
            values.filter_map(|v| v.to_str().ok()).take(WORDS_MAX).map(str::to_owned).collect()
        };
        let one = |name: &str| all(name).into_iter().next().unwrap_or_default();
        let (name, uid, mut groups) =
            (one("impersonate-user"), one("impersonate-uid"), all("impersonate-group"));
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for header in headers.keys().map(axum::http::HeaderName::as_str).take(WORDS_MAX) {
            if let Some(key) = header.strip_prefix(EXTRA) {
                let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy();
                extra.insert(key.to_lowercase(), all(header));
            }
        }
        if name.is_empty() {
            if groups.is_empty() && uid.is_empty() && extra.is_empty() {
                return Ok(Self::admin());
            }
            return Err(Failure::bad_request(
                "requested groups, a uid or extra values without impersonating a user: add Impersonate-User",
            ));
        }
        if groups.is_empty()
            && let Some((namespace, _)) = name.strip_prefix(ACCOUNT).and_then(|n| n.split_once(':'))
        {
            groups.push("system:serviceaccounts".to_owned());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        let nobody = if name == "system:anonymous" {
            "system:unauthenticated"
        } else {
            "system:authenticated"
        };
        if !groups.iter().any(|g| g == nobody) {
            groups.push(nobody.to_owned());
        }
        Ok(Self { name, uid, groups, extra })
    }

    /// As `userInfo` has it: what is empty is absent.
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.name});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.clone().into();
        }
        if !self.groups.is_empty() {
            info["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Result<Value, u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, axum::http::HeaderValue::from_static(value));
        }
        User::of(&map).map(|u| u.info()).map_err(|f| f.code)
    }

    #[test]
    fn users_are_who_the_headers_say() {
        assert_eq!(of(&[]).expect("fine")["username"], "devapi:admin");
        assert_eq!(
            of(&[
                ("impersonate-user", "ann"),
                ("impersonate-group", "a"),
                ("impersonate-group", "b")
            ]),
            Ok(json!({"username": "ann", "groups": ["a", "b", "system:authenticated"]}))
        );
        assert_eq!(
            of(&[
                ("impersonate-user", "system:serviceaccount:ns:robot"),
                ("impersonate-extra-authentication.kubernetes.io%2fnode-name", "n1")
            ]),
            Ok(json!({"username": "system:serviceaccount:ns:robot",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/node-name": ["n1"]}}))
        );
        assert_eq!(of(&[("impersonate-group", "a")]), Err(400));
    }
}
