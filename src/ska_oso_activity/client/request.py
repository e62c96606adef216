"""The argument of RunActivity, out of what a caller gives, and its request_id (client)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from ska_oso_activity.client.values import ActivityRequest

Request = ActivityRequest | Mapping[str, Any] | None
"""A request whole; None: it is given by keywords, those of `ActivityRequest`."""


def argument_of(request: Request, keys: Mapping[str, Any]) -> dict[str, Any]:
    """A request as it is sent, without what is not given.

    Raises:
        TypeError: it is given both whole and by keywords, or there are no such keywords.
    """
    if request is not None and keys:
        raise TypeError(f"a request is given whole or by keywords, not both: {sorted(keys)}")
    if request is None:
        known = {each.name for each in fields(ActivityRequest)}
        if unknown := set(keys) - known:
            raise TypeError(f"no such keys: {sorted(unknown)}; a request has {sorted(known)}")
        request = ActivityRequest(**keys)
    if isinstance(request, ActivityRequest):
        return request.to_json()
    return {key: value for key, value in request.items() if value is not None}


def identified(request: Request, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The argument of RunActivity, with a `request_id` of ours if the caller gave none."""
    asked = argument_of(request, keys)
    asked.setdefault("request_id", str(uuid.uuid4()))
    return asked


@contextmanager
def telling_request_id(asked: Mapping[str, Any]) -> Iterator[None]:
    """Put the `request_id` on whatever is raised: with it the caller can find out."""
    try:
        yield
    except BaseException as error:
        vars(error)["request_id"] = asked["request_id"]
        raise
