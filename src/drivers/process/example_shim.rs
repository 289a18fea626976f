//! The shim as a program of its own, for the tests of this crate; `palisade shim` is the product's.

fn main() -> std::process::ExitCode {
    drivers::process::shim::main(std::env::args_os().skip(1))
}
