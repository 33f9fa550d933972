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


def linked(target):
    """(name, version) of all packages that end up in the binary."""
    tree = cargo("tree", "--locked", "--package", "netdrop-exporter", "--target", target,
                 "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
    words = (line.split() for line in tree.splitlines() if line.strip())
    return {(name, version.removeprefix("v")) for name, version, *_ in words}


def main():
    wanted = linked(sys.argv[1])
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1"))
    packages = [package for package in metadata["packages"]
                if package["source"] and (package["name"], package["version"]) in wanted]
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
