"""One module for each kind of channel: what is sent there, and how."""
