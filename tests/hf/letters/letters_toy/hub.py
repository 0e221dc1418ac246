"""As much of the Hugging Face hub as streaming a data set asks for.

A folder holds one folder per data set, named ``owner--name``; all have the same commit.
"""

import json
import re
from urllib.parse import parse_qs, urlsplit

from letters_toy.server import Handler

COMMIT = "c0ffee" + "0" * 34
RENAMED = {"oldtext": "owner/newtext"}
"""Old names without an owner, under which a data set can still be asked for."""


class HubHandler(Handler):
    protocol_version = "HTTP/1.1"

    def find(self):
        found = re.fullmatch(r"/datasets/(.+)/resolve/[^/]+/(.+)", urlsplit(self.path).path)
        return found and self.server.folder / found[1].replace("/", "--") / found[2]

    def headers_of(self, path):
        return {"X-Repo-Commit": COMMIT, "ETag": f'"{path.stat().st_size}"'}

    def do_GET(self):  # noqa: N802
        self._api() if self.path.startswith("/api/") else self._file(body=True)

    def do_HEAD(self):  # noqa: N802
        self._file(body=False)

    def do_POST(self):  # noqa: N802
        body = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        name = re.fullmatch(r"/api/datasets/(.+)/paths-info/[^/]+", self.path)[1]
        self._json([e for e in self._entries(self._repository(name)) if e["path"] in body["paths"]])

    def _file(self, body):
        path = self.find()
        if path and path.is_file():
            self.answer(body)
        elif path and path.parent.is_dir():
            self._missing("EntryNotFound")
        else:
            self._missing("RepoNotFound")

    def _api(self):
        path = urlsplit(self.path).path.removeprefix("/api/datasets/")
        name, _, rest = path.partition("/tree/")
        name, _, revision = name.partition("/revision/")
        name = RENAMED.get(name, name)
        folder = self._repository(name)
        if not folder.is_dir():
            self._missing("RepoNotFound")
        elif "/tree/" in path and "/" in rest:
            self._missing("EntryNotFound")  # all files lie at the top
        elif "/tree/" in path:
            self._json(self._entries(folder))
        else:
            siblings = [{"rfilename": entry["path"]} for entry in self._entries(folder)]
            commit = revision if re.fullmatch("[0-9a-f]{40}", revision) else COMMIT
            self._json({"id": name, "sha": commit, "siblings": siblings})

    def _repository(self, name):
        return self.server.folder / name.replace("/", "--")

    @staticmethod
    def _entries(folder):
        return [
            {"type": "file", "oid": "0" * 40, "size": path.stat().st_size, "path": path.name}
            for path in sorted(folder.iterdir())
        ]

    def _json(self, content, status=200, **headers):
        body = json.dumps(content).encode()
        self.send_response(status)
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _missing(self, code):
        self._json({"error": code}, 404, X_Error_Code=code, X_Repo_Commit=COMMIT)
