"""`redfire verify`: what spans services; trading's own books are checked by `services/trading/verify`."""
