//! A TCP relay from one network namespace to another.
//!
//! The lab's API server is on the lab's api network only, so that cutting that network is a real
//! outage. The relay lets the host's kubectl in by loopback, or the machines out to a given server.

use crate::network;
use anyhow::{Context, Result};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// Accepts at `listen` in the namespace `listen_in`, connects to `to` in `namespace` for each, for
/// ever. None means where the process stands.
pub fn run(listen: &str, listen_in: Option<&str>, to: &str, namespace: Option<&str>) -> Result<()> {
    let listener = bind(listen.to_owned(), listen_in.map(str::to_owned))?;
    for stream in listener.incoming() {
        let Ok(inner) = stream else { continue };
        let (namespace, to) = (namespace.map(str::to_owned), to.to_owned());
        thread::spawn(move || {
            if let Err(error) = carry(&inner, namespace.as_deref(), &to) {
                eprintln!("relay: {error:#}");
            }
            let _ = inner.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

/// On a thread of its own, which alone enters the namespace; the socket stays there.
fn bind(listen: String, namespace: Option<String>) -> Result<TcpListener> {
    let binder = thread::spawn(move || {
        if let Some(namespace) = namespace {
            network::enter(&namespace)?;
        }
        TcpListener::bind(&listen).with_context(|| format!("listening at {listen}"))
    });
    binder.join().unwrap_or_else(|_| anyhow::bail!("the thread that binds has panicked"))
}

fn carry(inner: &TcpStream, namespace: Option<&str>, to: &str) -> Result<()> {
    if let Some(namespace) = namespace {
        network::enter(namespace)?; // this thread only
    }
    let outer = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
    let (from, back) = (inner.try_clone()?, outer.try_clone()?);
    let upward = thread::spawn(move || copy(&from, &back));
    copy(&outer, inner);
    let _ = upward.join();
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
