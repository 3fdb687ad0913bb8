"""From trained networks to packages: read, quantize, measure, write."""
