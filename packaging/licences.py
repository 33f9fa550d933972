#!/usr/bin/env python3
"""Writes the licences of all libraries that are linked into the exporter: licences.py TARGET > FILE.

Their texts are those in the sources that cargo has fetched. The standard library is taken under the licence that
netdrop-exporter itself has, whose text is in every package.
"""
import json
import pathlib
import subprocess
import sys

# What crates call the files with their licences and copyright notices.
PATTERNS = ("LICEN[CS]E*", "COPYING*", "COPYRIGHT*", "NOTICE*", "UNLICENSE*")


def cargo(*arguments):
    run = subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return run.stdout


def linked(manifest, target):
    """The packages that end up in the binary, or in the BPF object that is part of it."""
    tree = cargo("tree", "--locked", "--manifest-path", manifest, "--target", target,
                 "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
    words = (line.split() for line in tree.splitlines() if line.strip())
    wanted = {(name, version.removeprefix("v")) for name, version, *_ in words}
    metadata = json.loads(cargo("metadata", "--locked", "--manifest-path", manifest, "--format-version", "1"))
    return [package for package in metadata["packages"]
            if package["source"] and (package["name"], package["version"]) in wanted]


def main():
    packages = (linked("exporter/Cargo.toml", sys.argv[1])
                + linked("exporter-ebpf/Cargo.toml", "bpfel-unknown-none"))
    print("Libraries that are part of netdrop-exporter, with their licences, and the standard library of")
    print("Rust, under Apache-2.0 (https://www.rust-lang.org/policies/licenses).")
    texts = {}
    for package in sorted(packages, key=lambda package: (package["name"], package["version"])):
        title = f"{package['name']} {package['version']}"
        print(f"\n{title}: {package['license']}")
        if package["repository"]:
            print(f"    {package['repository']}")
        for path in notices(pathlib.Path(package["manifest_path"]).parent):
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            texts.setdefault(text, []).append(f"{title}: {path.name}")
    for text, owners in texts.items():
        print("\n" + "-" * 80)
        print("\n".join(owners))
        print("\n" + text)


def notices(directory):
    found = {path for pattern in PATTERNS for path in directory.glob(pattern) if path.is_file()}
    return sorted(found)


main()
