"""The lake: Parquet files of ticks and bars in the data folder, that market writes and others read and add to."""
