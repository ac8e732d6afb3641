"""The record as Parquet: tables of stable columns, by day, for pandas, DuckDB, Spark and others.

`columns` says what there is, `export.export` writes it.
"""
