"""English paragraphs of Python's own documentation, as JSON lines in the current folder.

python corpus.py
"""

from __future__ import annotations

import json
from pathlib import Path
from pydoc_data.topics import topics

SHORTEST = 80


def main() -> None:
    found: dict[str, str] = {}
    for name, text in sorted(topics.items()):
        for number, paragraph in enumerate(text.split("\n\n")):
            words = " ".join(paragraph.split())
            if len(words) >= SHORTEST and not paragraph.startswith("   "):  # indented: code
                found.setdefault(words, f"{name}-{number}")
    lines = [json.dumps({"id": id_, "text": words}) for words, id_ in found.items()]
    Path("python-docs.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
