"""A small imitation of the Hugging Face hub on 127.0.0.1: two repositories, both real file formats.

Running this file prints the port and then serves until it is ended.
"""

import hashlib
import http.server
import json
import re
from urllib.parse import unquote, urlsplit

from tokenizers import Tokenizer, models, pre_tokenizers

COMMIT = "1" * 40
STORIES = [f"Document {i} tells of {i * 7919 % 1009} things and {i * 104729 % 997} more. " * 20 for i in range(40)]


def _tokenizer() -> str:
    letters = {chr(code): code - 32 for code in range(32, 127)}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer.to_str()


REPOSITORIES = {
    "datasets/owner/stories": {
        "README.md": b"---\nconfigs:\n- config_name: default\n  data_files: train.jsonl\n---\nStories.\n",
        "train.jsonl": "".join(json.dumps({"story": text, "id": i}) + "\n" for i, text in enumerate(STORIES)).encode(),
    },
    "models/owner/letters": {"tokenizer.json": _tokenizer().encode()},
}


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/":
            return self._json({})
        if match := re.fullmatch(r"/api/((?:datasets|models)/[^/]+/[^/]+)(/.*)?", path):
            return self._api(match[1], match[2] or "")
        if match := re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/[^/]+/(.*)", path):
            name = match[1] if match[1].startswith("datasets/") else f"models/{match[1]}"
            return self._file(REPOSITORIES.get(name, {}).get(match[2]))
        self._missing("RepoNotFound")

    do_HEAD = do_GET

    def _api(self, name: str, rest: str) -> None:
        if name not in REPOSITORIES:
            return self._missing("RepoNotFound")
        files = REPOSITORIES[name]
        if rest.startswith("/tree/"):
            folder = "/".join(rest.split("/")[3:])
            if folder:
                return self._missing("EntryNotFound")
            return self._json([_entry(path, content) for path, content in files.items()])
        if rest == "" or rest.startswith("/revision/"):
            identity = name.split("/", 1)[1]
            siblings = [{"rfilename": path} for path in files]
            return self._json({"id": identity, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings})
        self._missing("EntryNotFound")

    def _file(self, content: bytes | None) -> None:
        if content is None:
            return self._missing("EntryNotFound")
        status, part, extra = 200, content, {}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            start, end = int(match[1]), min(int(match[2] or len(content) - 1), len(content) - 1)
            status, part = 206, content[start : end + 1]
            extra = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        self._send(status, part, "application/octet-stream", {**headers, **extra})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), "application/json", {})

    def _missing(self, code: str) -> None:
        self._send(404, b"{}", "application/json", {"X-Error-Code": code})

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


def _entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(server.server_address[1], flush=True)
    server.serve_forever()
