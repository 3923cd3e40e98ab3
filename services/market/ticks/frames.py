"""Frames of batches, as all of RedFire reads them."""

from services.quant.ticks.frames import MalformedBatchError, frame, split, varint

__all__ = ["MalformedBatchError", "frame", "split", "varint"]
