"""What connects a script's process with its host."""

import os

from ska_oso_activity.script_host.channels import open_channels


def test_closing_twice_leaves_the_descriptors_of_others_alone():
    ours, theirs = open_channels()
    theirs.close()
    ours.close()
    others = os.pipe()  # takes the numbers that were given back

    ours.close()

    os.write(others[1], b"still open")
    assert os.read(others[0], 20) == b"still open"
    for fd in others:
        os.close(fd)
