//! Takes secrets out of text on its way to people: what stands behind a name of a secret, private keys. It takes too much
//! rather than too little, and it is the second line: what knows a secret's value keeps that out by itself.

use alloc::{borrow::ToOwned, format, string::String};

/// Stands where something was taken out.
pub const REDACTED: &str = "[redacted]";
/// A name that has one of these in it names a secret.
const SECRET_WORDS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "credential",
    "authorization",
    "bearer",
    "apikey",
    "private",
];
/// A condition of ours. It names no secret.
const CONDITION: &str = "SecretsUnsealed";
/// Whether that names a secret.
pub fn is_secret(name: &str) -> bool {
    let lower: String =
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let ends = |end: &str| lower.ends_with(end) && lower != end;
    name != CONDITION
        && (SECRET_WORDS.iter().any(|word| lower.contains(word)) || ends("token") || ends("key"))
}

/// Of any text: each line, and private keys as a whole.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_key = false;
    for one in text.split_inclusive('\n') {
        let (body, end) = one.strip_suffix('\n').map_or((one, ""), |body| (body, "\n"));
        let begins = body.contains("-----BEGIN") && body.contains("PRIVATE KEY");
        if begins || in_key {
            if begins {
                out.push_str(REDACTED);
                out.push_str(end);
            }
            in_key = !body.contains("-----END");
            continue;
        }
        out.push_str(&line(body));
        out.push_str(end);
    }
    out
}

/// What stands behind the name of a secret and `=` or `:` is gone, to the end of the line.
pub fn line(line: &str) -> String {
    for (at, mark) in line.match_indices(['=', ':']) {
        let name = line[..at].trim_end_matches(['"', '\'', ' ', '\\']);
        let from = name.rfind(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)));
        let name = &name[from.map_or(0, |from| from + 1)..];
        if is_secret(name) && !line[at + mark.len()..].trim().is_empty() {
            return format!("{}{REDACTED}", &line[..at + mark.len()]);
        }
    }
    line.to_owned()
}

/// The words of a program that failed, fit to travel and to be shown: one line, without secrets, so many bytes at most.
pub fn words(said: &str, bytes_max: usize) -> String {
    let one = said.trim().replace(char::is_control, " ");
    let mut kept = text(&one);
    let end = (0..=bytes_max).rev().find(|at| kept.is_char_boundary(*at)).unwrap_or(0);
    kept.truncate(end);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "Seč'r\"$(x)\n";

    #[test]
    fn canaries_are_gone_and_names_stay() {
        for given in [
            format!("password={CANARY}"),
            format!("  \"bmc_password\": \"{CANARY}\", \"x\": 1"),
            format!("Authorization: Bearer {CANARY}"),
            format!("env OS_PASSWORD = {CANARY} and more"),
            format!("ring-key: 1 {CANARY}"),
            format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\nafter"),
        ] {
            for kept in [text(&given), words(&given, 200)] {
                assert!(!kept.contains("Seč") && kept.contains(REDACTED), "{kept}");
            }
        }
        let plain = "20:00:01 note: token: 1s, condition=SecretsUnsealed lives at 10.0.0.1:5405";
        assert_eq!(line(plain), plain);
    }

    #[test]
    fn words_are_one_short_line() {
        assert_eq!(words("\n bind:\tport in use\r\nbye \n", 200), "bind: port in use  bye");
        assert_eq!(words("password=\nSeč", 200), format!("password={REDACTED}"), "over lines too");
        assert_eq!(words(&"ü".repeat(150), 199).len(), 198);
        assert_eq!(words("short", 200), "short");
    }
}
