"""Virtual environments for git scripts, built once and kept (adapters layer).

Building runs code of the repository, which is why only allowed repositories get here; it sees the
variables of `_PASSED_ON` and no others of ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import site
import sys
from collections.abc import Callable
from pathlib import Path

from ska_oso_activity.adapters.programs import Effort, run
from ska_oso_activity.adapters.shelf import Shelf
from ska_oso_activity.domain.errors import EnvironmentFailed

COMPLETE = ".complete"
"""Written last: an environment without it was interrupted, and is built anew."""

_PASSED_ON = re.compile(
    r"PATH|HOME|TMPDIR|LANG|(PIP|UV|XDG|SSL_CERT)_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|(https?|all|no)_proxy",
    re.IGNORECASE,
)
_DEPENDENCIES = ("pyproject.toml", "poetry.lock", "uv.lock", "setup.py", "setup.cfg")
_BUILT = re.compile(r"^\[(build-system|project)\]", re.MULTILINE)


class Environments:
    """Virtual environments, one for each commit and its dependencies."""

    def __init__(self, directory: Path, timeout_s: float, keep: int = 20) -> None:
        """Environments below `directory`.

        Args:
            timeout_s: longest time a build may take, in seconds.
            keep: how many to keep; ones used within the last hour stay whatever their number.
        """
        self._shelf = Shelf(directory.absolute(), keep, marker=COMPLETE)
        self._timeout_s = timeout_s

    def python_for(
        self,
        key: str,
        checkout: Path,
        report: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Path:
        """The interpreter of the environment of a checkout, built if it is not there yet.

        The platform's packages (tango, numpy, ours) are visible in it, behind its own.

        Args:
            key: repository and commit, as text.

        Raises:
            EnvironmentFailed: the build failed, was cancelled or took too long.
        """
        name = _name(key, checkout)
        python = self._shelf.directory / name / "bin" / "python"
        if self._shelf.ready(name):
            return python
        effort = Effort.of(self._timeout_s, report, cancelled)
        with self._shelf.hold(name, effort):
            if self._shelf.ready(name) is None:
                self._build(self._shelf.directory / name, checkout, effort)
        self._shelf.tidy()
        return python

    def _build(self, path: Path, checkout: Path, effort: Effort) -> None:
        """Build in place, because an environment cannot be moved; mark it when it is whole."""
        try:
            shutil.rmtree(path, ignore_errors=True)
            _create(path, effort)
            _install(path, checkout, effort)
            (path / COMPLETE).touch()
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)
            raise EnvironmentFailed(
                f"the environment could not be written: {error.strerror}"
            ) from error
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise


def _name(key: str, checkout: Path) -> str:
    """A name that changes with anything that the environment depends on."""
    files = [checkout / name for name in _DEPENDENCIES]
    files += sorted(checkout.glob("requirements*.txt"))
    contents = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file() and not file.is_symlink()
    }
    parts = json.dumps([key, contents, sys.version, sys.prefix, _platform_directories()])
    return hashlib.sha256(parts.encode()).hexdigest()[:40]


def _create(path: Path, effort: Effort) -> None:
    uv = shutil.which("uv")
    effort.report("creating a virtual environment")
    if uv:
        command = [uv, "venv", "--quiet", "--python", sys.executable, str(path)]
    else:
        command = [sys.executable, "-m", "venv", str(path)]
    path.parent.mkdir(parents=True, exist_ok=True)
    run(command, effort, environment=_environment(), directory=path.parent, tell=True)
    # Lines of a .pth file come behind the environment's own packages, so those win.
    (packages,) = (path / "lib").glob("python*/site-packages")
    lines = "".join(f"{directory}\n" for directory in _platform_directories())
    (packages / "ska_oso_activity_platform.pth").write_text(lines, encoding="utf-8")


def _install(path: Path, checkout: Path, effort: Effort) -> None:
    if _is_package(checkout):
        # A copy, because building leaves files behind and the checkout is shared.
        source = path / "source"
        shutil.copytree(checkout, source, symlinks=True)
        what = [str(source)]
    elif (checkout / "requirements.txt").is_file():
        source = checkout
        what = ["-r", str(checkout / "requirements.txt")]
    else:
        effort.report("the repository names nothing to install")
        return
    python = str(path / "bin" / "python")
    uv = shutil.which("uv")
    effort.report("installing what the repository needs")
    if uv:
        command = [uv, "pip", "install", "--python", python, *what]
    else:
        command = [python, "-m", "pip", "install", "--no-input", "--progress-bar", "off", *what]
    run(command, effort, environment=_environment(), directory=source, tell=True)
    if source != checkout:
        shutil.rmtree(source)


def _is_package(checkout: Path) -> bool:
    """Whether the repository itself can be installed; many a pyproject.toml only sets up tools."""
    if (checkout / "setup.py").is_file() or (checkout / "setup.cfg").is_file():
        return True
    project = checkout / "pyproject.toml"
    return project.is_file() and bool(_BUILT.search(project.read_text("utf-8", "replace")))


def _platform_directories() -> list[str]:
    """Where the running interpreter finds packages, ours included when it is installed editable."""
    found = [*site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    found.append(str(Path(__file__).parents[2]))
    return [directory for directory in dict.fromkeys(found) if Path(directory).is_dir()]


def _environment() -> dict[str, str]:
    """The variables that an installer needs; secrets that we were started with are not for it."""
    passed_on = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    return {
        **passed_on,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "UV_NO_PROGRESS": "1",
    }
