//! Looks at servers.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use base::proxy::ServerCheck;
use drivers::stand_in::Kernel;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    health::Turn,
    pool::{Live, Server},
};

/// Between two looks at a server of which there is doubt.
const DOUBT: Duration = Duration::from_millis(200);
/// The first line of an answer.
const LINE_BYTES_MAX: u64 = 1024;

/// For each server that is looked at; ended when dropped.
pub(super) fn start(live: &Live) -> JoinSet<()> {
    let mut looks = JoinSet::new();
    for backend in &live.backends {
        let told = &backend.told;
        if told.check == ServerCheck::None {
            continue;
        }
        for server in &backend.servers {
            let look = Look {
                kernel: live.kernel.clone(),
                server: Arc::clone(server),
                how: told.check.clone(),
                within: backend.connect_within(),
                every: Duration::from_millis(told.check_interval_ms.into()),
            };
            looks.spawn(look.on());
        }
    }
    looks
}

struct Look {
    kernel: Kernel,
    server: Arc<Server>,
    how: ServerCheck,
    within: Duration,
    every: Duration,
}

impl Look {
    async fn on(self) {
        loop {
            if !self.server.maintained() {
                let seen = timeout(self.within, self.look()).await;
                let seen = seen.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                let (backend, node) = (&self.server.backend, &self.server.node);
                match (self.server.saw(seen.is_ok()), seen) {
                    (Turn::Down, Err(why)) => println!("{backend}/{node} is down: {why}"),
                    (Turn::Up, _) => println!("{backend}/{node} is up"),
                    _ => {}
                }
            }
            let doubt = self.server.in_doubt();
            sleep(if doubt { self.every.min(DOUBT) } else { self.every }).await;
        }
    }

    async fn look(&self) -> io::Result<()> {
        let at = self.server.at;
        match &self.how {
            ServerCheck::None => Ok(()),
            ServerCheck::Tcp => self.kernel.connect(at).await.map(drop),
            ServerCheck::Http { path, statuses, port } => {
                let at = SocketAddr::new(at.ip(), port.unwrap_or(at.port()));
                let mut stream = self.kernel.connect(at).await?;
                stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
                let mut head = Vec::new();
                let mut answer = stream.take(LINE_BYTES_MAX);
                while !head.contains(&b'\n') && answer.read_buf(&mut head).await? > 0 {}
                match status(&head) {
                    Some(status) if is_good(status, statuses) => Ok(()),
                    Some(status) => Err(io::Error::other(format!("it answers {status}"))),
                    None => Err(io::Error::other("it does not answer as HTTP does")),
                }
            }
        }
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|word| word.starts_with("HTTP/1."))?;
    words.next().filter(|word| word.len() == 3)?.parse().ok()
}

fn is_good(status: u16, good: &[u16]) -> bool {
    if good.is_empty() { (200..400).contains(&status) } else { good.contains(&status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_was_asked_for_is_good() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\nX: y\r\n"), Some(204));
        for strange in [&b""[..], b"SSH-2.0-x\r\n", b"HTTP/1.1\r\n", b"HTTP/1.0 20\r\n", b"\xff\n"]
        {
            assert_eq!(status(strange), None, "{strange:?}");
        }
        assert!(is_good(301, &[]) && !is_good(404, &[]) && !is_good(199, &[]));
        assert!(is_good(404, &[404]) && !is_good(200, &[404]));
    }
}
