"""Which quant for this machine: candidates, predictions, measurements on the real engine, one recommendation."""
