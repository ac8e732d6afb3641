"""The dataset is the log as columns: requests joined with their scores, results and outcomes.

`source` reads ranges of a partition, `chunk` decodes them, `requests`, `results` and `scores`
keep what waits for its match, and `join` yields batches of joined requests (`joined`).
"""
