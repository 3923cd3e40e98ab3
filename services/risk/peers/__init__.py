"""Feeds from trading and market, and the enforcement at trading."""
