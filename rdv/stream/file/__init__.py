"""The package is the log in files: segments, index entries, locks and doorbells. See
../FORMAT.md.
"""
