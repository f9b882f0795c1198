//! The oldest compiler that each crate promises is one that its dependencies accept.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Layers promise this; see the README.
const LAYERS: (u64, u64) = (1, 85);
/// Programs and what stands on sqlx promise this.
const PROGRAMS: (u64, u64) = (1, 94);

const LAYER_NAMES: [&str; 5] = [
    "tower-adaptive-page",
    "tower-circuit",
    "tower-health",
    "tower-ratelimit-tokens",
    "tower-retry-classify",
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs this test, so cargo is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn version(text: &str) -> (u64, u64) {
    let mut parts = text.split('.').map(|part| part.parse().expect("a version is made of numbers"));
    (parts.next().expect("a major version"), parts.next().unwrap_or(0))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// All that `id` needs when it is built for a user: no dev-dependencies.
fn closure<'a>(nodes: &BTreeMap<&'a str, &'a Value>, id: &'a str, seen: &mut BTreeSet<&'a str>) {
    if !seen.insert(id) {
        return;
    }
    for dependency in nodes[id]["deps"].as_array().expect("a node lists its dependencies") {
        let kinds = dependency["dep_kinds"].as_array().expect("a dependency has kinds");
        if kinds.iter().any(|kind| text(kind, "kind") != "dev") {
            closure(nodes, text(dependency, "pkg"), seen);
        }
    }
}

#[test]
fn no_crate_promises_an_older_compiler_than_its_dependencies_accept() {
    let metadata = metadata();
    let packages: BTreeMap<&str, &Value> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| (text(package, "id"), package))
        .collect();
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| (text(node, "id"), node))
        .collect();

    let mut wrong = Vec::new();
    for member in metadata["workspace_members"].as_array().expect("members") {
        let id = member.as_str().expect("an id");
        let name = text(packages[id], "name");
        let promised = version(text(packages[id], "rust_version"));
        let layer = LAYER_NAMES.contains(&name) || name == "tower-contract";
        if promised != if layer { LAYERS } else { PROGRAMS } {
            wrong.push(format!("{name} promises {promised:?}"));
        }
        let mut needed = BTreeSet::new();
        closure(&nodes, id, &mut needed);
        for needed in needed {
            let package = packages[needed];
            if let Some(needs) = package["rust_version"].as_str()
                && version(needs) > promised
            {
                let (dependency, has) = (text(package, "name"), text(package, "version"));
                wrong.push(format!(
                    "{name} promises {promised:?}; {dependency} {has} needs {needs}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
