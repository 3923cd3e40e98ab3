"""Recorded ticks and bars on disk: Parquet files that market writes, and others read and add to."""
