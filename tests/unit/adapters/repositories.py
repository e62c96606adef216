"""Real git repositories for tests, made with the git program, and a web server that serves them."""

import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SCRIPT = "def main(): ...\n"


class Repository:
    """A repository in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        return f"file://{self.directory}"

    def git(self, *arguments: str) -> str:
        """Run git in the repository, as somebody with no configuration."""
        who = {
            f"GIT_{role}_{part}": "x"
            for role in ("AUTHOR", "COMMITTER")
            for part in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, **who},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        """Commit files, named by their stems or by `directory__stem`; returns the commit."""
        for name, content in files.items():
            path = self.directory / (name.replace("__", "/") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=x")
        return self.git("rev-parse", "HEAD")


class GitServer:
    """Serves the repositories of a directory over HTTP on loopback, as a real server does.

    Below `/moved/` every request is redirected, to the same name with `.git` as GitLab does, or to
    `elsewhere` if that is given.
    """

    def __init__(self, directory: Path) -> None:
        self.requests: list[str] = []
        self.elsewhere: str | None = None
        handler = type("Handler", (_GitHandler,), {"owner": self, "directory": directory})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _GitHandler(BaseHTTPRequestHandler):
    """Hands requests to git's own back end."""

    owner: GitServer
    directory: Path

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.owner.requests.append(path)
        if path.startswith("/moved/") and ".git/" not in path:
            repository = path.split("/info/")[0]
            target = self.owner.elsewhere or f"{self.owner.url}{repository}.git"
            self.send_response(301)
            self.send_header("Location", f"{target}{path.removeprefix(repository)}?{query}")
            self.end_headers()
            return
        size = int(self.headers.get("Content-Length") or 0)
        done = subprocess.run(
            ["git", "http-backend"],
            input=self.rfile.read(size),
            env={
                "PATH": os.environ["PATH"],
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_PROJECT_ROOT": str(self.directory),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "CONTENT_LENGTH": str(size),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
            },
            capture_output=True,
            check=False,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
