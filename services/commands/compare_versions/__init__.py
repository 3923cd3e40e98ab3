"""`redfire compare-versions`: a canary's answers beside those of the version before it."""
