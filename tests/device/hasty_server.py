"""ScriptExecution, which answers requests while it starts: as cppTango does by itself.

With `--lasting` as the last word it does not look, either, whether that broke its events.
"""

import sys

from ska_oso_activity.devices import start_up
from ska_oso_activity.devices.script_execution import main

start_up.START_UP.hold_requests = lambda _: None  # type: ignore[method-assign]
words = sys.argv[1:]
if words[-1] == "--lasting":
    words.pop()
    start_up._broken_endpoint = lambda: None
main(words)
