"""`ska-oso-activity up`, whose back-off stays short: the suite kills more than it foresees."""

from ska_oso_activity.cli.main import main
from ska_oso_activity.cli.stack import backoff

if __name__ == "__main__":
    backoff.LONGEST_DELAY = backoff.FIRST_DELAY
    main()
