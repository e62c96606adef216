"""A disk that is nearly full is told of before it is full."""

import os
from types import SimpleNamespace

import pytest

from ska_oso_activity.adapters.disk_space import require_free_space
from ska_oso_activity.domain.errors import NoSpace

MIB = 1024**2


def disk(monkeypatch, *, size, free):
    answer = SimpleNamespace(f_bavail=free, f_blocks=size, f_frsize=MIB)
    monkeypatch.setattr(os, "statvfs", lambda _: answer)


@pytest.mark.parametrize(
    ("size", "free", "nearly_full"),
    [(100, 6, False), (100, 4, True), (10_000_000, 1025, False), (10_000_000, 1023, True)],
)
def test_a_disk_is_nearly_full(monkeypatch, tmp_path, size, free, nearly_full):
    disk(monkeypatch, size=size, free=free)
    if nearly_full:
        with pytest.raises(NoSpace, match=rf"nearly full, {free}\.0 of {size}\.0 MiB are free"):
            require_free_space(tmp_path)
    else:
        require_free_space(tmp_path)


def test_a_directory_that_is_gone_is_no_room(tmp_path):
    with pytest.raises(NoSpace, match="No such file"):
        require_free_space(tmp_path / "gone")
