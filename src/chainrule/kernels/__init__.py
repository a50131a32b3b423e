"""The hot loops: a plain reference of each, and faster kernels with the same results."""
