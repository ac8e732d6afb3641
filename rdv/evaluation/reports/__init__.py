"""Pages to send to somebody: each function takes what an evaluation has found, and gives HTML.

Import from the modules: `reports.compare.compare_page`, and so on.
"""
