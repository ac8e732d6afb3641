"""Export the log as Parquet: tables with stable columns, by day, for pandas, DuckDB and others.

`columns` defines the tables, `export.export` writes them.
"""
