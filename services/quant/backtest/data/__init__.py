"""Recorded data: files and the store read into columns, checked, and turned into moments, sessions and bars."""
