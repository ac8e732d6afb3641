"""Reports are pages for sharing: each function takes the findings of an evaluation and returns
HTML.

Import from the modules: `reports.compare.compare_page`, and so on.
"""
