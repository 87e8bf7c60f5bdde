//! `pktgen`: drives a device with traffic and verifies what comes back.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    pktgen_tests::pktgen::args::run()
}
