//! Serves a folder until Ctrl-C: `cargo run -p devapi --example devapi -- DIR [PORT]`, then
//! `kubectl --kubeconfig DIR/kubeconfig ...`. With our own definitions in it.

use devapi::{Options, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: devapi DIR [PORT]")?;
    let mut options = Options::new(dir);
    if let Some(port) = args.next() {
        options.listen.set_port(port.parse()?);
    }
    options.seed = api::crds().iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    let server = Server::start(options).await?;
    println!("ready: export KUBECONFIG={}", server.kubeconfig().display());
    tokio::signal::ctrl_c().await?;
    server.stop().await?;
    Ok(())
}
