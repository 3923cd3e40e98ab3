"""The edge alone, before played services. Flat: a file for each promise of the edge, on the backend that they share."""
