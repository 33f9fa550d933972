#!/usr/bin/env python3
"""Checks the Markdown files of the repository: every relative link leads to a file that is there and, with an anchor,
to a heading of it; every test, script and stage that a document names exists."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)\s]+)\)")
STAGE = re.compile(r"`tests/run\.sh ([a-z][a-z0-9 ]*)`")
PATH = re.compile(r"`((?:tests|packaging|alerts|dashboards|exporter|exporter-ebpf)/[\w./-]*[\w/])`")


def prose(text):
    """The text without its code blocks."""
    text = re.sub(r"(?ms)^```.*?^```", "", text)
    return re.sub(r"(?m)^(    |\t).*$", "", text)


def anchors(text):
    """The anchors that GitHub gives the headings of a file."""
    found = set()
    for heading in re.findall(r"(?m)^#+ +(.*)$", re.sub(r"(?ms)^```.*?^```", "", text)):
        anchor = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = 0
        unique = anchor
        while unique in found:
            number += 1
            unique = f"{anchor}-{number}"
        found.add(unique)
    return found


def broken(document, stages):
    """What is wrong with the links and names in a document."""
    text = document.read_text()
    for target in LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists():
            yield f"{target}: there is no such file"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
            yield f"{target}: there is no such heading"
    for names in STAGE.findall(text):
        for name in names.split():
            if name not in stages and name != "all":
                yield f"tests/run.sh {name}: there is no such stage"
    for path in PATH.findall(text):
        if not any(base.joinpath(path).exists() for base in (ROOT, document.parent)):
            yield f"{path}: there is no such file"


def main():
    files = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "*.md"], check=True, capture_output=True, text=True
    ).stdout.split()
    listed = subprocess.run([ROOT / "tests/run.sh", "--list"], check=True, capture_output=True, text=True).stdout
    stages = {line.split()[0] for line in listed.splitlines() if line.strip()}
    wrong = [f"{name}: {fault}" for name in files for fault in broken(ROOT / name, stages)]
    print(*wrong, sep="\n") if wrong else print(f"{len(files)} documents: every link leads somewhere")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
