"""Gemini on batches of windows: what is asked, how it is checked, what it may cost."""
