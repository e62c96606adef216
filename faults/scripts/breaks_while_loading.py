"""Cannot be loaded."""

import notes  # noqa: F401 - it notes that loading began

raise RuntimeError("as it was told")
