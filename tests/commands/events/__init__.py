"""Tests of `redfire events`."""
