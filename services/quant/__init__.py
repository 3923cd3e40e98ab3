"""The quant's library, which no service owns and which imports none: today the calendar."""
