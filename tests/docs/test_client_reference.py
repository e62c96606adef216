"""The reference of the client library has all of it."""

from __future__ import annotations

import inspect

import pytest

from docs.client_reference import ELSEWHERE, client_reference
from ska_oso_activity import client

PUBLIC = sorted(set(client.__all__) - ELSEWHERE)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_class_is_described_with_its_methods(name: str):
    text = client_reference()
    _, _, section = text.partition(f"\n### {name}\n")
    section = section.partition("\n### ")[0]

    assert section
    assert getattr(client, name).__doc__
    for method, function in vars(getattr(client, name)).items():
        if inspect.isfunction(function) and not method.startswith("_"):
            assert function.__doc__, f"{name}.{method}"
            assert f"**`{method}(" in section


def test_both_clients_have_the_same_names():
    waiting, unwaiting = (
        {method for method in vars(kind) if not method.startswith("_")}
        for kind in (client.ActivityClient, client.AsyncActivityClient)
    )

    core = {"run", "start", "activity", "stop", "validate", "describe", "get", "list", "follow"}
    assert core <= waiting & unwaiting
    for method in core - {"follow"}:
        one, other = (
            list(inspect.signature(getattr(kind, method)).parameters)
            for kind in (client.ActivityClient, client.AsyncActivityClient)
        )
        assert set(one) - set(other) <= {"waiting"}
