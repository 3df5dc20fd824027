"""Waiting for what happens in the background."""

import time


def until(what, find, seconds=20):
    """What `find` returns once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := find():
            return found
        time.sleep(0.05)
    raise AssertionError(f"it did not happen within {seconds} s: {what}")
