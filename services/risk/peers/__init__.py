"""What risk follows: trading's accounts and orders, market's instruments and prices."""
