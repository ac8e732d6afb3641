"""Learning from the log: what the records say about models and schedules."""
