//! Finds the installed libdpdk, compiles shim.c against it and generates the bindings `src/lib.rs` includes.
//!
//! The link is shared: EAL loads its drivers as plugins, so one binary serves every NIC of the distribution's
//! DPDK.

use std::env;
use std::path::PathBuf;
use std::process::{Command, exit};

/// Functions and variables: nothing else of DPDK's five thousand symbols is generated.
const FUNCTIONS: &[&str] = &[
    "bl_.*",
    "rte_dev_(probe|remove)",
    "rte_eal_(init|cleanup)",
    "rte_eth_allmulticast_enable",
    "rte_eth_dev_(adjust_nb_rx_tx_desc|close|configure|get_mtu|get_port_by_name|info_get|set_mtu|socket_id|start|stop)",
    "rte_eth_dev_mac_addr_(add|remove)",
    "rte_eth_dev_rx_intr_(enable|disable|ctl_q_get_fd)",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_(enable|disable|get)",
    "rte_eth_(rx|tx)_queue_setup",
    "rte_eth_stats_get",
    "rte_eth_xstats_get(_names)?",
    "rte_get_tsc_hz",
    "rte_log_set_global_level",
    "rte_mempool_free",
    "rte_pktmbuf_free_bulk",
    "rte_thread_(register|unregister)",
];
const VARIABLES: &[&str] = &["BL_.*", "RTE_LOG_(ERR|WARNING|NOTICE|INFO)"];
/// Named by no function: read through a cast.
const TYPES: &[&str] = &["bl_mbuf"];
/// Only ever seen behind a pointer: `src/lib.rs` declares them without fields.
const OPAQUE: &[&str] = &["rte_mbuf", "rte_mempool", "rte_device"];

fn main() {
    println!("cargo::rerun-if-changed=wrapper.h");
    println!("cargo::rerun-if-changed=shim.c");
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");

    require_libclang();
    let c_flags = find_libdpdk();
    compile_shim(&c_flags);
    generate_bindings(&c_flags);
}

/// Without libclang bindgen panics with a text that names no package; ask the same question first and answer
/// better.
fn require_libclang() {
    std::panic::set_hook(Box::new(|_| {}));
    let found = std::panic::catch_unwind(bindgen::clang_version);
    drop(std::panic::take_hook());
    if found.is_err() {
        give_up(
            "libclang is missing, bindgen needs it to read the DPDK headers",
            "apt-get install libclang-dev",
        );
    }
}

/// Tells cargo what to link, and returns the flags DPDK's headers must be compiled with.
fn find_libdpdk() -> Vec<String> {
    if let Err(error) = pkg_config::Config::new().atleast_version("22.11").probe("libdpdk") {
        eprintln!("{error}");
        give_up(
            "libdpdk 22.11 or newer is missing (pkg-config does not find it)",
            "apt-get install libdpdk-dev",
        );
    }
    // The pkg-config crate keeps -I and -D only; DPDK also needs its -march and its forced include.
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let output = match Command::new(&program).args(["--cflags", "libdpdk"]).output() {
        Ok(output) => output,
        Err(error) => give_up(&format!("{program} cannot run: {error}"), "apt-get install pkg-config"),
    };
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

fn compile_shim(c_flags: &[String]) {
    let mut build = cc::Build::new();
    build
        .file("shim.c")
        .flag("-std=gnu11")
        .flag("-Werror=implicit")
        .flag("-Werror=int-conversion")
        .opt_level(3);
    for flag in c_flags {
        build.flag(flag);
    }
    if let Err(error) = build.try_compile("borderline_dpdk_shim") {
        eprintln!("{error}");
        give_up(
            "shim.c does not compile against the installed DPDK, the compiler's own words are above",
            "apt-get install gcc libdpdk-dev, with a DPDK from 22.11 to 24.11",
        );
    }
}

fn generate_bindings(c_flags: &[String]) {
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(c_flags)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .use_core()
        .layout_tests(true)
        .generate_comments(false)
        .derive_debug(false)
        .derive_default(true)
        .derive_copy(true)
        .prepend_enum_name(false)
        .default_macro_constant_type(bindgen::MacroTypeVariation::Signed);
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in VARIABLES {
        builder = builder.allowlist_var(name);
    }
    for name in OPAQUE {
        builder = builder.blocklist_type(name);
    }
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(error) => {
            eprintln!("{error}");
            give_up(
                "bindgen cannot read the installed DPDK headers",
                "apt-get install --reinstall libdpdk-dev libclang-dev",
            );
        }
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    if let Err(error) = bindings.write_to_file(out.join("bindings.rs")) {
        give_up(
            &format!("the bindings cannot be written: {error}"),
            "check the free space of the target directory",
        );
    }
}

/// Ends the build with one sentence and the command that helps, instead of a backtrace.
fn give_up(problem: &str, remedy: &str) -> ! {
    eprintln!("\nerror: dpdk-sys: {problem}.\n  remedy: {remedy}\n");
    exit(1);
}
