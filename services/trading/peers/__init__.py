"""What trading follows of other services: quotes and instruments of market, risk's checks."""
