//! The words of `admin.sock`: those of HAProxy's that our driver says, and a short `show stat` for people.

use std::{fmt::Write as _, sync::Arc, sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{AGAIN_AFTER, Balancer, pool::Live};

const QUESTION_BYTES_MAX: u64 = 16 * 1024;
const WORDS_MAX: usize = 64;
const CONNECTIONS_MAX: usize = 16;
/// Whoever says nothing is let go.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn accept(balancer: Arc<Balancer>, listener: UnixListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let Ok((stream, _)) = accepted else {
                    sleep(AGAIN_AFTER).await;
                    continue;
                };
                let balancer = Arc::clone(&balancer);
                connections.spawn(async move {
                    // Whoever breaks off hears nothing.
                    let _ = timeout(PATIENCE, talk(&balancer, stream)).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn talk(balancer: &Balancer, stream: UnixStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(QUESTION_BYTES_MAX).read_line(&mut line).await?;
    let said = answer(&balancer.live(), balancer.sessions.load(Ordering::Relaxed), &line);
    stream.write_all(said.as_bytes()).await
}

/// Several words with `;` between them, in order.
fn answer(live: &Live, sessions: usize, question: &str) -> String {
    let words = question.split(';').take(WORDS_MAX).map(str::trim);
    words.map(|word| one(live, sessions, word)).collect()
}

fn one(live: &Live, sessions: usize, word: &str) -> String {
    let named = |name: &str| live.servers().find(|server| server.is(name));
    let words: Vec<&str> = word.split_ascii_whitespace().collect();
    match *words {
        ["show", "info"] => format!(
            "Name: stand-in of a box, no HAProxy\nVersion: {}\nPid: {}\nCurrConns: {sessions}\ndescription: {}\n\n",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            live.intent.fingerprint
        ),
        ["show", "stat"] => {
            let mut text = String::from("# pxname,svname,scur,status\n");
            for server in live.servers() {
                let (backend, node) = (&server.backend, &server.node);
                let (sessions, state) = (server.sessions(), server.state());
                // Writing into a String cannot fail.
                let _ = writeln!(text, "{backend},{node},{sessions},{state}");
            }
            text + "\n"
        }
        ["set", "server", name, "state", state @ ("maint" | "ready")] => match named(name) {
            Some(server) => {
                server.maintain(state == "maint");
                "\n".into()
            }
            None => "No such server.\n\n".into(),
        },
        ["shutdown", "sessions", "server", name] => match named(name) {
            Some(server) => {
                server.end_sessions();
                "\n".into()
            }
            None => "No such server.\n\n".into(),
        },
        _ => "Unknown command. This is no HAProxy: show info, show stat, set server B/S state maint|ready, shutdown sessions server B/S\n\n".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::pool::tests::intent, *};

    #[test]
    fn what_our_driver_says_is_understood_and_nothing_else() {
        let live = Live::new(intent("RoundRobin", &["a", "b"], &["b"]), None);
        let said = |question: &str| answer(&live, 3, question);
        let info = said("show info\n");
        assert!(
            info.contains("no HAProxy") && info.contains("\ndescription: palisade-0\n"),
            "{info}"
        );
        assert_eq!(said("show stat"), "# pxname,svname,scur,status\nweb,a,0,UP\nweb,b,0,MAINT\n\n");
        let words = "set server web/a state maint; shutdown sessions server web/a\n";
        assert_eq!(said(words).trim(), "");
        assert_eq!(said("set server web/b state ready").trim(), "");
        assert!(said("show stat").contains("web,a,0,MAINT\nweb,b,0,UP"));
        for strange in ["set server web/c state maint", "set server web state maint", "x", ""] {
            assert!(said(strange).trim().len() > 10, "{strange:?}");
        }
        let rest = said("set server web/a state gone; del server web/a");
        assert_eq!(rest.matches("Unknown command").count(), 2);
    }
}
