"""`python -m ska_oso_activity.cli` is `ska-oso-activity` (cli)."""

from ska_oso_activity.cli.main import main

main()
