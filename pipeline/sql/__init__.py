"""Views as SQL, one a file, in what BigQuery and DuckDB have in common; rendered by `pipeline/views.py`."""
