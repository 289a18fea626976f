//! The shim, and by their names the tools of OCF agents, as a program of its own for the tests of this crate; the product's is
//! `palisade`.

fn main() -> std::process::ExitCode {
    let mut words = std::env::args();
    let called = words.next().unwrap_or_default();
    let called = called.rsplit('/').next().unwrap_or_default();
    if drivers::ocf::TOOLS.contains(&called) {
        return drivers::ocf::tool(called, words);
    }
    drivers::process::shim::main(std::env::args_os().skip(1))
}
