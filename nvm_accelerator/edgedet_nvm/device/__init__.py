"""The physics of a flash array and its circuits: cells, their errors, wires, converters, energy."""
