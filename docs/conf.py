"""Sphinx's configuration. Parts of the reference are written by `generate.py` at each build."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from docs import generate  # noqa: E402
from ska_oso_activity import __version__  # noqa: E402

generate.write(HERE / "reference" / "generated")

project = "ska-oso-activity"
author = "the ska-oso-activity developers"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx_copybutton", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build", "reference/generated"]
nitpicky = True
smartquotes = False  # the pages are full of JSON

myst_enable_extensions = ["colon_fence", "deflist"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = "ska-oso-activity"
html_theme_options = {"footer_icons": []}
