"""The tree itself: nothing of this machine or of a package host in any file, nothing large, no lock files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Split, so that this file passes its own test.
HOSTS = ("pypi" + ".org", "python" + "hosted.org", "download.py" + "torch.org", "npm" + "js.org")
HOMES = re.compile(
    r"(?<![\w.~-])/(?:" + "|".join(("ro" + "ot", "ho" + "me", "Us" + "ers", "wo" + "rk")) + ")/"
)
LOCKS = re.compile(r"^(uv\.lock|poetry\.lock|pdm\.lock|pylock.*\.toml|package-lock\.json)$")


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Every file that is, or would be, committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    found = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in found if path.is_file()]


def _matches(files: list[Path], pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in files:
        text = path.read_text("utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    return found


def test_no_file_names_a_package_host(files):
    assert _matches(files, re.compile("|".join(map(re.escape, HOSTS)))) == []


def test_no_file_names_a_path_of_somebodys_machine(files):
    assert _matches(files, HOMES) == []


def test_the_patterns_would_find_what_they_are_for():
    assert re.search(HOSTS[0], "https://files." + HOSTS[0] + "/simple")
    for home in ("ro" + "ot", "ho" + "me"):
        assert HOMES.search(f"path = '/{home}/somebody'")
    assert not HOMES.search("tests/" + "wo" + "rk" + "/x")


def test_no_lock_files(files):
    assert [path for path in files if LOCKS.match(path.name)] == []


def test_no_large_files(files):
    assert [path for path in files if path.stat().st_size > 2**20] == []


def test_constraints_are_exact_and_sorted():
    lines = [
        line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#"
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!+]*", line) for line in lines)
    assert lines == sorted(lines, key=str.lower)
    names = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines]
    assert len(names) == len(set(names))
    assert {"torch==2.14.1", "torchvision==0.29.1"} <= set(lines)
