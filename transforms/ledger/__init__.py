"""What came in, and what could not be used, counted by receive minute."""
