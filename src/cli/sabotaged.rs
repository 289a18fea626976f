//! The program with rules that can be broken (SAFETY.md 2.5), under a name of its own: it never lies where the product does.

fn main() -> std::process::ExitCode {
    if let Err(error) = cli::sabotage::choose() {
        eprintln!("palisade: {error:#}");
        return std::process::ExitCode::from(2);
    }
    cli::main()
}
