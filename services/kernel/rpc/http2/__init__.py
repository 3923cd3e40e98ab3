"""A writer of HTTP/2 for streams of which there are thousands: control frames by h2, DATA frames written here."""
