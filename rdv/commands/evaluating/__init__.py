"""The commands that evaluate the log share these modules."""
