"""Announces by pypubsub, as existing scripts do, and by our own functions."""

from ska_oso_activity import script


def main():
    from pubsub import pub

    pub.sendMessage("user.script.announce", msg="by user.script.announce")
    pub.sendMessage("script.announce", msg="by script.announce")
    script.announce("by announce")
    script.progress(0.25, "a quarter αλ")
    script.progress(0.5)
