"""The kernel, part by part. Flat: a file for each part, which share nothing."""
