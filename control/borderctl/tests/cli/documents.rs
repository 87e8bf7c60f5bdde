//! Completions, man pages and the examples in the help are what the program is. `UPDATE_DOCUMENTS=1` writes the former anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::Lab;

/// The files below a directory, by name.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return BTreeMap::new() };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn completions_and_man_pages_are_those_of_the_program() {
    let made = tempfile::tempdir().unwrap();
    let status =
        Command::new(env!("CARGO_BIN_EXE_borderctl")).arg("generate").arg(made.path()).status().unwrap();
    assert!(status.success());
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (made, kept) in [
        (made.path().join("completions"), root.join("config/completions")),
        (made.path().join("man"), root.join("docs/man")),
    ] {
        let made = files(&made);
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            let _ = std::fs::remove_dir_all(&kept);
            std::fs::create_dir_all(&kept).unwrap();
            for (name, text) in &made {
                std::fs::write(kept.join(name), text).unwrap();
            }
        }
        assert!(made.len() >= 3, "{:?}", made.keys());
        let there = files(&kept);
        let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&made), names(&there), "{}: UPDATE_DOCUMENTS=1 writes them anew", kept.display());
        for (name, text) in &made {
            assert!(
                there[name] == *text,
                "{name} is not that of the program: UPDATE_DOCUMENTS=1 writes it anew"
            );
        }
    }
}

/// A capture of two packets, each from its IP header on.
fn capture() -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    for number in [1, 2] {
        let packet =
            [&[0x45, 0, 0, 20, 0, number, 0x40, 0, 64, 59, 0, 0][..], &[203, 0, 113, 50, 192, 0, 2, 1]];
        let packet = packet.concat();
        for word in [u32::from(number), 0, 20, 20] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

/// Every verb, with the way to it.
fn verbs(above: &str) -> Vec<String> {
    let mut words: Vec<&str> = above.split_whitespace().collect();
    words.push("--help");
    let help = Command::new(env!("CARGO_BIN_EXE_borderctl")).args(words).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let Some((_, list)) = help.split_once("Commands:\n") else { return vec![above.to_owned()] };
    list.lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .flat_map(|verb| verbs(format!("{above} {verb}").trim()))
        .collect()
}

#[test]
fn the_example_in_the_help_of_every_verb_works() {
    let all = verbs("");
    assert!(all.len() >= 24, "{all:?}");
    for verb in all {
        let lab = Lab::new();
        lab.write("eams.csv", "192.0.2.20,2001:db8::20\n");
        lab.write("tayga.conf", "map 192.0.2.21 2001:db8::21\n");
        lab.write(
            "jool.json",
            "{\"eamt\": [{\"ipv4 prefix\": \"192.0.2.22\", \"ipv6 prefix\": \"2001:db8::22\"}]}",
        );
        lab.write("trouble.pcap", capture());
        lab.good("eam add 192.0.2.1 2001:db8:1::1");
        let help = lab.good(&format!("{verb} --help"));
        let examples: Vec<&str> =
            help.lines().filter_map(|line| line.trim().strip_prefix("borderctl ")).collect();
        assert!(!examples.is_empty(), "{verb} --help has no example");
        for (number, example) in examples.into_iter().enumerate() {
            // What an example stands on.
            match verb.as_str() {
                "commit" => drop(lab.good(&format!("eam add --auto 2001:db8:2::{number} --stage"))),
                "confirm" => drop(lab.good("eam add 192.0.2.99 2001:db8::99 --confirm-within 1h")),
                _ => {}
            }
            // Another relay there is none.
            lab.good(&example.replace("/run/other/control.sock", &lab.socket.display().to_string()));
        }
    }
}

#[test]
fn it_starts_at_once_and_links_no_dpdk() {
    let program = env!("CARGO_BIN_EXE_borderctl");
    let libraries = Command::new("ldd").arg(program).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    assert!(libraries.contains("libc.so"), "{libraries}");
    for foreign in ["rte_", "libbpf", "libnuma", "sqlite"] {
        assert!(!libraries.contains(foreign), "{foreign} in {libraries}");
    }
    // The best of many: others may have the CPU.
    let best = (0..50)
        .map(|_| {
            let started = std::time::Instant::now();
            assert!(Command::new(program).arg("--version").output().unwrap().status.success());
            started.elapsed()
        })
        .min()
        .unwrap();
    println!("starts and ends in {best:?}");
    assert!(best < std::time::Duration::from_millis(5), "{best:?}");
}
