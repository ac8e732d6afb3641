"""The console: a process that reads a decision's log and serves its metrics and its page."""
