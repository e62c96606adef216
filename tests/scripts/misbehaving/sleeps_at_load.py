"""Never gets loaded."""

import time

print("sleeping")
time.sleep(1000)
