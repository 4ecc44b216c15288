"""`aiops alerts`: look at alerts and act on them, on a local store or by a topic of commands."""
