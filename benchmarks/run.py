"""All benchmarks, each in its own process; fails if a limit was missed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAMES = ("overhead", "early", "memory", "stimulus_hdf5", "katago")


def main() -> int:
    folder = Path(__file__).parent
    done = [subprocess.run([sys.executable, folder / f"{name}.py"], check=False) for name in NAMES]
    return max(process.returncode for process in done)


if __name__ == "__main__":
    sys.exit(main())
