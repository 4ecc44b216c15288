"""`aiops doctor`: is everything that the job needs there, and does an alert arrive."""
