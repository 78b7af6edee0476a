"""How fast a model would be on a machine, from measured bandwidth and calibration; and the fraction of the roofline."""
