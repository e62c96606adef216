"""Stands in for the fork server: it is there, and does nothing."""

import time

time.sleep(60)
