"""Stands in for the script that aborts a subarray after its activity was stopped.

It drives no telescope, so it aborts nothing: it says which subarray a real script would abort.
"""

import logging
from typing import Any

from ska_oso_activity import script

LOG = logging.getLogger("abort")
remembered: dict[str, int] = {}


def init(subarray_id: int) -> None:
    """Remember which subarray to abort."""
    remembered["subarray_id"] = subarray_id
    LOG.info("ready to abort subarray %d", subarray_id)


def main(**kwargs: Any) -> dict[str, Any]:
    """Say what would be aborted; return the subarray, and that it was not aborted."""
    subarray_id = remembered.get("subarray_id", script.subarray_id())
    LOG.info("arguments: %s", kwargs)
    message = f"subarray {subarray_id} would be aborted; nothing was sent to the telescope"
    LOG.warning(message)
    script.announce(message)
    return {"subarray_id": subarray_id, "aborted": False}
